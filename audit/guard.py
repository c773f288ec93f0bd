"""The only place that remembers outside of the database what was signed, so no rollback is signed.

A database that was restored from a backup, or a replica that was behind when it took over, has
lost entries that somebody may have seen under a checkpoint. The sequencer would give their indexes
to other entries and sign that: two histories of one log. So the last checkpoint of each log that
was signed here is kept in a folder, apart from the database, before it is published; a database
that does not hold it any more is *behind*, and its log is halted: nothing is sealed or signed
until a recovery, which two people approve (audit.recoveries).

Non-goal: it can't tell a rollback of database and folder together. An outside checkpoint can.
"""

from __future__ import annotations

import logging
from pathlib import Path
from uuid import UUID

from audit import checkpoints, durable_files
from audit.checkpoints import Checkpoint, CheckpointMalformed
from audit.errors import Problem

logger = logging.getLogger(__name__)


class GuardUnusable(Problem):
    """What was signed last can't be read from {path}: {reason}."""

    code = "guard_unusable"
    status = 500


class Guard:
    """The newest checkpoint that was signed of each log, in `folder` (made, mode 0700).

    Whoever writes holds the log's lock in the database. It is read each time: another sequencer,
    whose turn it was, may have signed more than this one knows of.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def logs(self) -> set[UUID]:
        """The logs of which a signed checkpoint is kept. Raises OSError."""
        return {UUID(path.stem) for path in self._folder.glob("*.checkpoint")}

    def last(self, log: UUID) -> Checkpoint | None:
        """The newest checkpoint of `log` that was signed here, or None. Raises GuardUnusable."""
        path = self._path(log)
        try:
            return checkpoints.read(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, CheckpointMalformed) as problem:
            raise GuardUnusable(path=str(path), reason=str(problem)) from problem

    def remember(self, log: UUID, note: str) -> None:
        """Keep `note` as the newest of `log`: durable when this returns. Raises OSError."""
        durable_files.replace(self._path(log), note.encode())

    def give_up(self, log: UUID) -> None:
        """Put the newest checkpoint of `log` aside, as evidence: its entries are lost for good."""
        last = self.last(log)
        if last is None:
            return
        path = self._path(log)
        # Named by the root, too: what was lost at the same size before is evidence as well.
        path.rename(path.with_name(f"{path.name}.lost-at-{last.size}-{last.root.hex()[:16]}"))
        durable_files.flush_folder(self._folder)
        logger.warning("The checkpoint over %s entries of %s was given up.", last.size, last.origin)

    def _path(self, log: UUID) -> Path:
        return self._folder / f"{log}.checkpoint"
