"""The law: approvals are given, refused and spent in one place, which wakes the run as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["retrieval", "platform"]
ALLOWED = ROOT / "platform" / "runtime" / "runs.py"
VERBS = {"approve", "reject", "spend"}
CURE = "Settle with runs.settle_approval; only decisions.decide spends an approval."


def sources() -> Iterator[Path]:
    """Everything above governance, but for the one module that settles."""
    for package in PACKAGES:
        yield from (path for path in sorted((ROOT / package).rglob("*.py")) if path != ALLOWED)


def settles(tree: ast.AST) -> bool:
    """Whether the code takes one of the verbs from governance.approvals, however it is called."""
    names = {"approvals"} | {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if _is_approvals(node, alias)
    }
    return any(_takes_verb(node, names) for node in ast.walk(tree))


def _is_approvals(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
    module = "" if isinstance(node, ast.Import) else f"{node.module}."
    return f"{module}{alias.name}" == "governance.approvals"


def _takes_verb(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in VERBS and ast.unparse(node.value) in names | {"governance.approvals"}
    if isinstance(node, ast.ImportFrom) and node.module == "governance.approvals":
        return any(alias.name in VERBS | {"*"} for alias in node.names)
    return False


def test_only_runs_settle_approvals() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}
    assert [path for path, tree in trees.items() if settles(tree)] == [], CURE


def test_runs_settle_approvals_and_do_not_spend_them() -> None:
    tree = ast.parse(ALLOWED.read_text(encoding="utf-8"))
    assert settles(tree)
    assert "approvals.spend" not in ast.unparse(tree)


@pytest.mark.parametrize(
    "code",
    [
        "approvals.approve(row, by=bob, now=now)",
        "approvals.reject(row, by=bob, now=now, reason='no')",
        "approvals.spend(intent, verdict=verdict, now=now)",
        "verb = approvals.approve if yes else approvals.reject",
        "from governance.approvals import spend",
        "from governance.approvals import *",
        "from governance import approvals as desk; desk.approve(row, by=bob, now=now)",
        "import governance.approvals as desk; desk.reject(row)",
        "import governance.approvals; governance.approvals.approve(row)",
    ],
)
def test_the_law_bites(code: str) -> None:
    assert settles(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "permit.spend(intent)",
        "approvals.cancel_of_run(run, by=alice, now=now)",
        "runs.settle_approval(row, verdict='approve', by=bob, now=now)",
        "from governance.approvals import AlreadySettled",
    ],
)
def test_the_law_lets_others_be(code: str) -> None:
    assert not settles(ast.parse(code))
