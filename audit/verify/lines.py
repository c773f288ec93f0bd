"""The only place that reads the lines of a bundle: entries and leaves, whatever is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from audit.proofs import leaf_hash

# A line can't be longer: an entry has 65,535 bytes at most. What is longer is read in pieces.
MAX_LINE = 65_536

ID = re.compile(rb'"id":"([0-9a-f-]{36})","kind"')
KIND = re.compile(rb'"kind":"([a-z0-9_.]{1,100})","log"')
LEAF = re.compile(rb"(0|[1-9][0-9]{0,18}) ([0-9a-f]{64}) ([0-9a-f-]{36})")


class Line(NamedTuple):
    """One line of the entries: its leaf hash, and the id, kind and log that it claims, or ""."""

    hash: bytes
    id: str
    kind: str
    log: str
    is_canonical: bool


class Leaf(NamedTuple):
    """One line of the leaves. `position` (the index) is -1 where the line can't be read."""

    position: int
    hash: bytes
    id: str


def entries(path: Path) -> Iterator[Line]:
    """The entries' lines, in order, in constant memory; none if there is no such file."""
    for raw in _lines(path):
        yield read_entry(raw)


def leaves(path: Path) -> Iterator[Leaf]:
    """The leaves' lines, in order."""
    for raw in _lines(path):
        match = LEAF.fullmatch(raw)
        if match is None:
            yield Leaf(-1, b"", "")
        else:
            yield Leaf(int(match[1]), bytes.fromhex(match[2].decode()), match[3].decode())


def _lines(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        while raw := file.readline(MAX_LINE):
            yield raw.removesuffix(b"\n")


def read_entry(raw: bytes) -> Line:
    """What a line claims; where it is no canonical JSON object, what its bytes still show."""
    made = leaf_hash(raw)
    try:
        value = json.loads(raw, parse_float=_refuse, parse_constant=_refuse)
        whole = isinstance(value, dict) and is_canonical(value, raw)
    except (ValueError, RecursionError):
        whole = False
    if whole:
        id_, kind, log = (str(value.get(name, "")) for name in ("id", "kind", "log"))
        return Line(made, id_, kind, log, is_canonical=True)
    return Line(made, _shown(ID, raw), _shown(KIND, raw), "", is_canonical=False)


def _shown(pattern: re.Pattern[bytes], raw: bytes) -> str:
    match = pattern.search(raw)
    return match[1].decode() if match else ""


def is_canonical(value: Any, raw: bytes) -> bool:
    """Whether `raw` is the RFC 8785 form of `value`; on purpose not by audit.canonical."""
    return _dump(value, sort=True) == raw or _dump(_in_utf16_order(value), sort=False) == raw


def _dump(value: Any, *, sort: bool) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort).encode()


def _in_utf16_order(value: Any) -> Any:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return {key: _in_utf16_order(value[key]) for key in keys}
    return [_in_utf16_order(item) for item in value] if isinstance(value, list) else value


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)
