"""The only place that says which key signs a log, and that puts a new one in an old one's place.

The ledger itself says it: an entry `ledger.key_rotated` introduces a key, and the first checkpoint
that covers this entry is the first that the key signs. So whoever verifies a bundle reads why the
key changed in what the key signed, and no log goes over to a key that no entry introduced.

Until every log has gone over, the old key stays at hand: its logs go on with it. A crash
between any two steps leaves keys and entries that the sequencer can work with, and `rotate` called
again goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from audit import checkpoints, ledger, roles
from audit.checkpoints import Checkpoint, CheckpointMalformed, KeyKind
from audit.errors import Problem
from audit.events import SYSTEM, KeyRotated
from audit.note_keys import PrivateKey
from audit.roles import Cursor
from audit.signing import Keyring

logger = logging.getLogger(__name__)

# Read and compared here: an entry may hold JSON that PostgreSQL can't take apart.
INTRODUCED = """
SELECT entry.payload, entry.recorded_at > clock_timestamp() - interval '1 minute'
FROM audit.entry JOIN audit.leaf ON leaf.log_id = entry.log_id AND leaf.entry_id = entry.id
WHERE entry.log_id = %s AND entry.kind = 'ledger.key_rotated' AND leaf.index < %s
ORDER BY leaf.index DESC LIMIT 100
"""
SIGNED = "SELECT verifier_key FROM audit.checkpoint WHERE log_id = %s ORDER BY size DESC LIMIT 1"
IS_INTRODUCED = """
SELECT EXISTS (
    SELECT FROM audit.entry WHERE log_id = %s AND kind = 'ledger.key_rotated'
    AND position(convert_to('"verifier_key":"' || %s || '"', 'UTF8') IN payload) > 0
)
"""
# A tenant whose role is gone has a log that nothing is recorded in any more.
LOGS = """
SELECT id, role_name, origin FROM audit.log
WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) ORDER BY id
"""
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('audit.rotation ' || %s::text, 0))"


class KeyNotIntroduced(Problem):
    """{origin} was signed with a key that is not here: bring it back, or rotate to another."""

    code = "key_not_introduced"
    status = 500


class LogHeld(NamedTuple):
    """A log that can be recorded in."""

    id: UUID
    role: str
    origin: str


def choose(
    cursor: Cursor, log: UUID, checkpoint: Checkpoint, keys: Sequence[PrivateKey]
) -> list[PrivateKey]:
    """Those of `keys` that sign `checkpoint` of `log`: one of each kind that there is.

    1. The one that the newest entry introduces which the checkpoint covers. 2. Without one, that
    which signed the checkpoint before. 3. For a log's first checkpoint, the first of its kind.
    None at all where the newest entry of a kind is younger than a minute and introduces one that
    is not here: its file may be on its way, and nothing that covers the entry is signed with
    another before. Later it counts as anybody's word, since a tenant's role could record such a
    thing.
    As the sequencer. Raises KeyNotIntroduced.
    """
    held: dict[KeyKind, dict[str, PrivateKey]] = {}
    for key in keys:
        signer = checkpoints.log_key(checkpoint.origin, key)
        held.setdefault(signer.kind, {}).setdefault(str(signer.verifier), key)
    cursor.execute(INTRODUCED, [log, checkpoint.size])
    found = [(_named(payload), is_new) for payload, is_new in cursor.fetchall()]
    newest = {_kind(name): (name, is_new) for name, is_new in reversed(found)}
    here = {name for each in held.values() for name in each}
    if any(is_new and name not in here for name, is_new in newest.values()):
        return []
    introduced, signed = [name for name, _ in found], _signed(cursor, log)
    return [_of_kind(kind, each, introduced, signed, checkpoint) for kind, each in held.items()]


def _named(payload: bytes) -> str:
    return str(json.loads(bytes(payload)).get("verifier_key"))


def _kind(name: str) -> KeyKind | None:
    """The kind of the verifier key `name`; None where it is none."""
    try:
        return checkpoints.parse_key(name).kind
    except CheckpointMalformed:
        return None


def _of_kind(
    kind: KeyKind,
    held: dict[str, PrivateKey],
    introduced: Sequence[str],
    signed: Sequence[str],
    checkpoint: Checkpoint,
) -> PrivateKey:
    before = [key for key in signed if checkpoints.parse_key(key).kind is kind]
    known = next((key for key in (*introduced, *before) if key in held), None)
    if known is None and before:
        raise KeyNotIntroduced(origin=checkpoint.origin)
    return held[known or next(iter(held))]


def rotate(keyring: Keyring, *, tell: Callable[[str], None], wait: Callable[[], bool]) -> bool:
    """Replace the key of `keyring` by a new one in every log; whether all have gone over.

    A rotation that was broken off is finished instead, and no other begun. `wait` rests a moment
    and says whether to go on waiting for the sequencer; `tell` gets a sentence for each step.
    1. The new key is made, beside the old. 2. Every log gets the entry that introduces it. 3. It
    takes the old one's place; the old one is put aside. 4. Once every log is signed with it, the
    old one is destroyed. Raises LedgerKeyUnusable, OSError.
    """
    if not keyring.is_rotating and not _left_behind(keyring.newest):
        keyring.make_next()
        tell(f"Made a new key beside {keyring.place}.")
    key = keyring.newest
    introduce(key)
    tell("Every ledger has an entry that introduces it.")
    keyring.promote()
    tell(f"It is in {keyring.place} now.")
    while behind := _left_behind(key):
        if not wait():
            tell(f"{len(behind)} ledgers are not signed with it yet: {behind[0].origin}, …")
            return False
        introduce(key)
    keyring.forget_old()
    tell("Every ledger is signed with it; the old one is destroyed.")
    return True


def introduce(key: PrivateKey) -> None:
    """Record in each log that it is signed with `key` from now on, where it is not said yet."""
    for log in _logs():
        with transaction.atomic(), connection.cursor() as cursor:
            # Two commands at once would say it twice.
            cursor.execute(LOCK, [log.id])
            with roles.acting_as(cursor, log.role):
                _introduce(cursor, log, key)


def _introduce(cursor: Cursor, log: LogHeld, key: PrivateKey) -> None:
    signer = checkpoints.log_key(log.origin, key)
    named, signed = str(signer.verifier), _signed(cursor, log.id)
    cursor.execute(IS_INTRODUCED, [log.id, named])
    if named in signed or cursor.fetchone() == (True,):
        return
    before = [each for each in signed if checkpoints.parse_key(each).kind is signer.kind]
    event = KeyRotated(verifier_key=named, replaces=before[0] if before else None)
    ledger.record(event, actor=SYSTEM)
    logger.info("The ledger %s says that its key is rotated.", log.origin)


def _left_behind(key: PrivateKey) -> list[LogHeld]:
    """The logs that were signed, and last with another key than `key`."""
    with _sequencer() as cursor:
        found = [(log, _signed(cursor, log.id)) for log in recordable(cursor)]
    return [
        log
        for log, signed in found
        if signed and str(checkpoints.log_key(log.origin, key).verifier) not in signed
    ]


def _logs() -> list[LogHeld]:
    with _sequencer() as cursor:
        return recordable(cursor)


@contextlib.contextmanager
def _sequencer() -> Iterator[Any]:
    role = roles.sequencer_of(connection.settings_dict["NAME"])
    with transaction.atomic(), connection.cursor() as cursor, roles.acting_as(cursor, role):
        yield cursor


def recordable(cursor: Any) -> list[LogHeld]:
    """The logs that something can be recorded in. As the sequencer."""
    cursor.execute(LOGS)
    return [LogHeld(*row) for row in cursor.fetchall()]


def _signed(cursor: Cursor, log: UUID) -> list[str]:
    """The keys that signed the newest checkpoint of `log`."""
    cursor.execute(SIGNED, [log])
    row = cursor.fetchone()
    return row[0].split("\n") if row else []
