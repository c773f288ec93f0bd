"""The only command line of the verifier: `python -m audit.verify BUNDLE [--key KEY] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from audit.verify.checks import Report, verify

EXIT = {"whole": 0, "tampered": 1, "not_a_bundle": 2}
VERDICT = {
    "whole": "WHOLE: the bundle is exactly what the log signed.",
    "tampered": "TAMPERED: the bundle is not what the log signed.",
    "not_a_bundle": "NOT A BUNDLE.",
}


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 0 if the bundle is whole, 1 if it was tampered with, 2 if it is none."""
    parser = argparse.ArgumentParser(
        prog="python -m audit.verify", description="Judge a ledger's bundle, offline."
    )
    parser.add_argument("bundle", type=Path, help="a directory or a .tar.gz")
    parser.add_argument(
        "--key", help="the log's public key (or a file with it), got from elsewhere"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    report = verify(options.bundle, key=_key(options.key))
    text = json.dumps(report.as_json(), indent=2) if options.json else _plain(report)
    sys.stdout.write(f"{text}\n")
    return EXIT[report.verdict]


def _key(named: str | None) -> str | None:
    if named and "+" not in named and Path(named).is_file():
        return Path(named).read_text(encoding="utf-8", errors="replace")
    return named


def _plain(report: Report) -> str:
    checks = [f"{'ok  ' if check.holds else 'FAIL'}  {check.sentence}" for check in report.checks]
    findings = [f"      {finding.sentence}" for finding in report.findings]
    return "\n".join([*checks, *findings, VERDICT[report.verdict]])


if __name__ == "__main__":
    sys.exit(main())
