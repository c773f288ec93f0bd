"""The only place for the pages of policies: the text in force, its versions, and its editor."""

from __future__ import annotations

from typing import Any

import msgspec
from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from audit.errors import Problem
from console import fields, names, pages, rooms
from console.entrance import enters
from console.pages import MemberRequest
from gateway.models import Route
from governance import mentions, policies, policy_sets, queries, verdicts
from governance.models import PolicySet
from governance.policies import PolicyInvalid, Verdict
from governance.policy_sets import PolicyMoved
from retrieval.models import Collection
from runtime import entities, rehearsing, toolbox
from runtime import queries as runtime_queries
from runtime.models import Agent, Tool
from runtime.rehearsing import Question

MOST_ASKED = 50
LONGEST_VERSION = 10


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the policies say of one act."""

    act: str
    outcome: str
    why: str
    reasons: tuple[str, ...]


class Rehearsal(forms.Form):
    """An act to try on the policies: nothing is done, decided or recorded."""

    agent = forms.ChoiceField()
    tool = forms.ChoiceField()
    arguments = forms.JSONField(
        initial=dict,
        encoder=fields.Indented,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, model in (("agent", Agent), ("tool", Tool)):
            slugs = model._default_manager.order_by("slug").values_list("slug", flat=True)  # noqa: SLF001
            fields.offer(self, name, slugs)


@enters("policies")
def active(request: MemberRequest) -> HttpResponse:
    """The text in force with its line numbers, the versions before it, and a rehearsal."""
    row = queries.access_policy_set(principal=request.principal)
    context = _context(request, row)
    if "tool" in request.GET:
        form = Rehearsal(request.GET)
        context |= {"form": form, "answer": _rehearse(request, form)}
    return pages.show(request, "policies/active", context)


def _context(request: MemberRequest, row: PolicySet) -> dict[str, Any]:
    versions = queries.policy_sets(principal=request.principal).defer("text", "schema")
    return {
        "policies": row,
        "lines": row.text.splitlines(),
        "missing": mentions.missing(row.text, entities.ids()),
        "versions": pages.cut(versions, request),
        "schema": policies.render_schema(row.schema),
        "form": Rehearsal(),
        "own": _own(request),
        "may_change": rooms.named("policies").is_kept_by(request.principal),
        "names": names.known(),
    }


def _rehearse(request: MemberRequest, form: Rehearsal) -> Answer | None:
    if not form.is_valid():
        return None
    values = form.cleaned_data
    agent = runtime_queries.access_agent(values["agent"], principal=request.principal)
    try:
        verdict = rehearsing.verdict_on(
            Question(
                action="use_tool",
                resource=values["tool"],
                arguments=values["arguments"] if isinstance(values["arguments"], dict) else {},
                agent=agent,
            ),
            by=request.principal,
        )
    except Problem as problem:
        form.add_error(None, str(problem))
        return None
    return _answer(f"{agent.slug} uses {values['tool']}", verdict)


def _answer(act: str, verdict: Verdict) -> Answer:
    why = verdicts.explain(msgspec.structs.replace(verdict, reasons=()))
    return Answer(act=act, outcome=verdict.outcome, why=why, reasons=verdict.reasons)


def _own(request: MemberRequest) -> list[Answer]:
    """What the member who asks may do without an agent: ask models, and search documents."""
    rows = [
        *(("call_model", slug) for slug in _slugs(Route)),
        *(("search_collection", slug) for slug in _slugs(Collection)),
    ]
    words = {"call_model": "Ask the model route", "search_collection": "Search the collection"}
    return [
        _answer(
            f"{words[action]} {slug}",
            rehearsing.verdict_on(Question(action=action, resource=slug), by=request.principal),
        )
        for action, slug in rows[:MOST_ASKED]
    ]


def _slugs(model: type[Route | Collection]) -> list[str]:
    return list(model._default_manager.order_by("slug").values_list("slug", flat=True))  # noqa: SLF001


@enters("policies")
def version(request: MemberRequest, number: int) -> HttpResponse:
    """One version, as it was in force."""
    row = queries.access_policy_set(number, principal=request.principal)
    context = {"policies": row, "lines": row.text.splitlines(), "names": names.known()}
    return pages.show(request, "policies/version", context)


@enters("policies", to_change=True)
def edit(request: MemberRequest) -> HttpResponse:
    """The editor: saving puts the text into force at once, or says what is wrong in which line."""
    row = queries.access_policy_set(principal=request.principal)
    context: dict[str, Any] = {"policies": row, "text": row.text, "based_on": row.version}
    if request.method != "POST":
        return pages.show(request, "policies/edit", context)
    text = request.POST.get("text", "").replace("\r\n", "\n")
    context |= {"text": text, "based_on": _version(request.POST.get("based_on", ""))}
    return _save(request, text, context)


def _version(text: str) -> int:
    """The number that the form was given; 0, which no version has, for anything else."""
    return int(text) if text.isdecimal() and len(text) < LONGEST_VERSION else 0


def _save(request: MemberRequest, text: str, context: dict[str, Any]) -> HttpResponse:
    try:
        saved = policy_sets.save(
            text,
            tools=toolbox.schemas,
            based_on=context["based_on"],
            by=request.principal,
            now=timezone.now(),
        )
    except PolicyMoved as problem:
        # Two admins edit at once: the second one must see what the first one did.
        row = queries.access_policy_set(principal=request.principal)
        context |= {"policies": row, "based_on": row.version, "overtaken": row}
        return pages.show(request, "policies/edit", context, status=problem.status)
    except PolicyInvalid as problem:
        context |= {"problem": problem, "flaws": _flaws(problem, text)}
        return pages.show(request, "policies/edit", context, status=problem.status)
    messages.success(request, f"Version {saved.version} is in force.")
    return redirect("console:policies")


def _flaws(problem: PolicyInvalid, text: str) -> list[dict[str, Any]]:
    """Each flaw with the line that it is in."""
    lines = text.splitlines()
    errors: Any = problem.details.get("errors") or []
    return [{**flaw, "source": "".join(lines[flaw["line"] - 1 : flaw["line"]])} for flaw in errors]
