"""What governance costs: a model called directly, and through the data plane, side by side.

Everything runs on this machine, each part as a process of its own: an embedded PostgreSQL in a
folder that is thrown away, a mock model API, the web server, and the client. Both sides answer
the same bytes. A governed call writes four ledger entries in two commits, with fsync on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

import psutil  # noqa: E402
import uvloop  # noqa: E402

from countersign import embedded  # noqa: E402

CONNECTIONS = (16, 64)
WARM_UP_SECONDS = 2.0
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "mock",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Unused goods, within 30 days. " * 8},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160},
}
ASK = {
    "model": "fast",
    "messages": [
        {"role": "system", "content": "Answer from the handbook. " * 10},
        {"role": "user", "content": "May I return a kettle that I bought three weeks ago?"},
    ],
    "temperature": 0.2,
}


class Side(NamedTuple):
    """One way to reach the model, and whose CPU time it costs."""

    name: str
    address: str
    key: str
    processes: list[psutil.Process]


class Measured(NamedTuple):
    """Requests a second, latencies in milliseconds, CPU seconds per 1,000 requests."""

    requests_per_second: float
    p50: float
    p99: float
    cpu: dict[str, float]


# The mock model API: its own process, with as little work as possible.


class Mock(asyncio.Protocol):
    """Answers each HTTP request with the same completion."""

    body = json.dumps(ANSWER).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    reply = head % len(body) + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to collect."""
        self.transport: Any = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self.pending += data
        while (size := message_size(self.pending)) and len(self.pending) >= size:
            self.pending = self.pending[size:]
            self.transport.write(self.reply)


def message_size(data: bytes) -> int:
    """The bytes of the HTTP message that `data` begins with; 0 while its head is incomplete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 0
    at = data[:end].lower().find(b"content-length:")
    length = int(data[at + 15 : end].split(b"\r\n", 1)[0]) if at >= 0 else 0
    return end + 4 + length


async def serve_mock(descriptor: int) -> None:
    """Serve for ever on an inherited socket."""
    server = await asyncio.get_running_loop().create_server(
        Mock, sock=socket.socket(fileno=descriptor)
    )
    await server.serve_forever()


# The web server: its own process.


def serve_web(descriptor: int) -> None:
    """Serve as `make serve` does. (uvicorn's own --fd would leave Nagle's algorithm on.)"""
    import uvicorn  # noqa: PLC0415  (only this process needs it)

    config = uvicorn.Config(
        "countersign.asgi:application",
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


# The client: its own process.


class Client(asyncio.Protocol):
    """Sends one request after the other, and notes how long each took."""

    def __init__(self, request: bytes, times: list[float], failures: list[bytes]) -> None:
        self.request, self.times, self.failures = request, times, failures
        self.pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self.transport: Any = transport
        self._send()

    def _send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Note an answer, and send the next."""
        self.pending += data
        size = message_size(self.pending)
        if not size or len(self.pending) < size:
            return
        self.times.append(time.perf_counter() - self.began)
        if not self.pending.startswith(b"HTTP/1.1 200"):
            self.failures.append(self.pending[:500])
        self.pending = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Only the end of the measurement ends a connection."""
        if exc is not None:
            self.failures.append(str(exc).encode())


async def run_client(address: str, key: str, connections: int, seconds: float) -> None:
    """Measure, and print one line of JSON."""
    url = urlsplit(address)
    body = json.dumps(ASK).encode()
    head = (
        f"POST {url.path}/chat/completions HTTP/1.1\r\nhost: {url.netloc}\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    times: list[float] = []
    failures: list[bytes] = []
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(
            lambda: Client(head.encode() + body, times, failures), url.hostname, url.port
        )
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    count = len(times)
    for transport, _ in made:
        transport.abort()
    ordered = sorted(times[:count])
    print(
        json.dumps(
            {
                "requests": count,
                "seconds": seconds,
                "p50": ordered[count // 2] * 1e3 if count else 0,
                "p99": ordered[int(count * 0.99)] * 1e3 if count else 0,
                "failures": [failure.decode(errors="replace") for failure in failures[:3]],
            }
        )
    )


# The main process: sets up, measures, prints.


@contextlib.contextmanager
def child(command: list[str], environment: dict[str, str], sock: socket.socket) -> Iterator[Any]:
    """A process that serves on `sock`, until the block ends."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, pass_fds=[sock.fileno()], stderr=sys.stderr
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def furnish(mock_address: str) -> str:
    """A tenant with a route to the mock; the text of a client app's key."""
    import django  # noqa: PLC0415  (its settings are in the environment only now)

    django.setup()
    from datetime import UTC, datetime  # noqa: PLC0415

    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    from gateway import accounts, endpoints, routes  # noqa: PLC0415
    from runtime import onboarding  # noqa: PLC0415
    from tenants import isolation, members  # noqa: PLC0415
    from tenants.keys import issuing  # noqa: PLC0415

    now = datetime.now(UTC)
    call_command("migrate_schemas", interactive=False, verbosity=0)
    tenant = onboarding.create_tenant("acme", name="Acme", now=now)
    password = secrets.token_urlsafe(16)
    onboarding.add_first_admin(tenant, "alice@acme.test", name="Alice", password=password, now=now)
    with isolation.acting_for(tenant):
        (alice,) = members.principals().values()
        provider = accounts.add("mock", kind="openai", base_url=mock_address, by=alice, now=now)
        endpoint = endpoints.add(
            "mock", provider=provider, model="mock", purpose="chat", by=alice, now=now
        )
        routes.add("fast", purpose="chat", endpoints=[endpoint], by=alice, now=now)
        _, secret = issuing.issue_service_key("robo", by=alice, now=now)
    connections.close_all()
    return secret


def cpu_seconds(process: psutil.Process) -> float:
    """The CPU time of a process and of all that it started, the dead included."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            used = one.cpu_times()
            total += used.user + used.system
    return total


def measure(side: Side, connections: int, seconds: float) -> Measured:
    """Warm up, then measure."""

    def client(duration: float) -> Any:
        arguments = ["--client", side.address, side.key, str(connections), str(duration)]
        command = [sys.executable, __file__, *arguments]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    client(WARM_UP_SECONDS)
    before = [cpu_seconds(process) for process in side.processes]
    result = client(seconds)
    after = [cpu_seconds(process) for process in side.processes]
    assert not result["failures"], result["failures"]
    names = ("web", "postgresql")
    cpu = {
        name: (end - start) / result["requests"] * 1_000
        for name, start, end in zip(names, before, after, strict=False)
    }
    return Measured(result["requests"] / seconds, result["p50"], result["p99"], cpu)


def table(rows: dict[tuple[str, int], Measured]) -> None:
    """Print what was measured, and governed relative to direct."""
    print(f"{'':>10} {'connections':>12} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}", end="")
    print(f" {'CPU s/1000 web':>15} {'PostgreSQL':>11}")
    for (name, connections), row in rows.items():
        cpu = [f"{row.cpu[part]:.3f}" if part in row.cpu else "-" for part in ("web", "postgresql")]
        print(f"{name:>10} {connections:>12} {row.requests_per_second:>11.0f}", end="")
        print(f" {row.p50:>8.2f} {row.p99:>8.2f} {cpu[0]:>15} {cpu[1]:>11}")
    for connections in CONNECTIONS:
        direct, governed = rows["direct", connections], rows["governed", connections]
        slower = direct.requests_per_second / governed.requests_per_second
        print(
            f"  At {connections} connections governance adds {governed.p50 - direct.p50:.1f} ms at"
            f" the median; {slower:.0f} direct calls are answered in the time of one governed."
        )


def summary(rows: dict[tuple[str, int], Measured], fsync: str) -> str:
    """One line of JSON."""
    measured = {
        f"{name}_{connections}": {
            "requests_per_second": round(row.requests_per_second),
            "p50_ms": round(row.p50, 2),
            "p99_ms": round(row.p99, 2),
            "cpu_seconds_per_1000": {part: round(cpu, 3) for part, cpu in row.cpu.items()},
        }
        for (name, connections), row in rows.items()
    }
    return json.dumps({"bench": "governed_call", "fsync": fsync, **measured})


def postgres_of(data: Path) -> psutil.Process:
    """The server's main process."""
    return psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))


def compare(state: Path, seconds: float) -> None:
    """Set everything up, and measure both sides."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(embedded.server(state / "postgres"))
        os.environ.update(
            DATABASE_URL=url,
            SECRET_KEY=secrets.token_urlsafe(50),
            COUNTERSIGN_STATE_DIRECTORY=str(state),
            COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES="true",
            DJANGO_SETTINGS_MODULE="countersign.settings",
            PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
        )
        mock = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        web = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        mock_address = f"http://127.0.0.1:{mock.getsockname()[1]}/v1"
        key = furnish(mock_address)
        environment = dict(os.environ)
        command = [sys.executable, __file__, "--mock", str(mock.fileno())]
        stack.enter_context(child(command, environment, mock))
        command = [sys.executable, __file__, "--web", str(web.fileno())]
        server = stack.enter_context(child(command, environment, web))
        sides = [
            Side("direct", mock_address, key, []),
            Side(
                "governed",
                f"http://127.0.0.1:{web.getsockname()[1]}/v1",
                key,
                [server, postgres_of(state / "postgres")],
            ),
        ]
        rows = {
            (side.name, connections): measure(side, connections, seconds)
            for connections in CONNECTIONS
            for side in sides
        }
        table(rows)
        print(summary(rows, fsync="on"))


def main() -> None:
    """Act as the process that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mock", type=int)
    parser.add_argument("--web", type=int)
    parser.add_argument("--client", nargs=4)
    arguments = parser.parse_args()
    if arguments.mock:
        uvloop.run(serve_mock(arguments.mock))
    elif arguments.web:
        serve_web(arguments.web)
    elif arguments.client:
        address, key, connections, seconds = arguments.client
        uvloop.run(run_client(address, key, int(connections), float(seconds)))
    else:
        # In the project's folder: /tmp may be memory, and a commit should meet a disk.
        (ROOT / "var").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ROOT / "var", prefix="bench-") as folder:
            compare(Path(folder) / "state", arguments.seconds)


if __name__ == "__main__":
    main()
