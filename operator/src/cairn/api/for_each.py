"""Several instances of one step."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cairn.api.base import LIST_ATOMIC, Model, Rule, rules

MOST_INSTANCES = 1000
"""How many instances of steps a run may have."""

LONGEST_ITEM = 256
"""In characters."""

ITEMS_FROM = (
    r"^(params\.[a-zA-Z][-_a-zA-Z0-9]*|steps\.[a-z0-9]([-a-z0-9]*[a-z0-9])?\.results\.[a-zA-Z_][-_a-zA-Z0-9]*)$"
)


class ForEach(Model):
    """What a step is run for: once for each item of a list."""

    items: (
        Annotated[tuple[Annotated[str, Field(max_length=LONGEST_ITEM)], ...], Field(max_length=MOST_INSTANCES)] | None
    ) = Field(
        default=None,
        description="The items, always strings. Each instance of the step sees its own as `$(item.value)` and "
        "`CAIRN_ITEM`, and its place in the list, from 0, as `$(item.index)` and `CAIRN_ITEM_INDEX`.",
        json_schema_extra=LIST_ATOMIC,
    )
    items_from: (
        Annotated[
            str,
            Field(
                min_length=8,
                max_length=150,
                pattern=ITEMS_FROM,
                json_schema_extra=rules(
                    Rule(
                        "self.startsWith('params.') || self.matches('^steps[.][-a-z0-9]+[.]results[.].+$')",
                        "must be a parameter or a result, such as params.regions or steps.split.results.shards",
                    )
                ),
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="A parameter or a result that holds a JSON list, as `params.regions` or `steps.split.results.shards`. "
        "The step waits for that one. What is not a string in the list is an item as JSON text.",
    )

    model_config = {
        "json_schema_extra": rules(
            Rule(
                "has(self.items) != has(self.itemsFrom)",
                "set exactly one of items and itemsFrom (a parameter or a result that holds a JSON list)",
            )
        )
    }
