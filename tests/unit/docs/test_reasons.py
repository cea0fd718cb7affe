from tests.unit.docs.reasons import (
    OF_KUBERNETES,
    OTHER_WORDS,
    PAGE,
    entries,
    given_reasons,
    possible_reasons,
    words_of_the_code,
)


def test_every_reason_has_its_entry():
    documented = entries(PAGE.read_text())

    missing = {reason: at for reason, at in possible_reasons().items() if reason not in documented}

    assert not missing, "add them to docs/reasons.md; a word that is no reason, to OTHER_WORDS of reasons.py"


def test_every_entry_is_a_reason_that_can_be_given():
    stale = entries(PAGE.read_text()) - words_of_the_code().keys() - OF_KUBERNETES

    assert not stale, "nothing in the code gives them: remove them from docs/reasons.md"


def test_what_is_said_to_be_no_reason_is_still_in_the_code():
    assert not OTHER_WORDS.keys() - words_of_the_code().keys()


def test_what_the_page_has_from_kubernetes_is_not_given_by_the_code():
    assert not OF_KUBERNETES & words_of_the_code().keys()


def test_a_reason_that_is_given_where_it_is_used_is_found():
    assert {"Checked", "OnlyDefault"} <= given_reasons().keys()


def test_a_word_that_is_only_mentioned_beside_an_entry_is_none():
    page = "| `SecretNotFound`, `ClaimLost` | see `ClaimPending` |"

    assert entries(page) == {"SecretNotFound", "ClaimLost"}
