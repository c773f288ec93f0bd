"""Part 8 of the story: each of its claims, where it holds and where it does not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import Desk
from cast import Cast
from django.db import connection
from in_process import signed_in
from sealing import KEY, seal
from workbench import LARGE, LOOKING, allow_small_refunds, approval_of, propose, refund
from world import calls, says

from audit.anchoring import Anchoring
from audit.checkpoints import VerifierKey
from audit.queries import own_log
from countersign import places, witnesses
from countersign.installation import Installation
from countersign.sending import send
from demo import bundle, outside, proving
from demo.narrator import DidNotHold, Narrator
from demo.scene import Scene
from demo.siem import STREAM, Siem
from demo.tenancy import Staff
from demo.witness import Witness
from runtime import runs, stores
from runtime.models import Run, RunState
from tenants import isolation

PERSON = outside.CUSTOMER.format(order="1045")


def cosign(named: str) -> None:
    """What the sequencer's process does with a checkpoint, at the witness that is named."""
    seal()
    (address,) = witnesses.parsed(named)
    place = places.Witness(address.url, address.keys, send=send, origin=address.origin)
    with isolation.outside_tenants(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        Anchoring(place).round(connection.connection, datetime.now(UTC), threading.Event())


def scene_of(cast: Cast, folder: Path, **others: Any) -> Scene:
    """acme in this process, with Alice for its app; who else takes part is given."""
    people = {name: signed_in(getattr(cast, name.lower())) for name in ("Alice", "Bob", "Carol")}
    acme = Staff("acme", people, people["Alice"])
    parts = ("installation", "globex", "orders", "witness", "siem")
    given = {part: others.get(part, SimpleNamespace()) for part in parts}
    return Scene(acme=acme, narrator=Narrator.silent(), folder=folder, **given)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Only for the processes beside it, which end with the test."""
    made = Installation(tmp_path, 1, dict(os.environ), None)
    yield made
    made.processes.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what does not come."""
    monkeypatch.setattr(outside, "COSIGNED_SECONDS", 0)
    monkeypatch.setattr(outside, "STREAMED_SECONDS", 0)


@pytest.fixture
def watched(acme: Cast, installation: Installation, tmp_path: Path, impatient: None) -> Scene:
    """acme with a witness that is named, and away; part 6 has exported the ledger."""
    witness = Witness(tmp_path, own_log().origin)
    witness.be_named(installation)
    scene = scene_of(acme, tmp_path, witness=witness)
    seal()
    kept = scene.acme["Carol"].fetch("/ledger/export").body
    (tmp_path / proving.BUNDLE).write_bytes(kept)
    seal()
    return scene


def test_without_the_witness_the_story_says_that_no_cosignature_came(watched: Scene) -> None:
    with pytest.raises(DidNotHold, match=r"checkpoint\. No cosignature came within 0 seconds"):
        outside._the_witness_cosigns(watched)


def test_the_ledger_is_whole_with_the_witness_and_not_without(
    watched: Scene, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(outside, "_the_witness_cosigns", lambda _: None)
        with pytest.raises(DidNotHold, match="cosignature_missing"):
            outside._the_ledger_is_still_whole(watched)
    watched.witness.start(str(VerifierKey(own_log().origin, KEY.public_key())))
    cosign(installation.environment["COUNTERSIGN_WITNESSES"])
    published = outside._the_ledger_is_still_whole(watched)
    assert published == bundle.hashes(watched.folder / outside.BUNDLE)


def test_a_bundle_that_does_not_continue_what_was_kept_is_not_whole(watched: Scene) -> None:
    officer, later = watched.acme["Carol"], watched.folder / outside.BUNDLE
    later.write_bytes(officer.fetch("/ledger/export").body)
    kept = bundle.keep_checkpoint(later)
    seal()
    key = proving.ledger_key(officer)
    verdict = bundle.verify(watched.folder / proving.BUNDLE, key=key, since=kept)
    assert verdict.code == 1
    assert [each["code"] for each in verdict.report["findings"]] == ["rolled_back"]


def test_a_refund_that_did_not_wait_is_noticed(desk: Desk, tmp_path: Path) -> None:
    run = propose(allow_small_refunds(desk), refund())
    orders = SimpleNamespace(refunds=lambda _: 1)
    scene = scene_of(desk.cast, tmp_path, orders=orders)
    said = r"It is completed, with 1 refunds; awaited: \['recorded'\]"
    with pytest.raises(DidNotHold, match=said):
        outside._it_waits(scene, str(run.pk))


@pytest.fixture
def hers(desk: Desk) -> dict[str, Any]:
    """A run for the customer, with an approval that was settled."""
    desk.world.script[:] = [
        calls(LOOKING),
        calls(refund(LARGE), first_id="call_2"),
        says("Sorry, Nora Keller."),
    ]
    task = outside.TASK.format(order="1042")
    robo = desk.cast.robo
    run = runs.start(task, agent=desk.agent, principal=robo, now=desk.now, on_behalf_of=PERSON)
    approval = approval_of(desk.work(run))
    settled = {"verdict": "reject", "reason": "Nora Keller has it."}
    runs.settle_approval(approval, **settled, by=desk.cast.bob, now=desk.now)
    assert desk.work(run).state == RunState.COMPLETED
    return {"id": str(run.pk), "approval": str(approval.pk), "on_behalf_of": PERSON}


def test_two_people_erase_what_the_api_shows_of_a_customer(
    desk: Desk, hers: dict[str, Any], tmp_path: Path
) -> None:
    scene = scene_of(desk.cast, tmp_path)
    shown = outside.words_shown(scene, hers)
    own = [f"/runs/{hers['id']}", f"/runs/{hers['id']}/steps", f"/approvals/{hers['approval']}"]
    assert set(own) < set(shown)
    outside._the_customer_is_erased(scene, hers)
    assert Run.objects.get(pk=hers["id"]).task == stores.ERASED


def test_words_that_an_erasure_left_are_named(
    desk: Desk, hers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stores._stores, "steps", lambda _: 0)
    said = rf"now: \['/runs/{hers['id']}/steps'\]"
    with pytest.raises(DidNotHold, match=said):
        outside._the_customer_is_erased(scene_of(desk.cast, tmp_path), hers)


@pytest.mark.parametrize(
    "got", [[], [(0, "a"), (2, "c")], [(0, "a"), (1, "b")], [(0, "a"), (1, "x"), (2, "c")]]
)
def test_an_entry_that_the_siem_lacks_or_has_otherwise_is_noticed(
    acme: Cast, tmp_path: Path, impatient: None, got: list[tuple[int, str]]
) -> None:
    siem = SimpleNamespace(entries=lambda: got)
    scene = scene_of(acme, tmp_path, siem=siem)
    with pytest.raises(DidNotHold, match="It lacks"):
        outside._the_siem_has_all_of_it(scene, ["a", "b", "c"])
    got[:] = [(0, "a"), (1, "b"), (2, "c"), (3, "later")]
    outside._the_siem_has_all_of_it(scene, ["a", "b", "c"])


def test_the_siem_of_a_later_demo_takes_up_the_stream_and_what_it_lost(
    acme: Cast, installation: Installation, tmp_path: Path, settings: Any
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    alice = signed_in(acme.alice)
    siem = Siem(tmp_path, own_log().origin)
    siem.start(installation)
    secrets = []
    for _ in range(2):
        siem.subscribe(alice)
        secrets.append((tmp_path / "siem.secret").read_text())
    assert secrets[0] != secrets[1]
    seal()
    alice.patch(f"/ledger/streams/{STREAM}", {"cursor": 2, "enabled": False})
    siem.subscribe(alice)
    found = alice.get(f"/ledger/streams/{STREAM}")
    assert (found["cursor"], found["enabled"], found["address"]) == (0, True, siem.address)
