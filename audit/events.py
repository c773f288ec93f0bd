"""The only place that says what can be recorded: who acted, and which kinds of event exist."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, dataclass_transform

import msgspec

from audit.errors import Problem

ActorKind = Literal["member", "agent", "client_app", "system"]

_kinds: dict[str, type[Event]] = {}


class KindTaken(Problem):
    """The kind {kind} belongs to {owner} already."""

    code = "kind_taken"
    status = 500


class Actor(msgspec.Struct, frozen=True):
    """Who acted: a member's id, an agent's slug (and its version), a key's id, or the system."""

    kind: ActorKind
    id: str
    version: str | None = None
    on_behalf_of: str | None = None


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

    `class RunStarted(Event, kind="run.started")`; its docstring is the kind's documentation.
    """

    kind: ClassVar[str]


def registry() -> Mapping[str, type[Event]]:
    """Every kind of event that was imported, by its name."""
    return MappingProxyType(_kinds)


def data_of(event: Event) -> dict[str, Any]:
    """The event's fields as a JSON object."""
    fields: dict[str, Any] = msgspec.structs.asdict(event)  # type: ignore[arg-type]
    return fields
