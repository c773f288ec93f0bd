"""The only place that turns text into vectors for retrieval: each time a governed model call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import transaction

from audit import canonical, ledger
from audit.errors import Problem
from audit.events import Event
from gateway import embeddings, portal, requests
from gateway import queries as gateway_queries
from gateway.embeddings import Embedded
from governance import decisions
from governance.events import actor_of
from governance.intents import CallModel
from runtime import resources
from runtime.events import EffectBegun, EffectEnded, EffectFailed, names_of
from tenants import isolation
from tenants.principals import Principal

Embed = Callable[[Sequence[str]], Embedded]


class EmbeddingDenied(Problem):
    """The texts may not be embedded through the route {route}: {reason}."""

    code = "embedding_denied"
    status = 403


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """For whom texts are embedded: a principal alone, or an agent's run on a requester's behalf."""

    principal: Principal
    now: datetime
    agent: str | None = None
    agent_version: str | None = None
    author: str | None = None
    run: str | None = None
    step: int | None = None
    on_behalf_of: str | None = None

    @property
    def correlation(self) -> UUID | None:
        """The run that the embedding is part of."""
        return UUID(self.run) if self.run else None


def through(route: str, asker: Asker) -> Embed:
    """A function that embeds texts through `route`, each call decided and recorded.

    Its calls raise EmbeddingDenied, RouteUnknown, and the gateway's problems.
    """

    def embed(texts: Sequence[str]) -> Embedded:
        intent = CallModel(
            tenant=isolation.current().slug,
            principal_kind="agent" if asker.agent else asker.principal.kind,
            principal=asker.agent or asker.principal.id,
            agent_version=asker.agent_version,
            resource=route,
            arguments=requests.arguments(list(texts)),
            run=asker.run,
            step=asker.step,
            on_behalf_of=asker.on_behalf_of,
        )
        return _perform(intent, texts, asker)

    return embed


def _perform(intent: CallModel, texts: Sequence[str], asker: Asker) -> Embedded:
    spec = gateway_queries.route_spec(intent.resource)
    decision = _begin(intent, asker)
    names = names_of(intent)
    try:
        embedded = portal.call(
            embeddings.embed, spec, list(texts), permit=decision.permit, intent=intent
        )
    except Problem as problem:
        _record(intent, asker, EffectFailed(code=problem.code, **names))
        raise
    facts = {"model": embedded.model, "version": embedded.version, "count": len(embedded.vectors)}
    ended = EffectEnded(outcome_sha256=canonical.digest(facts), facts=facts, **names)
    _record(intent, asker, embedded.event, ended)
    return embedded


def _begin(intent: CallModel, asker: Asker) -> decisions.Allowed:
    with transaction.atomic():
        decision = decisions.decide(
            intent,
            principal=asker.principal,
            resource=resources.asked_for(intent),
            author=asker.author,
            now=asker.now,
        )
        if isinstance(decision, decisions.Allowed):
            begun = EffectBegun(**names_of(intent))
            _record(intent, asker, begun)
            return decision
    reason = (
        decision.reason if isinstance(decision, decisions.Denied) else "it would need an approval"
    )
    raise EmbeddingDenied(route=intent.resource, reason=reason)


def _record(intent: CallModel, asker: Asker, *events: Event) -> None:
    with transaction.atomic():
        for event in events:
            ledger.record(event, actor=actor_of(intent), correlation=asker.correlation)
