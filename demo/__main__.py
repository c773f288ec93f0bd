"""The only place behind `make demo`: everything up, the story, and the console until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import signal
import sys

from django.core.exceptions import ImproperlyConfigured

from countersign import configuration
from countersign.configuration import Configuration
from countersign.embedded import EmbeddedServerFailed
from countersign.installation import Installation, running
from countersign.processes import INTERRUPTIONS, CannotRun
from countersign.serve import interrupt, wait
from countersign.supervision import supervised
from demo import desk, proving, refunding, story
from demo.client import Refused
from demo.narrator import DidNotHold, Narrator
from demo.people import CAST, SignInData, address
from demo.scene import Beside, Scene
from demo.tenancy import move_in

ENVIRONMENT = {
    # http on loopback: cookies that only travel over https would never come back.
    "HTTPS": "false",
    # The order service listens on loopback.
    "COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES": "true",
    # A killed worker's run is taken up within seconds.
    "COUNTERSIGN_LEASE_SECONDS": "3",
    "COUNTERSIGN_SWEEP_SECONDS": "1",
}

ENDINGS = (
    CannotRun,
    EmbeddedServerFailed,
    ImproperlyConfigured,
    DidNotHold,
    Refused,
    OSError,
    http.client.HTTPException,
)
LOGS = ("worker", "web", "sequencer", "streams", "witness")


def main() -> int:
    """Play the story; 0 if all of it held, 1 with the reason if something did not."""
    parser = argparse.ArgumentParser(prog="python -m demo")
    parser.add_argument("--serve", type=int, default=1, choices=(0, 1), help="0: then stop")
    serve = bool(parser.parse_args().serve)
    for number in INTERRUPTIONS:
        signal.signal(number, interrupt)
    narrator = Narrator()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        _play(configuration.read(), narrator, serve=serve)
    except KeyboardInterrupt:
        narrator.says("Stopped.")
        return 0 if serve else 130
    except ENDINGS as problem:
        narrator.fails(str(problem))
        return 1
    return 0


def _play(wanted: Configuration, narrator: Narrator, *, serve: bool) -> None:
    beside = Beside.of(wanted)
    with contextlib.ExitStack() as stack:
        with narrator.stages() as say:
            installation = stack.enter_context(running(wanted, say=say, first=beside.arrive))
        stack.enter_context(supervised(installation, narrator.says))
        try:
            secrets = SignInData(installation.state / "demo.json")
            scene = _furnished(installation, wanted, beside, secrets, narrator)
            story.play(scene)
            narrator.says("")
            narrator.holds("Everything in the story held.", condition=True)
            if serve:
                refunding.leave_one_waiting(scene)
                _invite(installation, secrets, narrator)
        except (DidNotHold, Refused):
            _show_logs(installation, narrator)
            raise
        if serve:
            wait()


def _furnished(
    installation: Installation,
    wanted: Configuration,
    beside: Beside,
    secrets: SignInData,
    narrator: Narrator,
) -> Scene:
    """Two tenants with their people, acme's witness, and its refund desk."""
    with narrator.progress("Moving acme and globex in", len(CAST)) as advance:
        acme = move_in("acme", installation, secrets)
        beside.witness.start(proving.ledger_key(acme["Carol"]))
        advance()
        globex = move_in("globex", installation, secrets)
        advance()
    desk.furnish(acme, beside.orders.address, wanted, narrator)
    return Scene(
        installation=installation,
        acme=acme,
        globex=globex,
        narrator=narrator,
        folder=installation.state,
        **beside._asdict(),
    )


def _show_logs(installation: Installation, narrator: Narrator) -> None:
    for name in LOGS:
        lines = installation.processes.last_lines(name)
        if lines:
            narrator.log(name, lines)


def _invite(installation: Installation, secrets: SignInData, narrator: Narrator) -> None:
    """Where to go from here, and as whom."""
    for tenant, people in CAST.items():
        host = f"http://{tenant}.localhost:{installation.port}"
        rows = [
            [address(tenant, person.name), secrets.password(tenant, person.name), person.does]
            for person in people
        ]
        narrator.says("")
        narrator.says(f"{tenant}: console at {host}, API at {host}/api/v1/docs")
        narrator.lists(rows, head=["sign in as", "password", ""])
        narrator.says(f"Service key of its client app: {secrets.of(tenant).key}")
    narrator.says("")
    narrator.says(f"These are kept in {secrets.file}. A held refund waits for Bob in the console.")
    narrator.says("The shop, the witness and the SIEM run as long as the console does.")
    narrator.says("Ctrl-C stops everything.")


if __name__ == "__main__":
    sys.exit(main())
