"""The only place for where a tenant's addresses may lead."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from tenants import outgoing
from tenants.outgoing import AddressRefused, AnswerPacked, AnswerTooLarge, RedirectRefused

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "192.0.2.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "fe80::1",
    "fe80::1%25lo",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:0:0:0:0:f5ff:fffe",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
]
SPELLINGS = [
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "0",
    "0x0",
    "2852039166",
    "127.0.0.1.",
    "①②⑦.⓪.⓪.①",
    "１２７.0.0.1",  # noqa: RUF001  (full-width digits are the point)
    "localhost",
    "LOCALHOST",
    "localhost.",
    "acme.localhost",
]
PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]


def as_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class Names(AbstractResolver):
    """Answers each name with these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.addresses
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def loopback_allowed(settings: Any) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True


class Site:
    """A server that answers as each path says, and remembers what was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.headers.append(dict(request.headers))
        if request.path == "/redirect":
            return web.Response(status=302, headers={"Location": self.url("/secret")})
        if request.path == "/cookie":
            return web.Response(headers={"Set-Cookie": "tenant=acme"})
        if request.path == "/packed":
            return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
        if request.path == "/endless":
            endless = web.StreamResponse()
            await endless.prepare(request)
            for _ in range(1_000):
                await endless.write(b"x" * 10_000)
            return endless
        return web.Response(body=b"x" * 1_000)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.mark.parametrize("address", [*PRIVATE, *SPELLINGS])
def test_a_private_address_is_not_saved_however_it_is_spelled(address: str) -> None:
    with pytest.raises(AddressRefused):
        outgoing.check_url(f"https://{as_host(address)}:8443/v1")


@pytest.mark.parametrize("address", [*PRIVATE, *SPELLINGS])
async def test_a_private_address_is_not_called_however_it_is_spelled(address: str) -> None:
    async with outgoing.session(timeout=5) as session:
        with pytest.raises(AddressRefused):
            await session.get(f"http://{as_host(address)}/")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_saved(address: str) -> None:
    outgoing.check_url(f"https://{as_host(address)}/v1?region=eu")


@pytest.mark.parametrize("name", ["api.example.com", "xn--bcher-kva.example", "localhost.example"])
def test_a_name_is_saved_because_its_answers_are_judged_later(name: str) -> None:
    outgoing.check_url(f"https://{name}/v1")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "//api.example.com",
        "ftp://api.example.com",
        "file:///etc/passwd",
        "http://",
        "http:///v1",
        "http://api.example.com:99999/",
        "http://alice@api.example.com/",
        "http://alice:pw@api.example.com/",
        "http://:pw@api.example.com/",
        "http://api.example.com\\@127.0.0.1/",
        "http://api.example.com/\r\nHost: x",
        "http://api.example.com/ x",
        " http://api.example.com/",
        "http://[::1/",
        "http://api.example.com/" + "x" * 3_000,
    ],
)
def test_what_is_no_plain_web_address_is_not_saved(url: str) -> None:
    with pytest.raises(AddressRefused) as told:
        outgoing.check_url(url)
    assert "pw" not in str(told.value)


@pytest.mark.parametrize("address", [a for a in PRIVATE if "%" not in a])
async def test_a_name_with_a_private_answer_is_not_called(address: str) -> None:
    async with outgoing.session(timeout=5, resolver=Names(address)) as session:
        with pytest.raises(AddressRefused):
            await session.get("http://api.example.com/")


async def test_one_private_answer_among_public_ones_is_enough_to_refuse() -> None:
    names = Names("93.184.216.34", "127.0.0.1")
    async with outgoing.session(timeout=5, resolver=names) as session:
        with pytest.raises(AddressRefused):
            await session.get("http://api.example.com/")


async def test_an_answer_that_is_no_address_is_refused() -> None:
    async with outgoing.session(timeout=5, resolver=Names("nonsense")) as session:
        with pytest.raises(AddressRefused):
            await session.get("http://api.example.com/")


async def test_the_socket_is_checked_even_if_the_resolver_is_not(
    monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    """A name whose answer changes between the check and the connection reaches nothing."""
    monkeypatch.setattr(outgoing, "CheckedResolver", lambda resolver: resolver)
    async with outgoing.session(timeout=5, resolver=Names("127.0.0.1")) as session:
        with pytest.raises(AddressRefused):
            await session.get(site.url("/", host="api.example.com"))
    assert site.asked == []


async def test_the_connection_goes_to_the_address_that_was_checked(
    loopback_allowed: None, site: Site
) -> None:
    names = Names("127.0.0.1")
    async with outgoing.session(timeout=5, resolver=names) as session:
        response = await session.get(site.url("/hello", host="api.example.com"))
        await response.read()
    assert names.asked == ["api.example.com"]
    assert site.headers[0]["Host"] == f"api.example.com:{site.port}"


async def test_an_operator_may_allow_private_addresses(loopback_allowed: None, site: Site) -> None:
    outgoing.check_url(site.url("/"))
    outgoing.check_url("http://localhost/")
    async with outgoing.session(timeout=5) as session, session.get(site.url("/")) as response:
        assert response.status == 200


async def test_a_redirect_is_not_followed(loopback_allowed: None, site: Site) -> None:
    async with outgoing.session(timeout=5) as session:
        for method in ("GET", "POST"):
            with pytest.raises(RedirectRefused):
                await session.request(method, site.url("/redirect"))
    assert site.asked == ["/redirect"] * 2


async def test_a_proxy_of_the_environment_is_ignored(
    loopback_allowed: None, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with outgoing.session(timeout=5) as session, session.get(site.url("/")) as response:
        assert response.status == 200


async def test_no_cookie_of_one_tenant_is_shown_to_another(
    loopback_allowed: None, site: Site
) -> None:
    async with outgoing.session(timeout=5) as session:
        await (await session.get(site.url("/cookie"))).read()
        await (await session.get(site.url("/hello"))).read()
    assert "Cookie" not in site.headers[1]


@pytest.mark.parametrize("path", ["/hello", "/endless"])
async def test_an_answer_is_read_up_to_a_limit(
    loopback_allowed: None, site: Site, path: str
) -> None:
    async with outgoing.session(timeout=5) as session, session.get(site.url(path)) as response:
        with pytest.raises(AnswerTooLarge, match="999 bytes"):
            await outgoing.read_bounded(response, 999)


async def test_an_answer_of_exactly_the_limit_is_read(loopback_allowed: None, site: Site) -> None:
    async with outgoing.session(timeout=5) as session, session.get(site.url("/")) as response:
        assert await outgoing.read_bounded(response, 1_000) == b"x" * 1_000


async def test_a_packed_answer_is_not_unpacked(loopback_allowed: None, site: Site) -> None:
    async with outgoing.session(timeout=5) as session, session.get(site.url("/packed")) as response:
        with pytest.raises(AnswerPacked):
            await outgoing.read_bounded(response, 1_000)


async def test_a_timeout_in_seconds_bounds_the_whole_exchange(loopback_allowed: None) -> None:
    async with outgoing.session(timeout=3) as session:
        assert session.timeout == aiohttp.ClientTimeout(total=3, sock_connect=3)


@pytest.mark.parametrize(
    "address",
    [
        "udp://siem.test:514",
        "https://siem.test:6514",
        "tls://siem.test",
        "tls://siem.test:0",
        "tls://:6514",
        "tls://user@siem.test:6514",
        "tls://siem.test:6514/path",
        "tls://siem.test:6514?query",
        "tls://siem.test:6514#part",
        "tls://siem.test:65536",
        "tls://siem .test:6514",
        "tls://127.0.0.1:6514",
        "tcp://localhost:6514",
        "tcp://[::1]:6514",
        "siem.test:6514",
        "",
    ],
)
def test_an_address_of_a_socket_is_a_public_host_and_a_port(address: str) -> None:
    with pytest.raises(AddressRefused):
        outgoing.peer_of(address)


def test_an_address_of_a_socket_is_understood() -> None:
    assert outgoing.peer_of("tls://siem.test:6514") == ("siem.test", 6514, True)
    assert outgoing.peer_of("tcp://[2606:4700::1]:601/") == ("2606:4700::1", 601, False)
