from __future__ import annotations

import pytest

from cairn.runs.results import parse_results
from tests.unit.builders import outputs, step

STEP = step("train", outputs=outputs(results=["rmse", "best"]))


def test_numbers_and_booleans_are_kept_as_they_are_written():
    assert parse_results(STEP, '{"rmse": 0.50, "best": true}') == {"rmse": "0.5", "best": "true"}


def test_text_is_kept_without_its_quotes():
    assert parse_results(STEP, '{"rmse": "0.50", "best": "ja\\n"}') == {"rmse": "0.50", "best": "ja\n"}


def test_a_list_is_kept_as_json():
    assert parse_results(STEP, '{"rmse": [1, "ä", {"x": null}], "best": 1.50}') == {
        "rmse": '[1,"ä",{"x":null}]',
        "best": "1.5",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "wrote none"),
        (" \n", "wrote none"),
        ("rmse=1", "is not a JSON object"),
        ('{"rmse": 1, "best": "' + "x" * 4096, "is larger than 4 KiB"),
        ("[" * 4000, "is not a JSON object"),
        ("[1]", "wrote a JSON list"),
        ('"x"', "wrote a JSON string"),
        ('{"rmse": 1}', "did not write the result best; it wrote: rmse"),
        ("{}", "did not write the result rmse; it wrote: none"),
        ('{"rmse": 1, "best": 2, "mae": 3}', "wrote the result mae, which it does not declare"),
        ('{"rmse": [NaN], "best": 2}', "Result rmse of step train has a number that is not finite"),
        ('{"rmse": ["\\ud800"], "best": 2}', "Result rmse of step train is not valid Unicode"),
        ('{"rmse": 1, "best": {}}', "Result best of step train is not"),
        ('{"rmse": null, "best": 2}', "Result rmse of step train is not"),
        ('{"rmse": NaN, "best": 2}', "Result rmse of step train has a number that is not finite"),
        ('{"rmse": 1, "best": 2, "\\ud800": 3}', "whose name is not valid Unicode"),
    ],
)
def test_what_cannot_be_used_is_explained(text: str, problem: str):
    found = parse_results(STEP, text)

    assert isinstance(found, str)
    assert problem in found
