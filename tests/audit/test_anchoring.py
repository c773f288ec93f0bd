"""The only place that tests how checkpoints get outside, with true witnesses, stamps and sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bucket_server import KEYS as BUCKET_KEYS
from bucket_server import BucketServer
from bucket_server import served as bucket_served
from own_logs import OwnLog, direct
from own_losses import ALICE, BOB, SIZES, forgotten
from own_places import ANCHORED, COSIGNED, REASONS, Ground, WitnessProcess, key_of
from stamping import Authority as StampingAuthority
from stamping import need_openssl
from stamping import served as stamping_served

from audit import anchoring, bundles, checkpoints, outside, queries, sequencer, sinks
from audit.buckets import Answer, Request
from audit.checkpoints import CheckpointNotSigned
from audit.management.commands.run_sequencer import connection_parameters
from audit.places import Authority, Depot, Due, PlaceUnreachable, Stamp, Witness
from audit.verify.checks import verify
from countersign.sending import send

HOUR = timedelta(hours=1)


@pytest.fixture
def ground(committed_log: OwnLog, tmp_path: Path) -> Iterator[Ground]:
    with direct() as raw:
        yield Ground(raw, committed_log, tmp_path)


@pytest.fixture
def witness(ground: Ground) -> Iterator[WitnessProcess]:
    made = WitnessProcess(ground.folder, key_of(ground.log))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(anchoring, "FIRST_WAIT_SECONDS", 0)


# Witnesses


def test_a_witness_cosigns_each_newest_checkpoint_and_its_lines_are_kept(
    ground: Ground, witness: WitnessProcess
):
    rounds = ground.rounds(witness.place(ground.log))
    for count in (3, 300, 1):  # the first tile is full in between
        ground.grow(count)
        rounds.go()
    assert ground.cosigned() == [3, 303, 304]
    with ground.acting():
        newest = queries.latest_checkpoint()
        note, found = outside.cosigned(newest), outside.newest()
        assert set(outside.witness_keys(newest)) == set(map(str, witness.keys))
    assert {each.key for each in checkpoints.signed_by(note, witness.keys)} == set(witness.keys)
    assert found is not None
    assert (found["kind"], found["size"]) == ("cosignature", 304)
    rounds.go()
    assert ground.cosigned() == [3, 303, 304]


def test_a_witness_that_was_down_gets_what_is_newest_when_it_is_back(
    ground: Ground,
    witness: WitnessProcess,
    caplog,
    impatient: None,
):
    rounds = ground.rounds(witness.place(ground.log))
    ground.grow(2)
    rounds.go()
    witness.kill()
    for _ in range(2):
        ground.grow(2)
        rounds.go()
    assert ground.ask(SIZES) == [(6, 0, 6)]
    assert ground.cosigned() == [2]
    assert "witness.test/carol did not take the checkpoint over 6 entries" in caplog.text
    assert "(place_unreachable)" in caplog.text
    witness.start()
    rounds.go()
    assert ground.cosigned() == [2, 6]


def test_a_place_that_can_not_be_reached_is_left_alone_for_longer_and_longer(
    ground: Ground, witness: WitnessProcess, caplog
):
    asked: list[str] = []

    def away(request: Request) -> Answer:
        asked.append(request.url)
        raise PlaceUnreachable(address="witness.test", reason="it is away")

    rounds = ground.rounds(witness.place(ground.log, send=away))
    ground.grow(1)
    for _ in range(5):
        rounds.go()
    assert len(asked) == 1
    assert "Trying again in 2 s." in caplog.text
    waits = anchoring.Waits()
    seconds = [waits.begin(None) for _ in range(12)]
    assert seconds[:3] == [2.0, 4.0, 8.0]
    assert seconds[-1] == anchoring.LONGEST_WAIT_SECONDS
    assert not waits.is_over(None)
    assert waits.is_over(ground.log.id)
    waits.end(None)
    assert waits.is_over(None)


def test_a_witness_whose_database_rows_are_lost_is_asked_from_where_it_is(
    ground: Ground, witness: WitnessProcess
):
    ground.grow(4)
    with forgotten(ground.raw):  # the answer is lost, the checkpoint is not
        ground.rounds(witness.place(ground.log)).go()
    ground.grow(3)
    ground.rounds(witness.place(ground.log)).go()
    assert ground.cosigned() == [7]
    assert ground.ask(REASONS) == []


@pytest.mark.parametrize("more", [1, 5])
def test_a_log_that_was_rolled_back_is_halted_by_its_witness_until_two_people_recover_it(
    ground: Ground,
    witness: WitnessProcess,
    caplog,
    impatient: None,
    more: int,
):
    rounds = ground.rounds(witness.place(ground.log))
    ground.grow(3)
    ground.lose(2, rounds)
    # The folder was rolled back as well: nothing here knows of the loss. With one more entry the
    # log is behind the witness, with five it is a fork.
    ground.grow(more)
    rounds.go()
    ((signed, held, reason),) = ground.ask(REASONS)
    assert (signed, held) == (5, 3 + more)
    assert reason == (
        "The witness witness.test/carol holds a checkpoint over 5 entries which this ledger signed"
        " and does not have."
    )
    assert f"The ledger {ground.log.origin} is halted: 5 entries were signed" in caplog.text
    assert ground.log.id in sequencer.halted(ground.raw)
    ground.record(1)
    for _ in range(2):
        ground.sequence()
        rounds.go()
    assert ground.ask(SIZES) == [(3 + more, 1, 3 + more)]
    ground.approve(ALICE)
    ground.sequence()
    assert ground.ask(SIZES) == [(3 + more, 2, 3 + more)]
    ground.approve(BOB)
    ground.sequence()
    assert ground.ask(SIZES) == [(6 + more, 0, 6 + more)]
    assert ground.log.id not in sequencer.halted(ground.raw)
    # The witness goes on refusing, and is right; the loss is known, and halts nothing again.
    rounds.go()
    assert len(ground.ask(REASONS)) == 1
    assert ground.cosigned() == []
    assert "(another_history)" in caplog.text


def _answering(status: int, body: bytes, shown: bytes | None = None):
    def answer(request: Request) -> Answer:
        if request.method == "GET":
            return Answer(200, {}, shown) if shown is not None else Answer(404, {}, b"")
        return Answer(status, {}, body)

    return answer


FORGED = b"ledger.test/another\n9\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"
REFUSALS = {
    "a number": (_answering(409, b"99\n"), "witness_ahead"),
    "a number, and a checkpoint that the log did not sign": (
        _answering(409, b"99\n", FORGED),
        "witness_ahead",
    ),
    "a number, and no text": (_answering(409, b"99\n", b"\xff\xfe"), "witness_ahead"),
    "a refusal": (_answering(422, b"no\n"), "witness_refused"),
    "a log that it does not know": (_answering(404, b"no\n"), "witness_refused"),
    "nonsense": (_answering(200, b"nonsense\n"), "witness_unproven"),
}


@pytest.mark.parametrize("said", REFUSALS)
def test_what_a_witness_says_without_the_logs_own_signature_halts_nothing(
    ground: Ground,
    witness: WitnessProcess,
    caplog,
    said: str,
):
    answer, code = REFUSALS[said]
    ground.grow(3)
    ground.rounds(witness.place(ground.log, send=answer)).go()
    assert f"({code})" in caplog.text
    assert ground.ask(REASONS) == []
    assert ground.cosigned() == []


def test_a_witness_of_one_log_never_hears_of_another(ground: Ground, witness: WitnessProcess):
    ground.grow(1)
    place = Witness(witness.url, witness.keys, send=send, origin="ledger.test/another")
    ground.rounds(place).go()
    assert ground.cosigned() == []


# Timestamps


def test_a_log_is_timestamped_at_most_every_so_often_and_an_export_carries_the_proof(
    ground: Ground, tmp_path: Path
):
    need_openssl()
    (tmp_path / "authority").mkdir()
    authority = StampingAuthority(tmp_path / "authority")
    with stamping_served(authority) as url:
        hourly = Authority(url, authority.pem, every=HOUR, send=send)
        always = Authority(url, authority.pem, every=timedelta(0), send=send)
        for place in (hourly, hourly, always):
            ground.grow(2)
            ground.rounds(place).go()
    kept = ground.ask(ANCHORED)
    assert [(size, place) for size, place, _ in kept] == [(2, "timestamp"), (6, "timestamp")]
    assert Stamp.read(bytes(kept[0][2])).authority_pem == authority.pem
    now = datetime.now(UTC)
    with ground.acting():
        bundles.export(tmp_path / "bundle", now=now)
    folder = tmp_path / "bundle" / "timestamps"
    shipped = {path.name for path in folder.iterdir()}
    assert shipped == {"2.note", "2.tsr", "6.note", "6.tsr", "authority.pem"}
    assert authority.openssl_accepts(
        (folder / "2.note").read_bytes(), (folder / "2.tsr").read_bytes()
    )
    report = verify(tmp_path / "bundle", now=now)
    assert report.verdict == "whole", report
    assert "An outside authority vouches for 2 checkpoints" in str(report)


def test_an_authority_that_answers_nonsense_is_asked_again_and_nothing_is_kept(
    ground: Ground, tmp_path: Path, caplog
):
    need_openssl()
    (tmp_path / "authority").mkdir()
    authority = StampingAuthority(tmp_path / "authority")
    ground.grow(1)
    with stamping_served(authority) as url:
        for answer, code in (((500, b""), "place_refused"), ((200, b"no"), "timestamp_malformed")):
            authority.answer = answer
            place = Authority(url, authority.pem, every=HOUR, send=send)
            ground.rounds(place).go()
            assert f"({code})" in caplog.text
    assert ground.ask(ANCHORED) == []


# Sinks


def _sink(url: str) -> Depot:
    keys = BUCKET_KEYS if url.startswith("s3:") else {}
    return Depot(url, sinks.opened(url, variable="SINK", environment=keys, send=send))


def test_a_folder_and_a_bucket_get_the_checkpoints(ground: Ground, tmp_path: Path):
    ground.grow(2)
    ground.rounds(_sink(f"file://{tmp_path}")).go()
    ground.grow(2)
    bucket = BucketServer()
    with bucket_served(bucket) as url:
        address = f"s3://ledgers/cs?region={bucket.region}&endpoint={url}"
        ground.rounds(_sink(address)).go()
    first, second = ground.ask(ANCHORED)
    assert (first[:2], second[:2]) == ((2, "sink"), (4, "sink"))
    ((stored, lock),) = bucket.objects["/" + bytes(second[2]).decode().partition("//")[2]]
    assert lock["x-amz-object-lock-mode"] == "COMPLIANCE"
    notes = [Path(bytes(first[2]).decode()).read_text(), stored.decode()]
    assert [checkpoints.verify(note, key_of(ground.log)).size for note in notes] == [2, 4]


def test_a_sink_that_holds_another_history_halts_the_log(
    ground: Ground,
    tmp_path: Path,
    caplog,
    impatient: None,
):
    rounds = ground.rounds(_sink(f"file://{tmp_path}"))
    ground.grow(3)
    ground.lose(2, rounds)
    ground.grow(2)
    rounds.go()
    ((signed, held, reason),) = ground.ask(REASONS)
    assert (signed, held) == (5, 5)
    assert "The checkpoint sink" in reason
    ground.approve(ALICE, BOB)
    ground.sequence()
    rounds.go()
    assert [row[:2] for row in ground.ask(ANCHORED)] == [(7, "sink")]
    assert len(ground.ask(REASONS)) == 1


# In the sequencer's process


class Stuck:
    """A place that answers nothing for as long as a test likes."""

    def __init__(self, log: OwnLog) -> None:
        self.name, self._log = "A place that is stuck", log
        self.entered, self.let_go = threading.Event(), threading.Event()

    def wants(self, cursor, log, origin: str, size: int) -> bool:
        return log == self._log.id

    def take(self, begin, due: Due, now: datetime) -> None:
        self.entered.set()
        self.let_go.wait(10)


def test_a_place_that_is_stuck_holds_up_no_other_and_does_not_keep_the_process_from_ending(
    ground: Ground,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(anchoring, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(anchoring, "GRACE_SECONDS", 0.1)
    ground.grow(1)
    stuck = Stuck(ground.log)
    places = [stuck, _sink(f"file://{tmp_path}")]
    with anchoring.running(places, connection_parameters(), lambda: datetime.now(UTC)):
        assert stuck.entered.wait(5)
        deadline = time.monotonic() + 5
        while not ground.ask(ANCHORED) and time.monotonic() < deadline:
            time.sleep(0.02)
        ground.grow(1)
    stuck.let_go.set()
    assert ground.ask(ANCHORED)[0][:2] == (1, "sink")
    assert ground.ask(SIZES) == [(2, 0, 2)]


def test_no_transaction_is_open_while_a_place_is_asked(ground: Ground, witness: WitnessProcess):
    states: list[object] = []

    def watching(request: Request) -> Answer:
        states.append(ground.raw.info.transaction_status.name)
        return send(request)

    ground.grow(3)
    rounds = ground.rounds(witness.place(ground.log, send=watching))
    rounds.go()
    ground.grow(3)
    rounds.go()
    assert states == ["IDLE", "IDLE"]
    assert {each.key for each in _lines(ground, witness)} == set(witness.keys)


def _lines(ground: Ground, witness: WitnessProcess):
    ((note,),) = ground.ask("SELECT note FROM audit.checkpoint ORDER BY size DESC LIMIT 1")
    lines = [line for size, _, line in ground.ask(COSIGNED) if size == 6]
    with pytest.raises(CheckpointNotSigned):
        checkpoints.verify(note, *witness.keys)
    return checkpoints.signed_by(note + "".join(lines), witness.keys)
