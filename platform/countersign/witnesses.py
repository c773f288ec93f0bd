"""The only place that reads how an operator writes down witnesses."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from audit import checkpoints
from audit.checkpoints import CheckpointMalformed, KeyKind, VerifierKey

OF_A_WITNESS = (KeyKind.ED25519_COSIGNATURE, KeyKind.MLDSA44_COSIGNATURE)
# Nothing that would be sent otherwise than it is written here.
URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?(#[a-z0-9./:_-]+)?")


class WitnessAddress(NamedTuple):
    """Where a witness is, its keys (of one name), and the log that it is for (None: each log)."""

    url: str
    keys: tuple[VerifierKey, ...]
    origin: str | None


def parsed(text: str) -> list[WitnessAddress]:
    """The witnesses in `text`: `<verifier key>@<URL>`, with blanks or newlines between them.

    `…@<URL>#<origin>` is for the log of that origin alone. Two keys of one URL are one witness's.
    Raises ValueError with what is wrong.
    """
    keys: dict[str, list[VerifierKey]] = {}
    for word in text.split():
        key, url = _pair(word)
        keys.setdefault(url, []).append(key)
    return [_address(url, found) for url, found in keys.items()]


def _pair(word: str) -> tuple[VerifierKey, str]:
    text, _, url = word.rpartition("@")
    if not URL.fullmatch(url):
        raise ValueError(f"{word[:80]!r} is not a verifier key, an @ and an http or https URL")
    try:
        key = checkpoints.parse_key(text)
    except CheckpointMalformed as problem:
        raise ValueError(f"{word[:80]!r}: {problem}") from None
    if key.kind not in OF_A_WITNESS:
        raise ValueError(f"{word[:80]!r}: the key is a log's, not a witness's")
    return key, url


def _address(url: str, keys: list[VerifierKey]) -> WitnessAddress:
    if len({key.name for key in keys}) != 1:
        raise ValueError(f"{url} is given with keys of several names")
    parts = urlsplit(url)
    return WitnessAddress(parts._replace(fragment="").geturl(), tuple(keys), parts.fragment or None)
