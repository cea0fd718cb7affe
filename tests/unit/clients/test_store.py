from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cairn.api.base import JsonObject
from cairn.clients.store import REMEMBERED_AS_GONE, ObjectStore, as_number, key_of


def thing(
    name: str = "a", version: int = 1, uid: str = "1", namespace: str = "ml", run: str | None = None
) -> JsonObject:
    labels = {"labels": {"run": run}} if run else {}
    return {"metadata": {"namespace": namespace, "name": name, "resourceVersion": str(version), "uid": uid, **labels}}


def by_run() -> ObjectStore:
    return ObjectStore(lambda body: (body["metadata"].get("labels") or {}).get("run"))


def test_an_object_is_found_by_its_key():
    store = ObjectStore()
    store.put(thing("a"))

    assert store.get(("ml", "a")) == thing("a")
    assert store.get(("ml", "b")) is None
    assert len(store) == 1


def test_objects_are_found_by_their_namespace_in_the_order_of_their_names():
    store = ObjectStore()
    for body in (thing("b"), thing("a"), thing("c", namespace="other")):
        store.put(body)

    assert [key_of(body) for body in store.in_namespace("ml")] == [("ml", "a"), ("ml", "b")]
    assert store.in_namespace("nowhere") == []


def test_objects_are_found_by_the_index():
    store = by_run()
    for body in (thing("a", run="wine"), thing("b", run="beer"), thing("c"), thing("d", run="wine", namespace="x")):
        store.put(body)

    assert store.indexed("ml", "wine") == [thing("a", run="wine")]


def test_an_object_that_changes_is_found_at_its_new_place_only():
    store = by_run()
    store.put(thing("a", 1, run="wine"))
    store.put(thing("a", 2, run="beer"))

    assert store.indexed("ml", "wine") == []
    assert len(store.indexed("ml", "beer")) == 1


def test_an_object_that_is_gone_does_not_come_back():
    """The watch may tell of a deletion before the request that led to it, or was overtaken by it, is answered."""
    store = ObjectStore()
    store.put(thing("a", 1, uid="1"))
    store.forget(thing("a", 2, uid="1"))

    assert not store.put(thing("a", 2, uid="1"))
    assert store.get(("ml", "a")) is None
    assert store.put(thing("a", 3, uid="2"))


def test_an_object_that_was_only_out_of_sight_comes_back():
    """A watch by labels tells of one that loses the label as of a deletion."""
    store = ObjectStore()
    store.put(thing("a", 1))
    store.forget(thing("a", 2))

    assert store.put(thing("a", 3))


def test_what_is_gone_is_not_remembered_without_end():
    store = ObjectStore()
    for number in range(REMEMBERED_AS_GONE + 1):
        store.forget(thing("a", uid=str(number)))

    assert store.put(thing("a", uid="0"))
    assert not store.put(thing("a", uid="1"))


def test_an_older_version_is_not_kept():
    store = ObjectStore()
    store.put(thing("a", 10))

    assert not store.put(thing("a", 9))
    assert store.put(thing("a", 10))
    assert store.get(("ml", "a")) == thing("a", 10)


def test_what_is_still_told_of_a_replaced_object_does_not_hide_the_new_one():
    store = ObjectStore()
    store.put(thing("a", 12, uid="new"))

    assert not store.put(thing("a", 11, uid="old"))
    store.forget(thing("a", 13, uid="old"))

    assert store.get(("ml", "a")) == thing("a", 12, uid="new")


def test_an_object_is_forgotten_everywhere():
    store = by_run()
    store.put(thing("a", run="wine"))

    store.forget(thing("a", 2))

    assert (len(store), store.in_namespace("ml"), store.indexed("ml", "wine")) == (0, [], [])


def test_removing_what_is_not_there_is_nothing():
    assert ObjectStore().remove(("ml", "a")) is None


def test_a_store_may_change_while_it_is_walked_over():
    store = ObjectStore()
    for name in "abc":
        store.put(thing(name))

    for body in store:
        store.remove(key_of(body))

    assert len(store) == 0


def test_a_version_that_is_no_number_counts_as_the_oldest():
    assert [as_number(text) for text in ("12", "", None, "x1")] == [12, 0, 0, 0]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.sampled_from([None, "wine", "beer"])), max_size=12)
)
def test_whatever_the_order_of_the_news_the_newest_version_stays(news: list[tuple[str, int, str | None]]):
    store = by_run()
    for name, version, run in news:
        store.put(thing(name, version, run=run))

    for name in {name for name, _, _ in news}:
        kept = store.get(("ml", name))
        assert kept is not None
        assert as_number(kept["metadata"]["resourceVersion"]) == max(v for n, v, _ in news if n == name)
        run = (kept["metadata"].get("labels") or {}).get("run")
        assert all((kept in store.indexed("ml", value)) == (value == run) for value in ("wine", "beer"))
