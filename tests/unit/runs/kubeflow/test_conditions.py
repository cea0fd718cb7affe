"""`when` in the words of Kubeflow Pipelines."""

from __future__ import annotations

import pytest
from cel_expr_python import cel

from cairn.runs.kubeflow.conditions import as_literal, input_value, renamed

NAMES = {"params.alpha": "A", "steps.train.results.rmse": "R", "steps.train.state": '"Succeeded"'}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("double(steps.train.results.rmse) < 0.5", "double(R) < 0.5"),
        ("params.alpha == 'params.alpha'", "A == 'params.alpha'"),
        ('params.alpha == "a \\" params.alpha"', 'A == "a \\" params.alpha"'),
        ("params.alpha.startsWith(r'\\')", "A.startsWith(r'\\')"),
        ("steps.train.state=='Succeeded'&&params.alpha!=''", "\"Succeeded\"=='Succeeded'&&A!=''"),
        ("['params.alpha'].exists(x, x == params.alpha)", "['params.alpha'].exists(x, x == A)"),
        ("'''params.alpha''' == params.alpha", "'''params.alpha''' == A"),
        ("params . alpha == steps.train\n.state", 'A == "Succeeded"'),
        ("true", "true"),
    ],
)
def test_variables_are_renamed_and_texts_are_not(expression: str, expected: str):
    assert renamed(expression, NAMES.get) == expected


@pytest.mark.parametrize("text", ["plain", 'a "b"', "a\\b", "line\nend", "ü 💡", "{{x}}", "\x01"])
def test_a_text_stays_what_it_is(text: str):
    program = cel.NewEnv(config=cel.NewEnvConfigFromYaml("name: x\nstdlib: {}\n"), variables={}).compile(
        as_literal(text)
    )

    assert program.eval(data={}).plain_value() == text


def test_an_input_is_looked_up_by_its_name():
    assert input_value("train.rmse") == 'inputs.parameter_values["train.rmse"]'
