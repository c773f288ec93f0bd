"""The only place that compares the files of a bundle with the list in its manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit.verify import layout
from audit.verify.report import Findings


def check(folder: Path, listed: Mapping[str, Any], findings: Findings) -> None:
    """Whether each listed file is there as listed, and no other is."""
    there = {str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_dir()}
    there.pop(layout.MANIFEST, None)
    for name in sorted(set(listed) - set(there)):
        findings.add("file_missing", f"The manifest lists {name!r}, which is not there.")
    for name in sorted(set(there) - set(listed)):
        findings.add("file_unlisted", f"The manifest does not list {name!r}.")
    for name in layout.REQUIRED:
        if name not in there and name not in listed:
            findings.add("file_missing", f"There is no {name}.")
    for name in sorted(set(there) & set(listed)):
        if not _is_as_listed(there[name], listed[name]):
            findings.add("file_changed", f"{name!r} is not as the manifest lists it.")


def _is_as_listed(path: Path, listed: Any) -> bool:
    if not isinstance(listed, dict) or set(listed) != {"bytes", "sha256"}:
        return False
    if listed["bytes"] != path.stat().st_size:
        return False
    with path.open("rb") as file:
        return bool(hashlib.file_digest(file, "sha256").hexdigest() == listed["sha256"])
