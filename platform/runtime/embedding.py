"""The only place that turns text into vectors for retrieval: each time a governed model call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from audit import canonical
from audit.errors import Problem
from gateway import embeddings, portal, requests
from gateway import queries as gateway_queries
from gateway.embeddings import Embedded
from governance.intents import CallModel
from governance.permits import Permit
from governance.verdicts import Authors
from retrieval.embedding import require_model
from retrieval.models import Collection
from runtime import acts
from runtime.acts import Act, Begun, Done
from tenants import isolation
from tenants.principals import Principal

Embed = Callable[[Sequence[str]], Embedded]


class EmbeddingDenied(Problem):
    """The texts may not be embedded through the route {route}: {reason}."""

    code = "embedding_denied"
    status = 403


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """For whom texts are embedded: a principal alone, or an agent's run on a requester's behalf.

    `correlation` is the run's, or that of the act which the embedding is part of. `seconds` is how
    long each call may take, where that is bounded.
    """

    principal: Principal
    correlation: UUID
    now: datetime
    agent: str | None = None
    agent_version: str | None = None
    authors: Authors | None = None
    run: str | None = None
    step: int | None = None
    on_behalf_of: str | None = None
    seconds: float | None = None


def through(collection: Collection, asker: Asker) -> Embed:
    """A function that embeds texts through the collection's route, each call decided and recorded.

    A model that is not the collection's is sent nothing. Its calls raise EmbeddingMismatch,
    EmbeddingDenied (nobody can wait for a reviewer here), RouteUnknown, OutOfTime, the
    gateway's other problems, and LedgerBehind where a policy asks to wait for the ledger.
    """

    def embed(texts: Sequence[str]) -> Embedded:
        intent = CallModel(
            tenant=isolation.current().slug,
            principal_kind="agent" if asker.agent else asker.principal.kind,
            principal=asker.agent or asker.principal.id,
            agent_version=asker.agent_version,
            resource=collection.embedding_route,
            arguments=requests.arguments(list(texts)),
            run=asker.run,
            step=asker.step,
            on_behalf_of=asker.on_behalf_of,
        )
        return _perform(intent, texts, asker, collection)

    return embed


def _perform(
    intent: CallModel, texts: Sequence[str], asker: Asker, collection: Collection
) -> Embedded:
    spec = gateway_queries.route_spec(intent.resource)
    # All endpoints of an embeddings route have the same model and dimensions.
    require_model(collection, spec.endpoints[0].model, spec.endpoints[0].dimensions)
    act = Act(
        intent=intent,
        principal=asker.principal,
        authors=asker.authors,
        correlation=asker.correlation,
        now=asker.now,
    )
    begun = acts.begin(act)
    if not isinstance(begun, Begun):
        reason = getattr(begun, "reason", "it would need an approval")
        raise EmbeddingDenied(route=intent.resource, reason=reason)

    def embed(permit: Permit) -> tuple[Embedded, Done]:
        embedded = portal.call(
            embeddings.embed,
            spec,
            list(texts),
            permit=permit,
            intent=intent,
            seconds=asker.seconds,
        )
        facts = {"model": embedded.model, "version": embedded.version, "count": len(texts)}
        return embedded, Done(canonical.digest(facts), (embedded.event,))

    return acts.perform(act, begun, embed)
