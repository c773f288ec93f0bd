"""The only place that knows the OCSF schema, as far as our events go, and judges one by it.

Taken by hand from github.com/ocsf/ocsf-schema at commit a5cfc68e3ca6d5b4468c33f8d7ebb76da967975f,
which names itself 1.9.0-dev: events/base_event.json, events/application/{application,api_activity},
profiles/{ai_operation,record_integrity}, objects/*.json and dictionary.json. Only the attributes
that we write and those that are required; `!` is required, `[]` a list; a set are an enumeration's
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Shape = dict[str, "str | set[int]"]

BASE: Shape = {
    "activity_id!": {0, 1, 2, 3, 4, 99},
    "activity_name": "string",
    "actor!": "actor",
    "ai_agent": "ai_agent",
    "ai_model": "ai_model",
    "api!": "api",
    "attestation_list": "attestation[]",
    "category_uid!": {6},
    "class_uid!": {6003},
    "message_context": "message_context",
    "metadata!": "metadata",
    "raw_data_hash": "fingerprint",
    "raw_data_size": "long",
    "resources": "resource_details[]",
    "severity_id!": {0, 1, 2, 3, 4, 5, 6, 99},
    "src_endpoint!": "network_endpoint",
    "status_code": "string",
    "status_id": {0, 1, 2, 99},
    "time!": "long",
    "type_uid!": {600300, 600301, 600302, 600303, 600304, 600399},
    "unmapped": "any",
}
OBJECTS: dict[str, Shape] = {
    "event": BASE,
    "actor": {"app_uid": "string", "authorizations": "authorization[]", "user": "user"},
    "ai_agent": {
        "ai_model": "ai_model", "instance_uid": "string", "name": "string",
        "type_id": {0, 1, 2, 3, 4, 99}, "uid": "string", "version": "string",
    },
    "ai_model": {
        "ai_provider!": "string", "name!": "string", "uid": "string", "version": "string",
    },
    "api": {
        "group": "group", "operation!": "string", "response": "response", "service": "service",
    },
    "attestation": {
        "authority_uid": "string", "chain_uid": "string", "fingerprint": "fingerprint",
        "uid": "string",
    },
    "authorization": {"decision": "string", "policy": "policy"},
    "fingerprint": {
        "algorithm": "string", "algorithm_id!": {*range(21), 99}, "encoding_id": {0, 1, 2, 3, 99},
        "serialization_id": {*range(9), 99}, "value!": "string",
    },
    "group": {"name": "string", "uid": "string"},
    "message_context": {
        "ai_role_id": {*range(7), 99}, "completion_tokens": "integer", "prompt_tokens": "integer",
        "service": "service", "total_tokens": "integer", "uid": "string",
    },
    "metadata": {
        "correlation_uid": "string", "event_code": "string", "log_name": "string",
        "logged_time": "long", "original_time": "string", "product!": "product",
        "profiles": "string[]", "sequence": "integer", "tenant_uid": "string", "uid": "string",
        "version!": "string",
    },
    "network_endpoint": {"name": "string", "svc_name": "string", "uid": "string"},
    "policy": {"is_applied": "boolean", "name": "string", "uid": "string", "version": "string"},
    "product": {"name": "string", "uid": "string", "vendor_name": "string"},
    "resource_details": {
        "name": "string", "role_id": {0, 1, 2, 3, 4, 99}, "type": "string", "uid": "string",
    },
    "response": {"error": "string"},
    "service": {"name": "string", "uid": "string"},
    "user": {
        "name": "string", "type": "string", "type_id": {0, 1, 2, 3, 4, 99}, "uid": "string",
    },
}  # fmt: skip
AT_LEAST_ONE = {
    "actor": {"user", "app_uid"},
    "attestation": {"fingerprint"},
    "message_context": {"service"},
    "network_endpoint": {"name", "svc_name", "uid"},
    **{name: {"name", "uid"} for name in ("ai_agent", "ai_model", "group", "policy")},
    **{name: {"name", "uid"} for name in ("product", "resource_details", "service", "user")},
}
TYPES = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: type(value) is int and -(2**31) <= value < 2**31,
    "long": lambda value: type(value) is int and -(2**63) <= value < 2**63,
    "any": lambda value: isinstance(value, dict),
}
OF_PROFILES = {
    "ai_operation": {"ai_agent", "ai_model", "message_context"},
    "record_integrity": {"attestation_list"},
}


def faults(event: dict[str, Any]) -> list[str]:
    """What is wrong with the event; nothing where it is valid."""
    return [*_faults("event", event, ""), *_faults_of_rules(event)]


def _faults_of_rules(event: dict[str, Any]) -> Iterator[str]:
    """What the schema asks for in words."""
    if event.get("type_uid") != 600_300 + event.get("activity_id", 0):
        yield "type_uid is not class_uid * 100 + activity_id"
    if event.get("activity_id") == 99 and not event.get("activity_name"):
        yield "activity_name is missing beside Other"
    named = event.get("metadata", {}).get("profiles", [])
    for profile, attributes in OF_PROFILES.items():
        if profile not in named and attributes & set(event):
            yield f"the profile {profile} is not named"


def _faults(name: str, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is no object"
        return
    shape = {key.rstrip("!"): wanted for key, wanted in OBJECTS[name].items()}
    missing = {key[:-1] for key in OBJECTS[name] if key.endswith("!")} - set(value)
    yield from (f"{where}.{key} is missing" for key in missing)
    yield from (f"{where}.{key} is unknown" for key in set(value) - set(shape))
    if name in AT_LEAST_ONE and not AT_LEAST_ONE[name] & set(value):
        yield f"{where} has none of {sorted(AT_LEAST_ONE[name])}"
    for key in set(shape) & set(value):
        yield from _faults_of(shape[key], value[key], f"{where}.{key}")


def _faults_of(wanted: str | set[int], value: Any, where: str) -> Iterator[str]:
    if isinstance(wanted, set):
        if type(value) is not int or value not in wanted:
            yield f"{where} is {value!r}, which is no number of the enumeration"
    elif wanted.endswith("[]"):
        if not isinstance(value, list) or not value:
            yield f"{where} is no list, or empty"
            return
        for item in value:
            yield from _faults_of(wanted[:-2], item, where)
    elif wanted in OBJECTS:
        yield from _faults(wanted, value, where)
    elif not TYPES[wanted](value):
        yield f"{where} is {value!r}, which is no {wanted}"
