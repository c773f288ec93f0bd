"""The only place for the pages of agents: their versions, their grants, and giving them a task."""

from __future__ import annotations

from typing import Any

import msgspec
from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from audit.errors import Problem
from console import fields, names, pages, rooms
from console.entrance import enters
from console.pages import MemberRequest
from gateway.models import Purpose, Route
from retrieval.models import Collection
from runtime import agents, granting, limits, queries
from runtime.granting import Grant
from runtime.models import Agent, AgentVersion, Tool


class NewAgent(forms.Form):
    """What an agent is called."""

    slug = forms.CharField(
        label="Short name",
        max_length=63,
        help_text="Lower-case letters, digits and hyphens. It can't be changed later.",
    )
    name = forms.CharField(label="Name", max_length=200)


class NewVersion(forms.Form):
    """A version to publish: once published it is never changed."""

    instructions = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text="What the model is told before every task.",
    )
    route = forms.ChoiceField(
        label="Model route", help_text="The name under which the model is asked."
    )
    tools = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    collections = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    steps = forms.IntegerField(label="Most steps a run", min_value=1, required=False)
    tokens = forms.IntegerField(label="Most tokens a run", min_value=1, required=False)
    cost_micros = forms.IntegerField(
        label="Most cost a run", min_value=1, required=False, help_text="In millionths of a dollar."
    )
    seconds = forms.IntegerField(
        label="Longest time of a run", min_value=1, required=False, help_text="In seconds."
    )
    answer_schema = forms.JSONField(
        label="Shape of the answer",
        encoder=fields.Indented,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="A JSON Schema that every answer must fit. Leave it empty for free text.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chat = Route.objects.filter(purpose=Purpose.CHAT)
        fields.offer(self, "route", chat.values_list("slug", flat=True))
        fields.offer(self, "tools", Tool.objects.order_by("slug").values_list("slug", flat=True))
        fields.offer(self, "collections", Collection.objects.values_list("slug", flat=True))
        for name, default in msgspec.structs.asdict(limits.Limits()).items():
            self.fields[name].widget.attrs["placeholder"] = default

    def definition(self) -> dict[str, Any]:
        """The form's values as `agents.publish_version` takes them."""
        names = ("instructions", "route", "tools", "collections", "answer_schema")
        values = {name: self.cleaned_data[name] for name in names}
        bounds = {name: self.cleaned_data[name] for name in limits.Limits.__struct_fields__}
        return {**values, "limits_": {name: value for name, value in bounds.items() if value}}


@enters("agents")
def index(request: MemberRequest) -> HttpResponse:
    """Every agent with its newest version."""
    return pages.show(request, "agents/list", _list_context(request, NewAgent()))


def _list_context(request: MemberRequest, form: NewAgent) -> dict[str, Any]:
    rows = Agent.objects.prefetch_related("versions").order_by("slug")
    return {"page": pages.cut(rows, request), "names": names.known(), "form": form}


@enters("agents", to_change=True)
@require_POST
def create(request: MemberRequest) -> HttpResponse:
    """A new agent; whoever makes it may never approve what it proposes."""
    form = NewAgent(request.POST)
    if form.is_valid():
        try:
            agent = agents.create(**form.cleaned_data, by=request.principal, now=timezone.now())
        except Problem as problem:
            form.add_error(None, str(problem))
        else:
            messages.success(request, f"{agent.name} was created. Publish its first version.")
            return redirect("console:publish_version", agent.slug)
    return pages.show(request, "agents/list", _list_context(request, form), status=422)


@enters("agents")
def detail(request: MemberRequest, agent: str) -> HttpResponse:
    """One agent: its newest version, its grants, its versions, and a task for it."""
    row = queries.access_agent(agent, principal=request.principal)
    return pages.show(request, "agents/detail", context_of(row))


def context_of(agent: Agent) -> dict[str, Any]:
    """What an agent's page shows."""
    versions = list(agent.versions.order_by("-number"))
    latest = versions[0] if versions else None
    found = _grants(agent, latest)
    return {
        "agent": agent,
        "latest": latest,
        "bounds": limits.parse(latest.limits) if latest else None,
        "versions": versions,
        "grants": found,
        "missing": [each for each in found if each["used"] and not each["given"]],
        "names": names.known(),
        "room": rooms.named("agents"),
    }


def _grants(agent: Agent, latest: AgentVersion | None) -> list[dict[str, Any]]:
    """Everything that can be granted, whether it is, and whether the newest version uses it."""
    given, used = set(granting.of(agent)), _used(latest)
    everything = [
        Grant(kind, slug)
        for kind, model in granting.KINDS.items()
        for slug in model._default_manager.order_by("slug").values_list("slug", flat=True)  # noqa: SLF001
    ]
    return [
        {"kind": each.kind, "slug": each.slug, "given": each in given, "used": each in used}
        for each in everything
    ]


def _used(latest: AgentVersion | None) -> set[Grant]:
    if latest is None:
        return set()
    searched = Collection.objects.filter(slug__in=latest.collections)
    return {
        Grant("route", latest.route),
        *(Grant("tool", slug) for slug in latest.tools),
        *(Grant("collection", slug) for slug in latest.collections),
        *(Grant("route", slug) for slug in searched.values_list("embedding_route", flat=True)),
    }


@enters("agents", to_change=True)
def publish_version(request: MemberRequest, agent: str) -> HttpResponse:
    """The form of the agent's next version, filled with its newest; and publishing it."""
    row = queries.access_agent(agent, principal=request.principal)
    if request.method != "POST":
        form = NewVersion(initial=_initial(row))
        return pages.show(request, "agents/version_form", {"agent": row, "form": form})
    form = NewVersion(request.POST)
    if form.is_valid():
        try:
            version = agents.publish_version(
                row, **form.definition(), by=request.principal, now=timezone.now()
            )
        except Problem as problem:
            form.add_error(None, str(problem))
        else:
            messages.success(request, f"Version {version.number} of {row.name} is published.")
            return redirect("console:agent", row.slug)
    return pages.show(request, "agents/version_form", {"agent": row, "form": form}, status=422)


def _initial(agent: Agent) -> dict[str, Any]:
    latest = agent.versions.order_by("-number").first()
    if latest is None:
        return {}
    defined = ("instructions", "route", "tools", "collections", "answer_schema")
    known = {name: getattr(latest, name) for name in defined}
    return {**{name: value for name, value in known.items() if value}, **latest.limits}


@enters("agents")
def version(request: MemberRequest, agent: str, number: int) -> HttpResponse:
    """One version, as it was published."""
    row = queries.access_agent(agent, principal=request.principal)
    found = row.versions.filter(number=number).first()
    if found is None:
        raise queries.AgentUnknown(agent=f"{agent}, version {number}")
    context = {
        "agent": row,
        "version": found,
        "bounds": limits.parse(found.limits),
        "names": names.known(),
    }
    return pages.show(request, "agents/version", context)


@enters("agents", to_change=True)
@require_POST
def set_grant(request: MemberRequest, agent: str) -> HttpResponse:
    """Let the agent use a tool, collection or route, or take that back."""
    row = queries.access_agent(agent, principal=request.principal)
    kind, _, slug = request.POST.get("resource", "").replace("\0", "").partition(":")
    verb = granting.revoke if request.POST.get("verb") == "revoke" else granting.give
    try:
        verb(row, kind, slug, by=request.principal)
    except Problem as problem:
        context = {**context_of(row), "grant_problem": problem}
        return pages.show(request, "agents/detail", context, status=problem.status)
    word = "may no longer use" if verb is granting.revoke else "may now use"
    messages.success(request, f"{row.name} {word} the {kind} {slug}.")
    return redirect("console:agent", row.slug)
