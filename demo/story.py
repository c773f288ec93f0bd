"""The only place for the order of the story."""

from __future__ import annotations

from demo import answering, killing, outside, proving, refunding
from demo.scene import Scene


def play(scene: Scene) -> None:
    """All eight parts. Raises DidNotHold where one of them does not come out as it should."""
    answering.the_handbook_is_searchable(scene)
    answering.questions_are_answered(scene)
    refunding.a_small_refund_goes_through(scene)
    run = refunding.a_large_refund_is_held_and_approved(scene)
    refunding.another_one_is_rejected(scene)
    proving.globex_sees_nothing(scene, run)
    proving.the_ledger_proves_itself(scene)
    killing.a_killed_worker_repeats_nothing(scene)
    outside.it_is_watched_from_outside(scene)
