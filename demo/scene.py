"""The only place for who takes part in the story, and for what several parts of it check."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from countersign.configuration import Configuration
from countersign.installation import Installation
from demo.narrator import DidNotHold, Narrator
from demo.orders import Orders
from demo.siem import Siem
from demo.tenancy import Staff
from demo.witness import Witness


class Beside(NamedTuple):
    """Who has a program of their own on this machine: acme's shop, its witness and its SIEM."""

    orders: Orders
    witness: Witness
    siem: Siem

    @classmethod
    def of(cls, wanted: Configuration) -> Beside:
        """Those of the installation that `wanted` describes; nothing runs yet."""
        folder = wanted.COUNTERSIGN_STATE_DIRECTORY
        origin = f"{wanted.COUNTERSIGN_BASE_DOMAIN}/acme"
        return cls(Orders(folder), Witness(folder, origin), Siem(folder, origin))

    def arrive(self, installation: Installation) -> None:
        """Everything that must be there before the first process starts. Raises CannotRun.

        The witness is named; it starts once there is a ledger to watch.
        """
        self.orders.open_shop(installation)
        self.siem.start(installation)
        self.witness.be_named(installation)


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody who takes part; files of the demo go into `folder`."""

    installation: Installation
    acme: Staff
    globex: Staff
    orders: Orders
    witness: Witness
    siem: Siem
    narrator: Narrator
    folder: Path


def answer_of(run: dict[str, Any]) -> dict[str, Any]:
    """Text and citations of a completed run. Raises DidNotHold."""
    if run["state"] != "completed":
        raise DidNotHold(f"The run {run['id']} is {run['state']}: {run['failure']}")
    answer: dict[str, Any] = run["answer"]
    return answer


def is_held(scene: Scene, run: dict[str, Any]) -> None:
    """The run waits, and the shop has refunded nothing for it. Raises DidNotHold."""
    refunds = scene.orders.refunds(run["id"])
    scene.narrator.holds(
        "It is held, and nothing was refunded.",
        run["state"] == "held" and refunds == 0,
        otherwise=f"The run is {run['state']} ({run['failure']}), with {refunds} refunds.",
    )


def refunded_once(scene: Scene, run: dict[str, Any], order: str, cents: int) -> None:
    """The shop's log has one refund for the run, of this much. Raises DidNotHold."""
    refunds, refunded = scene.orders.refunds(run["id"]), scene.orders.order(order)["refunded_cents"]
    amount = f"{cents // 100}.{cents % 100:02d} EUR"
    scene.narrator.holds(
        f"The shop's own log has exactly one refund of {amount} for order {order}.",
        refunds == 1 and refunded == cents,
        otherwise=f"It has {refunds}, together {refunded} cents.",
    )


def place_of(cited: dict[str, Any]) -> str:
    """Document, and its innermost heading or its page; empty where neither is known."""
    heading = (cited["heading"] or "").rpartition(" > ")[2]
    where = heading or (f"page {cited['page']}" if cited["page"] else "")
    return f"{cited.get('title') or cited['document']}, {where}" if where else ""


def short(text: str) -> str:
    """The text on one line, at most 90 characters of it."""
    single = " ".join(text.split())
    return single if len(single) <= 90 else f"{single[:89]}…"
