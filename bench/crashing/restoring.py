"""The only place that puts an older copy of the database back, and sees who notices."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from crashing.installing import Installed
from crashing.killing import Sequencer, Server, Standing, wait_until
from crashing.writing import Diary, Writers
from django.db import connections
from django.test import Client

from audit import bundles, outside
from audit.events import SYSTEM
from runtime import onboarding
from tenants import isolation, members
from tenants.models import Membership, Role, Tenant

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 3.0
HALTED = "The ledger is halted since"
BACKEND = "tenants.signing_in.MemberBackend"
PASSWORD = "correct horse battery staple 7"  # noqa: S105  (of members that are thrown away)


class NotAsPromised(RuntimeError):
    """What was seen after the copy was put back is not what was promised."""


class Ledger(NamedTuple):
    """A tenant's ledger, and the two who keep it."""

    tenant: Tenant
    admin: Membership
    auditor: Membership

    def page(self) -> str:
        """What the console says of it."""
        return str(self._browser(self.admin).get("/ledger").content.decode())

    def approve(self, member: Membership) -> None:
        """Press the button under each halt."""
        with isolation.acting_for(self.tenant):
            halts = outside.halts()
        for halt in halts:
            self._browser(member).post(f"/ledger/halts/{halt.id}")

    def _browser(self, member: Membership) -> Client:
        browser = Client(HTTP_HOST=f"{self.tenant.slug}.localhost")
        with isolation.acting_for(self.tenant):
            browser.force_login(member.user, backend=BACKEND)
        return browser


class Restoring:
    """One installation whose database is put back once. `run` says what was seen."""

    def __init__(self, state: Path, installation: Installed) -> None:
        self._state, self._installation = state, installation
        self._data, self._copy = state / "pg", state / "copy"
        self._server = Server(self._data, installation.url)
        self._ledgers = [_kept(tenant) for tenant in installation.tenants]

    def run(self) -> Iterator[str]:
        """A sentence for each thing that was seen. Raises NotAsPromised, NotInTime."""
        with Sequencer(self._state) as sequencer:
            copied = self._go_on()
            self._copy_while_stopped()
            signed = self._go_on()
            seen = max((self._state / "outside" / "localhost_acme").iterdir())
            self._put_back()
            yield f"{signed.published} entries were signed, {copied.published} are in the copy"
            wait_until(lambda: _health() == "halted", "/health did not say so")
            yield "/health says that a ledger is halted, before anything was recorded"
            yield self._refused(copied)
            sequencer.kill()
            sequencer.start()
            yield f"a sequencer that starts afresh: {self._refused(copied)}"
            yield from self._recovered(copied)
            sequencer.stop()
        yield from self._judged(seen)

    def _go_on(self) -> Standing:
        """Record until everything is published, and a newer checkpoint is outside."""
        before = self._notes()
        self._write()
        wait_until(lambda: self._server.standing().is_done, "Not everything was published")
        wait_until(lambda: self._notes() > before, "No checkpoint was taken outside")
        return self._server.standing()

    def _write(self) -> None:
        """Record for a while."""
        stop, diary, url = threading.Event(), Diary(), self._installation.url
        writers = [Writers(tenant, url, diary, stop) for tenant in self._installation.tenants]
        time.sleep(SECONDS)
        stop.set()
        for each in writers:
            each.join()

    def _notes(self) -> set[str]:
        return {str(path) for path in (self._state / "outside").rglob("*.checkpoint")}

    def _copy_while_stopped(self) -> None:
        connections.close_all()
        self._server.stop()
        subprocess.run(["cp", "-a", str(self._data), str(self._copy)], check=True)
        self._server.start_again()

    def _put_back(self) -> None:
        connections.close_all()
        self._server.stop()
        self._data.rename(self._state / "newer")
        self._copy.rename(self._data)
        self._server.start_again()

    def _refused(self, copied: Standing) -> str:
        """Entries are recorded, and nothing is sealed or signed; health and console say so."""
        self._write()
        standing = self._server.standing()
        if standing[:2] != copied[:2] or not standing.pending:
            raise NotAsPromised(f"The copy held {copied}; now there is {standing}.")
        silent = [each.tenant.slug for each in self._ledgers if HALTED not in each.page()]
        if silent or _health() != "halted":
            raise NotAsPromised(f"That it is halted is said neither by {silent} nor by /health.")
        return f"{standing.pending} entries wait, none is sealed or signed, and the console says so"

    def _recovered(self, copied: Standing) -> Iterator[str]:
        """It takes two people, in each ledger by itself."""
        for ledger in self._ledgers:
            ledger.approve(ledger.admin)
            time.sleep(SECONDS)
            if HALTED not in ledger.page():
                raise NotAsPromised("One person was enough.")
            ledger.approve(ledger.auditor)
            if HALTED in ledger.page():
                raise NotAsPromised("Two people were not enough.")
        yield "one person's approval changes nothing; after a second one's the console is content"
        wait_until(lambda: self._server.standing().is_done, "Not everything was published")
        if self._server.standing().published <= copied.published or _health() != "ok":
            raise NotAsPromised(f"It did not go on: {self._server.standing()}, {_health()}.")
        aside = [path.name for path in (self._state / "ledger-guard").glob("*.lost-at-*")]
        if len(aside) != len(self._ledgers):
            raise NotAsPromised(f"What was lost is not kept aside: {aside}.")
        yield "then everything is sealed and signed; the lost checkpoints are kept aside"

    def _judged(self, seen: Path) -> Iterator[str]:
        """The bundle is whole, and contradicts what somebody outside has of the lost history."""
        folder = self._state / "bundle"
        with isolation.acting_for(self._ledgers[0].tenant):
            bundles.export(folder, now=datetime.now(UTC))
        if (code := _verify(folder)) != 0:
            raise NotAsPromised(f"The bundle is not whole ({code}).")
        if (code := _verify(folder, "--since", str(seen))) != 1:
            raise NotAsPromised(f"The verifier does not see that history was lost ({code}).")
        yield "its bundle is whole, and not what follows the checkpoint that was outside"


def _kept(tenant: Tenant) -> Ledger:
    now, domain = datetime.now(UTC), f"{tenant.slug}.example"
    alice = onboarding.add_first_admin(
        tenant, f"alice@{domain}", name="Alice", password=PASSWORD, now=now
    )
    with isolation.acting_for(tenant):
        carol = members.add(
            f"carol@{domain}",
            name="Carol",
            password=PASSWORD,
            roles=[Role.AUDITOR],
            actor=SYSTEM,
            now=now,
        )
    return Ledger(tenant, alice, carol)


def _health() -> str:
    return str(Client(HTTP_HOST="localhost").get("/health").json().get("ledgers"))


def _verify(folder: Path, *options: str) -> int:
    command = [sys.executable, "-m", "audit.verify", str(folder), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode
