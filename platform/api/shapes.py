"""The only place that says what bodies and queries look like: strict types, no unfit fields."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.http import QueryDict
from rest_framework import serializers

Errors = list[dict[str, str]]

_TYPE = "Expected {expected}."
SLUG = r"^[a-z][a-z0-9._-]{0,62}\Z"


class QueryInvalid(serializers.ValidationError):
    """Parameters of the address do not fit: nothing of it is about a body."""


@contextlib.contextmanager
def of_the_query() -> Iterator[None]:
    """What does not fit in the block is told by its parameter. Raises QueryInvalid."""
    try:
        yield
    except serializers.ValidationError as problem:
        raise QueryInvalid(problem.detail) from None


class Shape(serializers.Serializer[Any]):
    """Something a client sends. A field that is not named here is refused, or given twice."""

    def to_internal_value(self, data: Any) -> Any:
        """The checked values. Raises ValidationError with all that is wrong."""
        unfit = {
            str(name): [serializers.ErrorDetail("There is no such field.", code="unknown_field")]
            for name in (data if isinstance(data, Mapping) else ())
            if name not in self.fields
        }
        unfit.update(_given_twice(data))
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as problem:
            if isinstance(problem.detail, dict):
                raise serializers.ValidationError({**problem.detail, **unfit}) from None
            raise
        if unfit:
            raise serializers.ValidationError(unfit)
        return values


def _given_twice(form: Any) -> dict[str, list[serializers.ErrorDetail]]:
    """Of two parts of one name, a form would show the last alone."""
    if not isinstance(form, QueryDict):
        return {}
    twice = serializers.ErrorDetail("It is given more than once.", code="given_twice")
    return {str(name): [twice] for name, values in form.lists() if len(values) > 1}


class Query(Shape):
    """The parameters of a list."""

    cursor = serializers.CharField(required=False, help_text="From `next` or `previous`.")
    page_size = serializers.IntegerField(required=False, min_value=1, max_value=200)

    def filters(self) -> dict[str, Any]:
        """What narrows the list down."""
        paging = {"cursor", "page_size"}
        return {k: v for k, v in self.validated_data.items() if k not in paging}


class Text(serializers.CharField):
    """A JSON string, kept as it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "max_length": 200, **options})

    def to_internal_value(self, data: Any) -> str:
        """The text, if it is one."""
        if not isinstance(data, str):
            raise serializers.ValidationError(_TYPE.format(expected="a string"), code="wrong_type")
        if not self.allow_blank and not data.strip():
            self.fail("blank")
        return super().to_internal_value(data)


class Slug(serializers.RegexField):
    """A slug: lower-case letters, digits and `.`, `_`, `-`, a letter first."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            re.compile(SLUG), **{"max_length": 63, "trim_whitespace": False, **options}
        )

    def to_internal_value(self, data: Any) -> str:
        """The slug, if it is text."""
        if not isinstance(data, str):
            raise serializers.ValidationError(_TYPE.format(expected="a string"), code="wrong_type")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A JSON integer, never a string or a boolean; from 0 to 2**53 - 1 unless said otherwise."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_value": 2**53 - 1, "min_value": 0, **options})

    def to_internal_value(self, data: Any) -> int:
        """The number, if it is one."""
        if type(data) is not int:
            message = _TYPE.format(expected="an integer")
            raise serializers.ValidationError(message, code="wrong_type")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """A JSON boolean."""

    def to_internal_value(self, data: Any) -> bool:
        """The boolean, if it is one."""
        if not isinstance(data, bool):
            message = _TYPE.format(expected="true or false")
            raise serializers.ValidationError(message, code="wrong_type")
        return data


class Thing(serializers.DictField):
    """A JSON object of any content."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The object, if it is one."""
        if not isinstance(data, dict):
            message = _TYPE.format(expected="an object")
            raise serializers.ValidationError(message, code="wrong_type")
        return data


def slugs(**options: Any) -> serializers.ListField:
    """A list of slugs."""
    return serializers.ListField(child=Slug(), max_length=100, **options)


def flattened(detail: Any, pointer: str = "") -> Errors:
    """DRF's nested errors as a list, each with a JSON pointer (RFC 6901) into the body."""
    if isinstance(detail, Mapping):
        return [e for name, part in detail.items() for e in flattened(part, pointer + _step(name))]
    if isinstance(detail, list) and any(isinstance(part, dict | list) for part in detail):
        return [e for i, part in enumerate(detail) for e in flattened(part, f"{pointer}/{i}")]
    messages = detail if isinstance(detail, list) else [detail]
    return [
        {"pointer": pointer, "code": getattr(m, "code", None) or "invalid", "detail": str(m)}
        for m in messages
    ]


def by_parameter(detail: Any) -> Errors:
    """The same errors of a query, each with the parameter's name."""
    return [
        {"parameter": error.pop("pointer").partition("/")[2], **error}
        for error in flattened(detail)
    ]


def _step(name: Any) -> str:
    if name == "non_field_errors":
        return ""
    return "/" + str(name).replace("~", "~0").replace("/", "~1")
