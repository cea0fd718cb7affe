from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cairn.api.labels import shortened

LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?){0,4}", fullmatch=True)


@given(names)
def test_a_shortened_name_is_a_label_s_value(name: str):
    assert LABEL_VALUE.fullmatch(shortened(name))
    assert len(name) > 63 or shortened(name) == name


@given(names, names)
def test_different_names_stay_different_when_they_are_shortened(one: str, other: str):
    assert (shortened(one) == shortened(other)) == (one == other)


def test_a_name_is_not_cut_next_to_a_dot():
    assert shortened("ab.cdefghijklmno", 12) == "ab-" + shortened("ab.cdefghijklmno", 12)[-8:]
