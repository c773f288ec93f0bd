"""The only place that finds the policies that had a say, in the version that was in force."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from governance import statements
from governance.models import PolicySet


class Statement(msgspec.Struct, frozen=True):
    """A policy that had a say: its `@id`, its text, and the line where it begins."""

    id: str
    source: str
    line: int


def statements_of(version: int, reasons: Sequence[str]) -> list[Statement]:
    """The policies of `version` that are named as reasons."""
    text = PolicySet.objects.filter(version=version).values_list("text", flat=True).first()
    found = {
        identity: Statement(identity, each.source, each.text.count("\n", 0, each.start) + 1)
        for each in statements.split(text or "")
        for identity in reasons
        if f'@id("{identity}")' in each.source
    }
    return list(found.values())
