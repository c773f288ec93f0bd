"""The only place that says an entry in the words of OCSF, for programs that collect events.

Read for it: the Open Cybersecurity Schema Framework, github.com/ocsf/ocsf-schema, commit
a5cfc68e3ca6 (2026-07-23), which names itself 1.9.0-dev: class API Activity (6003), profiles
`ai_operation` and `record_integrity`. Numbers stand without their captions wherever the schema
knows the number.

What goes out is what the entry's line shows: commitments where something is private, pseudonyms
where somebody is a name. It is a function of index and line alone, so two exports say the same of
the same entry. Non-goal: it is derived, and proves nothing; what does is the line itself, whose
leaf hash is `raw_data_hash`.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import rfc8785

from audit.proofs import leaf_hash

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

VERSION = "1.9.0-dev"
PROFILES = ["ai_operation", "record_integrity"]
SERVICE = {"name": "Countersign"}
PRODUCT = {"name": "Countersign", "vendor_name": "Countersign"}
CATEGORY, CLASS = 6, 6003
CREATE, READ, UPDATE, DELETE, OTHER = 1, 2, 3, 4, 99
UNKNOWN, SUCCESS, FAILURE = 0, 1, 2
INFORMATIONAL, LOW, MEDIUM, HIGH = 1, 2, 3, 4
SHA_256, HEX, JCS = 3, 1, 2
TARGET, RELATED = 1, 4
ASSISTANT, OWN_AGENT = 2, 1
"""Enumerations of the schema, by their captions ("Native" is an agent of one's own)."""

# By the last word of a kind. A word that is not here is `Other`, and `activity_name` says it.
ACTIVITIES = {
    **dict.fromkeys(("added", "created", "given", "issued", "opened", "placed"), CREATE),
    **dict.fromkeys(("requested", "started", "uploaded", "version_published"), CREATE),
    **dict.fromkeys(("exported", "searched", "viewed"), READ),
    **dict.fromkeys(("activated", "changed", "ingested", "key_rotated"), UPDATE),
    **dict.fromkeys(("applied", "erased", "released", "removed", "revoked"), DELETE),
}
# Likewise; what is not here succeeded. `begun` and `held` have no end yet.
STATUSES = {
    **dict.fromkeys(("failed", "refused"), FAILURE),
    **dict.fromkeys(("begun", "held", "unknown"), UNKNOWN),
}
DECISIONS = {"allowed": SUCCESS, "denied": FAILURE, "held": UNKNOWN}
SEVERITIES = {
    **dict.fromkeys(("cancelled", "expired", "failed", "refused", "rejected"), LOW),
    "unknown": MEDIUM,
    "recovery_approved": HIGH,
}
# Fields of events that name a thing.
THINGS = ("agent", "approval", "collection", "document", "endpoint", "entry", "halt", "hold", "key",
          "member", "provider", "request", "route", "tenant", "tool")  # fmt: skip
# What the entry of a decision, and of a model's answer, must have to be said in the schema's words.
JUDGED = ("outcome", "policy_version", "policy_sha256")
ANSWERED = ("provider_kind", "model", "endpoint", "input_tokens", "output_tokens")
USER_TYPES = {"member": 1, "system": 3, "client_app": 4}

Json = dict[str, Any]


def line_of(index: int, line: bytes) -> bytes:
    """The event of the entry at `index`, whose leaf's bytes `line` is, as canonical JSON and a
    newline.
    """
    return _canonical(event_of(index, line), is_ascii=line.isascii()) + b"\n"


def event_of(index: int, line: bytes) -> Json:
    """The same as an object."""
    entry = orjson.loads(line)
    verb = entry["kind"].rpartition(".")[2]
    activity = ACTIVITIES.get(verb, OTHER)
    event: Json = {
        "category_uid": CATEGORY,
        "class_uid": CLASS,
        "activity_id": activity,
        "type_uid": CLASS * 100 + activity,
        "severity_id": _severity(verb, entry["event"]),
        "time": _milliseconds(entry["occurred_at"]),
        "metadata": _metadata(index, entry),
        "actor": _actor(entry),
        "api": _api(entry),
        # An entry holds nobody's address: the act came through this service.
        "src_endpoint": {"svc_name": "countersign"},
        "raw_data_hash": {
            "algorithm_id": OTHER,
            "algorithm": "RFC 6962 leaf, SHA-256",
            "encoding_id": HEX,
            "serialization_id": JCS,
            "value": leaf_hash(line).hex(),
        },
        "raw_data_size": len(line),
        "unmapped": _unmapped(entry),
        **_status(verb, entry["event"]),
        **_resources(entry),
        **_model(entry),
    }
    if activity == OTHER:
        event["activity_name"] = verb
    made: Json = {"authority_uid": entry["log"], "chain_uid": entry["log"]}
    event["attestation_list"] = [made]
    made["fingerprint"] = _fingerprint(_canonical(event, is_ascii=line.isascii()))
    return event


def _unmapped(entry: Json) -> Json:
    """What the schema has no word for, as the entry holds it."""
    more = {
        "means": entry["actor"]["means"],
        "run_sequence": entry["sequence"],
        "subject": entry["subject"],
    }
    given = {name: value for name, value in more.items() if value is not None}
    return {"event": entry["event"], **given}


def _canonical(event: Json, *, is_ascii: bool) -> bytes:
    """RFC 8785. The values come from canonical JSON, so they need not be looked through again."""
    if is_ascii:
        return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    # Beyond ASCII the order of UTF-16 units, which the RFC asks for, is not orjson's.
    return bytes(rfc8785.dumps(event))


def _fingerprint(serialized: bytes) -> Json:
    """The profile `record_integrity`: of the event in which the attestation stands without it.

    Without a signature: what is signed is the log's tree, and not this event.
    """
    return {
        "algorithm_id": SHA_256,
        "encoding_id": HEX,
        "serialization_id": JCS,
        "value": hashlib.sha256(serialized).hexdigest(),
    }


def _milliseconds(moment: str) -> int:
    return (datetime.fromisoformat(moment) - EPOCH) // timedelta(milliseconds=1)


def _severity(verb: str, said: Json) -> int:
    return LOW if said.get("outcome") == "denied" else SEVERITIES.get(verb, INFORMATIONAL)


def _status(verb: str, said: Json) -> Json:
    status = STATUSES.get(verb, SUCCESS)
    if verb == "decided":
        status = DECISIONS.get(str(said.get("outcome")), UNKNOWN)
    code = said.get("code")
    return {"status_id": status, **({"status_code": code} if code else {})}


def _metadata(index: int, entry: Json) -> Json:
    made = {
        "version": VERSION,
        "product": PRODUCT,
        "profiles": PROFILES,
        "uid": entry["id"],
        "event_code": entry["kind"],
        "log_name": entry["log"],
        "tenant_uid": entry["log"],
        "sequence": index,
        "logged_time": _milliseconds(entry["recorded_at"]),
    }
    if entry["correlation"] is not None:
        made["correlation_uid"] = entry["correlation"]
    return made


def _actor(entry: Json) -> Json:
    """Who asked: a user, and the program that acted for them."""
    who = entry["actor"]
    user = {"uid": who["id"], "type_id": USER_TYPES.get(who["kind"], OTHER)}
    if who["kind"] == "agent":
        user["type"] = "AI agent"
    if who["on_behalf_of"] is not None:
        user = {"uid": who["on_behalf_of"], "type_id": UNKNOWN}
    made: Json = {"user": user}
    if who["kind"] != "member":
        made["app_uid"] = who["id"]
    if entry["kind"] == "intent.decided" and set(JUDGED) <= set(entry["event"]):
        made["authorizations"] = [_authorization(entry["event"])]
    return made


def _authorization(said: Json) -> Json:
    policy = {
        "uid": said["policy_sha256"],
        "version": str(said["policy_version"]),
        "is_applied": True,
    }
    return {"decision": said["outcome"], "policy": policy}


def _api(entry: Json) -> Json:
    noun, _, _ = entry["kind"].rpartition(".")
    made: Json = {"operation": entry["kind"], "group": {"name": noun}, "service": SERVICE}
    code = entry["event"].get("code")
    return {**made, "response": {"error": code}} if code else made


def _resources(entry: Json) -> Json:
    said, noun = entry["event"], entry["kind"].partition(".")[0]
    found = []
    if isinstance(said.get("resource"), str):
        kind = said.get("resource_kind", said.get("action"))
        found.append({"uid": said["resource"], "type": kind, "role_id": TARGET})
    for name in THINGS:
        if isinstance(said.get(name), str):
            role = TARGET if name == noun else RELATED
            found.append({"uid": said[name], "type": name, "role_id": role})
    return {"resources": found} if found else {}


def _model(entry: Json) -> Json:
    """The profile `ai_operation`: the agent that acted, the model that answered it or its asker."""
    made: Json = {}
    who, said = entry["actor"], entry["event"]
    if who["kind"] == "agent":
        made["ai_agent"] = {"uid": who["id"], "name": who["id"], "type_id": OWN_AGENT}
        if who["version"] is not None:
            made["ai_agent"]["version"] = who["version"]
        if entry["correlation"] is not None:
            made["ai_agent"]["instance_uid"] = entry["correlation"]
    if entry["kind"] == "model.called" and set(ANSWERED) <= set(said):
        # Within the agent where there is one, says the profile, and beside it nowhere.
        made.get("ai_agent", made)["ai_model"] = {
            "ai_provider": said["provider_kind"],
            "name": said.get("answered_model") or said["model"],
            "uid": said["model"],
        }
        made["message_context"] = _message(said)
    return made


def _message(said: Json) -> Json:
    made = {
        "ai_role_id": ASSISTANT,
        "service": {"name": said["endpoint"]},
        "prompt_tokens": said["input_tokens"],
        "completion_tokens": said["output_tokens"],
        "total_tokens": said["input_tokens"] + said["output_tokens"],
    }
    if said.get("response_id"):
        made["uid"] = said["response_id"]
    return made
