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
        super().__init__((type(self).__doc__ or "").strip().format(**details))
