"""The only place that writes the reference pages of docs/ from what the code registers."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
from pydantic import SecretStr
from rest_framework.exceptions import APIException

from audit.errors import Problem
from audit.events import Event, registry
from countersign.configuration import ROOT, Configuration
from governance import verdicts

PACKAGES = (
    "audit",
    "tenants",
    "governance",
    "retrieval",
    "gateway",
    "runtime",
    "api",
    "console",
    "countersign",
)
NOTICE = "<!-- Written by `python manage.py write_reference`: change the code, then run it. -->"
PRODUCTION = "how-to/run-in-production.md"
SETTINGS_BEGIN = "<!-- settings: written by `python manage.py write_reference` -->"
SETTINGS_END = "<!-- end of settings -->"
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
SETTINGS = {
    "DATABASE_URL": "PostgreSQL; empty: an embedded server in the state directory.",
    "DATABASE_POOL_SIZE": "Connections that a process keeps; 0: one for each thread, not kept.",
    "CELERY_BROKER_URL": "Redis or RabbitMQ; empty: a queue of files, for one machine.",
    "SECRET_KEY": "50 random characters or more: seals secrets. Needed with DATABASE_URL.",
    "DEBUG": "Shows tracebacks. Never in production.",
    "ALLOWED_HOSTS": "Host names that are served, with commas; `.example.com` is all below it.",
    "HTTPS": "Secure cookies, HSTS, plain requests sent on; a proxy says so by X-Forwarded-Proto.",
    "COUNTERSIGN_BASE_DOMAIN": "Tenants' consoles are at `<tenant>.<this>`.",
    "COUNTERSIGN_STATE_DIRECTORY": "Embedded database, queue, logs, static files, generated keys.",
    "COUNTERSIGN_LEDGER_KEY_FILE": "The key that signs checkpoints (PEM, mode 0600).",
    "COUNTERSIGN_LEDGER_KEY_URI": (
        "Instead of a file: a key that never leaves its PKCS #11 token, as an RFC 7512 URI,"
        " `pkcs11:token=…;object=…?module-path=/…&pin-source=file:/…` (the PIN's file: mode 0600)."
    ),
    "COUNTERSIGN_LEDGER_MLDSA_KEY_FILE": (
        "A second key that signs checkpoints (ML-DSA-44; PEM, mode 0600); empty: one signature."
    ),
    "COUNTERSIGN_LEDGER_GUARD_DIRECTORY": (
        "Where the sequencer keeps what it signed last. Not on the database's disk: a database that"
        " was rolled back is found out by it."
    ),
    "COUNTERSIGN_WITNESSES": (
        "Who cosigns checkpoints: `<verifier key>@<URL>`, with blanks between them, or"
        " `file:///…` with one a line; `…@<URL>#<origin>` for one ledger alone."
    ),
    "COUNTERSIGN_TIMESTAMP_URL": "An RFC 3161 authority that dates checkpoints; empty: none.",
    "COUNTERSIGN_TIMESTAMP_AUTHORITY": "Its root and intermediate certificates (a PEM file).",
    "COUNTERSIGN_TIMESTAMP_MINUTES": "At most one timestamp a ledger in so many minutes.",
    "COUNTERSIGN_CHECKPOINT_SINK": (
        "Where checkpoints are put: `file:///a/folder`, or"
        " `s3://bucket/prefix?region=…&endpoint=…&retain_days=…` with object lock; empty: nowhere."
    ),
    "AWS_ACCESS_KEY_ID": "Of the sink's bucket, as its server names it.",
    "AWS_SECRET_ACCESS_KEY": "Of the sink's bucket.",
    "AWS_SESSION_TOKEN": "Of the sink's bucket, where its keys are temporary.",
    "COUNTERSIGN_EXPORTS_DIRECTORY": (
        "Where workers make exports of ledgers and web processes read them: one folder for all of"
        " them. It holds private parts, and each file for a day."
    ),
    "COUNTERSIGN_ENTERPRISE_NUMBER": (
        "Your private enterprise number, from IANA: syslog messages then name tenant and index in"
        " an element `countersign@<number>`; 0: they do not."
    ),
    "COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES": (
        "Tools, providers and the receivers of streams may be on private networks."
    ),
    "COUNTERSIGN_MAX_BODY_BYTES": "The largest request.",
    "COUNTERSIGN_MAX_DOCUMENT_BYTES": "The largest document.",
    "COUNTERSIGN_SWEEP_SECONDS": "How often forgotten work is looked for.",
    "COUNTERSIGN_LEASE_SECONDS": "How long a worker holds a run that it says nothing about.",
    "COUNTERSIGN_LEDGER_WAIT_SECONDS": (
        "How long an act of a run waits where a policy asks that it is sealed or cosigned first."
    ),
    "COUNTERSIGN_LEDGER_WAIT_IN_PLACE_SECONDS": (
        "The same for calls through `/v1`, searches and embeddings, which wait in place."
    ),
    "PORT": "Where `make demo` and `make serve` listen; the next free one if it is busy.",
    "OPENAI_API_KEY": "`make demo` plays its story on a model instead of the offline provider.",
    "OPENAI_BASE_URL": "Where that model is, for vLLM, Ollama and others.",
    "OPENAI_MODEL": "Its name there.",
}
DEFAULTS = {
    "COUNTERSIGN_STATE_DIRECTORY": "`var`",
    "COUNTERSIGN_LEDGER_KEY_FILE": "`ledger.key` in the state directory",
    "COUNTERSIGN_LEDGER_GUARD_DIRECTORY": "`ledger-guard` in the state directory",
    "COUNTERSIGN_EXPORTS_DIRECTORY": "`exports` in the state directory",
}
"""Defaults that would otherwise name a place on the machine where the page was written."""
OUTCOMES = {
    "step_failed": "A step ended without a result, and nothing said why.",
    "answer_unusable": "The model's answers broke the agent version's contract three times.",
    "unknown_tool": "The model called a function that it was not offered.",
    "invalid_arguments": "The model's arguments are not JSON or do not fit the tool's schema.",
    "broken_off": "The client went away in the middle of a streamed answer.",
}
"""Codes of runs, steps and effects that are no class of their own."""


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
    kinds = {kind: made for kind, made in registry().items() if is_ours(made)}
    return "\n".join([EVENTS, *(_event(kind, kinds[kind]) for kind in sorted(kinds))])


def is_ours(made: type) -> bool:
    """Whether the product defines it: tests define kinds and problems too."""
    return made.__module__.partition(".")[0] in PACKAGES


def _event(kind: str, made: type[Event]) -> str:
    shown = [f"- `{field.name}`: {_type(field.type)}" for field in _fields(made)]
    return "\n".join([f"## `{kind}`", "", inspect.cleandoc(made.__doc__ or ""), "", *shown, ""])


def _fields(made: type[Event]) -> tuple[msgspec.structs.FieldInfo, ...]:
    # Its metaclass makes it a struct.
    return msgspec.structs.fields(made)  # type: ignore[arg-type]


def _type(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return text.replace("typing.", "").replace(" | ", " or ").replace("None", "null")


def errors_page() -> str:
    """docs/errors.md: every problem's code, status and message."""
    load_everything()
    parts = [ERRORS, _table(problems()), "## Of the request itself", "", _table(literal_codes())]
    parts += ["## Of the web framework", "", _table(framework_codes())]
    parts += ["## In runs, steps and effects", "", _plain_table(OUTCOMES)]
    return "\n".join([*parts, "## In decisions", "", _plain_table(verdicts.SENTENCES)])


Row = tuple[str, str, str]


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| `{code}` | {status} | {text} |" for code, status, text in sorted(set(rows))]
    return "\n".join(["| Code | Status | What it says |", "| --- | --- | --- |", *lines, ""])


def _plain_table(sentences: Mapping[str, str]) -> str:
    lines = [f"| `{code}` | {sentences[code]} |" for code in sorted(sentences)]
    return "\n".join(["| Code | What it says |", "| --- | --- |", *lines, ""])


def problems() -> list[Row]:
    """Each subclass of Problem: its code, status and message."""
    return [
        (made.code, str(made.status), _sentence(made.__doc__ or ""))
        for made in _below(Problem)
        if is_ours(made)
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


def settings_table() -> str:
    """Every environment variable, its default and its meaning. Raises KeyError for a new one."""
    rows = [
        f"| `{name}` | {DEFAULTS.get(name) or _default(field.default)} | {SETTINGS[name]} |"
        for name, field in Configuration.model_fields.items()
    ]
    return "\n".join(["| Variable | Default | What it is |", "| --- | --- | --- |", *rows])


def _default(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None:
        return ""
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text}`" if text else ""


def with_settings(page: str) -> str:
    """The page with the table of settings between its two marks, as it is now."""
    before, begin, rest = page.partition(SETTINGS_BEGIN)
    _, end, after = rest.partition(SETTINGS_END)
    return f"{before}{begin}\n{settings_table()}\n{end}{after}"


def pages() -> dict[str, str]:
    """Each page that is written, whole or in part, by its place in docs/."""
    production = (ROOT / "docs" / PRODUCTION).read_text(encoding="utf-8")
    return {
        "events.md": events_page(),
        "errors.md": errors_page(),
        PRODUCTION: with_settings(production),
    }


def write() -> list[Path]:
    """Write every page and return where."""
    written = []
    for name, text in pages().items():
        path = ROOT / "docs" / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
