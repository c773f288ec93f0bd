"""The only place that reads PKCS #11 URIs (RFC 7512): a label of keys, their token, its module.

Both labels, the module and the file of the PIN are named; what else the token says of itself may
be. Whatever is left out, unknown, given twice or malformed is refused, and no value is repeated in
a message: somebody may have written the PIN there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

SCHEME = "pkcs11:"
SHAPE = "pkcs11:token=…;object=…?module-path=/…&pin-source=file:/…"
# What tells a token, and the keys in it: sections 2.3 and 2.4.
NEEDED = ("token", "object", "module-path", "pin-source")
IN_PATH = ("token", "object", "manufacturer", "model", "serial")
IN_QUERY = ("module-path", "pin-source")
# pk11-pchar and pk11-qchar of the ABNF.
PLAIN = r"A-Za-z0-9._~:\[\]@!$'()*+,="
PATH_VALUE = re.compile(rf"(?:[{PLAIN}&-]|%[0-9A-Fa-f]{{2}})+")
QUERY_VALUE = re.compile(rf"(?:[{PLAIN}/?|-]|%[0-9A-Fa-f]{{2}})+")
ATTRIBUTE = re.compile(r"[a-z-]{1,40}")
PIN_FILE = re.compile(r"file:(?://)?(/[^/].*)")


class KeyUri(NamedTuple):
    """The keys labelled `label` in the token labelled `token`, and how to get at them.

    `told` is what else the token must say of itself; `place` names the keys in messages.
    """

    token: str
    label: str
    told: Mapping[str, str]
    module: Path
    pin_file: Path
    place: str


def parsed(text: str) -> KeyUri:
    """The keys that the URI `text` names. Raises ValueError with what is wrong, and what to do."""
    if not text.startswith(SCHEME):
        raise ValueError(f"must be a PKCS #11 URI: {SHAPE}")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    if re.search(r"(^|[;&])pin-value(=|&|$)", query) or "pin-value=" in path:
        raise ValueError(
            "must not hold pin-value: write the PIN into a file with mode 0600, and name that by"
            " pin-source=file:/…"
        )
    found = _attributes(path, ";", IN_PATH, PATH_VALUE)
    found |= _attributes(query, "&", IN_QUERY, QUERY_VALUE)
    if missing := [name for name in NEEDED if name not in found]:
        raise ValueError(f"must name {' and '.join(missing)} too: {SHAPE}")
    told = {name: found[name] for name in IN_PATH if name in found and name not in NEEDED}
    module, pin_file = _module(found["module-path"]), _pin_file(found["pin-source"])
    return KeyUri(found["token"], found["object"], told, module, pin_file, SCHEME + path)


def _attributes(
    text: str, between: str, known: tuple[str, ...], value: re.Pattern[str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(between) if text else ():
        name, is_given, written = part.partition("=")
        if name not in known or not is_given:
            what = name if is_given and ATTRIBUTE.fullmatch(name) else "a part"
            raise ValueError(f"has {what} where it may hold {', '.join(known)}")
        if name in found:
            raise ValueError(f"names {name} twice")
        if not value.fullmatch(written):
            raise ValueError(f"has no value for {name} that RFC 7512 allows: percent-encode it")
        found[name] = _decoded(name, written)
    return found


def _decoded(name: str, written: str) -> str:
    try:
        text = unquote_to_bytes(written).decode()
    except UnicodeDecodeError:
        raise ValueError(f"has a value for {name} that is not UTF-8") from None
    if not text.isprintable():
        raise ValueError(f"has a control character in the value for {name}")
    return text


def _module(text: str) -> Path:
    if not text.startswith("/"):
        raise ValueError("must name the module by an absolute path: module-path=/…")
    return Path(text)


def _pin_file(text: str) -> Path:
    found = PIN_FILE.fullmatch(text)
    if not found:
        raise ValueError("must name a file that holds the PIN, on this machine: pin-source=file:/…")
    return Path(found[1])
