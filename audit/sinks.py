"""The only place where checkpoints are put outside: into a folder, or a bucket with object lock.

A sink is somewhere that whoever could rewrite the database can't reach: a volume of another
machine, a bucket of another account. What is there is never overwritten; a checkpoint of the same
log and size that says something else is the loudest problem there is: history was rewritten.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from audit import buckets, checkpoints, durable_files
from audit.buckets import Bucket, Credentials, Send
from audit.checkpoints import CheckpointMalformed
from audit.errors import Problem

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
CREDENTIAL = re.compile(r"[!-~]+")


class SinkMisconfigured(Problem):
    """{variable} does not name a checkpoint sink: {reason}."""

    code = "sink_misconfigured"
    status = 500


class SinkUnavailable(Problem):
    """The checkpoint sink did not take {location}: {reason}."""

    code = "sink_unavailable"
    status = 503


class CheckpointContradicted(Problem):
    """The checkpoint sink holds another history: {location} is not what the log says now."""

    code = "checkpoint_contradicted"
    status = 409


class Sink(Protocol):
    """Somewhere outside that keeps checkpoints."""

    def put(self, note: str, *, now: datetime) -> str:
        """Keep the signed note of a checkpoint; where it is. Again is harmless, and checks it.

        Of one log and size the first note stays; its signatures may differ, its text may not.
        Raises CheckpointContradicted, CheckpointMalformed; SinkUnavailable (a folder),
        BucketRefused, ObjectNotLocked and what sending raises (a bucket).
        """
        ...


def opened(url: str, *, variable: str, environment: Mapping[str, str], send: Send) -> Sink:
    """The sink that `url`, the value of the setting `variable`, names.

    `file:///an/existing/folder`, or
    `s3://bucket/prefix?region=eu-central-1&endpoint=https://s3.example&retain_days=3650` with
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and perhaps AWS_SESSION_TOKEN in `environment`.
    Raises SinkMisconfigured, with the name of what is wrong; it never shows a secret.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme == "s3":
            address = buckets.address_of(parts)
            return BucketSink(Bucket(address, credentials=_credentials(environment), send=send))
        return FolderSink(_folder_of(parts))
    except ValueError as problem:
        raise SinkMisconfigured(variable=variable, reason=str(problem)) from None


class FolderSink:
    """A sink that is a folder of this machine: for volumes that others own, or write once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, note: str, *, now: datetime) -> str:
        """See Sink.put."""
        path = self._path / _name(note)
        try:
            path.parent.mkdir(exist_ok=True)
            if durable_files.write_once(path, note.encode(), mode=0o444):
                durable_files.flush_folder(self._path)  # where the log's own folder may be new
            held = path.read_bytes()
        except OSError as problem:
            reason = problem.strerror or type(problem).__name__
            raise SinkUnavailable(location=str(path), reason=reason) from problem
        _check_same(held, note, str(path))
        return str(path)


class BucketSink:
    """A sink that is a bucket with object lock."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def put(self, note: str, *, now: datetime) -> str:
        """See Sink.put."""
        name = _name(note)
        held = self._bucket.write_once(name, note.encode(), now=now)
        _check_same(held, note, self._bucket.location(name))
        return self._bucket.location(name)


def _name(note: str) -> str:
    """`<origin, with _ for each />/<size, 20 digits>.checkpoint`."""
    checkpoint = checkpoints.read(note)
    origin = checkpoint.origin.replace("/", "_")
    if not PLAIN_NAME.fullmatch(origin):
        raise CheckpointMalformed(reason="its origin can't be the name of a folder")
    return f"{origin}/{checkpoint.size:020}.checkpoint"


def _check_same(held: bytes, note: str, location: str) -> None:
    # Another signature of the same text is no other history: keys rotate, witnesses cosign later.
    if held.rpartition(b"\n\n")[0] != note.encode().rpartition(b"\n\n")[0]:
        raise CheckpointContradicted(location=location)


def _folder_of(parts: SplitResult) -> Path:
    if parts.scheme != "file":
        raise ValueError("it begins neither with file:/// nor with s3://")
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
        raise ValueError("a folder is written as file:///path, without anything else")
    path = Path(unquote(parts.path))
    if not path.is_absolute() or not path.is_dir():
        raise ValueError(f"there is no folder {path}")
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f"the folder {path} can't be written to")
    return path


def _credentials(environment: Mapping[str, str]) -> Credentials:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not CREDENTIAL.fullmatch(environment.get(name, "")):
            raise SinkMisconfigured(variable=name, reason="a bucket needs it, on one line")
    return Credentials(
        environment["AWS_ACCESS_KEY_ID"],
        environment["AWS_SECRET_ACCESS_KEY"],
        environment.get("AWS_SESSION_TOKEN") or None,
    )
