"""The only place for signed notes: a text, and the signatures of one or more keys. No Django.

The format and its rules are C2SP signed-note's. A signature line of a key that nobody asked about
is carried along and otherwise ignored; one of a known key that does not verify spoils the note.
MUST NOT: show a note's text as true before `verify` has returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from audit import base64_text, note_keys
from audit.errors import Problem
from audit.note_keys import KeyKind, SigningKey, VerifierKey

MARK = "\u2014 "
MOST_SIGNATURES = 100
# In characters. 100 signatures of ML-DSA-44 are about 330,000.
LONGEST = 500_000
# Everything below U+0020 but the newline; and lone surrogates, which are no UTF-8.
REFUSED = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")


class NoteMalformed(Problem):
    """The signed note is malformed: {reason}."""

    code = "note_malformed"
    status = 422


class NoteNotSigned(Problem):
    """The note has no valid signature of the key {key}."""

    code = "note_not_signed"
    status = 422


class Signature(NamedTuple):
    """A signature line: who is said to have signed (name, id of 4 bytes), and the bytes after."""

    name: str
    id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line in a note, with its newline."""
        return f"{MARK}{self.name} {base64_text.encode(self.id + self.signature)}\n"


class Note(NamedTuple):
    """A note that was read, and that nobody has verified yet."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n" + "".join(signature.line for signature in self.signatures)


class Verified(NamedTuple):
    """A signature that holds: of which key, at which time (POSIX seconds; 0: none), its line."""

    key: VerifierKey
    seconds: int
    line: str


def sign(text: str, *keys: SigningKey, seconds: int = 0) -> str:
    """The note of `text`, signed by each of `keys` in turn.

    `seconds` is the time that cosignatures carry (POSIX). Raises ValueError if `text` has no final
    newline or holds a control character, CheckpointMalformed if a cosigner's text is no checkpoint.
    """
    if not text.endswith("\n") or REFUSED.search(text):
        raise ValueError("a note's text ends with a newline and has no other control character")
    return str(Note(text, tuple(signature(text, key, seconds=seconds) for key in keys)))


def signature(text: str, key: SigningKey, *, seconds: int) -> Signature:
    """The signature of one key over `text`."""
    return Signature(key.name, key.verifier.id, key.sign(text, seconds=seconds))


def parse(note: str) -> Note:
    """The note's text and signatures. Raises NoteMalformed."""
    if len(note) > LONGEST or REFUSED.search(note):
        raise NoteMalformed(reason="it is too long, or holds a control character")
    text, gap, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not gap or lines.pop() or not lines:
        raise NoteMalformed(reason="it is not a text, an empty line and signatures")
    if len(lines) > MOST_SIGNATURES:
        raise NoteMalformed(reason=f"it has over {MOST_SIGNATURES} signatures")
    return Note(f"{text}\n", tuple(parse_signature(line) for line in lines))


def parse_signature(line: str) -> Signature:
    """A signature line, without its newline. Raises NoteMalformed."""
    name, _, encoded = line.removeprefix(MARK).partition(" ")
    if not line.startswith(MARK) or not note_keys.NAME.fullmatch(name):
        raise NoteMalformed(reason="a signature line is not a dash, a name and base64")
    try:
        raw = base64_text.decode(encoded)
    except ValueError as problem:
        raise NoteMalformed(reason=f"a signature: {problem}") from None
    if len(raw) < 5:
        raise NoteMalformed(reason="a signature is too short")
    return Signature(name, raw[:4], raw[4:])


def signed_by(note: str, keys: Iterable[VerifierKey]) -> list[Verified]:
    """The signatures of `keys` on `note`, in the note's order; other keys' are ignored.

    Raises NoteMalformed; NoteNotSigned if a signature of one of `keys` does not hold.
    """
    return _signed_by(parse(note), list(keys))


def verify(note: str, keys: Sequence[VerifierKey]) -> Note:
    """The note, once at least one of `keys` is known to have signed it, and none in vain.

    Raises NoteMalformed, NoteNotSigned.
    """
    read = parse(note)
    if not _signed_by(read, keys):
        raise NoteNotSigned(key=" or ".join(_brief(key) for key in keys))
    return read


def with_signatures(note: str, lines: Iterable[str]) -> str:
    """`note` with these signature lines added at its end, each once. Raises NoteMalformed."""
    read = parse(note)
    more = [parse_signature(line.removesuffix("\n")) for line in lines]
    together = tuple(dict.fromkeys([*read.signatures, *more]))
    return str(read._replace(signatures=together))


def _signed_by(note: Note, keys: Sequence[VerifierKey]) -> list[Verified]:
    known: dict[tuple[str, bytes], list[VerifierKey]] = {}
    for key in keys:
        known.setdefault((key.name, key.id), []).append(key)
    return [
        _verified(note.text, signature, key)
        for signature in note.signatures
        for key in known.get((signature.name, signature.id), [])
    ]


def _verified(text: str, signature: Signature, key: VerifierKey) -> Verified:
    if not key.is_signature(text, signature.signature):
        raise NoteNotSigned(key=_brief(key))
    return Verified(key, key.parts(signature.signature)[0], signature.line)


def _brief(key: VerifierKey) -> str:
    # An ML-DSA-44 key is 1,800 characters long; name and id tell which it is.
    return str(key) if key.kind is not KeyKind.MLDSA44_COSIGNATURE else f"{key.name}+{key.id.hex()}"
