from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.runs.references import (
    Reference,
    Replacement,
    TextsTooLargeError,
    Values,
    literal,
    references_in,
    replace,
    unescaped,
)


def kubernetes_expands(text: str, environment: dict[str, str]) -> str:
    """Return what Kubernetes makes of a command, an argument or a variable's value.

    A transcription of k8s.io/kubernetes/third_party/forked/golang/expansion: `$$` is `$`, `$(NAME)` is the variable
    or, where there is none, stays; any other `$` stays.
    """
    done, at = "", 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            done, at = done + text[at], at + 1
        elif text[at + 1] == "$":
            done, at = done + "$", at + 2
        elif text[at + 1] == "(" and ")" in text[at:]:
            name = text[at + 2 : text.index(")", at)]
            done, at = done + environment.get(name, f"$({name})"), at + len(name) + 3
        else:
            done, at = done + text[at : at + 2], at + 2
    return done


VALUES = Values(
    parameters={"alpha": "0.5", "path": "/data/$HOME", "tricky": "$(params.alpha)$$(X)"},
    run_name="wine-1",
    run_uid="uid-1",
    results={("train", "rmse"): "0.71"},
)


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("--alpha=$(params.alpha)", "--alpha=0.5"),
        ("$(run.name)/$(run.uid)", "wine-1/uid-1"),
        ("$(steps.train.results.rmse)", "0.71"),
        ("no references", "no references"),
        ("$(HOME) is Kubernetes' own", "$(HOME) is Kubernetes' own"),
    ],
)
def test_a_reference_is_replaced_by_its_value(text: str, replaced: str):
    assert replace(text, VALUES.value_of) == replaced


def test_a_doubled_dollar_makes_a_reference_literal():
    text = replace("$$(params.alpha) is $(params.alpha)", VALUES.value_of)

    assert kubernetes_expands(text, {}) == "$(params.alpha) is 0.5"


def test_a_value_that_looks_like_a_reference_is_not_replaced_again():
    text = replace("$(params.tricky)", VALUES.value_of)

    assert kubernetes_expands(text, {"X": "never"}) == "$(params.alpha)$$(X)"


def test_a_reference_within_a_shell_s_command_substitution_keeps_its_dollars():
    text = replace("echo $(cat $(params.path)) $(date)", VALUES.value_of)

    assert kubernetes_expands(text, {}) == "echo $(cat /data/$HOME) $(date)"


@pytest.mark.parametrize("text", ["$(params.missing)", "$(steps.train.results.missing)", "$(run.age)", "$(params.a.b)"])
def test_a_reference_that_stands_for_nothing_is_an_error(text: str):
    with pytest.raises(KeyError):
        replace(text, VALUES.value_of)


def test_references_are_found_where_they_are_not_escaped():
    found = references_in("$(params.a) $$(params.b) $$$(steps.s.results.r) $(OTHER) $(run.name)")

    assert [reference.text for reference in found] == ["params.a", "steps.s.results.r", "run.name"]


def test_a_reference_within_a_shell_s_command_substitution_is_found():
    assert [reference.text for reference in references_in("$(cat $(params.a))")] == ["params.a"]


def test_a_reference_knows_what_it_asks_for():
    assert Reference("params.alpha").parameter == "alpha"
    assert Reference("steps.train.results.rmse").result == ("train", "rmse")
    assert Reference("run.name").parameter is None
    assert Reference("steps.train").result is None


texts = st.text(alphabet="$()ab {}\n\"'é", max_size=30)
plain = st.text(alphabet="ab ()\n", max_size=10)
names = st.sampled_from(["alpha", "path", "tricky"])


@given(st.lists(st.one_of(texts.map(lambda text: (text, None)), names.map(lambda name: (None, name)))), st.data())
def test_kubernetes_makes_the_values_out_of_what_is_replaced(
    parts: list[tuple[str | None, str | None]], data: st.DataObject
):
    values = {name: data.draw(texts, label=name) for name in ("alpha", "path", "tricky")}
    written = "".join(literal(text) if text is not None else f"$(params.{name})" for text, name in parts)
    meant = "".join(text if text is not None else values[str(name)] for text, name in parts)

    replaced = replace(written, Values(values, "", "", {}).value_of)

    assert kubernetes_expands(replaced, {"a": "never", "": "never"}) == meant


@given(st.lists(st.one_of(plain, st.just("$("), names.map(lambda name: f"$(params.{name})"))), st.data())
def test_values_arrive_whole_within_any_nesting_of_command_substitutions(parts: list[str], data: st.DataObject):
    values = {name: data.draw(texts, label=name) for name in ("alpha", "path", "tricky")}
    meant = "".join(values[part[9:-1]] if part.startswith("$(params.") else part for part in parts)

    replaced = replace("".join(parts), Values(values, "", "", {}).value_of)

    assert kubernetes_expands(replaced, {}) == meant


@given(texts)
def test_what_does_not_belong_to_cairn_is_left_to_kubernetes(text: str):
    assert replace(text, VALUES.value_of) == text


@given(texts)
def test_a_literal_comes_back_as_it_was(text: str):
    assert kubernetes_expands(literal(text), {"a": "never"}) == text
    assert unescaped(literal(text)) == text


def test_a_hostile_text_takes_no_time():
    start = time.perf_counter()

    replace("$(" * 16_000, VALUES.value_of)
    replace("$(" * 16_000 + "params.x", VALUES.value_of)
    replace("$(" * 400_000 + "x)", VALUES.value_of)

    assert time.perf_counter() - start < 2


class TestHowMuchAContainerTakes:
    def test_a_text_that_fits_is_replaced(self):
        assert Replacement(lambda _: "x" * 1000).of("$(params.p)" * 90) == "x" * 90_000

    def test_one_that_no_argument_can_hold_is_refused_before_anything_is_replaced(self):
        with pytest.raises(TextsTooLargeError, match=r"has some 33\d+ bytes, of which Linux takes 100000"):
            Replacement(lambda _: "x" * 1_000_000).of("$(params.p)" * 334)

    def test_all_of_a_container_together_may_be_too_much(self):
        replacement = Replacement(lambda _: "x" * 90_000)

        with pytest.raises(TextsTooLargeError, match="together have more than the 1000000 bytes"):
            [replacement.of("$(params.p)") for _ in range(12)]
