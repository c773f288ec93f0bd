"""The law: a permit is made in one place only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["audit", "tenants", "governance", "retrieval", "platform"]
MINT = ROOT / "governance" / "permits.py"


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def makes_permit(tree: ast.AST) -> bool:
    """Whether the code calls `Permit(…)`, or subclasses it, or goes around its constructor."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_permit(node.func):
            return True
        if isinstance(node, ast.Call) and any(_is_permit(argument) for argument in node.args):
            return not _asks_for_type(node.func)
        if isinstance(node, ast.ClassDef) and any(_is_permit(base) for base in node.bases):
            return True
        if isinstance(node, ast.Name | ast.Attribute) and _name(node) == "_MINT":
            return True
    return False


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_permit(node: ast.expr) -> bool:
    return _name(node) == "Permit"


def _asks_for_type(function: ast.expr) -> bool:
    return _name(function) in {"isinstance", "issubclass"}


def test_only_the_mint_makes_permits() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}
    makers = [path for path, tree in trees.items() if path != MINT and makes_permit(tree)]
    assert makers == [], "Only governance.permits makes permits: take one as an argument."


def test_only_decisions_and_the_data_plane_mint() -> None:
    minting = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if path != MINT and "permits.mint(" in path.read_text(encoding="utf-8")
    }
    assert minting == {"governance/decisions.py", "platform/runtime/direct_calls.py"}


@pytest.mark.parametrize(
    "code",
    [
        "Permit(digest='x', decision_id=1, mint=None)",
        "permits.Permit(digest='x', decision_id=1, mint=None)",
        "object.__new__(Permit)",
        "class Mine(permits.Permit): ...",
        "permits.Permit(mint=permits._MINT)",
        "mine = _MINT",
    ],
)
def test_the_law_bites(code: str) -> None:
    assert makes_permit(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["def door(permit: Permit) -> None: permit.spend(intent)", "isinstance(x, Permit)"]
)
def test_the_law_lets_doors_be(code: str) -> None:
    assert not makes_permit(ast.parse(code))
