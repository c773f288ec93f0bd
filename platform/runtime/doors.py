"""The only place that says through which door an intent goes, and what the transcript gets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from audit.errors import Problem
from gateway import completions, portal
from gateway import queries as gateway_queries
from governance.intents import Intent
from governance.permits import Permit
from retrieval import search
from retrieval.models import Collection
from runtime import embedding, toolbox, tools, validation
from runtime.embedding import Asker
from runtime.models import Effect, Run, StepState, Tool
from runtime.outcomes import Outcome, refusal
from runtime.queries import requester_of
from runtime.transcripts import CorrectionTurn, ResultTurn, Transcript

SHOWN_PASSAGES = 6
MODEL_SECONDS = 180


def longest(intent: Intent) -> int:
    """The most seconds that acting on the intent can take, all tries included."""
    if intent.action != "use_tool":
        return MODEL_SECONDS
    tool = Tool.objects.get(slug=intent.resource)
    return tools.ATTEMPTS * tool.timeout_seconds + tools.LONGEST_PAUSES


def may_repeat(intent: Intent) -> bool:
    """Whether trying the intent again under the same idempotency key can do no second harm."""
    if intent.action != "use_tool":
        return True
    tool = Tool.objects.filter(slug=intent.resource).first()
    return tool is not None and (tool.repeatable or tool.effect == Effect.READ)


def act(
    intent: Intent, transcript: Transcript, permit: Permit, *, run: Run, key: str, now: datetime
) -> Outcome:
    """Perform the intent through its door; what goes wrong out there is an outcome, no error."""
    if intent.action == "call_model":
        return _call_model(intent, transcript, permit)
    call = transcript.pending_call()
    origin = f"{intent.action}:{intent.resource}"
    try:
        value = (
            _use_tool(intent, permit, key)
            if intent.action == "use_tool"
            else _search(intent, transcript, permit, run, now)
        )
    except tools.EffectUncertain as problem:
        return Outcome(
            state=StepState.UNKNOWN, turn=None, code=problem.code, facts={"problem": str(problem)}
        )
    except Problem as problem:
        turn = refusal(call.id if call else "", problem.code, str(problem))
        return Outcome(state=StepState.FAILED, turn=turn, code=problem.code)
    return Outcome(
        state=StepState.ENDED,
        turn=ResultTurn(call=call.id if call else "", origin=origin, value=value),
    )


def _use_tool(intent: Intent, permit: Permit, key: str) -> dict[str, Any]:
    spec = toolbox.spec_of(Tool.objects.get(slug=intent.resource))
    return portal.call(tools.use, spec, permit=permit, intent=intent, idempotency_key=key)


def _search(
    intent: Intent, transcript: Transcript, permit: Permit, run: Run, now: datetime
) -> dict[str, Any]:
    collection = Collection.objects.get(slug=intent.resource)
    asker = Asker(
        principal=requester_of(run),
        now=now,
        agent=intent.principal,
        agent_version=intent.agent_version,
        author=str(run.version.agent.author),
        run=intent.run,
        step=intent.step,
        on_behalf_of=intent.on_behalf_of,
    )
    found = search.find(
        collection,
        intent.arguments["query"],
        embed=embedding.through(collection.embedding_route, asker),
        permit=permit,
        intent=intent,
        limit=SHOWN_PASSAGES,
    )
    first = len(transcript.passages()) + 1
    return {"passages": [_shown(f"P{first + i}", hit) for i, hit in enumerate(found)]}


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


def _call_model(intent: Intent, transcript: Transcript, permit: Permit) -> Outcome:
    spec = gateway_queries.route_spec(intent.resource)
    try:
        completion = portal.call(
            completions.complete, spec, transcript.chat_request(), permit=permit, intent=intent
        )
    except Problem as problem:
        return Outcome(
            state=StepState.FAILED, turn=None, code=problem.code, facts={"problem": str(problem)}
        )
    facts = msgspec.to_builtins(completion.event)
    cost = {
        "tokens": completion.usage.input_tokens + completion.usage.output_tokens,
        "cost_micros": completion.usage.cost_micros,
        "facts": facts,
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


def _text_of(response: dict[str, Any]) -> str:
    """The answer's text for showing it again; a completion always has a message."""
    content = response["choices"][0]["message"].get("content")
    return content if isinstance(content, str) else ""
