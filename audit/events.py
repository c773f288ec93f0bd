"""The only place that says what can be recorded: who acted, and which kinds of event exist."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeVar,
    dataclass_transform,
    get_args,
    get_type_hints,
)

import msgspec

from audit.errors import Problem

ActorKind = Literal["member", "agent", "client_app", "system"]
Means = Literal["session", "token", "service_key"]

MEMBER_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KEY_ID = re.compile(r"[0-9a-f]{16}")

T = TypeVar("T")

# A field that may be about a person. The entry holds its commitment; salt and value are in the
# body, which can be erased.
Private = Annotated[T, "private"]
# The same, with a salt that is derived: the same value has the same commitment in every entry of
# its subject. For what entries must agree on.
Bound = Annotated[T, "private", "bound"]

_kinds: dict[str, type[Event]] = {}


class KindTaken(Problem):
    """The kind {kind} belongs to {owner} already."""

    code = "kind_taken"
    status = 500


class Actor(msgspec.Struct, frozen=True):
    """Who acted: a member's id, an agent's slug (and its version), a key's id, or the system.

    `on_behalf_of` is a member's id or a name; an entry holds the name's pseudonym. `means` says how
    they proved who they are.
    """

    kind: ActorKind
    id: str
    version: str | None = None
    on_behalf_of: str | None = None
    means: Means | None = None

    @property
    def is_for_a_name(self) -> bool:
        """Whether it is done for somebody who is known by a name only, and not by an id."""
        return self.on_behalf_of is not None and _kind_of_id(self.on_behalf_of) is None

    @property
    def person(self) -> str:
        """The name of the data subject: for whom it is done, or who acts (see audit.subjects)."""
        if self.on_behalf_of is None:
            return f"{self.kind}:{self.id}"
        return person_of(self.on_behalf_of)


def person_of(name: str) -> str:
    """The name of the data subject (see audit.subjects) for whom something is done: an id's kind is
    told by its form, and whoever has none is a person.
    """
    return f"{_kind_of_id(name) or 'person'}:{name}"


def is_id(name: str) -> bool:
    """Whether `name` could be a member's id or a key's, and not a person's name."""
    return _kind_of_id(name) is not None


def _kind_of_id(name: str) -> ActorKind | None:
    if MEMBER_ID.fullmatch(name):
        return "member"
    return "client_app" if KEY_ID.fullmatch(name) else None


SYSTEM = Actor(kind="system", id="countersign")


class _Kinds(msgspec.StructMeta):
    """Takes `kind` from the class statement; each event is frozen and keyword-only."""

    def __new__(  # noqa: PYI034  (a metaclass has no Self)
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        kind: str = "",
        **options: Any,
    ) -> _Kinds:
        made = super().__new__(
            mcls, name, bases, {**namespace, "kind": kind}, frozen=True, kw_only=True, **options
        )
        if kind:
            _register(kind, made)
        return made


def _register(kind: str, made: type[Any]) -> None:
    if kind in _kinds:
        owner = _kinds[kind]
        raise KindTaken(kind=kind, owner=f"{owner.__module__}.{owner.__qualname__}")
    _kinds[kind] = made


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Event(metaclass=_Kinds):
    """What happened. A subclass names its kind; its fields are str, int, bool, list, dict or None.

    What may be about a person is `Private[...]` or `Bound[...]`.
    `class RunStarted(Event, kind="run.started")`; its docstring is the kind's documentation.
    """

    kind: ClassVar[str]


def registry() -> Mapping[str, type[Event]]:
    """Every kind of event that was imported, by its name."""
    return MappingProxyType(_kinds)


@functools.cache
def private_fields(kind: type[Event]) -> Mapping[str, bool]:
    """The private fields of a kind of event, and whether each is bound."""
    hints = get_type_hints(kind, include_extras=True)
    marks = {name: _marks(hint) for name, hint in hints.items() if name in _fields(kind)}
    return {name: "bound" in each for name, each in marks.items() if "private" in each}


def _marks(hint: Any) -> set[str]:
    """How a field is marked, also deep inside: of `Private[str] | None` all is private."""
    own = {mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, str)}
    return own.union(*map(_marks, get_args(hint)))


def _fields(kind: type[Any]) -> tuple[str, ...]:
    return kind.__struct_fields__  # type: ignore[no-any-return]


def data_of(event: Event) -> dict[str, Any]:
    """The event's fields as a JSON object, private ones in the clear."""
    fields: dict[str, Any] = msgspec.structs.asdict(event)  # type: ignore[arg-type]
    return fields


class SubjectErased(Event, kind="subject.erased"):
    """A person was erased: PostgreSQL destroyed `subjects`' keys and bodies as this was recorded.

    `receipts` says how much each store gave up; `approvers` are the members who decided it.
    """

    subjects: list[str]
    legal_basis: str
    approvers: list[str]
    receipts: dict[str, int]


class HoldPlaced(Event, kind="hold.placed"):
    """A legal hold keeps `subjects` (null: the whole ledger) from erasure and retention."""

    subjects: list[str] | None
    person: Private[str | None]
    reason: Private[str]


class HoldReleased(Event, kind="hold.released"):
    """A legal hold ended; `hold` is the entry that placed it."""

    hold: str
    reason: Private[str]


class RetentionApplied(Event, kind="retention.applied"):
    """Bodies whose time was over were destroyed: of kinds that begin with one of `kinds`, before
    the index `before_index`. What is held stayed. `count` is how many there were.
    """

    kinds: list[str]
    before_index: int
    count: int


class Heartbeat(Event, kind="ledger.heartbeat"):
    """Nothing else was recorded for an hour, and recording works."""


class KeyRotated(Event, kind="ledger.key_rotated"):
    """The first checkpoint that covers this, and all later ones, are signed with `verifier_key`,
    in place of `replaces` (null: the log had no such key before).
    """

    verifier_key: str
    replaces: str | None
