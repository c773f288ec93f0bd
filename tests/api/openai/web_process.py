"""The only place that starts the real web server for tests: uvicorn, as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import httpx2
import msgspec

ROOT = Path(__file__).resolve().parents[3]
LONGEST_BODY = 100_000
# uvicorn's own --fd takes every socket for a UNIX one, and leaves Nagle's algorithm on.
SERVE = """
import socket, sys, uvicorn
config = uvicorn.Config(
    "countersign.asgi:application", loop="uvloop", http="httptools", timeout_graceful_shutdown=3
)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""


class Web(msgspec.Struct, frozen=True):
    """A running web server. `log` is what it wrote."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def serving(database: str, state: Path, *, port: int | None = None) -> Iterator[Web]:
    """The web server on the database of this name, until the block ends; by way of `port`, if any.

    The socket listens before the server runs, so the first request waits until it is ready.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process, log = _start(listening, _url_of(database, port), state)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            httpx2.get(f"{address}/v1/models", timeout=60, verify=False)
            yield Web(address, process, log)
        finally:
            process.terminate()
            process.wait(20)


def _start(listening: socket.socket, url: str, state: Path) -> tuple[subprocess.Popen[bytes], Path]:
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "COUNTERSIGN_STATE_DIRECTORY": str(state),
        "COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES": "true",
        "COUNTERSIGN_MAX_BODY_BYTES": str(LONGEST_BODY),
        "DATABASE_POOL_SIZE": "4",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
    }
    log = state / "web.log"
    command = [sys.executable, "-c", SERVE, str(listening.fileno())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            pass_fds=[listening.fileno()],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return process, log


def _url_of(database: str, port: int | None) -> str:
    """The test server's database of this name, where the web server waits for no lock for long.

    Tests empty tables while it reads them: in a deadlock it is the one that gives way.
    """
    url = urlsplit(os.environ["DATABASE_URL"])
    if port is not None:
        user, _, _ = url.netloc.rpartition("@")
        url = url._replace(netloc=f"{user}@127.0.0.1:{port}", query="")
    options = urlencode({"options": "-c lock_timeout=300ms"}, quote_via=quote)
    query = "&".join(filter(None, [url.query, options]))
    return url._replace(path=f"/{database}", query=query).geturl()
