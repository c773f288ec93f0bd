"""The law: Mallory tries every address, of the API, of the data plane and of the console."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from django.urls import URLPattern

from api.openai import application
from api.urls import urlpatterns
from console.urls import urlpatterns as pages

TESTS = Path(__file__).parents[1]
TABLE = TESTS / "api" / "mallory.py"
CALLS = TESTS / "api" / "openai" / "mallorys_calls.py"
VISITS = TESTS / "console" / "mallorys_visits.py"
METHODS = ("get", "post", "put", "patch", "delete")


def _table(path: Path = TABLE) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mallory_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _methods(pattern: URLPattern) -> set[str]:
    view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
    return {method.upper() for method in METHODS if hasattr(view, method)}


def test_every_endpoint_is_in_mallorys_table() -> None:
    table = _table()
    known = {*table.LISTS, *table.DETAILS, *table.OPEN}
    named = {pattern.name for pattern in urlpatterns}
    missing = sorted(str(name) for name in named - known)
    assert not missing, f"Add to tests/api/mallory.py how Mallory tries: {', '.join(missing)}"
    assert known <= named, "The table names endpoints that are gone."


def test_every_method_of_an_endpoint_with_a_row_is_tried() -> None:
    table = _table()
    untried = {
        pattern.name: _methods(pattern) - set(table.DETAILS[pattern.name])
        for pattern in urlpatterns
        if pattern.name in table.DETAILS and _methods(pattern) - set(table.DETAILS[pattern.name])
    }
    assert not untried, f"Add to tests/api/mallory.py the methods {untried}"


def test_every_endpoint_without_a_row_that_takes_a_body_has_one_in_the_table() -> None:
    table = _table()
    without = [
        pattern.name
        for pattern in urlpatterns
        if pattern.name in table.LISTS
        and "POST" in _methods(pattern)
        and not table.LISTS[pattern.name]
    ]
    assert not without, f"Add to tests/api/mallory.py the bodies of {without}"


def test_every_page_of_the_console_is_in_mallorys_visits() -> None:
    table = _table(VISITS)
    named = {str(pattern.name) for pattern in pages}
    missing = sorted(named - {*table.LISTS, *table.ROWS, *table.OPEN})
    assert not missing, f"Add to {VISITS.name} how Mallory tries: {', '.join(missing)}"
    assert {*table.LISTS, *table.ROWS, *table.OPEN} <= named, "The table names pages that are gone."


def test_a_page_with_a_row_in_its_address_is_tried_with_acmes_row() -> None:
    with_rows = {str(pattern.name) for pattern in pages if "<" in str(pattern.pattern)}
    assert with_rows == set(_table(VISITS).ROWS)


def test_every_address_of_the_data_plane_is_in_mallorys_calls() -> None:
    served = {*application.METHODS, f"{application.MODELS}/"}
    assert set(_table(CALLS).CALLS) == served, f"Add to {CALLS.name} how Mallory tries them"
