"""The only place that composes an answer: what was done, what was found, what is not known."""

from __future__ import annotations

import msgspec

from gateway.providers.offline import answering, catalogue, moods
from gateway.providers.offline.answering import Quote
from gateway.providers.offline.catalogue import OfferedTool
from gateway.providers.offline.planning import Plan
from gateway.providers.offline.telling import tell
from gateway.providers.offline.transcript import Conversation, ToolResult
from gateway.providers.offline.words import pieces, stems

UNKNOWN = "I don't know: the passages that I was given do not answer this."
NOTHING_FOUND = "I don't know: no passage was found for this."
NO_SOURCE = (
    "I don't know: I am an offline extractive provider without a language model, and I answer "
    "only from passages and tool results that I am given."
)
GREETING = (
    "I am an offline extractive provider without a language model: I answer from passages that I "
    "am given and call the tools that I am offered. What do you need?"
)
MEANINGFUL = 2


class Answer(msgspec.Struct, frozen=True):
    """An answer in words, the sentences that it quotes, and whether it answers at all."""

    text: str
    quotes: tuple[Quote, ...] = ()
    known: bool = True


def compose(conversation: Conversation, plan: Plan, tools: list[OfferedTool]) -> Answer:
    """Answer from what the conversation holds, in the order: acts, facts, quotations, gaps."""
    offered = {tool.name: tool for tool in tools}
    pairs = [(result, _tool(result, offered)) for result in conversation.results]
    told = [tell(result, tool, conversation.request) for result, tool in _worth_telling(pairs)]
    acted = any(not tool.reads for _, tool in pairs)
    admitted = _admitted(plan)
    chosen = () if acted or plan.lacking else tuple(answering.quotes(conversation))
    quoted = [quote.cited for quote in chosen]
    parts = [*told, *quoted, *admitted]
    if not parts:
        return Answer(text=_gap(conversation), known=False)
    return Answer(text=" ".join(parts), quotes=chosen, known=bool(told or quoted))


def _tool(result: ToolResult, offered: dict[str, OfferedTool]) -> OfferedTool:
    """The tool of a result, read from its name alone where it is no longer offered."""
    name = result.tool or "tool"
    return offered.get(name) or catalogue.read([{"function": {"name": name}}])[0]


def _worth_telling(
    pairs: list[tuple[ToolResult, OfferedTool]],
) -> list[tuple[ToolResult, OfferedTool]]:
    """Acts and failures where there was an act, else everything; passages are quoted instead."""
    acted = any(not tool.reads for _, tool in pairs)
    return [
        (result, tool)
        for result, tool in pairs
        if not result.searched and (not acted or not tool.reads or result.error)
    ]


def _admitted(plan: Plan) -> list[str]:
    """What was asked for and not done, and why; a question where something is missing."""
    if plan.wanted is None:
        verb = plan.no_tool_for
        return [f"I have no tool to {verb} that, so nothing was changed."] if verb else []
    name = plan.wanted.name
    if plan.refused:
        return [f"{name} was not called, as you asked not to."]
    if plan.conditional:
        return [f"{name} was not called: the request has a condition, and I cannot judge it."]
    if plan.lacking:
        missing = " and ".join(f"the {' '.join(pieces(item))}" for item in plan.lacking)
        return [f"Before I can call {name} I need to know {missing}. Which should I use?"]
    return []


def _gap(conversation: Conversation) -> str:
    if answering.gathered(conversation):
        return UNKNOWN
    if any(result.searched for result in conversation.results):
        return NOTHING_FOUND
    meant = moods.asks(conversation.request) or len(stems(conversation.request)) >= MEANINGFUL
    return NO_SOURCE if meant else GREETING
