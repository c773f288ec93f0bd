"""The only place that opens connections to addresses which a tenant chose.

The name is checked when it is saved, each DNS answer when it is resolved, and the socket's own
address when it is made, so that a name which changes its mind in between reaches nothing. MUST NOT
follow redirects, use a proxy or `.netrc` of the environment, keep cookies, or unpack an answer
(a small answer could unpack to a huge one; servers are asked for `identity`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from time import monotonic
from typing import Any, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from django.conf import settings
from yarl import URL

from audit.errors import Problem

CONNECT_SECONDS = 10
CONNECTIONS = 1_000
LONGEST_URL = 2_000
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Addresses that carry an IPv4 address: RFC 6052 (NAT64) and RFC 4291 2.5.5.1 (compatible).
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")

AnyAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(Problem):
    """The address {address} may not be used: {reason}."""

    code = "address_refused"
    status = 422


class RedirectRefused(Problem):
    """The server at {address} answered with a redirect, and redirects are not followed."""

    code = "redirect_refused"
    status = 502


class AnswerTooLarge(Problem):
    """The server at {address} answered more than {limit} bytes."""

    code = "answer_too_large"
    status = 502


class AnswerPacked(Problem):
    """The server at {address} compressed its answer although it was asked not to."""

    code = "answer_packed"
    status = 502


def check_url(url: str) -> None:
    """Refuse a URL that could never be called: for the moment when a tenant saves it.

    Raises AddressRefused; its message names the host at most, since a URL may hold secrets.
    """
    parsed = _url(url)
    host = parsed.raw_host
    if parsed.scheme not in {"http", "https"} or not host:
        raise AddressRefused(address=host or "given", reason="it is not an http or https URL")
    if parsed.raw_user is not None or parsed.raw_password is not None:
        raise AddressRefused(address=host, reason="it holds a user name or a password")
    check_host(host)


def _url(text: str) -> URL:
    if len(text) > LONGEST_URL or any(c <= " " or c in "\\\x7f" for c in text):
        raise AddressRefused(address="given", reason="it is not a URL")
    try:
        return URL(text)
    except ValueError:
        raise AddressRefused(address="given", reason="it is not a URL") from None


def check_host(host: str) -> None:
    """Refuse a host that is spelled as a private address, or names this machine.

    Names are judged by their DNS answers when they are resolved. Raises AddressRefused.
    """
    name = host.rstrip(".").lower()
    literal = _literal(name)
    if literal is not None:
        _check_address(literal, host)
    elif not settings.ALLOW_PRIVATE_ADDRESSES and (
        name == "localhost" or name.endswith(".localhost")
    ):
        raise AddressRefused(address=host, reason="it is this machine")


class Peer(NamedTuple):
    """The far end of a connection that is not HTTP."""

    host: str
    port: int
    is_tls: bool


def peer_of(address: str) -> Peer:
    """What `tcp://host:port` or `tls://host:port` names, refused where `check_url` refuses.

    Raises AddressRefused.
    """
    parsed = _url(address)
    host, port = parsed.raw_host, parsed.explicit_port
    if parsed.scheme not in {"tcp", "tls"} or not host or not port:
        raise AddressRefused(address=host or "given", reason="it is not tcp:// or tls://host:port")
    if str(parsed.origin()) != str(parsed).rstrip("/"):
        raise AddressRefused(address=host, reason="it holds more than a host and a port")
    check_host(host)
    return Peer(host, port, parsed.scheme == "tls")


@contextlib.contextmanager
def connected(
    peer: Peer, *, deadline: float, context: ssl.SSLContext | None
) -> Iterator[socket.socket]:
    """A connection until the end of the block, each address of it checked; TLS with a `context`.

    `deadline` is of the monotonic clock. Raises AddressRefused, OSError (TimeoutError among them).
    """
    check_host(peer.host)
    found = socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    for info in found:  # one refused answer refuses the name
        _check_address(_parsed(str(info[4][0])), peer.host)
    with contextlib.ExitStack() as stack:
        made: socket.socket = stack.enter_context(_connected(found, deadline))
        if context is not None:
            made = stack.enter_context(context.wrap_socket(made, server_hostname=peer.host))
        yield made


def _connected(found: list[Any], deadline: float) -> socket.socket:
    """A connection to the first of the addresses that answers."""
    failure = OSError("it has no address")
    for info in found:
        made = _checked_socket(info)
        try:
            made.settimeout(min(CONNECT_SECONDS, left(deadline)))
            made.connect(info[4])
        except OSError as problem:
            made.close()
            failure = problem
        else:
            return made
    raise failure


def left(deadline: float) -> float:
    """The seconds until then, by the monotonic clock. Raises TimeoutError where it is over."""
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def session(
    *, timeout: float | aiohttp.ClientTimeout, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """Return an open session for addresses that tenants chose; use it with `async with`.

    `timeout` is in seconds for a whole exchange. Requests raise AddressRefused and
    RedirectRefused beside what aiohttp raises. `resolver` replaces the system's DNS, and is
    checked like it.
    """
    if not isinstance(timeout, aiohttp.ClientTimeout):
        timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(CONNECT_SECONDS, timeout))
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=CheckedResolver(resolver or aiohttp.ThreadedResolver()),
            socket_factory=_checked_socket,
            limit=CONNECTIONS,
        ),
        timeout=timeout,
        middlewares=(_refuse_bad_hosts_and_redirects,),
        headers={"Accept-Encoding": "identity", "User-Agent": "countersign"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


async def read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body of an answer, at most `limit` bytes.

    Raises AnswerTooLarge (without reading on) and AnswerPacked.
    """
    host = response.url.raw_host or ""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise AnswerPacked(address=host)
    if (response.content_length or 0) > limit:
        raise AnswerTooLarge(address=host, limit=limit)
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise AnswerTooLarge(address=host, limit=limit)
    return bytes(body)


class CheckedResolver(AbstractResolver):
    """Passes on what another resolver answers, if every single address may be used."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`; one refused answer refuses the name."""
        answers = await self._resolver.resolve(host, port, family)
        for answer in answers:
            _check_address(_parsed(answer["host"]), host)
        return answers

    async def close(self) -> None:
        """Close the resolver that is asked."""
        await self._resolver.close()


def _checked_socket(info: tuple[Any, ...]) -> socket.socket:
    """Make the socket for one address (a getaddrinfo tuple), if it may be used."""
    family, kind, protocol, _, peer = info
    _check_address(_parsed(peer[0]), peer[0])
    return socket.socket(family=family, type=kind, proto=protocol)


async def _refuse_bad_hosts_and_redirects(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    host = request.url.raw_host or ""
    check_host(host)
    response = await handler(request)
    if response.status in REDIRECTS:
        response.close()
        raise RedirectRefused(address=host)
    return response


def _check_address(address: AnyAddress | None, name: str) -> None:
    if settings.ALLOW_PRIVATE_ADDRESSES:
        return
    if address is None or not all(map(_is_public, _meanings(address))):
        raise AddressRefused(address=name, reason="it is not on the public internet")


def _is_public(address: AnyAddress) -> bool:
    # is_global alone lets multicast and the reserved blocks through.
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)
    )


def _meanings(address: AnyAddress) -> list[AnyAddress]:
    """Return the address and each IPv4 address that a host or a relay may read in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in NAT64:
        return [_last_32_bits(address)]
    inner: list[AnyAddress] = [address]
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    if address.teredo is not None:
        inner.extend(address.teredo)
    if address in IPV4_COMPATIBLE:
        inner.append(_last_32_bits(address))
    return inner


def _last_32_bits(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


def _literal(host: str) -> AnyAddress | None:
    """Return the address that `host` spells, in any spelling that a C library accepts."""
    parsed = _parsed(host.removeprefix("[").removesuffix("]"))
    if parsed is not None:
        return parsed
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _parsed(text: str) -> AnyAddress | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
