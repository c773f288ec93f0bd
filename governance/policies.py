"""The only place that asks Cedar: compiles a tenant's policies and evaluates one request."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cedarpy
import msgspec

from audit import states
from audit.states import State
from governance import validation
from governance.schemas import CedarType, argument_types, schema_for
from governance.validation import PolicyInvalid

__all__ = [
    "ACTIONS",
    "DEFAULT_POLICY",
    "CompiledPolicies",
    "Entity",
    "PolicyInvalid",
    "Request",
    "Verdict",
    "compile",
    "evaluate",
    "render_schema",
    "schema_for",
]

ACTIONS = ("invoke", "invoke_unattended")
DEFAULT_POLICY = Path(__file__).with_name("default.cedar").read_text(encoding="utf-8")

_RAISED = re.compile(r"error while evaluating policy `(policy\d+)`")

Outcome = Literal["allowed", "held", "denied"]


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A principal or a resource with its attributes. The id may be any string."""

    type: str
    id: str
    attributes: dict[str, Any]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What both questions are asked about. `context` as `schemas.schema_for` types it."""

    principal: Entity
    resource: Entity
    context: dict[str, Any]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the policies say. MUST NOT be acted on without a decision that records it.

    `code` says why in one word; `reasons` are the `@id`s of the policies that brought it about,
    `matched` those of every policy that matched; `errors` are Cedar's own words, and
    may quote arguments. Version 0 stands for a denial before any policy was asked. `awaits` is
    how far the ledger must be with it before anything is done, and `grant` what let an agent in.
    """

    outcome: Outcome
    code: str
    reasons: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    policy_version: int = 0
    policy_sha256: str = ""
    awaits: State = "recorded"
    grant: str | None = None


class CompiledPolicies(msgspec.Struct, frozen=True, kw_only=True):
    """A validated policy text with its parsed handles. Immutable; shared between threads."""

    sha256: str
    version: int
    policies: cedarpy.PolicySet
    schema: cedarpy.Schema
    arguments: dict[str, CedarType]
    ids: dict[str, str]  # each @id by the name that Cedar gives to the policy, its position
    awaits: dict[str, State]  # what `@record` asks for, by @id


def compile(  # noqa: A001
    text: str, schema: str, *, version: int = 0, is_witnessed: bool = True
) -> CompiledPolicies:
    """Validates `text` strictly against `schema` (from `schema_for`).

    With `is_witnessed` unset no policy may ask for a cosignature, which nobody would give.

    Raises `PolicyInvalid` with `errors`: [{line, column | None, policy | None, message}].
    """
    parsed_schema = cedarpy.Schema.from_json_str(schema)
    awaits = validation.check(text, schema, parsed_schema, is_witnessed=is_witnessed)
    return CompiledPolicies(
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        version=version,
        policies=cedarpy.PolicySet.from_str(text),
        schema=parsed_schema,
        arguments=argument_types(schema),
        ids={f"policy{position}": identity for position, identity in enumerate(awaits)},
        awaits=awaits,
    )


def render_schema(schema: str) -> str:
    """The schema in the form that people read, to be shown beside the policies."""
    return str(cedarpy.Schema.from_json_str(schema))


def evaluate(compiled: CompiledPolicies, request: Request) -> Verdict:
    """Asks both questions in one batch. Never raises: whatever goes wrong is a denial.

    1. An error in either answer denies, even where Cedar says Allow: it skips a `forbid` that
       raised an error.
    2. allow + allow is allowed, allow + deny is held, everything else is denied.
    """
    try:
        may, unattended = _ask(compiled, request)
    except Exception as error:  # noqa: BLE001 (whatever it is, the answer is no)
        verdict = _policy_error([f"{type(error).__name__}: {error}"], compiled.ids)
    else:
        verdict = _read(may, unattended, compiled)
    return msgspec.structs.replace(
        verdict, policy_version=compiled.version, policy_sha256=compiled.sha256
    )


def _read(
    may: cedarpy.AuthzResult, unattended: cedarpy.AuthzResult, compiled: CompiledPolicies
) -> Verdict:
    """The verdict in the two answers. Of all policies that let it go, the strictest is heeded;
    for what is held these are the ones of the first answer.
    """
    errors = dict.fromkeys([*may.diagnostics.errors, *unattended.diagnostics.errors])
    decisions = (may.decision, unattended.decision)
    if errors or cedarpy.Decision.NoDecision in decisions:
        return _policy_error([*errors], compiled.ids)
    matched = _ids(may) | _ids(unattended)
    if decisions == (cedarpy.Decision.Allow, cedarpy.Decision.Allow):
        allowed = _verdict("allowed", "permitted", reasons=matched, matched=matched)
        return _awaiting(allowed, matched, compiled)
    if decisions == (cedarpy.Decision.Allow, cedarpy.Decision.Deny):
        forbidding = _ids(unattended)
        code = "unattended_forbidden" if forbidding else "unattended_not_permitted"
        held = _verdict("held", code, reasons=forbidding or _ids(may), matched=matched)
        return _awaiting(held, _ids(may), compiled)
    forbidding = _ids(may)
    code = "forbidden" if forbidding else "not_permitted"
    return _verdict("denied", code, reasons=forbidding, matched=matched)


def _awaiting(verdict: Verdict, permitting: set[str], compiled: CompiledPolicies) -> Verdict:
    awaits = states.furthest([compiled.awaits[identity] for identity in permitting])
    return msgspec.structs.replace(verdict, awaits=awaits)


def _ask(
    compiled: CompiledPolicies, request: Request
) -> tuple[cedarpy.AuthzResult, cedarpy.AuthzResult]:
    principal, resource = _uid(request.principal), _uid(request.resource)
    # Serialized once for both questions; allow_nan=False: NaN is not JSON.
    context = json.dumps(request.context, allow_nan=False)
    questions = [
        {
            "principal": principal,
            "action": {"type": "Action", "id": action},
            "resource": resource,
            "context": context,
        }
        for action in ACTIONS
    ]
    entities = [
        {"uid": principal, "attrs": request.principal.attributes, "parents": []},
        {"uid": resource, "attrs": request.resource.attributes, "parents": []},
    ]
    may, unattended = cedarpy.is_authorized_batch(
        questions, compiled.policies, entities, compiled.schema
    )
    return may, unattended


def _uid(entity: Entity) -> dict[str, str]:
    return {"type": entity.type, "id": entity.id}


def _ids(answer: cedarpy.AuthzResult) -> set[str]:
    return set(answer.diagnostics.id_annotations_by_reason.values())


def _verdict(outcome: Outcome, code: str, *, reasons: set[str], matched: set[str]) -> Verdict:
    return Verdict(
        outcome=outcome,
        code=code,
        reasons=tuple(sorted(reasons)),
        matched=tuple(sorted(matched)),
    )


def _policy_error(errors: Sequence[str], ids: dict[str, str]) -> Verdict:
    """The denial for errors; its reasons are the policies that raised them."""
    raising = (_RAISED.match(error) for error in errors)
    reasons = {ids[match[1]] for match in raising if match and match[1] in ids}
    return Verdict(
        outcome="denied", code="policy_error", reasons=tuple(sorted(reasons)), errors=tuple(errors)
    )
