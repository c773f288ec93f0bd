"""The only place for intents: what somebody wants to do, frozen, with its digest."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from audit import canonical

PrincipalKind = Literal["member", "agent", "client_app"]


class Intent(msgspec.Struct, frozen=True, kw_only=True, tag_field="action"):
    """One proposed act. Only its subclasses are constructed; each of them is one action.

    `agent_version` is the decimal number of the agent's version, `step` the number of the step
    in `run`, `on_behalf_of` the id of the person or client app for whom an agent acts.
    """

    tenant: str
    principal_kind: PrincipalKind
    principal: str
    resource: str
    arguments: dict[str, Any]
    agent_version: str | None = None
    run: str | None = None
    step: int | None = None
    on_behalf_of: str | None = None

    @property
    def action(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def digest(self) -> str:
        """Hex SHA-256 over the canonical JSON (RFC 8785) of all of it.

        Computed anew each time: an argument that was changed after the decision no longer fits
        the permit. Raises `NotCanonical` for floats and other values that can't be hashed.
        """
        return canonical.digest(as_json(self))


class CallModel(Intent, frozen=True, kw_only=True, tag="call_model"):
    """Ask a model through a route."""


class SearchCollection(Intent, frozen=True, kw_only=True, tag="search_collection"):
    """Search the documents of a collection."""


class UseTool(Intent, frozen=True, kw_only=True, tag="use_tool"):
    """Call a tool with arguments."""


class Remember(Intent, frozen=True, kw_only=True, tag="remember"):
    """Keep something beyond the run."""


def as_json(intent: Intent) -> dict[str, Any]:
    """The intent as plain JSON values, its action included: what is hashed and what is stored."""
    return {"action": intent.action, **msgspec.structs.asdict(intent)}
