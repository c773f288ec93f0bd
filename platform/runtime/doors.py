"""The only place that says through which door an intent goes, and what the transcript gets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from time import monotonic
from typing import Any

import msgspec

from audit.errors import Problem
from gateway import completions, portal, requests
from gateway import queries as gateway_queries
from gateway.attempts import OutOfTime, may_have_acted
from gateway.embeddings import Embedded
from gateway.events import ModelCallFailed
from gateway.requests import Prompt
from governance.evidence import kept
from governance.intents import Intent
from governance.permits import Permit
from retrieval import search
from retrieval.events import CollectionSearched
from retrieval.models import Collection
from retrieval.queries import CollectionUnknown
from runtime import embedding, toolbox, tools, validation
from runtime.embedding import Asker
from runtime.limits import LimitReached
from runtime.models import Effect, Run, Step, StepState, Tool
from runtime.outcomes import Outcome, refusal
from runtime.queries import authors_of, requester_of
from runtime.transcripts import CorrectionTurn, ResultTurn, Transcript

SHOWN_PASSAGES = 6


class ToolChanged(Problem):
    """The tool {tool} was changed after this was proposed, so nothing was done."""

    code = "tool_changed"
    status = 409


def alone_for(intent: Intent) -> int:
    """The seconds in which nobody else may take the intent up, even if its worker seems dead.

    What may be repeated may be begun by two at once, so 0; a call that may not be is waited for
    to its time-out.
    """
    tool = _tool(intent)
    return 0 if tool is None or _may_repeat(intent, tool) else tool.timeout_seconds


def may_repeat(intent: Intent) -> bool:
    """Whether trying the intent again under the same idempotency key can do no second harm."""
    return _may_repeat(intent, _tool(intent))


def writes(intent: Intent) -> bool:
    """Whether acting on the intent may change something; what is not known might."""
    return _writes(intent, _tool(intent))


def _may_repeat(intent: Intent, tool: Tool | None) -> bool:
    return not _writes(intent, tool) or (tool is not None and tool.repeatable)


def _writes(intent: Intent, tool: Tool | None) -> bool:
    return intent.action == "use_tool" and (tool is None or tool.effect != Effect.READ)


def tool_sha256(intent: Intent) -> str | None:
    """The digest of the definition of the tool that the intent names, if it names one."""
    tool = _tool(intent)
    return None if tool is None else toolbox.sha256_of(tool)


def _tool(intent: Intent) -> Tool | None:
    named = Tool.objects.filter(slug=intent.resource)
    return named.first() if intent.action == "use_tool" else None


def act(
    intent: Intent,
    transcript: Transcript,
    permit: Permit,
    *,
    step: Step,
    key: str,
    now: datetime,
    seconds: float,
) -> Outcome:
    """Perform the intent through its door; what goes wrong out there is an outcome, no error.

    It is cut off after `seconds`, when the run reaches its limit.
    """
    if intent.action == "call_model":
        return _call_model(intent, transcript, permit, seconds)
    call = transcript.pending_call()
    call_id = call.id if call else ""
    facts: dict[str, Any] = {}
    tries: list[str] = []
    try:
        if intent.action == "use_tool":
            answer = _use_tool(intent, permit, step, key=key, seconds=seconds, tries=tries)
            value = answer.value
            facts = {"reference": answer.reference, "facts": {"attempts": tries}}
        else:
            asker = _asker(intent, step.run, now, seconds)
            value, facts = _search(intent, transcript, permit, step, asker)
    except (OutOfTime, tools.ToolCut):
        return _failed(intent, step, call_id, LimitReached(limit="seconds"), tries)
    except Problem as problem:
        return _failed(intent, step, call_id, problem, tries)
    origin = f"{intent.action}:{intent.resource}"
    turn = ResultTurn(call=call_id, origin=origin, value=value)
    return Outcome(state=StepState.ENDED, turn=turn, **facts)


def _failed(intent: Intent, step: Step, call: str, problem: Problem, tries: list[str]) -> Outcome:
    """A tool that may have acted is unknown: so is one that failed after an earlier try died."""
    died_before = step.attempts > 1 and intent.action == "use_tool" and writes(intent)
    if died_before or isinstance(problem, tools.EffectUncertain):
        code = tools.EffectUncertain.code
        facts = {"problem": str(problem), "attempts": tries}
        return Outcome(state=StepState.UNKNOWN, turn=None, code=code, facts=facts)
    turn = refusal(call, problem.code, str(problem))
    facts = {"attempts": tries}
    return Outcome(state=StepState.FAILED, turn=turn, code=problem.code, facts=facts)


def _use_tool(
    intent: Intent, permit: Permit, step: Step, *, key: str, seconds: float, tries: list[str]
) -> tools.Answer:
    """Call the tool that was decided on: one that was changed a moment ago is another."""
    tool = _tool(intent)
    if tool is None or toolbox.sha256_of(tool) != step.tool_sha256:
        raise ToolChanged(tool=intent.resource)
    spec = toolbox.spec_of(tool)
    return portal.call(
        tools.use,
        spec,
        permit=permit,
        intent=intent,
        idempotency_key=key,
        seconds=seconds,
        tries=tries,
    )


def _search(
    intent: Intent, transcript: Transcript, permit: Permit, step: Step, asker: Asker
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The passages as the model gets them; what embedding took, and the entry of what was found."""
    collection = Collection.objects.filter(slug=intent.resource).first()
    if collection is None:
        raise CollectionUnknown(collection=intent.resource)
    embed, used = embedding.through(collection, asker), []

    def counted(texts: Sequence[str]) -> Embedded:
        embedded = embed(texts)
        used.append(embedded.usage)
        return embedded

    found = search.find(
        collection,
        intent.arguments["query"],
        embed=counted,
        permit=permit,
        intent=intent,
        limit=SHOWN_PASSAGES,
    )
    first = len(transcript.passages()) + 1
    value = {"passages": [_shown(f"P{first + i}", hit) for i, hit in enumerate(found)]}
    event = CollectionSearched(
        collection=intent.resource,
        decision=str(step.decision or ""),
        sources=[hit.source for hit in found],
    )
    return value, {
        "tokens": sum(usage.input_tokens + usage.output_tokens for usage in used),
        "cost_micros": sum(usage.cost_micros for usage in used),
        "events": (event,),
    }


def _asker(intent: Intent, run: Run, now: datetime, seconds: float) -> Asker:
    return Asker(
        principal=requester_of(run),
        correlation=run.pk,
        now=now,
        agent=intent.principal,
        agent_version=intent.agent_version,
        authors=authors_of(run.version),
        run=intent.run,
        step=intent.step,
        on_behalf_of=intent.on_behalf_of,
        seconds=seconds,
    )


def _shown(ref: str, hit: search.Found) -> dict[str, Any]:
    return {
        "ref": ref,
        "document": hit.citation.title,
        "document_id": str(hit.citation.document),
        "passage_id": str(hit.citation.passage),
        "heading": hit.citation.heading,
        "page": hit.citation.page,
        "text": hit.text,
    }


def _call_model(intent: Intent, transcript: Transcript, permit: Permit, seconds: float) -> Outcome:
    request, began = transcript.chat_request(), monotonic()
    try:
        completion = portal.call(
            completions.complete,
            gateway_queries.route_spec(intent.resource),
            request,
            permit=permit,
            intent=intent,
            seconds=seconds,
        )
    except OutOfTime as problem:
        reached = LimitReached(limit="seconds", attempts=problem.details["attempts"])
        prompt = requests.prompt_of(request, intent.agent_version)
        return _unanswered(intent, reached, prompt, monotonic() - began)
    except Problem as problem:
        prompt = requests.prompt_of(request, intent.agent_version)
        return _unanswered(intent, problem, prompt, monotonic() - began)
    cost = {
        "tokens": completion.usage.input_tokens + completion.usage.output_tokens,
        "cost_micros": completion.usage.cost_micros,
        "facts": msgspec.to_builtins(completion.event),
        "events": (completion.event,),
    }
    answer = _text_of(completion.response)
    try:
        turn = validation.model_turn(completion.response)
        if not turn.calls:
            validation.check(turn.content, transcript)
    except validation.Unusable as problem:
        correction = CorrectionTurn(answer=answer, problem=str(problem))
        return Outcome(state=StepState.FAILED, turn=correction, code="answer_unusable", **cost)
    return Outcome(state=StepState.ENDED, turn=turn, **cost)


def _unanswered(intent: Intent, problem: Problem, prompt: Prompt, seconds: float) -> Outcome:
    """A model that gave no answer; it may have given one, and charged, that never arrived."""
    failed = ModelCallFailed(
        route=intent.resource,
        code=problem.code,
        attempts=problem.details.get("attempts") or [],
        latency_ms=round(seconds * 1_000),
        **prompt,
    )
    return Outcome(
        state=StepState.UNKNOWN if may_have_acted(problem) else StepState.FAILED,
        turn=None,
        code=problem.code,
        facts={"problem": str(problem)},
        events=(failed,),
    )


def _text_of(response: dict[str, Any]) -> str:
    """The answer's text for showing it again; a completion always has a message."""
    content = response["choices"][0]["message"].get("content")
    return str(kept(content)) if isinstance(content, str) else ""
