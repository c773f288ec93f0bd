"""The only place for the demo's SIEM: it takes webhooks, and keeps the entries that it has checked.

`python demo/siem_service.py --port N --state FILE --secret FILE` prints its address as one line and
serves until SIGTERM. It knows nothing of Countersign but what docs/how-to/stream-to-a-siem.md says.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import sqlite3
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent.parent))

from demo.order_service import serve

MAX_BODY_BYTES = 1_048_576
LONGEST_MOMENT = 12  # digits
MOST_SECONDS_APART = 300
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    log TEXT NOT NULL, position INTEGER NOT NULL, leaf_hash TEXT NOT NULL, entry TEXT NOT NULL,
    PRIMARY KEY (log, position)
) STRICT;
"""
KEEP = "INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?)"
KNOWN = "SELECT position, leaf_hash FROM entries WHERE log = ? ORDER BY position"
OTHER = "SELECT 1 FROM entries WHERE log = ? AND position = ? AND leaf_hash <> ?"


class Contradicted(Exception):
    """Another entry was sent for an index that has one: the log has changed its past."""


class Kept:
    """The entries that came, in one SQLite file; what was taken is on the disk."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._turn = Lock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._database.close()

    def keep(self, sent: list[dict[str, Any]]) -> None:
        """Keep all of these entries, each index once, or none. Raises Contradicted."""
        with self._turn, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for each in sent:
                place = (each["entry"]["log"], each["index"], each["leaf_hash"])
                if self._database.execute(OTHER, place).fetchone():
                    raise Contradicted
                self._database.execute(KEEP, (*place, _canonical(each["entry"])))

    def known(self, log: str) -> list[tuple[int, str]]:
        """Index and leaf hash of each entry of the log, in its order."""
        with self._turn:
            return self._database.execute(KNOWN, (log,)).fetchall()


KEPT = web.AppKey("kept", Kept)
SECRET = web.AppKey("secret", Path)


def application(kept: Kept, secret: Path) -> web.Application:
    """The SIEM as an application; the file `secret` is read anew with each message."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[KEPT], app[SECRET] = kept, secret
    app.router.add_get("/health", _health)
    app.router.add_get("/entries", _entries)
    app.router.add_post("/countersign", _take)
    return app


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _entries(request: web.Request) -> web.Response:
    log = request.query.get("log", "")
    return web.json_response({"entries": await asyncio.to_thread(request.app[KEPT].known, log)})


async def _take(request: web.Request) -> web.Response:
    """204 once all entries of a message are stored; else none of them is."""
    body = await request.read()
    if not is_ours(request.headers, body, request.app[SECRET]):
        return web.Response(status=401)
    sent = json.loads(body)["data"]
    if not all(map(is_whole, sent)):
        return web.Response(status=422)
    try:
        await asyncio.to_thread(request.app[KEPT].keep, sent)
    except Contradicted:
        return web.Response(status=409)
    return web.Response(status=204)


def is_ours(headers: Mapping[str, str], body: bytes, secret: Path) -> bool:
    """Whether the message was signed with the secret in the file, lately (Standard Webhooks)."""
    named = [headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
    message, moment, signatures = named
    if not secret.exists() or not moment.isdecimal() or len(moment) > LONGEST_MOMENT:
        return False
    key = base64.b64decode(secret.read_text().removeprefix("whsec_"))
    made = hmac.digest(key, f"{message}.{moment}.".encode() + body, "sha256")
    wanted = "v1," + base64.b64encode(made).decode()
    is_fresh = abs(time.time() - int(moment)) < MOST_SECONDS_APART
    found = signatures.encode().split(b" ")
    return is_fresh and any(hmac.compare_digest(wanted.encode(), each) for each in found)


def is_whole(sent: dict[str, Any]) -> bool:
    """Whether the entry has the hash of its leaf in the tree (RFC 6962)."""
    leaf = b"\0" + _canonical(sent["entry"]).encode()
    return hashlib.sha256(leaf).hexdigest() == str(sent["leaf_hash"])


def _canonical(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="The demo's SIEM.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--state", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--secret", type=Path, required=True, help="the file with the secret")
    options = parser.parse_args()
    kept = Kept(options.state)
    try:
        asyncio.run(serve(application(kept, options.secret), options.port))
    finally:
        kept.close()


if __name__ == "__main__":
    main()
