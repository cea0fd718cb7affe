from __future__ import annotations

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from cairn.runs import naming
from tests.unit.builders import RUN

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")

label_names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
run_names = st.lists(label_names, min_size=1, max_size=4).map(".".join)
short_names = st.text(alphabet="a-.b1", min_size=1, max_size=4).filter(
    lambda name: re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name) is not None
)
attempts = st.integers(1, 12)


def test_a_job_is_named_after_run_step_and_attempt():
    assert naming.workload_name("wine-1", "train", 2) == "wine-1-train-2"


@given(run_names, label_names, attempts)
def test_a_job_s_name_is_a_dns_label_whatever_the_run_is_called(run: str, step: str, attempt: int):
    assert DNS_LABEL.fullmatch(naming.workload_name(run, step, attempt))


@given(st.tuples(short_names, short_names, attempts), st.tuples(short_names, short_names, attempts))
def test_two_attempts_of_a_namespace_never_share_a_job_s_name(one: tuple[str, str, int], other: tuple[str, str, int]):
    assume(one != other and "." not in one[1] and "." not in other[1])

    assert naming.workload_name(*one) != naming.workload_name(*other)


def test_runs_whose_names_begin_alike_do_not_share_a_job_s_name():
    assert naming.workload_name("nightly", "train-eval", 1) != naming.workload_name("nightly-train", "eval", 1)
    assert naming.workload_name("wine.1", "train", 1) != naming.workload_name("wine-1", "train", 1)


def test_long_names_that_differ_at_their_end_stay_different():
    assert naming.workload_name("r" * 250 + "1", "train", 1) != naming.workload_name("r" * 250 + "2", "train", 1)


def test_the_labels_of_a_step_s_own_pod_name_step_and_attempt():
    assert naming.labels(RUN, "production", [("train", 2)]) == {
        "app.kubernetes.io/managed-by": "cairn",
        "cairn.dev/run": "wine-1",
        "cairn.dev/pipeline": "wine",
        "cairn.dev/stack": "production",
        "cairn.dev/step": "train",
        "cairn.dev/attempt": "2",
    }


def test_the_labels_of_a_pod_of_several_steps_name_none():
    labels = naming.labels(RUN, "laptop", [("load", 1), ("train", 1)])

    assert not {"cairn.dev/step", "cairn.dev/attempt"} & labels.keys()


@given(st.lists(st.tuples(label_names, attempts), max_size=5))
def test_what_a_job_runs_can_be_read_back(pairs: list[tuple[str, int]]):
    annotations = {naming.ATTEMPTS_ANNOTATION: naming.attempts_text(pairs)}

    assert naming.attempts_of(annotations) == tuple(pairs)


def test_a_job_that_is_not_cairn_s_runs_nothing():
    assert naming.attempts_of({}) == ()
    assert naming.attempts_of({naming.ATTEMPTS_ANNOTATION: "nonsense,a=b,=,c=1"}) == (("c", 1),)


def test_artifacts_of_different_steps_are_kept_apart():
    assert naming.artifact_key(RUN, "train", "model") == "ml/wine/wine-1/train/model"
