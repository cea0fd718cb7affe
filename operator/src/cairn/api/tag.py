"""Tags that people give to what is recorded and registered."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cairn.api.base import Model, Rule, consists_of, rules

RECORD_NAME = r"-_./ a-zA-Z0-9"
"""Characters of what MLflow takes for a name (mlflow/utils/validation.py)."""


class Tag(Model):
    """A name and a value."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=f"^[{RECORD_NAME}]*$")] = Field(
        description="Name of the tag.",
        json_schema_extra=rules(
            consists_of(RECORD_NAME, "must be letters, digits, spaces, -, _, . and /, such as team"),
            Rule(
                "!self.startsWith('mlflow.') && !self.startsWith('cairn.')",
                "begins with mlflow. or cairn., which are theirs: choose another name",
            ),
        ),
    )
    value: str = Field(description="Its value.", max_length=1024)
