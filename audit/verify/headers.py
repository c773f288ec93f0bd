"""The only place that reads an entry: one line, one expression that is also the check of its form.

The header's members stand in one order and have one way to be written, so matching the expression
is being canonical JSON (RFC 8785). What it does not look into is the event, which it finds by its
place between `correlation` and `id`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from audit.verify import json_text

# Any text in canonical JSON: control characters and the two that must be are escaped, no other.
_ESCAPE = rb'\\(?:["\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))'
# Possessive (`*+`): what was matched is not tried again in another way.
TEXT = rb'[^"\\\x00-\x1f]*+(?:' + _ESCAPE + rb'[^"\\\x00-\x1f]*+)*+'
UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# The year 2000 to 2999; good to compare as text.
TIME = rb"2[0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
HASH = rb"[0-9a-f]{64}"

# Groups: correlation, event, id, kind, occurred_at, previous, recorded_at, sequence, subject.
SHAPE = (
    rb'\{"actor":\{"id":"%(text)s","kind":"(?:agent|member|client_app|system)",'
    rb'"means":(?:null|"(?:session|token|service_key)"),"on_behalf_of":(?:null|"%(text)s"),'
    rb'"version":(?:null|"%(text)s")\},"correlation":(?:null|"(%(uuid)s)"),"event":(\{(?s:.*)\}),'
    rb'"id":"(%(uuid)s)","kind":"([a-z0-9_.]{1,100})","log":"%(log)s","occurred_at":"(%(time)s)",'
    rb'"previous":(?:null|"(%(hash)s)"),"recorded_at":"(%(time)s)",'
    rb'"sequence":(?:null|(0|[1-9][0-9]{0,14})),"subject":(?:null|"(%(uuid)s)")\}'
)
_OF_ANY_LOG = re.compile(
    SHAPE % {b"text": TEXT, b"uuid": UUID, b"hash": HASH, b"time": TIME, b"log": TEXT}
)
_SHOWN = re.compile(
    rb'"id":"(' + UUID + rb')","kind":"([a-z0-9_.]{1,100})","log":"(' + TEXT + rb')"'
)

Match = Callable[[bytes], "re.Match[bytes] | None"]


def matcher(origin: str) -> Match:
    """What matches a line that is an entry of the log `origin`."""
    written = re.escape(json_text.canonical(origin)[1:-1])
    shape = SHAPE % {b"text": TEXT, b"uuid": UUID, b"hash": HASH, b"time": TIME, b"log": written}
    return re.compile(shape).fullmatch


def matches_any_log(line: bytes) -> re.Match[bytes] | None:
    """What `matcher` matches, whatever the log."""
    return _OF_ANY_LOG.fullmatch(line)


def shown(line: bytes) -> tuple[str, str, str]:
    """The id, kind and log that a line still shows, whatever else is wrong with it, or ""."""
    match = _SHOWN.search(line)
    if match is None:
        return "", "", ""
    id_, kind, log = (part.decode(errors="replace") for part in match.groups())
    return id_, kind, log


def time_between(start: bytes, end: bytes) -> timedelta:
    """From one entry's time to another's; negative if it is the other way round."""
    try:
        return datetime.fromisoformat(end.decode()) - datetime.fromisoformat(start.decode())
    except ValueError:  # the thirtieth of February: what is no day is no hour ago
        return timedelta()


class Header:
    """One entry: its place, its line, and what the expression found in it."""

    __slots__ = ("_actor", "_event", "_id", "_line", "_raw_event", "_sequence", "_subject",
                 "correlation", "index", "kind", "occurred_at", "recorded_at")  # fmt: skip

    def __init__(self, index: int, line: bytes, groups: tuple[Any, ...]) -> None:
        self.index = index
        self._line = line
        (self.correlation, self._raw_event, self._id, self.kind, self.occurred_at, _,
         self.recorded_at, self._sequence, self._subject) = groups  # fmt: skip
        self._event: dict[str, Any] | None = None
        self._actor: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The entry's id."""
        return str(self._id, "ascii")

    @property
    def subject(self) -> str | None:
        """The id of the key that its body is encrypted under, or None."""
        return None if self._subject is None else str(self._subject, "ascii")

    @property
    def sequence(self) -> int:
        """Its number in its correlation; -1 without one."""
        return -1 if self._sequence is None else int(self._sequence)

    @property
    def event(self) -> dict[str, Any]:
        """The fields of its kind. Raises ValueError where they are not canonical JSON."""
        if self._event is None:
            # The expression saw to the braces, so it is an object.
            self._event = json_text.load_canonical(self._raw_event)
        return self._event

    @property
    def actor(self) -> dict[str, Any]:
        """Who acted: kind, id, version, on_behalf_of, means."""
        if self._actor is None:
            start = len('{"actor":')
            # A quote inside of a text is escaped, so this is found first where the actor ends.
            self._actor = json.loads(self._line[start : self._line.index(b',"correlation":')])
        return self._actor
