from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.environment import ROOT

BANNED_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "services",
    "managers",
    "base",
    "misc",
}
# Django asks for a module of this name in a database backend.
NAMED_BY_DJANGO = {Path("tenants/postgresql/base.py")}


def _sources() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(name) for name in listed.stdout.split() if (ROOT / name).exists()]


PRODUCT = [
    path
    for path in _sources()
    if path.parts[0] in {"audit", "tenants", "governance", "retrieval", "platform"}
]


def test_platform_is_a_source_root_and_never_a_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_no_module_has_a_name_that_says_nothing() -> None:
    found = [path for path in PRODUCT if path.stem in BANNED_NAMES and path not in NAMED_BY_DJANGO]
    assert found == []


def test_a_module_opens_by_saying_what_it_is_for() -> None:
    texts = {path: (ROOT / path).read_text() for path in PRODUCT if "migrations" not in path.parts}
    silent = [path for path, text in texts.items() if text.strip() and not text.startswith('"""')]
    assert silent == []


def test_nobody_but_isolation_and_the_backend_moves_a_connection_between_tenants() -> None:
    moves = re.compile(
        r"\bset_schema\(|\bset_tenant\(|set_schema_to_public\(|\bschema_context\("
        r"|\bSET (SESSION )?ROLE|\bRESET ROLE|SESSION AUTHORIZATION"
        r"|set_config\('(role|search_path)'"
        r"|tenant\.(de)?activate\(",
        re.IGNORECASE,
    )
    allowed = {Path("tenants/isolation.py"), Path("tenants/postgresql/base.py")}
    # The ledger's roles last for a transaction: SET LOCAL, which its end takes back.
    allowed |= {Path("audit/roles.py"), Path("audit/group_commit.py")}
    found = [
        path for path in PRODUCT if path not in allowed and moves.search((ROOT / path).read_text())
    ]
    assert found == []


def test_nobody_listens_to_signals_of_our_own() -> None:
    signals = re.compile(r"django\.dispatch|\bSignal\(|@receiver")
    assert [path for path in PRODUCT if signals.search((ROOT / path).read_text())] == []


def test_nobody_but_audit_names_the_ledgers_tables() -> None:
    others = [path for path in PRODUCT if path.parts[0] != "audit"]
    found = [
        path
        for path in others
        if re.search(r"(FROM|INTO|UPDATE|JOIN)\s+audit\.", (ROOT / path).read_text())
    ]
    assert found == []
