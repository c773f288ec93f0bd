"""The only place that says how the API shows runs and steps."""

from __future__ import annotations

from rest_framework import serializers

from api.shapes import Thing
from runtime.models import Run, Step
from runtime.queries import waits_for


class FailureShown(serializers.Serializer[None]):
    """Why a run ended without an answer."""

    code = serializers.CharField()
    message = serializers.CharField()


class RunShown(serializers.ModelSerializer[Run]):
    """A run. `answer` holds text and citations once it is completed; `approval` is awaited.

    `waits_for` says in words what a run waits for whose state is `waiting`.
    """

    agent = serializers.CharField(source="version.agent.slug")
    version = serializers.IntegerField(source="version.number")
    answer = Thing(allow_null=True)
    failure = FailureShown(allow_null=True)
    approval = serializers.SerializerMethodField()
    waits_for = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = (
            "id",
            "agent",
            "version",
            "task",
            "state",
            "answer",
            "failure",
            "approval",
            "waits_for",
            "requester_kind",
            "requester",
            "on_behalf_of",
            "tokens",
            "cost_micros",
            "created_at",
            "ended_at",
        )

    def get_approval(self, run: Run) -> str | None:
        """The approval that a held run waits for."""
        if run.state != "held":
            return None
        held = run.steps.filter(state="held").order_by("-number").first()
        return str(held.approval) if held and held.approval else None

    def get_waits_for(self, run: Run) -> str | None:
        """Why a waiting run rests."""
        return waits_for(run)


class StepShown(serializers.ModelSerializer[Step]):
    """One intent of a run, and what came of it.

    `attempts` is how often it was begun: more than once where a worker died. Each beginning may
    call a model or a tool several times; `usage.attempts` has how each of these calls went.
    """

    reasons = serializers.ListField(child=serializers.CharField())
    intent = Thing()
    turn = Thing(allow_null=True)
    usage = Thing()

    class Meta:
        model = Step
        fields = (
            "number",
            "action",
            "resource",
            "state",
            "intent",
            "digest",
            "reasons",
            "error_code",
            "approval",
            "decision",
            "turn",
            "usage",
            "attempts",
            "started_at",
            "ended_at",
        )
