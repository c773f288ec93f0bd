"""The law about laws: each is broken on purpose, in a copy of the house, and is seen to bite."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.environment import ROOT

SOURCES = ("audit", "tenants", "governance", "retrieval", "platform")
CONTRACTS = [
    contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
]
RUFF = Path(sys.executable).with_name("ruff")
CLOCK = "Time comes in through the door"
# For each contract: a module, the line that breaks it, and what the report says of it.
BREAKS = {
    "Floors: a room imports only from floors below it": (
        "audit/ids.py",
        "import governance.intents",
        "audit is not allowed to import governance",
    ),
    "Rooms of audit": ("audit/attic.py", "", "audit.attic"),
    "Rooms of tenants": ("tenants/attic.py", "", "tenants.attic"),
    "Rooms of governance": ("governance/attic.py", "", "governance.attic"),
    "Rooms of retrieval": ("retrieval/attic.py", "", "retrieval.attic"),
    "Rooms of runtime": ("platform/runtime/attic.py", "", "runtime.attic"),
    "Rooms of console": ("platform/console/attic.py", "", "console.attic"),
    "Rooms of api": ("platform/api/attic.py", "", "api.attic"),
    "Rooms of gateway": ("platform/gateway/attic.py", "", "gateway.attic"),
    "A pure core without Django": (
        "governance/permits.py",
        "import django",
        "governance.permits is not allowed to import django",
    ),
    "The verifier needs the standard library and cryptography alone": (
        "audit/verify/checks.py",
        "import orjson",
        "audit.verify is not allowed to import orjson",
    ),
    "Only api speaks Django REST framework": (
        "platform/console/names.py",
        "import rest_framework",
        "console is not allowed to import rest_framework",
    ),
    "Nobody imports the openai SDK: providers speak HTTP": (
        "platform/gateway/specs.py",
        "import openai",
        "gateway is not allowed to import openai",
    ),
    "Only the keys of tokens speak PKCS #11": (
        "platform/api/shapes.py",
        "import pkcs11",
        "api is not allowed to import pkcs11",
    ),
    "Only audit touches ledger rows": (
        "platform/countersign/checks.py",
        "import audit.models",
        "countersign is not allowed to import audit.models",
    ),
    "The runtime is the only orchestrator: api and console open no door themselves": (
        "platform/api/shapes.py",
        "import gateway.embeddings",
        "api is not allowed to import gateway.embeddings",
    ),
}
OFFENCES = [
    ("governance/x.py", "from django.utils import timezone\n\nNOW = timezone.now()\n", CLOCK),
    (
        "platform/runtime/x.py",
        "from datetime import UTC, datetime\n\nNOW = datetime.now(UTC)\n",
        CLOCK,
    ),
    ("platform/gateway/x.py", "import datetime as dt\n\nNOW = dt.datetime.utcnow()\n", CLOCK),
    ("tenants/x.py", "from datetime import date\n\nTODAY = date.today()\n", CLOCK),
    ("audit/x.py", "import time\n\nNOW = time.time()\n", CLOCK),
    (
        "platform/runtime/x.py",
        "from django.dispatch import receiver\n\n__all__ = ['receiver']\n",
        "A signal is a call that nobody can follow: call the function.",
    ),
    ("tenants/x.py", "from .models import Tenant\n\n__all__ = ['Tenant']\n", "absolute imports"),
    (
        "governance/x.py",
        "from django_tenants.utils import schema_context\n\n__all__ = ['schema_context']\n",
        "Use tenants.isolation.acting_for(tenant).",
    ),
]
EDGES = [
    "platform/api/x.py",
    "platform/console/x.py",
    "platform/runtime/tasks.py",
    "audit/management/commands/x.py",
]
FIRST_LINE = "from __future__ import annotations\n\n"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says of a copy of the house in which every contract is broken once."""
    copy = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", "migrations")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for path, line, _ in BREAKS.values():
        with (copy / path).open("a") as file:
            file.write(f"\n{line}\n")
    ran = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": f"{copy}:{copy / 'platform'}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return ran.stdout


def _section(report: str, contract: str) -> str:
    """What the report's second half, about broken contracts, says of one."""
    _, _, broken = report.partition("Broken contracts")
    heading = re.compile(
        rf"^{re.escape(contract)}\n-+\n(.*?)(?=^[^\n]+\n-{{4,}}\n|\Z)", re.MULTILINE | re.DOTALL
    )
    found = heading.search(broken)
    return " ".join(found[1].split()) if found else ""


def test_every_contract_is_broken_once() -> None:
    assert set(BREAKS) == set(CONTRACTS)


@pytest.mark.parametrize("contract", BREAKS)
def test_a_broken_contract_is_seen(contract: str, report: str) -> None:
    assert f"{contract} BROKEN" in report
    assert BREAKS[contract][2] in _section(report, contract)


def _said(path: str, text: str) -> str:
    """What ruff says of `text`, were it in the file `path`."""
    ran = subprocess.run(
        [RUFF, "check", "--output-format=json", "--no-cache", "--stdin-filename", ROOT / path, "-"],
        cwd=ROOT,
        input=FIRST_LINE + text,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(ran.stdout)
    return "\n".join(each["message"] for each in found if each["code"].startswith("TID"))


@pytest.mark.parametrize(("path", "text", "cure"), OFFENCES)
def test_an_offence_is_named_with_its_cure(path: str, text: str, cure: str) -> None:
    assert cure in _said(path, text)


@pytest.mark.parametrize("path", EDGES)
def test_the_edges_read_the_clock(path: str) -> None:
    _, text, _ = OFFENCES[0]
    assert _said(path, text) == ""
