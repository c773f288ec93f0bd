"""The only place for the root of the error tree."""

from __future__ import annotations

from typing import Any, ClassVar


class Problem(Exception):
    """Something went wrong."""

    # A subclass's docstring is its message: a str.format template, filled from the keywords.
    code: ClassVar[str] = "problem"
    status: ClassVar[int] = 500

    def __init__(self, **details: Any) -> None:
        self.details = details
        template = (type(self).__doc__ or "").strip()
        super().__init__(template.format(**_fitting(template, details)))


def _fitting(template: str, details: dict[str, Any]) -> dict[str, Any]:
    """The details, without the full stop of a whole sentence where the template sets one itself."""
    return {
        name: value[:-1]
        if isinstance(value, str) and value.endswith(".") and f"{{{name}}}." in template
        else value
        for name, value in details.items()
    }
