"""What runs around a step's command on Kubeflow Pipelines, run for real."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cairn.runs.kubeflow.prelude import NOT_WRITTEN_CODE, Pair, with_prelude


def run(inputs: list[Pair], outputs: list[Pair], *command: str) -> subprocess.CompletedProcess[str]:
    texts, arguments = with_prelude(inputs, outputs, command)
    return subprocess.run([*texts, *arguments], capture_output=True, text=True, check=False)


def test_inputs_are_where_the_step_declares_them(tmp_path: Path):
    kept, declared = tmp_path / "kept file", tmp_path / "in" / "data.csv"
    kept.write_text("1,2")

    ended = run([(str(kept), str(declared))], [], "cat", str(declared))

    assert (ended.returncode, ended.stdout) == (0, "1,2")


def test_a_directory_is_one_itself_as_programs_refuse_what_leads_out_of_it(tmp_path: Path):
    kept, declared = tmp_path / "kept", tmp_path / "in" / "model"
    (kept / "code").mkdir(parents=True)
    (kept / "code" / "a.py").write_text("pass")

    ended = run([(str(kept), str(declared))], [], "cat", str(declared / "code" / "a.py"))

    assert (ended.stdout, (declared / "code").resolve()) == ("pass", declared / "code")


def test_outputs_are_where_they_are_looked_for(tmp_path: Path):
    declared, wanted = tmp_path / "model", tmp_path / "s3" / "model"
    declared.mkdir()
    other, other_wanted = tmp_path / "a b", tmp_path / "s3" / "other"

    ended = run(
        [],
        [(str(wanted), str(declared)), (str(other_wanted), str(other))],
        *("sh", "-c", 'echo weights > "$0/weights"; echo text > "$1"', str(declared), str(other)),
    )

    assert ended.returncode == 0
    assert ((wanted / "weights").read_text(), other_wanted.read_text()) == ("weights\n", "text\n")


def test_a_command_that_fails_keeps_its_exit_code_and_nothing_is_copied(tmp_path: Path):
    declared, wanted = tmp_path / "out", tmp_path / "wanted"

    ended = run([], [(str(wanted), str(declared))], "sh", "-c", 'echo half > "$0"; exit 3', str(declared))

    assert (ended.returncode, wanted.exists()) == (3, False)


def test_what_a_step_has_not_written_is_told(tmp_path: Path):
    declared = tmp_path / "out"

    ended = run([], [(str(tmp_path / "wanted"), str(declared))], "true")

    assert (ended.returncode, ended.stderr) == (NOT_WRITTEN_CODE, f"cairn: nothing was written to {declared}\n")


@pytest.mark.parametrize("word", ["$HOME", "a  b", "-n", "'\"", "$(id)", "*"])
def test_words_reach_the_command_as_they_are(word: str):
    assert run([], [], "printf", "%s", word).stdout == word


def test_the_command_has_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CAIRN_STEP", "train")

    assert run([], [], "sh", "-c", 'printf %s "$CAIRN_STEP"').stdout == "train"
