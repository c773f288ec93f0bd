"""The only command line of the verifier: `python -m audit.verify BUNDLE`."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from audit.verify import checks
from audit.verify.report import Report

EXIT = {"whole": 0, "tampered": 1, "not_a_bundle": 2}
VERDICT = {
    "whole": "WHOLE: the bundle is exactly what the log signed, and says nothing amiss.",
    "tampered": "TAMPERED, or not as it should be: see above.",
    "not_a_bundle": "NOT A BUNDLE.",
}


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 0 if the bundle is whole, 1 if there are findings, 2 if it is none."""
    options = _parser().parse_args(arguments)
    report = checks.verify(
        options.bundle,
        now=datetime.now(UTC),  # noqa: TID251 (a command reads the clock)
        keys=[_text(each) for each in options.key],
        witnesses=[_text(each) for each in options.witness],
        since=_note(options.since),
    )
    text = json.dumps(report.as_json(), indent=2) if options.json else _plain(report)
    sys.stdout.write(f"{text}\n")
    return EXIT[report.verdict]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit.verify", description="Judge a ledger's bundle, offline."
    )
    parser.add_argument("bundle", type=Path, help="a folder, or a .tar.zst")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="VKEY",
        help="the log's key that you trust, or a file with it; got from elsewhere, not from here",
    )
    parser.add_argument(
        "--witness",
        action="append",
        default=[],
        metavar="VKEY",
        help="the key of a witness that must have cosigned, or a file with it",
    )
    parser.add_argument(
        "--since", type=Path, metavar="CHECKPOINT", help="an older checkpoint that you kept"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _text(named: str) -> str:
    """The key itself, or what is in the file of this name."""
    return _note(Path(named)) or "" if "+" not in named and Path(named).is_file() else named


def _note(path: Path | None) -> str | None:
    """The file's text; a file that can't be read is a checkpoint that does not hold."""
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as problem:
        return f"{problem}\n"


def _plain(report: Report) -> str:
    lines = [f"{'ok  ' if check.holds else 'FAIL'}  {check.sentence}" for check in report.checks]
    lines += [f"      {finding.code}: {finding.sentence}" for finding in report.findings]
    lines += [f"note  {note.sentence}" for note in report.notes]
    return "\n".join([*lines, VERDICT[report.verdict]])


if __name__ == "__main__":
    sys.exit(main())
