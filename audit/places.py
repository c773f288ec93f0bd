"""The only place for the kinds of places outside: a witness, a timestamping authority, a sink.

Each takes a checkpoint that it does not have yet, and keeps what comes back as rows. No transaction
is open while a place is asked. Whoever composes the product brings `send`, and with it the network.
Nothing is believed of a place that was not signed: by its own keys where it vouches for a
checkpoint, by the log's keys where it tells of another history.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from audit import canonical, checkpoints, cosigning, proofs, recoveries, stored_tiles, tiles
from audit import timestamps as rfc3161
from audit.buckets import Request, Send
from audit.checkpoints import Checkpoint, CheckpointMalformed, CheckpointNotSigned, VerifierKey
from audit.cosigning import Answer, WitnessAhead, WitnessRefused
from audit.errors import Problem
from audit.roles import Cursor
from audit.sinks import CheckpointContradicted, Sink

COSIGNED = """
SELECT size FROM audit.cosignature WHERE log_id = %s AND verifier_key = ANY(%s)
ORDER BY size DESC LIMIT 1
"""
COSIGN = """
INSERT INTO audit.cosignature (log_id, size, verifier_key, line) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
KEYS = "SELECT DISTINCT verifier_key FROM audit.checkpoint WHERE log_id = %s"
# Of the newest: its size, and whether it is old enough for another one.
ANCHORED = """
SELECT size, created_at <= clock_timestamp() - %s FROM audit.anchor
WHERE log_id = %s AND place = %s ORDER BY size DESC LIMIT 1
"""
ANCHOR = """
INSERT INTO audit.anchor (log_id, size, place, evidence) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""

SINK = "sink"
TIMESTAMP = "timestamp"

# A short transaction as the sequencer.
Begin = Callable[[], AbstractContextManager[Cursor]]


class PlaceUnreachable(Problem):
    """{address} can't be reached: {reason}."""

    code = "place_unreachable"
    status = 503


class PlaceRefused(Problem):
    """{address} answered {status}."""

    code = "place_refused"
    status = 502


class AnotherHistory(Problem):
    """{place} holds a checkpoint over {size} entries which this ledger signed and does not have."""

    code = "another_history"
    status = 409


class Due(NamedTuple):
    """A published checkpoint of a log, and its signed note."""

    log: UUID
    checkpoint: Checkpoint
    note: str


class Place(Protocol):
    """Somewhere outside that vouches for checkpoints."""

    name: str

    def wants(self, cursor: Cursor, log: UUID, origin: str, size: int) -> bool:
        """Whether the checkpoint over `size` entries, the newest of `log`, is to be taken there."""
        ...

    def take(self, begin: Begin, due: Due, now: datetime) -> None:
        """Take a checkpoint there, and keep what comes back.

        Raises AnotherHistory, with the root (hex) that is held there; PlaceUnreachable; any other
        Problem of this log alone.
        """
        ...


class Witness:
    """A witness under `url` with `keys`; of one log if `origin` names it, else of all."""

    def __init__(
        self, url: str, keys: Sequence[VerifierKey], *, send: Send, origin: str | None = None
    ) -> None:
        self.name = f"The witness {keys[0].name}"
        self._url, self._keys, self._send, self._origin = url.rstrip("/"), keys, send, origin

    def wants(self, cursor: Cursor, log: UUID, origin: str, size: int) -> bool:
        """See Place.wants."""
        return self._origin in {None, origin} and self._cosigned(cursor, log) < size

    def take(self, begin: Begin, due: Due, now: datetime) -> None:
        """See Place.take."""

        def prove(old: int, new: int) -> list[bytes]:
            with begin() as cursor:
                read = stored_tiles.reader(cursor, due.log)
                return proofs.prove_consistency(old, new, tiles.range_root(new, read))

        with begin() as cursor:
            old = self._cosigned(cursor, due.log)
        try:
            found = cosigning.request(
                self._url, due.note, self._keys, old=old, prove=prove, post=self._post
            )
        except (WitnessAhead, WitnessRefused):
            self._look_for_another_history(begin, due)
            raise
        with begin() as cursor:
            for each in found:
                row = [due.log, due.checkpoint.size, str(each.key), each.line]
                cursor.execute(COSIGN, row)

    def _cosigned(self, cursor: Cursor, log: UUID) -> int:
        cursor.execute(COSIGNED, [log, [str(key) for key in self._keys]])
        return int((cursor.fetchone() or (0,))[0])

    def _post(self, url: str, body: bytes) -> Answer:
        answer = self._send(Request("POST", url, {"content-type": "text/plain"}, body))
        return Answer(answer.status, answer.body)

    def _look_for_another_history(self, begin: Begin, due: Due) -> None:
        """Raise AnotherHistory if the witness shows what this log signed and does not hold.

        A number that it names proves nothing: a witness alone can't halt a log that it envies.
        """
        hashed = hashlib.sha256(due.checkpoint.origin.encode()).hexdigest()
        answer = self._send(Request("GET", f"{self._url}/{hashed}/checkpoint", {}, b""))
        if answer.status != 200:
            return
        with begin() as cursor:
            seen = _signed(answer.body, _keys(cursor, due.log))
            if seen is None or seen.origin != due.checkpoint.origin:
                return
            if not recoveries.holds(cursor, due.log, seen):
                raise AnotherHistory(place=self.name, size=seen.size, root=seen.root.hex())


def _keys(cursor: Cursor, log: UUID) -> list[VerifierKey]:
    cursor.execute(KEYS, [log])
    return [key for (text,) in cursor.fetchall() for key in checkpoints.parse_keys(text)]


def _signed(note: bytes, keys: Sequence[VerifierKey]) -> Checkpoint | None:
    try:
        return checkpoints.verify(note.decode(), *keys)
    except (ValueError, CheckpointMalformed, CheckpointNotSigned):
        return None


class Authority:
    """A timestamping authority (RFC 3161), asked at most once in `every` for each log."""

    def __init__(self, url: str, pem: bytes, *, every: timedelta, send: Send) -> None:
        self.name = f"The timestamping authority {url}"
        self._url, self._pem, self._every, self._send = url, pem, every, send

    def wants(self, cursor: Cursor, log: UUID, origin: str, size: int) -> bool:
        """See Place.wants."""
        cursor.execute(ANCHORED, [self._every, log, TIMESTAMP])
        row = cursor.fetchone()
        return row is None or bool(row[0] < size and row[1])

    def take(self, begin: Begin, due: Due, now: datetime) -> None:
        """See Place.take."""
        text = due.checkpoint.text.encode()
        stamped = rfc3161.obtain(
            text, url=self._url, authority_pem=self._pem, post=self._post, now=now
        )
        evidence = bytes(Stamp(stamped.response, self._pem))
        with begin() as cursor:
            cursor.execute(ANCHOR, [due.log, due.checkpoint.size, TIMESTAMP, evidence])

    def _post(self, url: str, body: bytes, content_type: str) -> bytes:
        answer = self._send(Request("POST", url, {"content-type": content_type}, body))
        if answer.status != 200:
            raise PlaceRefused(address=url, status=answer.status)
        return answer.body


class Stamp(NamedTuple):
    """A timestamp as it is kept: the answer (DER), and by whose certificates (PEM) it holds."""

    response: bytes
    authority_pem: bytes

    def __bytes__(self) -> bytes:
        response = base64.b64encode(self.response).decode()
        return canonical.encode({"authority": self.authority_pem.decode(), "response": response})

    @classmethod
    def read(cls, evidence: bytes) -> Stamp:
        """What `bytes` made of one."""
        kept = json.loads(evidence)
        return cls(base64.b64decode(kept["response"]), kept["authority"].encode())


class Depot:
    """A checkpoint sink."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name = f"The checkpoint sink {name}"
        self._sink = sink

    def wants(self, cursor: Cursor, log: UUID, origin: str, size: int) -> bool:
        """See Place.wants."""
        cursor.execute(ANCHORED, [timedelta(0), log, SINK])
        row = cursor.fetchone()
        return row is None or bool(row[0] < size)

    def take(self, begin: Begin, due: Due, now: datetime) -> None:
        """See Place.take."""
        size = due.checkpoint.size
        try:
            location = self._sink.put(due.note, now=now)
        except CheckpointContradicted as problem:
            root = due.checkpoint.root.hex()
            raise AnotherHistory(place=self.name, size=size, root=root) from problem
        with begin() as cursor:
            cursor.execute(ANCHOR, [due.log, size, SINK, location.encode()])
