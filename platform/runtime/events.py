"""The only place that lists the entry kinds of agents, tools, runs and effects."""

from __future__ import annotations

from typing import TypedDict
from uuid import UUID

from audit.events import Event, Private
from governance.intents import Intent


class IntentNames(TypedDict):
    """What every entry about an effect says of its intent."""

    intent: str
    action: str
    resource: str
    step: int | None
    decision: str


def names_of(intent: Intent, commitment: str, decision: UUID | None) -> IntentNames:
    """The intent as its effect's entries name it; `decision` is the entry that allowed it."""
    return IntentNames(
        intent=commitment,
        action=intent.action,
        resource=intent.resource,
        step=intent.step,
        decision=str(decision) if decision else "",
    )


class AgentCreated(Event, kind="agent.created"):
    """An agent came into being; its author may never approve what it proposes."""

    agent: str
    author: str


class AgentVersionPublished(Event, kind="agent.version_published"):
    """A version of an agent was published; `sha256` is the digest of its definition."""

    agent: str
    version: int
    sha256: str


class ToolAdded(Event, kind="tool.added"):
    """A tool was added; `sha256` is the digest of its definition, without its secrets."""

    tool: str
    effect: str
    sha256: str


class ToolChanged(Event, kind="tool.changed"):
    """A tool's definition changed."""

    tool: str
    effect: str
    sha256: str


class ToolRemoved(Event, kind="tool.removed"):
    """A tool was removed; intents that name it are denied from now on."""

    tool: str


class RunStarted(Event, kind="run.started"):
    """Somebody gave an agent a task."""

    agent: str
    version: int
    task: Private[str]
    requester: str


class RunHeld(Event, kind="run.held"):
    """A run rests until an approval is settled."""

    approval: str
    step: int


class RunResumed(Event, kind="run.resumed"):
    """An approval was settled, and the run goes on."""

    approval: str


class RunCompleted(Event, kind="run.completed"):
    """A run gave its answer. It has `entries` entries, this one included."""

    steps: int
    tokens: int
    cost_micros: int
    entries: int
    answer: Private[str]


class RunFailed(Event, kind="run.failed"):
    """A run ended without an answer. It has `entries` entries, this one included."""

    code: str
    steps: int
    tokens: int
    cost_micros: int
    entries: int


class RunCancelled(Event, kind="run.cancelled"):
    """Somebody ended a run. What it had begun may still end after this, its entry `entries`."""

    steps: int
    entries: int


class IntentRefused(Event, kind="intent.refused"):
    """What the model proposed can't be done: an unknown function, unfit arguments, a changed tool.

    `function` is empty where it names none that was offered: then it is the model's own words.
    """

    step: int
    function: str
    code: str


class EffectBegun(Event, kind="effect.begun"):
    """An effect is about to be tried. Recorded before anything leaves this machine.

    `tool_sha256` is the definition of the tool, as the entry of its last change names it.
    """

    intent: str
    action: str
    resource: str
    decision: str = ""
    step: int | None = None
    attempt: int = 1
    idempotency_key: str | None = None
    tool_sha256: str | None = None


class EffectEnded(Event, kind="effect.ended"):
    """An effect happened; `outcome` is the SHA-256 of what came back.

    `reference` is what a tool calls what it did: the first of the headers Location, X-Request-Id
    and Request-Id of its answer, as `location: /refunds/17`, if that is printable ASCII of up to
    200 characters. `latency_ms` is from when it could be done until it was.
    """

    intent: str
    action: str
    resource: str
    outcome: Private[str]
    decision: str = ""
    step: int | None = None
    reference: Private[str | None] = None
    latency_ms: int | None = None


class EffectFailed(Event, kind="effect.failed"):
    """An effect certainly did not happen. `latency_ms` is how long it was tried, if it was."""

    intent: str
    action: str
    resource: str
    code: str
    decision: str = ""
    step: int | None = None
    latency_ms: int | None = None


class EffectUnknown(Event, kind="effect.unknown"):
    """Nobody can tell whether an effect happened; it is not repeated blindly.

    `latency_ms` is how long it was tried, where its process lived to tell.
    """

    intent: str
    action: str
    resource: str
    code: str
    decision: str = ""
    step: int | None = None
    latency_ms: int | None = None


class ErasureRequested(Event, kind="erasure.requested"):
    """Somebody asked to erase a person; nothing is erased before another member approves it."""

    request: str
    person: Private[str]
    legal_basis: str


class ErasureRejected(Event, kind="erasure.rejected"):
    """A person is not erased: somebody rejected or withdrew the request."""

    request: str


class RetentionChanged(Event, kind="retention.changed"):
    """An admin said for how many months private parts are kept, by the beginnings of kinds."""

    months: dict[str, int]


class LedgerRecoveryApproved(Event, kind="ledger.recovery_approved"):
    """Somebody approved that the ledger goes on without entries that were signed and are lost.

    `halt` names the halt; `signed_size` entries under `signed_root` had been signed, and the
    database held `size`. It goes on once two people have approved.
    """

    halt: str
    signed_size: int
    signed_root: str
    size: int


class LedgerViewed(Event, kind="ledger.viewed"):
    """Somebody looked at an entry in full."""

    entry: str


class SavedViewShared(Event, kind="saved_view.shared"):
    """Somebody shared filters of the ledger, under a name, with all who read it."""

    view: str
    name: Private[str]
    filters: Private[dict[str, str]]


class SavedViewRenamed(Event, kind="saved_view.renamed"):
    """A shared view of the ledger has another name."""

    view: str
    name: Private[str]


class SavedViewWithdrawn(Event, kind="saved_view.withdrawn"):
    """A view of the ledger is not shared any more: it was removed, or is its owner's alone."""

    view: str


class LedgerExported(Event, kind="ledger.exported"):
    """Somebody took out a bundle: `size` entries under the root `root`.

    `filter` says which were selected; {} is all of them. `bodies` says whether their private parts
    went out too: those of the "selected", or "none".
    """

    size: int
    root: str
    not_covered: int
    filter: dict[str, str]
    selected: int
    bodies: str


class LedgerReconciled(Event, kind="ledger.reconciled"):
    """Rows were compared with the entries that tell of them; `compared` says how many of what.

    `differing` rows and entries have no counterpart; `differences` names up to 100 of them, as the
    key of a `row` that no entry tells of, or of an `entry` without such a row.
    """

    compared: dict[str, int]
    differing: int
    differences: list[dict[str, str]]


class StreamCreated(Event, kind="stream.created"):
    """An admin had the ledger sent to a SIEM, from the index `cursor` on.

    `receiver` is the address without path and query, and `selection` how the kinds begin that are
    sent; empty: all.
    """

    stream: str
    receiver_kind: str
    receiver: str
    selection: str
    cursor: int


class StreamChanged(Event, kind="stream.changed"):
    """An admin changed a stream: `changed` names what, and the rest is how it is now."""

    stream: str
    changed: list[str]
    receiver: str
    selection: str
    enabled: bool
    cursor: int


class StreamDeleted(Event, kind="stream.deleted"):
    """An admin ended a stream; the entries before the index `cursor` had been taken."""

    stream: str
    cursor: int


class StreamTested(Event, kind="stream.tested"):
    """An admin had a message without entries sent to a stream's receiver."""

    stream: str
    receiver: str
