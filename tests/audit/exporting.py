"""The only place that makes a real bundle: recorded, sealed, published twice, exported twice."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from own_logs import ROBO, Confided, NoteTaken, publish

from audit import bundles, ledger
from audit.events import SYSTEM
from runtime.events import LedgerExported


def record(count: int) -> None:
    """Entries with and without private parts, in every script."""
    for number in range(count):
        if number % 10:
            ledger.record(NoteTaken(note="Grüße \u2028\n", number=number), actor=SYSTEM)
        else:
            ledger.record(Confided(topic="health", words=f"word {number}"), actor=ROBO)


def export(folder: Path) -> bundles.Exported:
    """Export the acting log's newest checkpoint, and record it as the runtime does."""
    made = bundles.export(folder, now=datetime.now(UTC))
    event = LedgerExported(
        size=made.size,
        root=made.root,
        not_covered=made.not_covered,
        filter={},
        selected=made.selected,
        bodies="selected",
    )
    ledger.record(event, actor=SYSTEM)
    return made


def real_bundle(folder: Path) -> bundles.Exported:
    """A bundle of 651 entries that continues one of 300."""
    record(300)
    publish()
    export(folder.with_name(f"{folder.name}-before"))
    record(350)
    publish()
    return export(folder)
