"""The only place that decides what an agent does next: pure, from the transcript alone."""

from __future__ import annotations

from typing import Any

import msgspec

from audit import canonical
from gateway import requests
from governance.evidence import storable
from governance.intents import CallModel, Intent, SearchCollection, UseTool
from runtime import foreign, schemas
from runtime.transcripts import Call, ModelTurn, Offer, Transcript


class Finished(msgspec.Struct, frozen=True):
    """The model gave an answer instead of a proposal."""

    answer: str


class Refused(msgspec.Struct, frozen=True):
    """The model proposed something that is no intent; it is told so."""

    call: Call
    code: str
    message: str


def next_intent(transcript: Transcript) -> Intent | Refused | Finished:
    """The next thing to do. Untrusted text only reaches it as values of turns.

    1. A proposal that has no result yet is next, in the model's order.
    2. If the model has answered without proposing anything, the run is finished.
    3. Otherwise it is the model's turn.
    """
    pending = transcript.pending_call()
    if pending is not None:
        return _proposed(pending, transcript)
    last = transcript.turns[-1] if transcript.turns else None
    if isinstance(last, ModelTurn):
        return Finished(last.content)
    return _ask_the_model(transcript)


def _step(transcript: Transcript) -> int:
    return len(transcript.turns) + 1


def _ask_the_model(transcript: Transcript) -> Intent:
    return CallModel(
        tenant=transcript.tenant,
        principal_kind="agent",
        principal=transcript.agent,
        agent_version=transcript.version,
        resource=transcript.route,
        arguments=requests.arguments(transcript.chat_request()),
        run=transcript.run,
        step=_step(transcript),
        on_behalf_of=transcript.on_behalf_of,
    )


def _proposed(call: Call, transcript: Transcript) -> Intent | Refused:
    offer = next((offer for offer in transcript.offers if offer.name == call.name), None)
    if offer is None:
        return Refused(call, "unknown_tool", f"There is no function {call.name[:100]!r}.")
    arguments, problem = _checked_arguments(call, offer)
    if arguments is None:
        return Refused(call, "invalid_arguments", problem)
    kind = UseTool if offer.action == "use_tool" else SearchCollection
    return kind(
        tenant=transcript.tenant,
        principal_kind="agent",
        principal=transcript.agent,
        agent_version=transcript.version,
        resource=offer.resource,
        arguments=arguments,
        run=transcript.run,
        step=_step(transcript),
        on_behalf_of=transcript.on_behalf_of,
    )


def _checked_arguments(call: Call, offer: Offer) -> tuple[dict[str, Any] | None, str]:
    """The arguments if they fit the schema, can be hashed and kept; else None, and why not."""
    try:
        arguments = foreign.parsed(call.arguments or "{}")
        canonical.encode(arguments)
    except (foreign.Unreadable, canonical.NotCanonical) as problem:
        return None, f"The arguments can't be used: {problem}"
    if not isinstance(arguments, dict):
        return None, "The arguments are not a JSON object."
    mismatch = schemas.mismatch(arguments, offer.parameters)
    if mismatch:
        return None, f"The arguments do not fit the schema {mismatch}."
    if not storable(arguments):
        return None, "The arguments hold a NUL character."
    return arguments, ""
