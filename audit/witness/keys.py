"""The only place for the file with a witness's private keys.

One key a line, as `PRIVATE+KEY+<name>+<id>+<base64 of kind and seed>`: an Ed25519 and an ML-DSA-44
one, so that those who can't check the newer kind can check the older.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit import base64_text, durable_files, note_keys
from audit.errors import Problem
from audit.note_keys import KeyKind, PrivateKey, SigningKey

OPENING = "PRIVATE+KEY+"
KINDS = (KeyKind.ED25519_COSIGNATURE, KeyKind.MLDSA44_COSIGNATURE)


class WitnessKeyUnusable(Problem):
    """The witness's key file {path} can't be used: {reason}."""

    code = "witness_key_unusable"
    status = 500


def make(name: str, path: Path) -> list[SigningKey]:
    """New keys under `name`, in the new file `path` (mode 0600): whole, or not at all.

    Raises WitnessKeyUnusable if the name can't be one, or the file is there already.
    """
    if not note_keys.is_name(name):
        raise WitnessKeyUnusable(path=str(path), reason=f"{name!r} can't be the name of a key")
    text = "".join(_line(name, kind, os.urandom(32)) for kind in KINDS)
    try:
        is_new = durable_files.write_once(path, text.encode())
    except OSError as problem:
        raise WitnessKeyUnusable(path=str(path), reason=str(problem)) from problem
    if not is_new:
        raise WitnessKeyUnusable(path=str(path), reason="it exists already")
    return load(path)


def load(path: Path) -> list[SigningKey]:
    """The keys in `path`. Raises WitnessKeyUnusable, also when others may read the file."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read().splitlines()
        keys = [_parse(line) for line in lines]
    except (OSError, ValueError, IndexError) as problem:
        raise WitnessKeyUnusable(path=str(path), reason=str(problem)) from None
    if stat.S_IMODE(mode) & 0o077:
        raise WitnessKeyUnusable(path=str(path), reason="others may read it; set its mode to 0600")
    if not keys or len({key.name for key in keys}) != 1:
        raise WitnessKeyUnusable(path=str(path), reason="it needs keys of one name")
    return keys


def _line(name: str, kind: KeyKind, seed: bytes) -> str:
    verifier = SigningKey(name, _private(kind, seed), kind).verifier
    encoded = base64_text.encode(bytes([kind]) + seed)
    return f"{OPENING}{name}+{verifier.id.hex()}+{encoded}\n"


def _parse(line: str) -> SigningKey:
    name, _, rest = line.removeprefix(OPENING).partition("+")
    raw = base64_text.decode(rest.partition("+")[2])
    kind = KeyKind(raw[0])
    key = SigningKey(name, _private(kind, raw[1:]), kind)
    # One way to write a key, so that a damaged line is not another key.
    if kind not in KINDS or line != _line(name, kind, raw[1:]).removesuffix("\n"):
        raise ValueError("it is not a witness's key, or is damaged")
    return key


def _private(kind: KeyKind, seed: bytes) -> PrivateKey:
    if kind is KeyKind.MLDSA44_COSIGNATURE:
        return MLDSA44PrivateKey.from_seed_bytes(seed)
    return Ed25519PrivateKey.from_private_bytes(seed)
