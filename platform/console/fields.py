"""The only place for what the console's form fields have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django import forms


class Indented(json.JSONEncoder):
    """JSON as people edit it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2})


def offer(form: forms.Form, name: str, values: Iterable[str]) -> None:
    """Let the choices of the field `name` be `values`, as the database has them now."""
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 (tells the type checker)
    field.choices = [(value, value) for value in values]
