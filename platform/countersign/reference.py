"""The only place that writes the reference pages of docs/ from what the code registers."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
from rest_framework.exceptions import APIException

from audit.errors import Problem
from audit.events import Event, registry
from countersign.configuration import ROOT

PACKAGES = ("audit", "tenants", "governance", "retrieval", "gateway", "runtime", "api", "console")
NOTICE = "<!-- Written by `python manage.py write_reference`: change the code, then run it. -->"
EVENTS = f"""# Entry kinds

{NOTICE}

Every entry of a ledger has an `id` (UUIDv7), a `kind`, an `actor` (a member, an agent with its
version, a client app or the system), the time at which the database recorded it, often a
`correlation` (the run that it belongs to), and the data of its kind:
"""
ERRORS = f"""# Problems

{NOTICE}

The API answers what went wrong as `application/problem+json` (RFC 9457): `type`, `title`,
`status`, `detail`, and a `code` that never changes its meaning. Parts in braces are filled in.
A run that failed has such a code in `failure`; a tool call that was not performed gives the model
`{{"error": {{"code", "message"}}}}` with one.
"""
OUTCOMES = {
    "limit_reached": "The run reached its limit of steps, tokens, cost or time.",
    "step_failed": "A step ended without a result, and nothing said why.",
    "answer_unusable": "The model's answers broke the agent version's contract three times.",
    "unknown_tool": "The model called a function that it was not offered.",
    "invalid_arguments": "The model's arguments are not JSON or do not fit the tool's schema.",
    "rejected": "A reviewer rejected the held intent; the message is their reason.",
    "expired": "Nobody approved the held intent in time.",
    "cancelled": "The approval was withdrawn with its run.",
    "not_permitted": "No policy permits the intent.",
    "forbidden": "A policy forbids the intent.",
    "policy_error": "A policy could not be evaluated, so the intent was denied.",
    "no_policy": "The tenant has no policies in force, so the intent was denied.",
    "not_granted": "The agent was not granted this tool, route or collection.",
    "principal_unclear": "It is unclear who asks, so the intent was denied.",
    "resource_mismatch": "What was asked for is not what the intent names.",
}
"""Codes in runs, steps and decisions that are no class of their own."""


def load_everything() -> None:
    """Import every module of the product, so that each kind and each problem is registered."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def events_page() -> str:
    """docs/events.md: every kind with its documentation and fields."""
    load_everything()
    kinds = {kind: made for kind, made in registry().items() if _is_ours(made)}
    return "\n".join([EVENTS, *(_event(kind, kinds[kind]) for kind in sorted(kinds))])


def _is_ours(made: type) -> bool:
    """Whether the product defines it: tests define kinds and problems too."""
    return made.__module__.partition(".")[0] in PACKAGES


def _event(kind: str, made: type[Event]) -> str:
    shown = [f"- `{field.name}`: {_type(field.type)}" for field in msgspec.structs.fields(made)]
    return "\n".join([f"## `{kind}`", "", inspect.cleandoc(made.__doc__ or ""), "", *shown, ""])


def _type(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return text.replace("typing.", "").replace(" | ", " or ").replace("None", "null")


def errors_page() -> str:
    """docs/errors.md: every problem's code, status and message."""
    load_everything()
    parts = [ERRORS, _table(problems()), "## Of the request itself", "", _table(literal_codes())]
    parts += ["## Of the web framework", "", _table(framework_codes())]
    told = [(code, "", sentence) for code, sentence in OUTCOMES.items()]
    return "\n".join([*parts, "## In runs, steps and decisions", "", _table(told)])


Row = tuple[str, str, str]


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| `{code}` | {status} | {text} |" for code, status, text in sorted(set(rows))]
    return "\n".join(["| Code | Status | What it says |", "| --- | --- | --- |", *lines, ""])


def problems() -> list[Row]:
    """Each subclass of Problem: its code, status and message."""
    return [
        (made.code, str(made.status), _sentence(made.__doc__ or ""))
        for made in _below(Problem)
        if _is_ours(made)
    ]


def literal_codes() -> list[Row]:
    """The codes that api.problems gives to conditions of Django, found in its source."""
    tree = ast.parse((ROOT / "platform/api/problems.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [found for call in calls if (found := _literal(call))]


def _literal(call: ast.Call) -> Row | None:
    if not isinstance(call.func, ast.Name) or call.func.id != "body" or len(call.args) < 3:
        return None
    values = [part.value for part in call.args[:3] if isinstance(part, ast.Constant)]
    return (str(values[1]), str(values[0]), str(values[2])) if len(values) == 3 else None


def framework_codes() -> list[Row]:
    """The codes of Django REST framework's own exceptions that may reach a client."""
    return [
        (str(made.default_code), str(made.status_code), _sentence(str(made.default_detail)))
        for made in _below(APIException)
        if made.__module__ == APIException.__module__
    ]


def _below(root: type[Any]) -> Iterator[type[Any]]:
    for made in root.__subclasses__():
        yield made
        yield from _below(made)


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def write(folder: Path = ROOT / "docs") -> list[Path]:
    """Write both pages and return them."""
    pages = {folder / "events.md": events_page(), folder / "errors.md": errors_page()}
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return list(pages)
