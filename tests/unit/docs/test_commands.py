import pytest
import yaml

from documented_commands import ELSEWHERE, PAGES, ROOT, Command, commands, commands_of, manifests


def test_a_command_has_all_of_its_lines():
    page = "```sh\nls \\\n  -l  # all\n\ncat <<'YAML'\na: $b\nYAML\nfor i in 1 2; do\n  echo $i\ndone\n```\n"

    found = commands(page)

    assert [command.text for command in found] == [
        "ls \\\n  -l  # all",
        "cat <<'YAML'\na: $b\nYAML",
        "for i in 1 2; do\n  echo $i\ndone",
    ]


def test_a_session_has_commands_with_what_they_print():
    page = "```console\n$ echo one\none\n$ true\n$ echo two\ntwo\n```\n"

    assert commands(page) == [Command("echo one", "one\n"), Command("true", ""), Command("echo two", "two\n")]


def test_a_block_that_does_not_say_what_it_is_fails():
    with pytest.raises(ValueError, match="make everything"):
        commands("```\nmake everything\n```\n")


@pytest.mark.parametrize(
    ("text", "is_elsewhere"),
    [("make test", True), ("make test  # all", True), ("make test-kfp", False), ("make test && make more", False)],
)
def test_only_the_very_command_is_run_elsewhere(text: str, is_elsewhere: bool):
    assert (Command(text).elsewhere is not None) is is_elsewhere


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_run_elsewhere_is_run_there(command: str):
    at = ELSEWHERE[command]

    assert at.as_ in (ROOT / at.file).read_text()


def test_what_is_said_to_be_run_elsewhere_is_on_a_page():
    assert {command.elsewhere for page in PAGES for command in commands_of(page)} >= ELSEWHERE.keys()


def test_the_readme_shows_the_sample_that_it_applies():
    (shown,) = manifests("README.md")

    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "manifests/samples/run-letters.yaml").read_text())
