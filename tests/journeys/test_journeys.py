"""Real processes and a real browser, in a test run of their own: nothing else meets them."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.client import HTTPResponse
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from builders import HANDBOOK, SMALL_REFUNDS, Desk, furnish
from cast import Cast
from journeys.conftest import Stack, sign_in
from playwright.sync_api import Page, expect
from world import World, calls, says

from audit.queries import access_entry, entries, latest_checkpoint
from governance import policy_sets
from governance.policies import DEFAULT_POLICY
from retrieval.models import Document
from runtime import ingesting, runs, toolbox
from runtime.models import Run
from tenants.keys import issuing
from tests.environment import ROOT

SEALED_REFUNDS = """
@id("refunds-are-sealed") @record("sealed")
permit (principal is Agent, action in [Action::"invoke", Action::"invoke_unattended"],
        resource == Tool::"refund_order");
"""


def _state(row: Run | Document) -> str:
    row.refresh_from_db()
    return row.state


@pytest.fixture
def desk(committed_acme: Cast, world: World, stack: Stack) -> Desk:
    """acme's refund desk with its handbook, committed and indexed by the worker."""
    now = datetime.now(UTC)
    made = furnish(committed_acme, world, now)
    document = ingesting.upload(
        made.collection, "returns-handbook.md", HANDBOOK, by=made.cast.alice, now=now
    )
    stack.wait_until(lambda: _state(document) == "ready")
    return made


@pytest.fixture
def held_run(desk: Desk, stack: Stack) -> Run:
    """A large refund that waits for a reviewer."""

    def next_words(body: dict) -> dict:
        done = sum(message["role"] == "tool" for message in body["messages"])
        proposals = [
            ("look_up_order", {"order_id": "1042"}),
            ("search_handbook", {"query": "refund limits"}),
            ("refund_order", {"order_id": "1042", "amount_cents": 12_900}),
        ]
        if done < len(proposals):
            return calls(proposals[done], first_id=f"call_{done + 1}")
        return says("Order 1042 was refunded [P1].")

    desk.world.script[:] = [next_words]
    task = "Order 1042 arrived with a broken pole. Please refund it."
    run = runs.start(task, agent=desk.agent, principal=desk.cast.robo, now=datetime.now(UTC))
    stack.wait_until(lambda: _state(run) == "held")
    return run


@pytest.mark.browser
def test_a_reviewer_approves_the_held_refund_and_sees_the_run_end(
    desk: Desk, held_run: Run, stack: Stack, page: Page, pictures: Path
) -> None:
    sign_in(page, stack, "bob")
    page.screenshot(path=pictures / "home.png")
    page.goto(f"{stack.address('acme')}/approvals")
    page.screenshot(path=pictures / "approvals.png")
    page.get_by_role("link", name=re.compile("refund_order")).first.click()
    expect(page.get_by_text("12900").first).to_be_visible()
    expect(page.get_by_text("Refunds of more than 50.00").first).to_be_visible()
    page.screenshot(path=pictures / "approval.png", full_page=True)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Approved").first).to_be_visible()
    page.goto(f"{stack.address('acme')}/runs/{held_run.pk}")
    expect(page.get_by_text("Order 1042 was refunded").first).to_be_visible(timeout=20_000)
    page.screenshot(path=pictures / "run.png", full_page=True)
    assert desk.world.refunds == [{"order_id": "1042", "amount_cents": 12_900}]


@pytest.mark.browser
def test_a_compliance_officer_downloads_a_bundle_that_verifies(
    held_run: Run, stack: Stack, page: Page, tmp_path: Path, pictures: Path
) -> None:
    sign_in(page, stack, "carol")
    page.goto(f"{stack.address('acme')}/ledger")
    page.screenshot(path=pictures / "ledger.png")
    page.get_by_role("link", name="Export", exact=True).click()
    page.get_by_role("button", name="Make the bundle").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("Download")).click(timeout=20_000)
    bundle = tmp_path / "bundle.tar.zst"
    download.value.save_as(bundle)
    done = subprocess.run(
        [sys.executable, "-m", "audit.verify", str(bundle)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_export_that_is_asked_for_over_the_network_is_made_fetched_in_parts_and_verifies(
    committed_acme: Cast, world: World, stack: Stack, tmp_path: Path
) -> None:
    desk = furnish(committed_acme, world, datetime.now(UTC))
    _, token = issuing.issue_member_token(desk.cast.carol, now=datetime.now(UTC))

    def call(path: str, *, method: str = "GET", **headers: str) -> HTTPResponse:
        sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
        data = b"{}" if method == "POST" else None
        url = f"http://127.0.0.1:{stack.port}{path}"
        sent["Host"] = f"acme.localhost:{stack.port}"
        return urlopen(Request(url, data, sent, method=method), timeout=20)

    covered = entries().count()
    stack.wait_until(lambda: latest_checkpoint().size >= covered)
    where = call("/api/v1/ledger/exports", method="POST").headers["Location"]
    stack.wait_until(lambda: json.load(call(where))["state"] not in {"queued", "running"})
    export = json.load(call(where))
    assert export["state"] == "ready", export
    first = call(export["bundle"], Range="bytes=0-99")
    rest = call(export["bundle"], Range="bytes=100-", **{"If-Range": first.headers["ETag"]})
    assert (first.status, rest.status) == (206, 206)
    bundle = tmp_path / "bundle.tar.zst"
    bundle.write_bytes(first.read() + rest.read())
    assert hashlib.sha256(bundle.read_bytes()).hexdigest() == export["sha256"]
    done = subprocess.run(
        [sys.executable, "-m", "audit.verify", str(bundle)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_worker_killed_in_the_middle_of_a_refund_repeats_nothing(
    committed_acme: Cast, world: World, stack: Stack
) -> None:
    now = datetime.now(UTC)
    desk = furnish(committed_acme, world, now)
    text = DEFAULT_POLICY + SMALL_REFUNDS
    policy_sets.save(text, tools=toolbox.schemas, by=desk.cast.alice, now=now)
    arrived, slow = threading.Event(), threading.Event()

    def dawdle(request: object) -> bool:
        if request.command == "POST" and not slow.is_set():  # type: ignore[attr-defined]
            arrived.set()
            slow.wait(1.5)
        return False

    world.tool_reply = dawdle
    world.script[:] = [
        lambda body: (
            says("Refunded.")
            if any(m["role"] == "tool" for m in body["messages"])
            else calls(("refund_order", {"order_id": "1042", "amount_cents": 2_500}))
        )
    ]
    run = runs.start(
        "Refund 25.00", agent=desk.agent, principal=desk.cast.robo, now=datetime.now(UTC)
    )
    stack.wait_until(arrived.is_set)
    stack.processes.kill("worker")
    slow.set()
    stack.processes.start_again("worker")
    stack.wait_until(lambda: _state(run) == "completed", seconds=40)
    assert world.refunds == [{"order_id": "1042", "amount_cents": 2_500}]
    kinds = [entry.kind for entry in entries(correlation=run.pk)]
    assert kinds.count("effect.begun") == kinds.count("effect.ended") + 1


def test_a_run_goes_from_its_start_to_its_answer_without_anybody_nudging_it(
    committed_acme: Cast, world: World, stack: Stack
) -> None:
    desk = furnish(committed_acme, world, datetime.now(UTC))
    world.script[:] = [says("For 30 days.")]
    run = runs.start("How long?", agent=desk.agent, principal=desk.cast.robo, now=datetime.now(UTC))
    stack.wait_until(lambda: _state(run) == "completed")


def test_what_is_to_be_sealed_waits_for_the_sequencer_and_goes_on_by_itself(
    committed_acme: Cast, world: World, stack: Stack
) -> None:
    desk = furnish(committed_acme, world, datetime.now(UTC))
    policy_sets.save(
        DEFAULT_POLICY + SEALED_REFUNDS,
        tools=toolbox.schemas,
        by=desk.cast.alice,
        now=datetime.now(UTC),
    )
    world.script[:] = [
        calls(("refund_order", {"order_id": "1042", "amount_cents": 2_500})),
        says("Refunded."),
    ]
    stack.processes.kill("sequencer")
    run = runs.start("Refund", agent=desk.agent, principal=desk.cast.robo, now=datetime.now(UTC))
    stack.wait_until(lambda: _state(run) == "waiting")
    time.sleep(2)
    assert (_state(run), world.refunds) == ("waiting", [])
    stack.processes.start_again("sequencer")
    begun = run.steps.get(state="waiting").begun
    stack.wait_until(lambda: access_entry(begun).sealed)
    stack.wait_until(lambda: bool(world.refunds))
    stack.wait_until(lambda: _state(run) == "completed")
    assert len(world.refunds) == 1
