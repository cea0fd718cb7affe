from __future__ import annotations

import copy
import json
import sys

from hypothesis import given
from hypothesis import strategies as st

from cairn.clients.depth import CUT, bounded

objects = st.dictionaries(
    st.text(max_size=3),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=9
    ),
    max_size=3,
)


@given(objects)
def test_an_ordinary_object_stays_as_it_is(body: dict[str, object]):
    assert bounded(body) == body


def test_the_copy_shares_nothing_with_the_object():
    body = {"metadata": {"labels": {"a": "b"}}}

    bounded(body)["metadata"]["labels"]["a"] = "c"

    assert body == {"metadata": {"labels": {"a": "b"}}}


def test_what_is_nested_more_deeply_than_python_can_copy_is_cut():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        deep = json.loads('{"a":' * 5000 + "{}" + "}" * 5000)
    finally:
        sys.setrecursionlimit(limit)

    cut = copy.deepcopy(bounded(deep))

    assert json.dumps(cut).count('"a"') == 64
    assert CUT in json.dumps(cut)
