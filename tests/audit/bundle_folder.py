"""The only place that builds whole bundles without a database, and reads and writes their lines."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import canonical, checkpoints
from audit.checkpoints import Checkpoint, VerifierKey
from audit.proofs import leaf_hash, root_of
from audit.verify import layout

ORIGIN = "ledger.test/acme"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def key_line(key: Ed25519PrivateKey = KEY, origin: str = ORIGIN) -> str:
    return str(VerifierKey(origin, key.public_key()))


def entry(number: int, *, origin: str = ORIGIN) -> bytes:
    return canonical.encode(
        {
            "actor": {"id": "refund-desk", "kind": "agent", "on_behalf_of": None, "version": "3"},
            "correlation": str(UUID(int=7)),
            "event": {"amount": number, "note": "Grüße \u2028 \U0001f600"},
            "id": str(UUID(int=number)),
            "kind": f"refund.step_{number % 5}",
            "log": origin,
            "recorded_at": "2026-03-02T12:00:00.000000Z",
        }
    )


def build(
    folder: Path, *, size: int = 9, key: Ed25519PrivateKey = KEY, origin: str = ORIGIN
) -> Path:
    """A whole bundle of `size` entries in `folder`."""
    folder.mkdir()
    lines = [entry(number, origin=origin) for number in range(size)]
    write_entries(folder, lines)
    seal(folder, lines, key=key, origin=origin)
    (folder / layout.KEY).write_text(key_line(key, origin) + "\n")
    (folder / layout.EXPLANATION).write_text("How to check this.\n")
    list_files(folder, origin=origin, size=size)
    return folder


def write_entries(folder: Path, lines: list[bytes]) -> None:
    (folder / layout.ENTRIES).write_bytes(b"".join(line + b"\n" for line in lines))


def read_entries(folder: Path) -> list[bytes]:
    return (folder / layout.ENTRIES).read_bytes().splitlines()


def seal(
    folder: Path, lines: list[bytes], *, key: Ed25519PrivateKey = KEY, origin: str = ORIGIN
) -> None:
    """Write leaves and checkpoint over `lines`."""
    hashes = [leaf_hash(line) for line in lines]
    (folder / layout.LEAVES).write_text(
        "".join(
            f"{at} {made.hex()} {json.loads(lines[at])['id']}\n" for at, made in enumerate(hashes)
        )
    )
    checkpoint = Checkpoint(origin, len(lines), root_of(hashes))
    (folder / layout.CHECKPOINT).write_text(checkpoints.sign(checkpoint, key))


def list_files(folder: Path, *, origin: str = ORIGIN, size: int = 9) -> None:
    """Write a manifest that fits the files as they are: what an able forger would do."""
    files = {
        name: {
            "bytes": (folder / name).stat().st_size,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
        for name in layout.LISTED
    }
    manifest = {"format": layout.FORMAT, "origin": origin, "size": size, "files": files}
    (folder / layout.MANIFEST).write_text(json.dumps(manifest))
