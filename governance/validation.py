"""The only place that says what is wrong with a policy text, and where.

Beyond Cedar's strict validation: every policy has an `@id` of its own, no text can overflow the
parser's stack, and no annotation or `has` asks for what can't be there. Cedar lets the latter
pass, and a misspelt `forbid` would forbid nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import cedarpy
import msgspec
from cedarpy import pst

from audit.errors import Problem
from audit.states import State
from governance import statements
from governance.schemas import CedarType
from governance.statements import Flaw, Statement

MAX_BYTES = 100_000

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}")  # it goes into entries: short and plain
_UNFINISHED = "unexpected end of input"

ANNOTATIONS = ("id", "record", "description")
RECORD: dict[str, State] = {"sealed": "sealed", "cosigned": "cosigned"}
"""How far `@record` may ask that the ledger is, before what its policy permits is done."""


class PolicyInvalid(Problem):
    """The policy is not valid, in {places}. Line {line}: {first}"""

    code = "policy_invalid"
    status = 422


class _Policy(msgspec.Struct, frozen=True):
    """A statement that stands by itself: one policy with an `@id`."""

    id: str
    awaits: State
    statement: Statement
    tree: pst.Template


def check(
    text: str, schema: str, parsed_schema: cedarpy.Schema, *, is_witnessed: bool = True
) -> dict[str, State]:
    """The `@id`s of the policies in `text`, in their order, where all is well; and how far the
    ledger must be before what each permits is done.

    `is_witnessed` says whether there is a witness that `@record("cosigned")` could wait for.
    Raises `PolicyInvalid` with `errors`: [{line, column | None, policy | None, message}].
    """
    _check_whole(text)
    policies = _policies(statements.split(text))
    flaws = [*_type_flaws(text, parsed_schema, policies)]
    flaws += [flaw for policy in policies.values() for flaw in _vain_questions(policy, schema)]
    if not is_witnessed:
        flaws += [_unwitnessed(each) for each in policies.values() if each.awaits == "cosigned"]
    if flaws:
        raise _invalid(flaws)
    return {policy.id: policy.awaits for policy in policies.values()}


def _check_whole(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _invalid([_whole_text("it holds half a surrogate pair")]) from None
    if size > MAX_BYTES:
        raise _invalid([_whole_text(f"it is longer than {MAX_BYTES} bytes")])
    if "\x00" in text:
        raise _invalid([_whole_text("it holds a NUL character")])


def _policies(found: list[Statement]) -> dict[str, _Policy]:
    """The policies by their `@id`; raises `PolicyInvalid` if they can't be told apart."""
    policies: dict[str, _Policy] = {}
    flaws = []
    for statement in found:
        policy = _policy(statement)
        if isinstance(policy, Flaw):
            flaws.append(policy)
        elif policy.id in policies:
            flaws.append(statement.flaw(f'@id("{policy.id}") is used twice', policy=policy.id))
        else:
            policies[policy.id] = policy
    if flaws:
        raise _invalid(flaws)
    return policies


def _policy(statement: Statement) -> _Policy | Flaw:
    flaw = statements.out_of_bounds(statement)
    if flaw is not None:
        return flaw
    try:
        parsed = cedarpy.policies_to_pst(statement.source)
    except ValueError as error:
        return _syntax_flaw(statement, str(error))
    if len(parsed.static_policies) != 1:
        return statement.flaw("templates (?principal, ?resource) can't be used")
    (tree,) = parsed.static_policies.values()
    identity = tree.annotations.get("id", "")
    if not _ID.fullmatch(identity):
        return statement.flaw("it needs an @id of up to 100 letters, digits and . _ : / -")
    vain = _vain_annotation(tree)
    if vain is not None:
        name, message = vain
        return statement.flaw(message, at=statements.annotation(statement, name), policy=identity)
    awaits = RECORD.get(tree.annotations.get("record", ""), "recorded")
    return _Policy(identity, awaits, statement, tree)


def _vain_annotation(tree: pst.Template) -> tuple[str, str] | None:
    """The first annotation that would say nothing, and why; None where each is understood."""
    for name, value in tree.annotations.items():
        if name not in ANNOTATIONS:
            return name, f"there is no annotation @{name}; there are @{', @'.join(ANNOTATIONS)}"
        if name == "record" and value not in RECORD:
            return name, f"@record can ask for {' or '.join(RECORD)}, and not for {value!r}"
        if name == "record" and tree.effect != "permit":
            return name, "@record is for a permit: a forbid lets nothing be done"
    return None


def _unwitnessed(policy: _Policy) -> Flaw:
    at = statements.annotation(policy.statement, "record")
    return policy.statement.flaw("no witness is configured to wait for", at=at, policy=policy.id)


def _syntax_flaw(statement: Statement, message: str) -> Flaw:
    if message.startswith(_UNFINISHED):
        return statement.flaw("the policy ends too early", at=statement.tokens[-1][0])
    if message.startswith(("unexpected token", "invalid token")):
        token = message.partition("`")[2].rpartition("`")[0]
        return statement.flaw(message, at=statements.first_unexpected(statement, token, _breaks))
    return statement.flaw(message)


def _breaks(prefix: str) -> bool:
    try:
        cedarpy.PolicySet.from_str(prefix)
    except ValueError as error:
        return not str(error).startswith(_UNFINISHED)
    return False


def _type_flaws(text: str, schema: cedarpy.Schema, policies: dict[str, _Policy]) -> Iterator[Flaw]:
    """What Cedar's strict validation says."""
    result = cedarpy.validate_policies(text, schema)
    for error in result.errors:
        policy = policies.get(result.id_annotations_by_policy_id.get(error.policy_id, ""))
        message = re.sub(r"^for policy `[^`]*`, ", "", error.error)
        yield _named_flaw(policy, message) if policy else _whole_text(message)
    if not result.validation_passed and not result.errors:
        yield _whole_text("it does not fit the schema")


def _named_flaw(policy: _Policy, message: str) -> Flaw:
    """The flaw at the name that the message quotes, where the policy has it exactly once."""
    quoted = re.search(r"`(?:[^`]*\.)?([^`.]+)`", message)
    at = statements.only_occurrence(policy.statement, quoted[1]) if quoted else None
    return policy.statement.flaw(message, at=at, policy=policy.id)


def _vain_questions(policy: _Policy, schema: str) -> Iterator[Flaw]:
    """A flaw for each `has` that asks for an attribute which the schema does not know."""
    types = _types_of_variables(schema)
    for node in _nodes(policy.tree):
        if not isinstance(node, pst.HasAttr):
            continue
        known = _types_at(node.base, types)
        for attribute in node.attrs:
            known = _step(known, attribute)
            if known == []:
                message = f"`has` asks for `{attribute}`, which the schema does not know"
                yield _named_flaw(policy, message)
                break


def _types_of_variables(schema: str) -> dict[str, list[CedarType]]:
    namespace = json.loads(schema)[""]
    applies = namespace["actions"]["invoke"]["appliesTo"]
    entities = namespace["entityTypes"]
    record: CedarType = {"type": "Record", "attributes": {}}
    shapes = {name: entity.get("shape", record) for name, entity in entities.items()}
    return {
        "context": [applies["context"]],
        "principal": [shapes[name] for name in applies["principalTypes"]],
        "resource": [shapes[name] for name in applies["resourceTypes"]],
    }


def _types_at(node: Any, types: dict[str, list[CedarType]]) -> list[CedarType] | None:
    """The record types that an expression can have; None where that is not followed."""
    if isinstance(node, pst.Var):
        return types.get(node.name)
    if isinstance(node, pst.GetAttr):
        return _step(_types_at(node.base, types), node.attr)
    return None


def _step(types: list[CedarType] | None, attribute: str) -> list[CedarType] | None:
    if types is None:
        return None
    records = [one["attributes"] for one in types if one["type"] == "Record"]
    return [record[attribute] for record in records if attribute in record]


def _nodes(root: object) -> Iterator[object]:
    """Every node under `root`, itself included; a stack, so that depth costs no recursion."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, tuple):
            stack.extend(node)
        elif isinstance(node, dict):
            stack.extend(node.values())
        elif is_dataclass(node):
            stack.extend(getattr(node, field.name) for field in fields(node))


def _whole_text(message: str) -> Flaw:
    return Flaw(line=1, column=None, policy=None, message=message)


def _invalid(flaws: list[Flaw]) -> PolicyInvalid:
    distinct = list(dict.fromkeys(flaws))
    count = len(distinct)
    return PolicyInvalid(
        count=count,
        places="one place" if count == 1 else f"{count} places",
        line=distinct[0].line,
        first=distinct[0].message,
        errors=[msgspec.to_builtins(flaw) for flaw in distinct],
    )
