"""The law: every kind of entry, every error code and every setting is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from audit.events import Event, registry
from countersign import reference
from countersign.configuration import Configuration
from governance import verdicts
from tests.environment import ROOT

DOCS = ROOT / "docs"
CURE = "run `python manage.py write_reference`"
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.png"))
MOST_PICTURE_BYTES = 200_000
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def undocumented(names: set[str], page: str) -> set[str]:
    return {name for name in names if f"`{name}`" not in page}


@pytest.mark.parametrize("name", ["events.md", "errors.md", "how-to/run-in-production.md"])
def test_the_written_pages_are_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text() == reference.pages()[name], CURE


def test_every_kind_of_entry_is_documented() -> None:
    reference.load_everything()
    kinds = {kind for kind, made in registry().items() if reference.is_ours(made)}
    assert undocumented(kinds, (DOCS / "events.md").read_text()) == set(), CURE
    assert [kind for kind in kinds if registry()[kind].__doc__ in {None, Event.__doc__}] == []


def test_every_error_code_is_documented() -> None:
    reference.load_everything()
    codes = {code for code, _, _ in reference.problems()} | set(verdicts.SENTENCES)
    assert undocumented(codes, (DOCS / "errors.md").read_text()) == set(), CURE


def test_every_setting_is_documented() -> None:
    page = (DOCS / "how-to" / "run-in-production.md").read_text()
    assert undocumented(set(Configuration.model_fields), page) == set(), CURE


def test_what_is_missing_is_noticed() -> None:
    page = (DOCS / "errors.md").read_text().replace("`already_settled`", "")
    codes = {code for code, _, _ in reference.problems()}
    assert undocumented(codes, page) == {"already_settled"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [page.parent / link for link in LINK.findall(page.read_text())]
    assert [str(target) for target in targets if not target.is_file()] == []


def test_pictures_are_shown_and_small() -> None:
    shown = "".join(page.read_text() for page in PAGES)
    assert [str(path) for path in PICTURES if f"pictures/{path.name})" not in shown] == []
    assert [str(path) for path in PICTURES if path.stat().st_size > MOST_PICTURE_BYTES] == []


def test_the_readme_begins_with_commands_that_the_makefile_has() -> None:
    commands = re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["demo", "test"]
    rules = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(commands) <= set(rules)
