"""What a plan makes of what the cache has answered."""

from __future__ import annotations

from cairn.api.pipelinerun import RunSpec
from cairn.api.pipelinerun_status import CachedFrom
from cairn.runs.cache_record import CacheAnswer, CacheRecord
from cairn.runs.planner import Observed, Plan, plan
from cairn.runs.scheduling import OneJobPerStep
from tests.unit.builders import MOMENT, NOW, run_spec, run_steps, step
from tests.unit.runs.planning import starts, states

HIT = CacheAnswer(
    key=f"sha256:{'a' * 64}",
    image_digest=f"sha256:{'b' * 64}",
    record=CacheRecord(from_=CachedFrom(run="earlier", step="a", completion_time=NOW)),
)
MISS = CacheAnswer(key=HIT.key, image_digest=HIT.image_digest)
SPEC = run_spec(step("a", cache={}), step("b", dependsOn=["a"]))


def planned(spec: RunSpec, **answers: CacheAnswer) -> Plan:
    observed = Observed({}, start_time=NOW, cache=answers)
    return plan(run_steps(spec), observed, OneJobPerStep(10), MOMENT)


def test_the_cache_is_asked_before_a_step_starts():
    decided = planned(SPEC)

    assert (decided.lookups, starts(decided)) == ({"a"}, [])


def test_a_step_of_which_nothing_is_kept_starts():
    assert starts(planned(SPEC, a=MISS)) == ["a"]


def test_what_needs_a_step_that_is_left_out_starts_at_once():
    decided = planned(SPEC, a=HIT)

    assert (states(decided)["a"], starts(decided)) == ("Cached", ["b"])


def test_a_step_that_a_rerun_begins_with_runs_and_has_its_key():
    decided = planned(run_spec(*SPEC.steps, rerunOf={"name": "earlier", "from": "a"}), a=HIT)

    assert starts(decided) == ["a"]
    assert decided.steps[0].cache_key == HIT.key


def test_nothing_is_asked_for_while_a_run_is_suspended():
    assert planned(run_spec(*SPEC.steps, suspend=True)).lookups == frozenset()
