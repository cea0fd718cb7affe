"""Lists: `filter`, `sort_by`, `page_size` and `page_token`."""

from __future__ import annotations

import base64
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from .errors import invalid_input

Item = TypeVar("Item")
DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 200
_OPERATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "EQUALS": operator.eq,
    "NOT_EQUALS": operator.ne,
    "GREATER_THAN": operator.gt,
    "GREATER_THAN_EQUALS": operator.ge,
    "LESS_THAN": operator.lt,
    "LESS_THAN_EQUALS": operator.le,
    "IN": lambda value, wanted: value in wanted,
    "IS_SUBSTRING": lambda value, wanted: wanted in value,
}
_NUMBERS = {
    1: "EQUALS",
    2: "NOT_EQUALS",
    3: "GREATER_THAN",
    5: "GREATER_THAN_EQUALS",
    6: "LESS_THAN",
    7: "LESS_THAN_EQUALS",
    8: "IN",
    9: "IS_SUBSTRING",
}
"""Of the enum, which the SDK sends in place of names."""
_ALIASES = {"name": "display_name", "status": "state"}


@dataclass(frozen=True)
class Page(Generic[Item]):
    """A part of a list."""

    items: list[Item]
    total_size: int
    next_page_token: str


def page(items: Sequence[Item], query: Mapping[str, str], field: Callable[[Item, str], Any], key: str) -> Page[Item]:
    """Return the part of a list that a request asks for; `key` is the field that tells items apart."""
    order = _order(query)
    found = [item for item in items if all(_matches(item, one, field) for one in order.predicates)]

    def place(item: Item) -> tuple[str, str]:
        """Return where an item comes."""
        return _sortable(field(item, order.field)), field(item, key)

    try:
        found.sort(key=place, reverse=order.is_descending)
    except AttributeError as error:
        raise invalid_input(f"Invalid sorting field: {order.field}") from error
    rest = found
    if order.begin is not None:
        begin = order.begin
        rest = [item for item in found if (place(item) <= begin if order.is_descending else place(item) >= begin)]
    size = min(int(query.get("page_size") or 0) or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    following = replace(order, begin=place(rest[size])).token() if len(rest) > size else ""
    return Page(rest[:size], len(found), following)


@dataclass(frozen=True)
class _Order:
    """What a list is of: all of it is in the token of the next page."""

    field: str
    is_descending: bool
    predicates: list[dict[str, Any]]
    begin: tuple[str, str] | None = None
    """The place of the page's first item."""

    def token(self) -> str:
        return base64.b64encode(json.dumps(asdict(self)).encode()).decode()


def _order(query: Mapping[str, str]) -> _Order:
    if token := query.get("page_token"):
        try:
            found = json.loads(base64.b64decode(token, validate=True))
            return _Order(found["field"], found["is_descending"], found["predicates"], tuple(found["begin"]))
        except (ValueError, KeyError, TypeError) as error:
            raise invalid_input("Invalid package token") from error
    name, _, direction = query.get("sort_by", "").partition(" ")
    return _Order(_name(name) or "created_at", direction.lower() == "desc", _predicates(query.get("filter", "")))


def _sortable(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value or "")


def _name(key: str) -> str:
    return _ALIASES.get(key, key)


def _predicates(text: str) -> list[dict[str, Any]]:
    if not text:
        return []
    try:
        found = json.loads(text).get("predicates", [])
    except (ValueError, AttributeError) as error:
        raise invalid_input(f"failed to parse valid filter from {text!r}") from error
    return found


def _matches(item: Item, predicate: dict[str, Any], field: Callable[[Item, str], Any]) -> bool:
    name = _name(predicate.get("key", ""))
    try:
        value = field(item, name)
    except AttributeError as error:
        raise invalid_input(f"no field {name!r} to filter by") from error
    operation = predicate.get("operation", "EQUALS")
    operation = _NUMBERS.get(operation, operation)
    wanted = _wanted(predicate)
    if isinstance(value, datetime) and isinstance(wanted, str):
        wanted = datetime.fromisoformat(wanted)
    if operation not in _OPERATIONS:
        raise invalid_input(f"invalid operation {operation!r}")
    return bool(_OPERATIONS[operation](value, wanted))


def _wanted(predicate: dict[str, Any]) -> Any:
    for kind in ("string_value", "stringValue", "int_value", "long_value", "timestamp_value"):
        if kind in predicate:
            return predicate[kind]
    for kind in ("string_values", "stringValues", "int_values", "long_values"):
        if kind in predicate:
            return predicate[kind].get("values", [])
    raise invalid_input("a predicate without a value")
