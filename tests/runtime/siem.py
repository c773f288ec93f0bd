"""The only place for the receivers of the tests' streams: a syslog server and a web server."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def certificate(folder: Path, name: str = "127.0.0.1") -> tuple[ssl.SSLContext, str]:
    """A server's TLS with a certificate of its own, and that certificate as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / f"{name}.pem"
    path.write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, pem.decode()


class _InAThread:
    """A server with an event loop of its own, until the end of the block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    async def start(self) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._wind_up(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _wind_up(self) -> None:
        await self.stop()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def read_all(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bytes:
    """A receiver as it should be: it reads to the end, then closes its side."""
    return await reader.read()


class SyslogServer(_InAThread):
    """Takes framed messages; each connection's as one list, in `batches`."""

    def __init__(
        self, behave: Behaviour = read_all, *, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        super().__init__()
        self.behave = behave
        self.tls = tls
        self.port = port
        self.batches: list[list[bytes]] = []

    @property
    def address(self) -> str:
        return f"{'tls' if self.tls else 'tcp'}://127.0.0.1:{self.port}"

    @property
    def messages(self) -> list[bytes]:
        return [message for batch in self.batches for message in batch]

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._take, "127.0.0.1", self.port, ssl=self.tls, limit=2**12
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.batches.append(unframed(await self.behave(reader, writer)))
        except ConnectionError:
            pass
        finally:
            writer.close()


def unframed(data: bytes) -> list[bytes]:
    """The messages in a stream of octet-counted frames (RFC 6587, 3.4.1)."""
    found = []
    while data:
        length, _, data = data.partition(b" ")
        if len(data) < int(length):
            break
        found.append(data[: int(length)])
        data = data[int(length) :]
    return found


class WebhookServer(_InAThread):
    """Takes webhooks: `requests` are their headers and bodies. `answer` says what is answered."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__()
        self.tls = tls
        self.port = port
        self.answer: Answer | int = 204
        self.requests: list[tuple[dict[str, str], bytes]] = []

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/siem?key=k"

    async def start(self) -> None:
        self._server = web.Server(self._take)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(({k.lower(): v for k, v in request.headers.items()}, body))
        if isinstance(self.answer, int):
            return web.Response(status=self.answer)
        made: Any = await self.answer(request)  # type: ignore[arg-type]
        return made  # type: ignore[no-any-return]
