"""The only place that says what an agent's conversation is: pure values, with an origin each."""

from __future__ import annotations

from typing import Any

import msgspec

SEARCHED = "search_collection:"
"""How the origin of passages begins: nothing else that a turn holds is a passage."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may propose: a tool, or the search of a collection."""

    name: str
    description: str
    parameters: dict[str, Any]
    action: str
    resource: str

    def as_function(self) -> dict[str, Any]:
        """The offer as a tool of the chat-completions protocol."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }
        return {"type": "function", "function": function}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What a model proposed: a function's name and its arguments, as the text it wrote."""

    id: str
    name: str
    arguments: str


class ModelTurn(msgspec.Struct, frozen=True, kw_only=True, tag="model"):
    """The model spoke: an answer, or proposals."""

    content: str
    calls: tuple[Call, ...] = ()

    def as_message(self) -> dict[str, Any]:
        """This turn as a message of the chat-completions protocol."""
        if not self.calls:
            return {"role": "assistant", "content": self.content}
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in self.calls
        ]
        return {"role": "assistant", "content": self.content or None, "tool_calls": calls}


class ResultTurn(msgspec.Struct, frozen=True, kw_only=True, tag="result"):
    """What came of a proposal: a value with an origin, never an instruction."""

    call: str
    origin: str
    value: dict[str, Any]

    def as_message(self) -> dict[str, Any]:
        """This turn as a message of the chat-completions protocol."""
        text = msgspec.json.encode(self.value, order="sorted").decode()
        return {"role": "tool", "tool_call_id": self.call, "content": text}

    @property
    def passages(self) -> list[dict[str, Any]]:
        """The passages that a search found. A tool that answers such words has found none."""
        found: list[dict[str, Any]] = self.value["passages"] if self.is_search else []
        return found

    @property
    def is_search(self) -> bool:
        """Whether this is what a search of a collection found."""
        return self.origin.startswith(SEARCHED)


class CorrectionTurn(msgspec.Struct, frozen=True, kw_only=True, tag="correction"):
    """The runtime tells the model why its answer could not be used."""

    answer: str
    problem: str

    def as_messages(self) -> list[dict[str, Any]]:
        """The refused answer, if it had words, and what is wrong with it."""
        problem = f"That answer can't be used: {self.problem} Answer again."
        answer = [{"role": "assistant", "content": self.answer}] if self.answer else []
        return [*answer, {"role": "user", "content": problem}]


Turn = ModelTurn | ResultTurn | CorrectionTurn


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """All that the next intent depends on."""

    tenant: str
    run: str
    agent: str
    version: str
    instructions: str
    route: str
    task: str
    on_behalf_of: str | None
    offers: tuple[Offer, ...]
    turns: tuple[Turn, ...]
    answer_schema: dict[str, Any] | None = None

    def messages(self) -> list[dict[str, Any]]:
        """The transcript as messages of the chat-completions protocol."""
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": self.instructions},
            {"role": "user", "content": self.task},
        ]
        for turn in self.turns:
            if isinstance(turn, CorrectionTurn):
                messages += turn.as_messages()
            else:
                messages.append(turn.as_message())
        return messages

    def chat_request(self) -> dict[str, Any]:
        """What the model is asked next: the body of a chat-completions request."""
        request: dict[str, Any] = {"messages": self.messages()}
        if self.offers:
            request["tools"] = [offer.as_function() for offer in self.offers]
        return request

    def pending_call(self) -> Call | None:
        """The first proposal of the model's last turn that has no result yet, in its order.

        Only that turn counts: each proposal before it has its result, and some models give the
        same ids in every turn.
        """
        answered: set[str] = set()
        for turn in reversed(self.turns):
            if isinstance(turn, ModelTurn):
                return next((call for call in turn.calls if call.id not in answered), None)
            if isinstance(turn, ResultTurn):
                answered.add(turn.call)
        return None

    def passages(self) -> dict[str, dict[str, Any]]:
        """Every passage shown so far, by its reference (`P1`, `P2`, ...)."""
        results = [turn for turn in self.turns if isinstance(turn, ResultTurn)]
        return {passage["ref"]: passage for turn in results for passage in turn.passages}
