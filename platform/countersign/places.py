"""The only place that makes, of the operator's variables, the places that checkpoints go to."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from audit import sinks, timestamps
from audit.buckets import Send
from audit.errors import Problem
from audit.places import Authority, Depot, Place, Witness
from countersign import settings, witnesses
from countersign.configuration import Configuration
from countersign.sending import send
from countersign.witnesses import WitnessAddress

logger = logging.getLogger(__name__)


def configured() -> list[Place]:
    """The places that this process's environment names. Raises ImproperlyConfigured."""
    return opened(settings.CONFIGURATION, send=send)


def opened(configuration: Configuration, *, send: Send) -> list[Place]:
    """The places that `configuration` names; none is asked anything yet.

    Raises ImproperlyConfigured with the name of the variable that is wrong.
    """
    try:
        return [
            *_witnesses(configuration, send),
            *_authorities(configuration, send),
            *_sinks(configuration, send),
        ]
    except Problem as problem:
        raise ImproperlyConfigured(str(problem)) from problem


def witness_keys(origin: str) -> list[str]:
    """The verifier keys of the witnesses that this process's environment names for this log.

    What can't be read names none: then nothing that waits for a witness may act.
    """
    try:
        found = _addresses(settings.CONFIGURATION)
    except ImproperlyConfigured as problem:
        logger.warning("%s", problem)
        return []
    return [str(key) for each in found if each.origin in {None, origin} for key in each.keys]


def _witnesses(configuration: Configuration, send: Send) -> list[Place]:
    found = _addresses(configuration)
    return [Witness(each.url, each.keys, send=send, origin=each.origin) for each in found]


def _addresses(configuration: Configuration) -> list[WitnessAddress]:
    text = configuration.COUNTERSIGN_WITNESSES
    if text.startswith("file:"):
        path = Path(unquote(urlsplit(text).path))
        text = _read(path, "COUNTERSIGN_WITNESSES").decode(errors="replace")
    try:
        return witnesses.parsed(text)
    except ValueError as problem:
        raise ImproperlyConfigured(f"COUNTERSIGN_WITNESSES: {problem}") from problem


def _authorities(configuration: Configuration, send: Send) -> list[Place]:
    path = configuration.COUNTERSIGN_TIMESTAMP_AUTHORITY
    if path is None:
        return []
    pem = _read(path, "COUNTERSIGN_TIMESTAMP_AUTHORITY")
    try:
        timestamps.check_authority(pem)
    except timestamps.AuthorityUnusable as problem:
        raise ImproperlyConfigured(f"COUNTERSIGN_TIMESTAMP_AUTHORITY: {problem}") from problem
    every = timedelta(minutes=configuration.COUNTERSIGN_TIMESTAMP_MINUTES)
    return [Authority(configuration.COUNTERSIGN_TIMESTAMP_URL, pem, every=every, send=send)]


def _sinks(configuration: Configuration, send: Send) -> list[Place]:
    url = configuration.COUNTERSIGN_CHECKPOINT_SINK
    if not url:
        return []
    keys = {
        "AWS_ACCESS_KEY_ID": configuration.AWS_ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": configuration.AWS_SECRET_ACCESS_KEY,
        "AWS_SESSION_TOKEN": configuration.AWS_SESSION_TOKEN,
    }
    environment = {name: value.get_secret_value() for name, value in keys.items()}
    variable = "COUNTERSIGN_CHECKPOINT_SINK"
    sink = sinks.opened(url, variable=variable, environment=environment, send=send)
    return [Depot(url.partition("?")[0], sink)]


def _read(path: Path, variable: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ImproperlyConfigured(f"{variable}: {path}: {problem.strerror}") from problem
