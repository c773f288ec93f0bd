"""The only place where the API starts, shows, streams and cancels runs."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from api import connections, streaming
from api.authentication import PrincipalRequest
from api.idempotency import idempotent
from api.kept_answers import REPLAYED
from api.pagination import ByNumber
from api.runs_shown import RunShown, StepShown
from api.shapes import Query, Shape, Slug, Text
from api.views import ApiView, address
from runtime import queries, runs
from runtime.models import RunState
from tenants import isolation
from tenants.models import Tenant

LONGEST_WAIT = 60


class NewRun(Shape):
    """A task for an agent. `on_behalf_of` names the person for whom a client app asks.

    A member's e-mail address or id, in any spelling, is kept as the member's id: that member can't
    vote on the run's approvals. Any other name is kept as it is.
    """

    task = Text(max_length=runs.LONGEST_TASK)
    on_behalf_of = Text(default=None, allow_null=True)

    def validate_on_behalf_of(self, name: str | None) -> str | None:
        """The name, if a run can carry it; `runs.start` has the last word."""
        if name is not None and not (
            name.isprintable() and len(name.encode()) <= runs.LONGEST_NAME
        ):
            wanted = f"Expected up to {runs.LONGEST_NAME} bytes of printable text."
            raise serializers.ValidationError(wanted)
        return name


class RunsQuery(Query):
    """What narrows runs down."""

    state = serializers.ChoiceField(choices=RunState.choices, required=False)
    agent = Slug(required=False)


class AgentRuns(ApiView):
    """Where an agent gets its tasks."""

    @extend_schema(
        request=NewRun,
        responses={202: RunShown, 200: RunShown, (200, "text/event-stream"): OpenApiTypes.STR},
        parameters=[
            OpenApiParameter(
                "Prefer",
                str,
                OpenApiParameter.HEADER,
                description="`wait=N`: answer with the run once it is held or over, after at most"
                " N (up to 60) seconds (RFC 7240).",
            )
        ],
    )
    @idempotent
    def post(self, request: PrincipalRequest, slug: str) -> Response:
        """Start a run: 202 and its address. `Accept: text/event-stream` streams its steps."""
        agent = queries.access_agent(slug, principal=request.user)
        run = runs.start(
            **self.sent(NewRun), agent=agent, principal=request.user, now=timezone.now()
        )
        return Response(
            RunShown(run).data,
            status=HTTPStatus.ACCEPTED,
            headers={"Location": address("run", run.pk)},
        )


async def start(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Start a run, and bring the client what it asked for: an address, the end, or the steps.

    The run is started (or found again under its Idempotency-Key) in one commit; how its answer is
    brought is not part of it, so a retry may wait for a run whose first request was cut off.
    """
    started, tenant = await sync_to_async(_start)(request, slug)
    if tenant is None:
        return started
    run = UUID(str(started.data["id"]))
    if "text/event-stream" in request.headers.get("Accept", ""):
        stream = await sync_to_async(streaming.watch)(
            tenant, run, last_event_id=None, ends=streaming.RESTING
        )
        return _with_headers(stream, started)
    seconds = _preferred_wait(request.headers.get("Prefer", ""))
    shown = await streaming.rested(tenant, run, seconds=seconds) if seconds else None
    if shown is None:
        return started
    answer = HttpResponse(JSONRenderer().render(shown), content_type="application/json")
    answer["Preference-Applied"] = f"wait={seconds}"
    return _with_headers(answer, started)


# DRF asks for the CSRF token where a session is used; drf-spectacular describes `cls`.
vars(start).update(csrf_exempt=True, cls=AgentRuns, initkwargs={})


def _start(request: HttpRequest, slug: str) -> tuple[Response, Tenant | None]:
    """The answer, and the tenant that the request was authenticated for."""
    started = AgentRuns.as_view()(request, slug=slug)
    tenant = isolation.current() if started.status_code == HTTPStatus.ACCEPTED else None
    connections.give_back()  # while the client waits, the run has no use for this connection
    return started, tenant


def _with_headers(answer: HttpResponseBase, started: Response) -> HttpResponseBase:
    for name in ("Location", REPLAYED):
        if name in started:
            answer[name] = started[name]
    return answer


def _preferred_wait(prefer: str) -> int:
    """The seconds in `wait=N`, at most 60; 0 where it is not there or makes no sense."""
    for part in prefer.split(","):
        name, _, value = part.partition("=")
        if name.strip().lower() == "wait" and value.strip().isdecimal():
            return min(int(value.strip()[:6]), LONGEST_WAIT)
    return 0


class Runs(ApiView):
    """A tenant's runs."""

    @extend_schema(parameters=[RunsQuery], responses=RunShown(many=True))
    def get(self, request: PrincipalRequest) -> Response:
        """Runs, newest first: all for members, its own for a client app."""
        filters = self.asked(RunsQuery)
        if "agent" in filters:
            filters["version__agent__slug"] = filters.pop("agent")
        rows = queries.runs_visible_to(request.user).filter(**filters)
        return self.page(rows, RunShown)


class RunView(ApiView):
    """One run."""

    @extend_schema(responses=RunShown)
    def get(self, request: PrincipalRequest, run: UUID) -> Response:
        """A run."""
        return Response(RunShown(queries.access_run(run, principal=request.user)).data)


class RunSteps(ApiView):
    """What a run did."""

    pagination_class = ByNumber

    @extend_schema(parameters=[Query], responses=StepShown(many=True))
    def get(self, request: PrincipalRequest, run: UUID) -> Response:
        """The run's steps, first to last."""
        self.asked()
        found = queries.access_run(run, principal=request.user)
        return self.page(found.steps.all(), StepShown)


class RunEvents(ApiView):
    """What a run does."""

    http_method_names = ("get", "options")  # a HEAD would watch too

    @extend_schema(
        responses={(200, "text/event-stream"): OpenApiTypes.STR, 204: None},
        parameters=[OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER)],
    )
    def get(self, request: PrincipalRequest, run: UUID) -> HttpResponseBase:
        """Events `step` and `run` until the run is over; Last-Event-ID resumes."""
        found = queries.access_run(run, principal=request.user)
        resumed = request.headers.get("Last-Event-ID")
        return streaming.watch(
            isolation.current(), found.pk, last_event_id=resumed, ends=streaming.OVER
        )


class RunCancellation(ApiView):
    """Where a run is ended."""

    @extend_schema(request=None, responses=RunShown)
    @idempotent
    def post(self, request: PrincipalRequest, run: UUID) -> Response:
        """End a run. What it has begun is not undone, and nothing new begins."""
        found = queries.access_run(run, principal=request.user)
        runs.cancel(found, by=request.user, now=timezone.now())
        return Response(RunShown(queries.access_run(run, principal=request.user)).data)
