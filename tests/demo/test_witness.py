"""acme's witness across demos: one key, one state, and a port that is free."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_witness import LOG as LOG_KEY
from own_witness import ORIGIN, Client, GrowingLog

from countersign import witnesses
from countersign.installation import Installation
from demo import witness
from demo.witness import Witness

ACME = GrowingLog("acme")


class Demo:
    """As much of a demo as a witness sees of it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.installation = Installation(folder, 1, {**os.environ, **environment}, None)
        self.witness = Witness(folder, ORIGIN)
        self.witness.be_named(self.installation)

    @property
    def named(self) -> str:
        return self.installation.environment["COUNTERSIGN_WITNESSES"]

    @property
    def client(self) -> Client:
        (address,) = witnesses.parsed(self.named)
        return Client(int(address.url.rpartition(":")[2]))

    def cosigned(self, old: int, new: int) -> int:
        """How many keys of the witness sign that the log grew from `old` to `new` entries."""
        said = self.client.submit(ACME.submission(old, new))
        lines = said.text if said.status == 200 else ""
        return len(self.witness.cosignatures(ACME.note(new) + lines))


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    """Those that a test starts a witness in; it ends with the test."""
    started: list[Demo] = []
    yield started
    for demo in started:
        demo.installation.processes.stop()


def test_it_is_named_for_this_ledger_alone_and_beside_others(tmp_path: Path) -> None:
    first = Demo(tmp_path)
    (found,) = witnesses.parsed(first.named)
    assert found.origin == ORIGIN
    assert [str(key) for key in found.keys] == first.witness.keys_file.read_text().split()
    other = first.named.replace(f"#{ORIGIN}", "").replace("127.0.0.1", "example.com")
    second = Demo(tmp_path, COUNTERSIGN_WITNESSES=other)
    assert [each.origin for each in witnesses.parsed(second.named)] == [ORIGIN, None]


def test_its_key_is_made_once(tmp_path: Path) -> None:
    kept = [Demo(tmp_path).witness.keys_file.read_text() for _ in range(2)]
    assert kept[0] == kept[1]
    assert (tmp_path / "witness" / "witness.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_nobody_was_told_of_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "witness").mkdir()
    (tmp_path / "witness" / "witness.key").write_text("an earlier demo was killed here")
    assert len(Demo(tmp_path).witness.keys_file.read_text().split()) == 2


def test_a_busy_port_gives_way_to_the_next(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(witness, "FIRST_PORT", busy.getsockname()[1])
            assert Demo(tmp_path).client.port > busy.getsockname()[1]


def test_what_it_cosigned_is_known_after_a_kill_and_in_the_next_demo(
    tmp_path: Path, demos: list[Demo]
) -> None:
    demos.append(Demo(tmp_path))
    demos[0].witness.start(str(LOG_KEY))
    assert demos[0].cosigned(0, 5) == 2
    demos[0].witness.go_away()
    demos[0].witness.come_back()
    assert demos[0].cosigned(0, 7) == 0
    assert demos[0].cosigned(5, 7) == 2
    demos[0].installation.processes.stop()
    demos.append(Demo(tmp_path))
    demos[1].witness.start(str(LOG_KEY))
    assert demos[1].cosigned(0, 9) == 0
    assert demos[1].cosigned(7, 9) == 2
