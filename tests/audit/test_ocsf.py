"""Each entry can be said in the words of OCSF, validly, and nothing private with it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest
from ocsf_schema import faults
from own_logs import Confided, NoteTaken

from audit import entries, ocsf
from audit.bodies import Subject
from audit.entries import Stamp, draft
from audit.events import SYSTEM, Actor, Event, private_fields, registry
from audit.proofs import leaf_hash
from audit.verify import json_text
from countersign import reference
from gateway.events import ModelCalled
from governance.events import IntentDecided

reference.load_everything()
ORIGIN = "ledger.test/acme"
RUN = UUID(int=0x0190 << 112)
AT = datetime(2026, 3, 2, 12, 0, 0, 123_456, tzinfo=UTC)
SUBJECT = Subject(UUID(int=7), bytes(32))
AGENT = Actor(kind="agent", id="refund-desk", version="3", on_behalf_of=str(UUID(int=0xA11CE)))
ACTORS = [AGENT, SYSTEM, Actor(kind="client_app", id="ab" * 8, means="service_key"),
          Actor(kind="member", id=str(UUID(int=0xB0B)), means="session")]  # fmt: skip
CALLED: dict[str, Any] = {
    "route": "chat", "endpoint": "fast", "provider_kind": "openai", "model": "m-large",
    "streamed": False, "input_tokens": 11, "output_tokens": 5, "cost_micros": 9,
    "estimated": False, "latency_ms": 40, "attempts": ["fast: answered"],
    "answered_model": "m-large-2026", "response_id": "r-1", "parameters_sha256": "a" * 64,
}  # fmt: skip
DECIDED: dict[str, Any] = {
    "intent": {"arguments": {"name": "Ada Lovelace"}}, "action": "use_tool", "code": "forbidden",
    "resource_kind": "Tool", "resource": "refund_order", "reasons": ["no-refunds"],
    "matched": ["no-refunds"], "policy_version": 4, "policy_sha256": "b" * 64, "step": 1,
    "approval": None,
}  # fmt: skip


def _line(event: Event, actor: Actor = SYSTEM, *, correlation: UUID | None = RUN) -> bytes:
    made = draft(event, actor=actor, correlation=correlation, subject=SUBJECT)
    stamp = Stamp(AT, AT + timedelta(seconds=1), 0 if correlation else None, None)
    return entries.leaf_bytes(made, stamp, origin=ORIGIN)


def _said(event: Event, actor: Actor = SYSTEM, **how: Any) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(ocsf.line_of(7, _line(event, actor, **how)))
    assert faults(said) == []
    return said


def _sample(hint: Any, *, is_full: bool) -> Any:
    """A value of a field of this type."""
    plain = {str: "x", int: 7, bool: True}
    if hint in plain:
        return plain[hint]
    arguments = get_args(hint)
    if type(None) in arguments:
        kept = next(each for each in arguments if each is not type(None))
        return _sample(kept, is_full=True) if is_full else None
    if get_origin(hint) is list:
        return [_sample(arguments[0], is_full=is_full)]
    if get_origin(hint) is dict:
        return {"x": "x" if arguments[1] is Any else _sample(arguments[1], is_full=is_full)}
    return _sample(arguments[0], is_full=is_full)


@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize(
    "kind", sorted(kind for kind in registry() if not kind.startswith("test."))
)
def test_every_kind_of_entry_has_a_valid_event(kind: str, is_full: bool) -> None:
    made = registry()[kind]
    hints = get_type_hints(made)
    values = {
        name: _sample(hints[name], is_full=is_full)
        for name in made.__struct_fields__  # type: ignore[attr-defined]
    }
    for actor in ACTORS:
        for correlation in (RUN, None):
            said = _said(made(**values), actor, correlation=correlation)
            assert said["metadata"]["event_code"] == said["api"]["operation"] == kind
            assert said["unmapped"]["event"].keys() == values.keys()
    assert private_fields(made).keys() <= values.keys()


def test_an_event_names_its_entry_and_its_place_in_the_log() -> None:
    line = _line(NoteTaken(note="kept"))
    said = ocsf.event_of(7, line)
    entry = json.loads(line)
    about = said["metadata"]
    assert (about["uid"], about["correlation_uid"]) == (entry["id"], str(RUN))
    assert (about["log_name"], about["sequence"]) == (ORIGIN, 7)
    assert said["raw_data_hash"]["value"] == leaf_hash(line).hex()
    assert said["raw_data_size"] == len(line)
    assert (said["time"], about["logged_time"]) == (1_772_452_800_123, 1_772_452_801_123)


def test_the_fingerprint_is_of_the_event_without_it() -> None:
    """Recomputed by other code, as the profile record_integrity says; also beyond ASCII."""
    for note in ("plain", "Grüße \u2028 \U0001f600"):
        said = _said(NoteTaken(note=note))
        (attestation,) = said["attestation_list"]
        assert (attestation["chain_uid"], attestation["authority_uid"]) == (ORIGIN, ORIGIN)
        value = attestation.pop("fingerprint")["value"]
        assert hashlib.sha256(json_text.canonical(said)).hexdigest() == value


def test_a_line_is_canonical_json() -> None:
    for note in ("plain", "Grüße \u2028 \U0001f600"):
        line = ocsf.line_of(7, _line(NoteTaken(note=note)))
        assert line == json_text.canonical(json.loads(line)) + b"\n"


def test_an_agents_model_call_names_the_agent_its_model_and_the_tokens() -> None:
    said = _said(ModelCalled(**CALLED), AGENT)
    assert "ai_model" not in said
    assert said["ai_agent"] == {
        "uid": "refund-desk", "name": "refund-desk", "version": "3", "type_id": 1,
        "instance_uid": str(RUN),
        "ai_model": {"ai_provider": "openai", "name": "m-large-2026", "uid": "m-large"},
    }  # fmt: skip
    message = said["message_context"]
    tokens = [message[f"{each}_tokens"] for each in ("prompt", "completion", "total")]
    assert (tokens, message["uid"]) == ([11, 5, 16], "r-1")
    assert said["actor"]["user"]["uid"] == AGENT.on_behalf_of
    assert said["actor"]["app_uid"] == "refund-desk"


def test_a_client_apps_model_call_names_the_model_itself() -> None:
    said = _said(ModelCalled(**CALLED), ACTORS[2])
    assert "ai_agent" not in said
    assert said["ai_model"]["name"] == "m-large-2026"


@pytest.mark.parametrize(
    ("outcome", "status", "severity"), [("allowed", 1, 1), ("denied", 2, 2), ("held", 0, 1)]
)
def test_a_decision_is_an_authorization(outcome: str, status: int, severity: int) -> None:
    said = _said(IntentDecided(outcome=outcome, **DECIDED), AGENT)
    assert (said["status_id"], said["severity_id"]) == (status, severity)
    assert said["status_code"] == "forbidden"
    (authorization,) = said["actor"]["authorizations"]
    assert authorization["decision"] == outcome
    assert (authorization["policy"]["version"], authorization["policy"]["uid"]) == ("4", "b" * 64)
    assert said["resources"] == [{"uid": "refund_order", "type": "Tool", "role_id": 1}]


def test_nothing_private_is_said() -> None:
    for_a_name = Actor(kind="client_app", id="ab" * 8, on_behalf_of="Ada Lovelace")
    decided = IntentDecided(outcome="denied", **DECIDED)
    for event in (decided, Confided(topic="a", words="Ada Lovelace")):
        assert b"Ada" not in ocsf.line_of(7, _line(event, for_a_name))


def test_an_entry_of_a_kind_or_form_that_nobody_knows_has_an_event_too() -> None:
    """Kinds come and go; what was sealed is exported all the same."""
    for kind in ("thing.frobnicated", "model.called", "intent.decided"):
        entry = json.loads(_line(NoteTaken(note="kept"))) | {"kind": kind, "event": {}}
        said = ocsf.event_of(7, json_text.canonical(entry))
        assert faults(said) == []
        assert (said["activity_id"], said["activity_name"]) == (99, kind.partition(".")[2])


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda said: said.pop("actor"), ".actor is missing"),
        (lambda said: said.update(severity_id=7), "no number of the enumeration"),
        (lambda said: said.update(activity_id=1), "type_uid is not"),
        (lambda said: said.update(colour="red"), ".colour is unknown"),
        (lambda said: said["metadata"].pop("version"), ".metadata.version is missing"),
        (lambda said: said["metadata"].update(profiles=["x"]), "is not named"),
        (lambda said: said.update(src_endpoint={}), ".src_endpoint has none of"),
        (lambda said: said.update(time="noon"), "which is no long"),
    ],
)
def test_an_invalid_event_is_noticed(spoil: Any, fault: str) -> None:
    said = _said(NoteTaken(note="kept"))
    spoil(said)
    assert any(fault in each for each in faults(said)), faults(said)
