"""The only place for zip archives from strangers: nothing is unpacked before it is measured."""

from __future__ import annotations

import io
import struct
import zipfile

from retrieval.parsers.protocol import DocumentCorrupt, DocumentExpandsTooFar

MAX_MEMBERS = 4_000
MAX_UNPACKED_BYTES = 200 * 1024 * 1024
MAX_RATIO = 200
"""Unpacked to packed size of one member; Word's own XML stays below 60."""
RATIO_MATTERS_FROM_BYTES = 5 * 1024 * 1024
MAX_DEPTH = 2
"""A workbook inside a document is usual; an archive inside that one is not."""

_ARCHIVE = b"PK\x03\x04"
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_MAX_COMMENT = 65_535
_MAX_DIRECTORY_BYTES = 1024 * 1024
_CHUNK = 256 * 1024


def check_directory(content: bytes) -> None:
    """Refuse a directory that is itself the attack, before anything parses it.

    Reads only the end-of-central-directory record (APPNOTE 6.3.10, 4.3.16). Raises
    `DocumentCorrupt` where there is none, `DocumentExpandsTooFar` where it counts too much
    (Zip64's escape values included: nothing below 4 GB needs them).
    """
    at = content.rfind(_END_SIGNATURE, max(0, len(content) - _MAX_COMMENT - _END.size))
    if at < 0 or at + _END.size > len(content):
        raise DocumentCorrupt
    _, _, _, _, members, size, _, _ = _END.unpack_from(content, at)
    if members > MAX_MEMBERS or size > _MAX_DIRECTORY_BYTES:
        raise DocumentExpandsTooFar


class Budget:
    """What an archive, with all the archives inside it, may still unpack to."""

    def __init__(self) -> None:
        self.members = MAX_MEMBERS
        self.unpacked_bytes = MAX_UNPACKED_BYTES

    def spend(self, *, members: int = 0, unpacked_bytes: int = 0) -> None:
        """Raises `DocumentExpandsTooFar` when it is used up."""
        self.members -= members
        self.unpacked_bytes -= unpacked_bytes
        if self.members < 0 or self.unpacked_bytes < 0:
            raise DocumentExpandsTooFar


def measure(content: bytes) -> None:
    """Unpack everything once, into nothing, within the limits above.

    1. The directory's size, 2. what the members declare, 3. that none overlaps another (many
    names for one bomb), 4. what they really unpack to, 5. the same for archives inside.
    Raises `DocumentExpandsTooFar`, or `DocumentCorrupt` where the archive is broken.
    """
    _measure(content, Budget(), depth=1)


def _measure(content: bytes, budget: Budget, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DocumentExpandsTooFar
    check_directory(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _check_declared(members, packed_bytes=len(content))
            budget.spend(members=len(members))
            for member in members:
                _unpack(archive, member, budget, depth=depth)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as broken:
        raise DocumentCorrupt from broken


def _check_declared(members: list[zipfile.ZipInfo], *, packed_bytes: int) -> None:
    if sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
        raise DocumentExpandsTooFar
    if sum(member.compress_size for member in members) > packed_bytes:
        raise DocumentExpandsTooFar
    end = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        if member.header_offset < end or _expands_too_far(member, member.file_size):
            raise DocumentExpandsTooFar
        end = member.header_offset + member.compress_size


def _expands_too_far(member: zipfile.ZipInfo, unpacked_bytes: int) -> bool:
    ratio = unpacked_bytes / max(member.compress_size, 1)
    return unpacked_bytes >= RATIO_MATTERS_FROM_BYTES and ratio > MAX_RATIO


def _unpack(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget, *, depth: int
) -> None:
    kept = bytearray()
    with archive.open(member) as unpacking:
        while piece := unpacking.read(_CHUNK):
            budget.spend(unpacked_bytes=len(piece))
            if kept or piece.startswith(_ARCHIVE):
                kept += piece
    if kept:
        _measure(bytes(kept), budget, depth=depth + 1)
