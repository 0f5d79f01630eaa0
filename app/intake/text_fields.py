"""Turns fields that are texts, as in a form, into values as JSON would have them. Pydantic checks them afterwards.

A form has no lists, objects, numbers or booleans, so clients write them in different ways. Each way that has only one
meaning is accepted. A field that may mean two things is refused, and the error says what to send. Pure.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from app.errors import FieldError, InvalidRequest
from app.intake.annotations import classes_of

BOOLEANS = dict.fromkeys(("true", "1", "on", "yes"), True) | dict.fromkeys(("false", "0", "off", "no"), False)
URL_LISTS = frozenset({"webhook_url", "callback_url"})
POSITIONAL_LISTS = frozenset({"channel_labels"})  # a place in the list has a meaning, so no item may be left out
EXAMPLE = '{"queue": "orders"}'
EXAMPLES = {"options": '{"channels": "split"}', "output": '{"url": "s3://results/{id}"}'}
_NOT_GIVEN = object()
_NEXT_URL = re.compile(r",\s*(?=https?://)", re.IGNORECASE)

Part = tuple[str | None, str]
"""The brackets after a field's name, such as `[]` or `[queue]`, or None; and the text."""


def field_of(name: str) -> str:
    """Returns the field that a part of a form belongs to: `channel_labels` for `channel_labels[]`."""
    return split(name)[0]


def split(name: str) -> tuple[str, str | None]:
    """Returns the field and the brackets in a part's name. axios calls a field whose value is JSON `metadata{}`."""
    field, bracket, rest = name.removesuffix("{}").partition("[")
    return field, bracket + rest or None


def values_of(model: type[BaseModel], fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Returns the values of a form for `model`, without the fields that are empty. Raises InvalidRequest."""
    parts: dict[str, list[Part]] = {}
    values: dict[str, Any] = {}
    for name, text in fields:
        field, brackets = split(name)
        if field in model.model_fields:
            parts.setdefault(field, []).append((brackets, text))
        else:
            values[name] = _unknown(name, text)
    values |= {field: _value(_types(model, field), field, parts[field]) for field in parts}
    return {name: value for name, value in values.items() if value is not _NOT_GIVEN}


def _unknown(name: str, text: str) -> str:
    if text.lstrip().startswith("{"):
        detail = "is not a field of this request: send each option in a field of its own"
        raise InvalidRequest("The form has its options in one field.", errors=(FieldError(name, detail),))
    return text


@lru_cache
def _types(model: type[BaseModel], field: str) -> frozenset[Any]:
    return classes_of(model.model_fields[field].annotation)


def _value(types: frozenset[Any], field: str, parts: Sequence[Part]) -> Any:
    if list in types:
        return _list(field, parts)
    if any(issubclass(each, (dict, BaseModel)) for each in types if isinstance(each, type)):
        return _object(field, parts)
    (brackets, text), *more = parts
    if brackets is not None:
        raise _refused(field, f"takes one value: name the field {field}, without brackets")
    if more:
        raise InvalidRequest(f"The field {field!r} is repeated.", errors=(FieldError(field, "is repeated"),))
    if not text.strip():
        return _NOT_GIVEN
    return text if str in types else _plain(types, text.strip())


def _plain(types: frozenset[Any], text: str) -> Any:
    if bool in types:
        return BOOLEANS.get(text.lower(), text)
    if types & {int, float} and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    return text


def _object(field: str, parts: Sequence[Part]) -> Any:
    """Returns the object of one field with JSON text, or of fields such as `metadata[queue]`, whose values are text."""
    form = f"send it as one field with JSON text, such as {field}={EXAMPLES.get(field, EXAMPLE)}"
    if len(parts) == 1 and parts[0][0] is None:
        text = parts[0][1]
        if not text.strip():
            return _NOT_GIVEN
        try:
            return from_json(text, allow_inf_nan=False)
        except ValueError:
            raise _refused(field, f"is not JSON: {form}") from None
    values: dict[str, str] = {}
    for brackets, text in parts:
        named = re.fullmatch(r"\[([^\[\]]+)\]", brackets or "")
        if named is None or named[1] in values:
            raise _refused(field, f"is sent in several parts that cannot be joined: {form}")
        values[named[1]] = text
    return values


def _list(field: str, parts: Sequence[Part]) -> Any:
    """Returns the items of a list. One field without brackets may have several items, see `separated`."""
    if len(parts) == 1 and parts[0][0] is None:
        items = separated(field, parts[0][1])
    else:
        items = [text for _, text in in_order(field, parts)]
        if any(_is_json_list(text) for text in items):
            raise _refused(field, f"has a JSON list as one of its items: {_list_form(field)}")
    given = [item for item in items if not (isinstance(item, str) and not item.strip())]
    if items and not given:
        return _NOT_GIVEN
    return items if field in POSITIONAL_LISTS else given


def in_order(field: str, parts: Sequence[Part]) -> Sequence[Part]:
    """Returns the parts as they came, or sorted if all have numbers such as `channel_labels[0]`.

    Raises InvalidRequest for other brackets.
    """
    if all(brackets in (None, "[]") for brackets, _ in parts):
        return parts
    numbered = {f"[{number}]": number for number in range(len(parts))}
    if {brackets for brackets, _ in parts} != set(numbered):
        raise _refused(field, f"has brackets that are not [] or [0], [1] and so on: {_list_form(field)}")
    return sorted(parts, key=lambda part: numbered[part[0] or ""])


def separated(field: str, text: str) -> list[Any]:
    """Returns the items of a list that is in one field, as JSON or with commas. Raises InvalidRequest.

    A URL may contain commas, so only one before the next `https://` or `http://` separates URLs.
    """
    if text.lstrip().startswith("["):
        try:
            items = from_json(text, allow_inf_nan=False)
        except ValueError:
            raise _refused(field, f"begins with [ but is not a JSON list: {_list_form(field)}") from None
        assert isinstance(items, list)
        return items
    if field in URL_LISTS:
        urls = _NEXT_URL.split(text)
        if any("?" in url or "#" in url for url in urls[:-1]):
            raise _refused(field, f"has a comma that may belong to a URL: {_list_form(field)}")
        return [url.strip() for url in urls]
    items = text.split(",")
    if len(items) > 1 and field in POSITIONAL_LISTS and any(item != item.strip() for item in items):
        raise _refused(field, f"has a comma and a space, which may belong to a name: {_list_form(field)}")
    return [item.strip() for item in items] if len(items) > 1 else items


def _is_json_list(text: str) -> bool:
    if not text.lstrip().startswith("["):
        return False
    try:
        return isinstance(from_json(text), list)
    except ValueError:
        return False


def _list_form(field: str) -> str:
    return f"repeat the field {field}[] once for each item"


def _refused(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest("Some fields are not valid.", errors=(FieldError(field, detail),))
