"""The only place for the page that explains one decision: from what was asked to its proof."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect

from audit import following, outside, queries
from audit.queries import NotPublished
from console import findings, names, pages, reasons, rooms, sentences, stories
from console.entrance import enters
from console.pages import MemberRequest
from console.stories import BEGUN, DECIDED, VOTES, Parts, Story
from governance import verdicts
from governance.models import PolicySet
from governance.policies import Verdict
from runtime import ledgers
from runtime.models import Run, Tool
from tenants.principals import Principal

if TYPE_CHECKING:
    from audit.models import Entry

MOST_GRANTS = 200
MOST_RETENTIONS = 1_000
TONES = {"allowed": "good", "held": "waits", "denied": "bad"}
OUTCOMES = {"allowed": "Allowed", "held": "Held for a reviewer", "denied": "Denied"}
ENDED = {
    "effect.ended": ("good", "Done"),
    "effect.failed": ("bad", "It did not happen"),
    "effect.unknown": ("bad", "Nobody knows whether it happened"),
}


@enters("ledger")
def detail(request: MemberRequest, entry: UUID) -> HttpResponse:
    """One decision on one page that can be printed. That its private parts are seen is recorded."""
    principal = request.principal
    row = ledgers.access_entry(entry, principal=principal)
    decision = stories.decision_of(row)
    if decision != row.pk:
        return redirect("console:decision", decision)
    story = stories.tell(row, principal=principal)
    parts = ledgers.look_at(story.entries, by=principal)
    context = {
        "story": story,
        "names": names.known(),
        **_asked(story, parts, principal),
        **_decided(story, principal),
        **_reviewed(story, parts),
        **_done(story),
        **_proven(story, parts),
    }
    return pages.show(request, "decisions/detail", context)


def _asked(story: Story, parts: Parts, principal: Principal) -> dict[str, Any]:
    """What was asked, by whom and for whom."""
    event, row = story.decision.event, story.decision
    values = _value(parts, row, "intent")
    tool = Tool.objects.filter(slug=event["resource"]).first()
    evidence = (_value(parts, story.opened, "shown") or {}).get("evidence", [])
    is_tool = event["action"] == "use_tool"
    schema = tool.parameters if tool and is_tool else {}
    given = values["arguments"] if values else {}
    return {
        "event": event,
        "sentence": sentences.planned(event["action"], event["resource"]),
        "tool": tool if is_tool else None,
        "intent": values,
        "missing": None if values else _missing(row),
        "arguments": sentences.arguments(given, schema, evidence),
        "run": _run(row.correlation),
        "sees_agents": rooms.named("agents").is_open_to(principal),
    }


def _run(correlation: UUID | None) -> Run | None:
    rows = Run.objects.select_related("version__agent")
    return rows.filter(pk=correlation).first() if correlation else None


def _value(parts: Parts, entry: Entry | None, name: str) -> Any:
    """A private part's value; None where it was not kept, or is gone."""
    return parts.get(entry.pk, {}).get(name, {}).get("value") if entry else None


def _missing(entry: Entry) -> dict[str, Any]:
    """Why words are not here: the entry that says that they were destroyed, if one does."""
    erased = queries.erasure_of(entry.subject) if entry.subject else None
    return {"erased": erased, "pruned": None if erased else _pruned(entry)}


def _pruned(entry: Entry) -> Entry | None:
    """The retention that took the words of `entry`, if one did."""
    for each in queries.entries(kind="retention.applied")[:MOST_RETENTIONS]:
        said = each.event
        is_meant = any(entry.kind.startswith(kind) for kind in said["kinds"])
        if is_meant and entry.index is not None and entry.index < said["before_index"]:
            return each
    return None


def _decided(story: Story, principal: Principal) -> dict[str, Any]:
    """Each decision with its reasons, the policies' text, and the grant."""
    event = story.decision.event
    version = event["policy_version"]
    text = PolicySet.objects.filter(version=version).values_list("text", flat=True).first()
    is_same = text is not None and _sha256(text) == event["policy_sha256"]
    named = [*event["reasons"], *event["matched"]]
    return {
        "decisions": [_judged(each) for each in story.of(DECIDED)],
        "outcome": OUTCOMES.get(event["outcome"], event["outcome"]),
        "tone": TONES.get(event["outcome"], "calm"),
        "statements": reasons.statements_of(version, list(dict.fromkeys(named))),
        "is_same_text": is_same,
        "grant": _grant(story.decision, principal),
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _judged(entry: Entry) -> dict[str, Any]:
    event = entry.event
    verdict = Verdict(outcome=event["outcome"], code=event["code"])
    return {
        "entry": entry,
        "outcome": OUTCOMES.get(event["outcome"], event["outcome"]),
        "tone": TONES.get(event["outcome"], "calm"),
        "why": verdicts.explain(verdict),
        "code": event["code"],
        "reasons": event["reasons"],
        "version": event["policy_version"],
    }


def _grant(decision: Entry, principal: Principal) -> Entry | None:
    """The newest entry before the decision that gave or revoked the agent's grant."""
    if decision.actor_kind != "agent":
        return None
    event = decision.event
    about = (decision.actor_id, event["resource_kind"], event["resource"])
    rows = ledgers.entries(
        principal=principal, kind="grant.", text=event["resource"], before=decision.recorded_at
    )
    return next((each for each in rows[:MOST_GRANTS] if _granted(each) == about), None)


def _granted(entry: Entry) -> tuple[str, str, str]:
    event = entry.event
    return event["agent"], event["resource_kind"], event["resource"]


def _reviewed(story: Story, parts: Parts) -> dict[str, Any]:
    """What a reviewer was shown, and the votes."""
    shown = _value(parts, story.opened, "shown")
    pieces, opened = (shown or {}).get("evidence", []), story.opened
    return {
        "opened": opened,
        "expires_at": datetime.fromisoformat(opened.event["expires_at"]) if opened else None,
        "shown": shown,
        "evidence": [{**piece, "title": sentences.title_of(piece)} for piece in pieces],
        "trusted": sentences.TRUSTED,
        "votes": [
            {"entry": each, "reason": _value(parts, each, "reason")} for each in story.of(*VOTES)
        ],
    }


def _done(story: Story) -> dict[str, Any]:
    """The effect's tries, its end and what it cost."""
    calls = story.of("model.called")
    tone, ended = ENDED[story.end.kind] if story.end else ("busy", "Under way")
    return {
        "tries": story.of(BEGUN),
        "end": story.end,
        "ended": ended,
        "ended_tone": tone,
        "calls": calls,
        "tokens": sum(each.event["input_tokens"] + each.event["output_tokens"] for each in calls),
        "cost_micros": sum(each.event["cost_micros"] for each in calls),
    }


def _proven(story: Story, parts: Parts) -> dict[str, Any]:
    """The entries with their proofs, judged now, and who else vouches for them."""
    try:
        found = queries.inclusions(story.entries)
    except NotPublished:
        found = []
    proven = findings.proven(story.entries, found, queries.own_log().origin)
    newest = outside.newest()
    last = max((each.entry.index for each in proven if each.entry.index is not None), default=0)
    return {
        "proven": proven,
        "findings": findings.judge(story, parts, proven),
        "checkpoint": found[0].checkpoint if found else None,
        "outside": newest,
        "outside_since": datetime.fromisoformat(newest["at"]) if newest else None,
        "is_outside": newest is not None and last < newest["size"],
    }


@enters("ledger")
def proof(request: MemberRequest, entry: UUID) -> HttpResponse:
    """The proof of one entry as a file (C2SP tlog-proof), which any such verifier reads."""
    row = ledgers.access_entry(entry, principal=request.principal)
    answer = HttpResponse(following.proof(row), content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{row.index}.tlog-proof"'
    return answer
