"""The only place that chooses the next tool call, from the user's own words alone.

Free text in passages and tool results is never read here: only what was called, whether it
failed, and the values of structured fields (see `arguments`). Text that somebody planted in a
document can therefore be quoted in an answer, and cannot cause a call.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from gateway.providers.offline import lexicon, moods
from gateway.providers.offline.arguments import Filled, fill, spoken
from gateway.providers.offline.catalogue import OfferedTool
from gateway.providers.offline.moods import Wish
from gateway.providers.offline.transcript import Conversation, ToolResult
from gateway.providers.offline.words import stem, stems, words

NAMED_WEIGHT = 2
FRINGE = 0.6
TALK = 2
READING_STEMS = frozenset(stem(verb) for verb in lexicon.READING)


class Call(msgspec.Struct, frozen=True):
    """One tool call to make."""

    tool: str
    arguments: dict[str, Any]


class Plan(msgspec.Struct, frozen=True):
    """What to do next: a call, or none and what the answer has to admit about what was asked."""

    call: Call | None = None
    wanted: OfferedTool | None = None
    lacking: tuple[str, ...] = ()
    conditional: bool = False
    refused: bool = False
    no_tool_for: str | None = None


class _Act(msgspec.Struct, frozen=True):
    tool: OfferedTool
    wish: Wish
    filled: Filled


def plan(conversation: Conversation, tools: list[OfferedTool], choice: object) -> Plan:
    """The next step for a request. `choice` is `tool_choice` as OpenAI's API defines it.

    Tools that read come before those that act; nothing is called twice with the same arguments;
    once an act has failed, no further act follows.
    """
    if choice == "none" or not tools:
        return Plan(no_tool_for=moods.commanded_verb(conversation.request) if tools else None)
    named = _named(choice)
    if named is not None:
        return Plan(call=_demanded(conversation, [tool for tool in tools if tool.name == named]))
    planned = _chosen(conversation, tools)
    if planned.call is None and choice == "required" and not conversation.results:
        readers = [tool for tool in tools if tool.reads]
        return Plan(call=_demanded(conversation, readers))
    return planned


def topic(tool: OfferedTool, request: str) -> int:
    """How much of a tool's name (twofold) and description the request speaks of."""
    said = set(stems(request))
    return NAMED_WEIGHT * len(tool.topics & said) + len((tool.about - tool.topics) & said)


def _chosen(conversation: Conversation, tools: list[OfferedTool]) -> Plan:
    request = conversation.request
    acts = _acts(conversation, tools)
    reading = _reading(conversation, tools, acts)
    if reading:
        return Plan(call=reading)
    for act in acts:
        if act.wish.conditional:
            return Plan(wanted=act.tool, conditional=True)
        if not act.filled.complete:
            return Plan(wanted=act.tool, lacking=(*act.filled.missing, *act.filled.unclear))
        call = _fresh(act.tool, act.filled, conversation)
        if call and not _blocked(act.tool, conversation, tools):
            return Plan(call=call)
    return Plan() if acts else _without_acts(request, tools)


def _without_acts(request: str, tools: list[OfferedTool]) -> Plan:
    """Nothing to do: because it was asked not to, or because no tool does what was asked."""
    for tool in tools:
        if not tool.reads and topic(tool, request) and moods.wish(request, tool.verbs).refused:
            return Plan(wanted=tool, refused=True)
    verb = moods.commanded_verb(request)
    return Plan(no_tool_for=verb if verb and not _covered(verb, request, tools) else None)


def _acts(conversation: Conversation, tools: list[OfferedTool]) -> list[_Act]:
    """The acts that the request commands, each with its arguments, in the order of the words."""
    request = conversation.request
    acts = []
    for tool in tools:
        wish = moods.wish(request, tool.verbs) if not tool.reads else Wish(clause=None)
        if wish.clause and (topic(tool, request) or spoken(tool, request)):
            results = [*conversation.earlier, *conversation.results]
            filled = fill(tool, request, clause=wish.clause, results=results)
            acts.append(_Act(tool, wish, filled))
    return _unrivalled(acts, request)


def _unrivalled(acts: list[_Act], request: str) -> list[_Act]:
    """Of acts which the same clause asks for, the one whose topic fits best."""
    best: dict[str, _Act] = {}
    for act in acts:
        clause = f"{act.wish.clause}|{'|'.join(sorted(_said_verbs(act, request)))}"
        rival = best.get(clause)
        if rival is None or _fitness(act, request) > _fitness(rival, request):
            best[clause] = act
    return sorted(best.values(), key=lambda act: _position(act, request))


def _said_verbs(act: _Act, request: str) -> frozenset[str]:
    return act.tool.verbs & {stem(word) for word in words(act.wish.clause or request)}


def _fitness(act: _Act, request: str) -> tuple[int, bool, int]:
    return topic(act.tool, request), act.filled.complete, len(act.filled.variants[0])


def _position(act: _Act, request: str) -> int:
    said = [stem(word) for word in words(request)]
    return min((said.index(verb) for verb in act.tool.verbs if verb in said), default=len(said))


def _reading(conversation: Conversation, tools: list[OfferedTool], acts: list[_Act]) -> Call | None:
    """The next look-up or search: look-ups whose arguments are known first, then searches."""
    readers = [tool for tool in tools if tool.reads]
    readers.sort(key=lambda tool: -topic(tool, conversation.request))
    lookups = [tool for tool in readers if tool.query is None]
    for tool in _relevant(lookups, conversation.request, acts):
        results = [*conversation.earlier, *conversation.results]
        filled = fill(tool, conversation.request, clause=None, results=results)
        call = None if filled.missing else _fresh(tool, filled, conversation)
        if call:
            return call
    return _searching(conversation, [tool for tool in readers if tool.query], acts)


def _relevant(lookups: list[OfferedTool], request: str, acts: list[_Act]) -> list[OfferedTool]:
    """Look-ups that the request speaks of, without the much less fitting ones.

    A question that speaks of none goes to the only one whose arguments it names.
    """
    scores = {tool.name: _relevance(tool, request, acts) for tool in lookups}
    best = max(scores.values(), default=0)
    if best or acts or not moods.asks(request):
        return [tool for tool in lookups if scores[tool.name] >= max(1, best * FRINGE)]
    known = [tool for tool in lookups if tool.required and spoken(tool, request)]
    return known if len(known) == 1 else []


def _relevance(tool: OfferedTool, request: str, acts: list[_Act]) -> int:
    known = bool(tool.required) and spoken(tool, request)
    score = topic(tool, request)
    if not (tool.topics & set(stems(request))) and not known and score < NAMED_WEIGHT:
        return 0
    shared = any(set(tool.required) & set(act.tool.required) for act in acts)
    if acts and not shared and not _told_to_read(tool, request):
        return 0
    return score + (NAMED_WEIGHT if known and (score or shared) else 0)


def _told_to_read(tool: OfferedTool, request: str) -> bool:
    wish = moods.wish(request, READING_STEMS)
    return wish.clause is not None and topic(tool, wish.clause) > 0


def _searching(
    conversation: Conversation, searches: list[OfferedTool], acts: list[_Act]
) -> Call | None:
    """A search with the request as the question: for questions, and before acts.

    A search that is about something else is made only if there is no other (before an act), or
    while nothing was found.
    """
    request = conversation.request
    if not _worth_searching(conversation, acts):
        return None
    for tool in searches:
        filled = fill(tool, request, clause=None, results=list(conversation.results))
        alone = not _has_passages(conversation) and (not acts or len(searches) == 1)
        fitting = alone or topic(tool, request) > 0
        call = _fresh(tool, filled, conversation) if fitting and not filled.missing else None
        if call:
            return call
    return None


def _worth_searching(conversation: Conversation, acts: list[_Act]) -> bool:
    """Greetings are not searched for, nor what a look-up's fields already answer."""
    request = conversation.request
    if acts:
        return True
    if any(_tells(result, request) for result in conversation.results):
        return False
    return moods.asks(request) or len(set(stems(request))) >= TALK


def _tells(result: ToolResult, request: str) -> bool:
    """Whether a look-up's fields name what a question for facts asks: "what is the status of"."""
    if result.error or result.searched or not isinstance(result.value, dict):
        return False
    if not lexicon.RULING.isdisjoint(words(moods.own_words(request))):
        return False
    fields = {word for field in result.value for word in stems(str(field).replace("_", " "))}
    asked = {word for name in result.arguments for word in stems(name.replace("_", " "))}
    return bool((fields - asked) & set(stems(moods.own_words(request))))


def _has_passages(conversation: Conversation) -> bool:
    return any(result.passages for result in conversation.results)


def _fresh(tool: OfferedTool, filled: Filled, conversation: Conversation) -> Call | None:
    """The first argument set of `tool` that was not called since the request."""
    made = {_key(result.arguments) for result in conversation.results if result.tool == tool.name}
    for arguments in filled.variants:
        if _key(arguments) not in made:
            return Call(tool.name, arguments)
    return None


def _key(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments, sort_keys=True, default=str)


def _blocked(tool: OfferedTool, conversation: Conversation, tools: list[OfferedTool]) -> bool:
    """An act that failed, or a failed look-up of what this act is about, ends the acting."""
    reads = {one.name: one for one in tools if one.reads}
    return any(_blocks(result, tool, reads) for result in conversation.results if result.error)


def _blocks(result: ToolResult, tool: OfferedTool, reads: dict[str, OfferedTool]) -> bool:
    reader = reads.get(result.tool)
    return reader is None or bool(set(reader.required) & set(tool.required))


def _covered(verb: str, request: str, tools: list[OfferedTool]) -> bool:
    return any(stem(verb) in tool.verbs and topic(tool, request) for tool in tools)


def _named(choice: object) -> str | None:
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _demanded(conversation: Conversation, tools: list[OfferedTool]) -> Call | None:
    """The best call where the client demands one: what is not known is left out, not invented."""
    best: tuple[tuple[bool, int], Call] | None = None
    for tool in tools:
        results = [*conversation.earlier, *conversation.results]
        filled = fill(tool, conversation.request, clause=None, results=results)
        call = _fresh(tool, filled, conversation)
        rank = (not filled.missing, topic(tool, conversation.request))
        if call and (best is None or rank > best[0]):
            best = (rank, call)
    return best[1] if best else None
