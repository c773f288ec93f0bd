"""The only place for getting blocks out of a document's bytes, safely."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from audit.errors import Problem
from retrieval import parsing_child
from retrieval.blocks import Block
from retrieval.parsers.protocol import (
    DocumentCorrupt,
    DocumentEmpty,
    DocumentEncrypted,
    DocumentExpandsTooFar,
    DocumentNestedTooDeep,
    DocumentTooCostly,
    DocumentTooLong,
    NotWhatItSays,
)

WALL_SECONDS = parsing_child.CPU_SECONDS
"""Processor time alone is no bound: on a busy machine it passes slowly."""
_ROOT = Path(__file__).resolve().parent.parent
_REASONS: dict[str, type[Problem]] = {
    reason.code: reason
    for reason in (
        DocumentCorrupt,
        DocumentEmpty,
        DocumentEncrypted,
        DocumentExpandsTooFar,
        DocumentNestedTooDeep,
        DocumentTooLong,
        NotWhatItSays,
    )
}
_KILLED_FOR_COST = (parsing_child.OUT_OF_MEMORY, -signal.SIGXCPU, -signal.SIGKILL)
_log = logging.getLogger(__name__)


def parse(kind: str, content: bytes) -> list[Block]:
    """The blocks of a document of `kind` (a parser's), at least one.

    Parsers are large, and their input comes from strangers: they run in a process of their own with
    limits on processor time, wall time and memory, and without this process's environment. A
    library that loops, exhausts memory or crashes takes nothing with it. Raises the problems of
    `retrieval.parsers.protocol`.
    """
    try:
        ended = subprocess.run(
            [sys.executable, "-m", parsing_child.__name__, kind],
            input=content,
            capture_output=True,
            timeout=WALL_SECONDS,
            cwd=_ROOT,
            env={"PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_costly() from None
    if ended.returncode in _KILLED_FOR_COST:
        raise _too_costly()
    if ended.returncode != 0:
        _log.warning("A %s parser failed: %s", kind, ended.stderr[-400:].decode(errors="replace"))
        raise DocumentCorrupt
    return _received(ended.stdout)


def _received(answer: bytes) -> list[Block]:
    parsed = msgspec.json.decode(answer, type=parsing_child.Parsed)
    if parsed.refused is not None:
        raise _REASONS[parsed.refused.code](**parsed.refused.details)
    return parsed.blocks


def _too_costly() -> DocumentTooCostly:
    return DocumentTooCostly(
        seconds=parsing_child.CPU_SECONDS, megabytes=parsing_child.MEMORY_BYTES // 1024**2
    )
