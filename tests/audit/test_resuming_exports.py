"""An export that was killed goes on: under the same head, behind what is on the disk, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import export_until_killed
import psycopg
import pytest
from django.db import connection
from own_logs import ROBO, Confided, NoteTaken, OwnLog, act_as, publish, record_committed
from own_losses import sequence

from audit import bundles, ledger, line_files
from audit.events import SYSTEM
from audit.guard import Guard
from audit.selections import EVERYTHING, Selection
from audit.verify import layout
from audit.verify.checks import verify
from runtime.events import LedgerExported
from tests.environment import ROOT


class _Killed(BaseException):
    """What a kill is within a test: nothing that was to come comes."""


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "CHUNK", export_until_killed.CHUNK)
    monkeypatch.setattr(bundles, "MARKED", export_until_killed.MARKED)


def _now() -> datetime:
    return datetime.now(UTC)


def _record(count: int) -> None:
    for number in range(count):
        ledger.record(NoteTaken(note="kept", number=number), actor=SYSTEM)
        if number % 3 == 0:
            ledger.record(Confided(topic="a", words=f"word {number}"), actor=ROBO)


def _killed_at(folder: Path, entries: int, selection: Selection = EVERYTHING) -> None:
    def progress(done: int, _: int) -> None:
        if done >= entries:
            raise _Killed

    with pytest.raises(_Killed):
        bundles.export(folder, now=_now(), selection=selection, progress=progress)


def _lines(folder: Path) -> dict[str, list[bytes]]:
    return {name: (folder / name).read_bytes().splitlines() for name in bundles.LINES}


@pytest.mark.soak
def test_a_process_that_was_killed_is_gone_on_from(
    raw: psycopg.Connection, committed_log: OwnLog, guard: Guard, tmp_path: Path
) -> None:
    record_committed(raw, committed_log, 50)
    sequence(raw, guard)
    settings = connection.settings_dict
    url = f"postgresql://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}"
    folder = tmp_path / "bundle"
    killed = subprocess.run(
        [sys.executable, export_until_killed.__file__, committed_log.role, str(folder), "33"],
        env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / layout.MANIFEST).exists()
    record_committed(raw, committed_log, 5)
    sequence(raw, guard)

    act_as(committed_log.role)
    told: list[tuple[int, int]] = []
    exported = bundles.export(folder, now=_now(), progress=lambda *args: told.append(args))
    assert told == [(35, 50), (40, 50), (45, 50), (50, 50)]
    assert (exported.size, exported.selected, exported.not_covered) == (50, 50, 5)
    assert verify(folder, now=_now()).verdict == "whole"
    bundles.export(tmp_path / "undisturbed", now=_now())
    act_as("none")
    for name, lines in _lines(tmp_path / "undisturbed").items():
        assert _lines(folder)[name] == lines[: 51 if name == layout.SPREADSHEET else 50]


@pytest.mark.parametrize("selection", [EVERYTHING, Selection(kind=Confided.kind)])
@pytest.mark.parametrize("entries", [1, 10, 11, 29, 40])
def test_it_is_what_it_would_have_been(
    own_log: OwnLog, tmp_path: Path, entries: int, selection: Selection
) -> None:
    _record(30)
    publish()
    folder = tmp_path / "bundle"
    _killed_at(folder, entries, selection)
    for name in bundles.LINES:
        with (folder / name).open("ab") as file:
            file.write(b'{"half a line, which was written and not mark')
    exported = bundles.export(folder, now=_now(), selection=selection)
    whole = bundles.export(tmp_path / "whole", now=_now(), selection=selection)
    assert exported == whole
    assert _lines(folder) == _lines(tmp_path / "whole")
    names = [{path.name for path in each.rglob("*")} for each in (folder, tmp_path / "whole")]
    assert names[0] == names[1]
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "whole"}, "no mark is left"
    assert verify(folder, now=_now()).verdict == "whole"


def test_one_that_died_after_its_entries_does_not_read_them_again(
    own_log: OwnLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(30)
    publish()
    folder = tmp_path / "bundle"
    with monkeypatch.context() as patch:
        patch.setattr(bundles, "_write_manifest", lambda *_: (_ for _ in ()).throw(_Killed))
        with pytest.raises(_Killed):
            bundles.export(folder, now=_now())
    (folder / layout.TIMESTAMPS).mkdir()
    (folder / layout.TIMESTAMPS / "7.tsr").write_bytes(b"of before")
    told: list[tuple[int, int]] = []
    bundles.export(folder, now=_now(), progress=lambda *args: told.append(args))
    assert told == []
    assert not (folder / layout.TIMESTAMPS).exists()
    assert verify(folder, now=_now()).verdict == "whole"


@pytest.mark.parametrize("spoilt", ["another", "short", "gone", "garbage", "unknown head"])
def test_what_can_not_be_gone_on_from_is_begun_anew(
    own_log: OwnLog, tmp_path: Path, spoilt: str
) -> None:
    _record(30)
    publish()
    folder = tmp_path / "bundle"
    _killed_at(folder, 25, Selection(actor="robo") if spoilt == "another" else EVERYTHING)
    mark = line_files.path_of_mark(folder)
    if spoilt == "short":
        os.truncate(folder / layout.BODIES, 1)
    elif spoilt == "gone":
        (folder / layout.ENTRIES).unlink()
    elif spoilt == "garbage":
        mark.write_bytes(b'{"size"')
    elif spoilt == "unknown head":
        mark.write_text(json.dumps({**json.loads(mark.read_bytes()), "size": 39}))
    told: list[tuple[int, int]] = []
    bundles.export(folder, now=_now(), progress=lambda *args: told.append(args))
    assert told[0] == (5, 40)
    assert len((folder / layout.ENTRIES).read_bytes().splitlines()) == 40
    assert verify(folder, now=_now()).verdict == "whole"


def test_an_export_that_covers_more_and_ended_earlier_is_not_the_one_before(
    own_log: OwnLog, tmp_path: Path
) -> None:
    _record(10)
    publish()
    first = _exported(tmp_path / "first")
    _killed_at(tmp_path / "slow", 10)
    _record(10)
    publish()
    _exported(tmp_path / "second")
    bundles.export(tmp_path / "slow", now=_now())
    manifest = json.loads((tmp_path / "slow" / layout.MANIFEST).read_text())
    assert manifest["previous"] == {"size": first.size, "root": first.root}
    assert verify(tmp_path / "slow", now=_now()).verdict == "whole"


def _exported(folder: Path) -> bundles.Exported:
    made = bundles.export(folder, now=_now())
    facts = {name: getattr(made, name) for name in ("size", "root", "not_covered", "selected")}
    ledger.record(LedgerExported(filter={}, bodies="selected", **facts), actor=SYSTEM)
    return made
