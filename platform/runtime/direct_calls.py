"""The only place where a client's own model call is governed and performed without a run.

Each call is decided by the same policies, through the same permits and into the same ledger as an
agent's; only the plumbing differs: a snapshot instead of rows, group commits instead of Django's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
import orjson

from audit.bodies import Subject
from audit.entries import Draft, draft
from audit.errors import Problem
from audit.events import Event
from audit.group_commit import GroupCommit, LedgerUnavailable
from audit.states import LedgerBehind
from gateway import completions, embeddings, requests
from gateway.attempts import may_have_acted
from gateway.completions import Completion, Streaming
from gateway.embeddings import Embedded
from gateway.events import ModelCallFailed
from gateway.requests import Prompt
from governance import permits, verdicts
from governance.events import actor_of, decided
from governance.intents import CallModel, as_json
from governance.permits import Permit
from governance.policies import Verdict
from runtime.events import (
    EffectBegun,
    EffectEnded,
    EffectFailed,
    EffectUnknown,
    IntentNames,
    names_of,
)
from runtime.snapshots import ConfigurationUnavailable, Offered, Snapshot
from tenants.principals import Principal

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.25


class CallDenied(Problem):
    """The route {route} may not be used. {reason}"""

    code = "call_denied"
    status = 403


class ApprovalNeeded(Problem):
    """The route {route} needs a reviewer's approval, for which only an agent's run can wait."""

    code = "approval_needed"
    status = 403


class ConfigurationChanged(Problem):
    """The tenant's configuration changed while this was decided, so nothing was done."""

    code = "configuration_changed"
    status = 503

    @property
    def version(self) -> int:
        """The version that it has now."""
        return int(str(self.details["version"]))


class OutcomeUnrecorded(Problem):
    """The model was called, but its answer is withheld, because it could not be recorded."""

    code = "outcome_unrecorded"
    status = 503


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A model call that is asked for; `role` is the tenant's, `correlation` the request's id.

    `version` is of the configuration that it was judged by, and `witnesses` are the verifier keys
    of those whose cosignatures count.
    """

    intent: CallModel
    asker: Principal
    subject: Subject
    route: Offered
    verdict: Verdict
    role: str
    version: int
    correlation: UUID
    witnesses: tuple[str, ...] = ()


def ask(
    request: Mapping[str, Any] | Sequence[str],
    *,
    route: Offered,
    principal: Principal,
    snapshot: Snapshot,
    correlation: UUID,
) -> Call:
    """The call of `principal` with a chat request, or texts to embed, judged but not recorded.

    A held call counts as denied. Raises ModelRequestInvalid for what is not JSON.
    """
    intent = CallModel(
        tenant=snapshot.tenant,
        principal_kind=principal.kind,
        principal=principal.id,
        resource=route.spec.slug,
        arguments=requests.arguments(request),
    )
    verdict = verdicts.judge(
        snapshot.policies, intent, route.resource, asker=principal, authors=None, grant=None
    )
    verdict = verdicts.witnessed(verdict, is_witnessed=bool(snapshot.witnesses))
    return Call(
        intent=intent,
        asker=principal,
        subject=snapshot.subjects[principal.actor.person],
        route=route,
        verdict=verdicts.at_once(verdict),
        role=snapshot.role,
        version=snapshot.version,
        correlation=correlation,
        witnesses=snapshot.witnesses,
    )


class DirectCalls:
    """Admits calls and settles them in the ledger. Belongs to one event loop.

    A call whose policy asks that the ledger is further first waits for that `longest_wait`.
    """

    def __init__(
        self, commits: GroupCommit, *, longest_wait: timedelta = timedelta(seconds=10)
    ) -> None:
        self._commits = commits
        self._longest_wait = longest_wait.total_seconds()
        self._settling: set[asyncio.Task[list[UUID]]] = set()

    async def admit(self, call: Call) -> BegunCall:
        """Record the decision and, where it allows the call, its beginning: one durable commit.

        The commit reads the configuration's version too: a call that was judged by an older one
        does not go on, whatever was decided. Raises ConfigurationChanged then (`version` in its
        details), CallDenied and ApprovalNeeded once the denial is recorded, LedgerUnavailable, and
        ConfigurationUnavailable.
        """
        decision = _draft(call, decided(call.intent, call.route.resource, call.verdict))
        if call.verdict.outcome != "allowed":
            _check_version(call, await self._commits.commit(call.role, [decision]))
            raise _refusal(call)
        names = names_of(call.intent, call.subject.commitment(as_json(call.intent)), decision.id)
        begun = _draft(call, EffectBegun(**names))
        version = await self._commits.commit(call.role, [decision, begun])
        try:
            _check_version(call, version)
        except (ConfigurationChanged, ConfigurationUnavailable) as problem:
            await self.settle(call, [EffectFailed(code=problem.code, **names)])
            raise
        permit = permits.mint(call.intent, decision.id, awaits=call.verdict.awaits)
        return BegunCall(call, permit, self, names, entry=begun.id)

    async def wait(self, call: Call, permit: Permit, entry: UUID) -> None:
        """Let the permit be spent once the decision, and the beginning in `entry`, are as far in
        the ledger as it awaits. Raises LedgerBehind, LedgerUnavailable.
        """
        if permit.awaits == "recorded":
            return
        entries, began, pause = [permit.decision_id, entry], monotonic(), FIRST_PAUSE_SECONDS
        while not permit.reached(
            await self._commits.how_far(call.role, entries, witnesses=call.witnesses)
        ):
            if monotonic() - began > self._longest_wait:
                raise LedgerBehind(awaits=permit.awaits, seconds=round(self._longest_wait))
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    async def settle(self, call: Call, events: Sequence[Event]) -> None:
        """Record how a call ended, also when the caller is cancelled meanwhile.

        Raises OutcomeUnrecorded.
        """
        drafts = [_draft(call, event) for event in events]
        task = asyncio.create_task(self._commits.record_many(call.role, drafts))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        try:
            await asyncio.shield(task)
        except LedgerUnavailable as problem:
            raise OutcomeUnrecorded from problem

    async def aclose(self) -> None:
        """Wait until every call that ended is settled, or could not be."""
        if self._settling:
            await asyncio.wait(self._settling)


def _check_version(call: Call, newest: int | None) -> None:
    if newest is None:
        raise ConfigurationUnavailable
    if newest != call.version:
        raise ConfigurationChanged(version=newest)


def _draft(call: Call, event: Event) -> Draft:
    actor = actor_of(call.intent, call.asker)
    return draft(event, actor=actor, correlation=call.correlation, subject=call.subject)


def _refusal(call: Call) -> Problem:
    route = call.intent.resource
    if call.verdict.code == ApprovalNeeded.code:
        return ApprovalNeeded(route=route)
    return CallDenied(route=route, reason=verdicts.explain(call.verdict))


class BegunCall:
    """An admitted call: one of its methods is called, once, and it is settled however that ends."""

    def __init__(
        self, call: Call, permit: Permit, calls: DirectCalls, names: IntentNames, *, entry: UUID
    ) -> None:
        self._call = call
        self._names = names
        self._permit = permit
        self._calls = calls
        self._entry = entry
        self._prompt = Prompt(prompt="", prompt_version=None)
        self._began: float | None = None
        # What is true as long as nobody knows better.
        self._outcome: list[Event] = [EffectFailed(code="broken_off", **self._names)]

    async def complete(self, request: Mapping[str, Any]) -> Completion:
        """One whole answer. Raises the gateway's problems, and OutcomeUnrecorded."""
        async with self._settled(request):
            completion = await completions.complete(
                self._call.route.spec, request, permit=self._permit, intent=self._call.intent
            )
            digest = requests.digest(completion.response)
            self._outcome = [completion.event, self._ended(digest)]
        return completion

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """One vector a text. Raises the gateway's problems, and OutcomeUnrecorded."""
        async with self._settled(texts):
            embedded = await embeddings.embed(
                self._call.route.spec, texts, permit=self._permit, intent=self._call.intent
            )
            digest = hashlib.sha256(orjson.dumps(embedded.vectors)).hexdigest()
            self._outcome = [embedded.event, self._ended(digest)]
        return embedded

    async def stream(self, request: Mapping[str, Any]) -> AsyncGenerator[bytes]:
        """The answer's chunks as JSON, as they come; it MUST be closed by whoever stops early.

        It is settled before it ends, with a digest over the chunks, each followed by a line feed.
        Raises what `complete` raises; after the first chunk too.
        """
        async with self._settled(request):
            streaming = await completions.stream(
                self._call.route.spec, request, permit=self._permit, intent=self._call.intent
            )
            outcome = hashlib.sha256()
            async with self._told(streaming):
                async for chunk in streaming:
                    data = orjson.dumps(chunk)
                    outcome.update(data + b"\n")
                    yield data
            self._outcome = [streaming.event, self._ended(outcome.hexdigest())]

    def _ended(self, digest: str) -> EffectEnded:
        return EffectEnded(outcome=digest, latency_ms=self._latency_ms(), **self._names)

    def _latency_ms(self) -> int | None:
        """From when the model could be asked; None where it never could."""
        return None if self._began is None else round((monotonic() - self._began) * 1_000)

    @contextlib.asynccontextmanager
    async def _settled(self, request: Mapping[str, Any] | Sequence[str]) -> AsyncIterator[None]:
        self._prompt = requests.prompt_of(request, self._call.intent.agent_version)
        try:
            await self._wait()
            yield
        except Problem as problem:
            if isinstance(self._outcome[0], EffectUnknown):
                self._outcome = self._failed(problem)
            raise
        finally:
            await self._calls.settle(self._call, self._outcome)

    async def _wait(self) -> None:
        """Until the model may be asked: before that, what goes wrong did certainly not happen."""
        try:
            await self._calls.wait(self._call, self._permit, self._entry)
        except Problem as problem:
            self._outcome = [EffectFailed(code=problem.code, **self._names)]
            raise
        self._outcome = [EffectUnknown(code="broken_off", **self._names)]
        self._began = monotonic()

    def _failed(self, problem: Problem) -> list[Event]:
        attempts = problem.details.get("attempts")
        failed = ModelCallFailed(
            route=self._call.intent.resource,
            code=problem.code,
            attempts=attempts if isinstance(attempts, list) else [],
            latency_ms=self._latency_ms(),
            **self._prompt,
        )
        kind = EffectUnknown if may_have_acted(problem) else EffectFailed
        return [failed, kind(code=problem.code, latency_ms=self._latency_ms(), **self._names)]

    @contextlib.asynccontextmanager
    async def _told(self, streaming: Streaming) -> AsyncIterator[None]:
        """Part of an answer is out when a stream breaks: what it used so far is told."""
        code = "client_gone"
        try:
            yield
        except Problem as problem:
            code = problem.code
            raise
        finally:
            await streaming.aclose()
            unknown = EffectUnknown(code=code, latency_ms=self._latency_ms(), **self._names)
            self._outcome = [streaming.event, unknown]
