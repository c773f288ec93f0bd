"""The only place that judges the shape of a chat request, as OpenAI's API would.

A program that is developed against the offline provider would otherwise meet its mistakes only at
a real one. The shapes are those of POST /chat/completions; members that they don't name pass.
What the provider can't do and an answer would hide, further choices and parts that are not text,
is refused as a model without them does.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.providers.protocol import Json

PLACE = re.compile(r"(?P<reason>.*) - at `\$\.?(?P<place>[^`]*)`", re.DOTALL)
MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Tokens = Annotated[int, Meta(ge=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class Misshapen(Exception):
    """OpenAI's API would refuse the request. `param` names a member, as in `messages[0].role`."""

    def __init__(self, param: str | None, reason: str) -> None:
        super().__init__(reason)
        self.param = param
        self.reason = reason


class TextPart(Struct, tag_field="type", tag="text"):
    """A part of a message's content: words."""

    text: str


class ImagePart(Struct, tag_field="type", tag="image_url"):
    """A picture."""

    image_url: dict[str, Any]


class AudioPart(Struct, tag_field="type", tag="input_audio"):
    """A recording."""

    input_audio: dict[str, Any]


class FilePart(Struct, tag_field="type", tag="file"):
    """A file."""

    file: dict[str, Any]


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    """What the model would not say."""

    refusal: str


Part = TextPart | ImagePart | AudioPart | FilePart | RefusalPart
Content = str | Annotated[list[Part], Meta(min_length=1)]


class Called(Struct):
    """The function that a model called."""

    name: str
    arguments: str


class ToolCall(Struct):
    """A tool call of the model."""

    id: str
    type: Literal["function"]
    function: Called


class Instructions(Struct, tag_field="role", tag="system"):
    """A message of the developer."""

    content: Content


class DeveloperInstructions(Struct, tag_field="role", tag="developer"):
    """The same, by its newer name."""

    content: Content


class Asked(Struct, tag_field="role", tag="user"):
    """A message of the user."""

    content: Content


class Said(Struct, tag_field="role", tag="assistant"):
    """A message of the model: words, calls, or both."""

    content: Content | None = None
    tool_calls: Annotated[list[ToolCall], Meta(min_length=1)] | None = None
    refusal: str | None = None


class Result(Struct, tag_field="role", tag="tool"):
    """What a tool answered."""

    content: Content
    tool_call_id: str


class FunctionResult(Struct, tag_field="role", tag="function"):
    """The same, of a time before tools."""

    name: str
    content: str | None


class Function(Struct):
    """A function that is offered to the model."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct):
    """A tool that is offered to the model."""

    type: Literal["function"]
    function: Function


class Named(Struct):
    """The name of a function."""

    name: str


class Choice(Struct):
    """The one function that the model is to call."""

    type: Literal["function"]
    function: Named


class AnswerSchema(Struct):
    """What an answer is to look like."""

    name: Name
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Text(Struct, tag_field="type", tag="text"):
    """An answer in words."""


class AnyObject(Struct, tag_field="type", tag="json_object"):
    """An answer that is a JSON object."""


class OfSchema(Struct, tag_field="type", tag="json_schema"):
    """An answer that fits a JSON Schema."""

    json_schema: AnswerSchema


class StreamOptions(Struct):
    """How a stream ends."""

    include_usage: bool | None = None


UNREADABLE = {ImagePart: "image", AudioPart: "recording", FilePart: "file"}

Message = Instructions | DeveloperInstructions | Asked | Said | Result | FunctionResult


class ChatRequest(Struct):
    """A chat request. `model` is the endpoint's, and not looked at here."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    tools: Annotated[list[Tool], Meta(min_length=1, max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: Text | AnyObject | OfSchema | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    seed: int | None = None
    user: str | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


def check(request: Json) -> None:
    """Raise Misshapen for the first member that OpenAI's API or this provider would refuse."""
    try:
        asked = msgspec.convert(request, ChatRequest)
    except msgspec.ValidationError as problem:
        raise _misshapen(str(problem)) from None
    if asked.n is not None and asked.n > 1:
        raise Misshapen("n", "there is one choice, since the same request always gets the same")
    for position, message in enumerate(asked.messages):
        _check_parts(message.content, f"messages[{position}].content")


def _check_parts(content: Content | None, place: str) -> None:
    if content is None or isinstance(content, str):
        return
    for position, part in enumerate(content):
        kind = UNREADABLE.get(type(part))
        if kind is not None:
            raise Misshapen(f"{place}[{position}]", f"it is no text, and no {kind} is read here")


def _misshapen(told: str) -> Misshapen:
    """From msgspec's words, which end in the place, as a path, where it is not the whole."""
    at = PLACE.fullmatch(told)
    reason, place = (at["reason"], at["place"]) if at else (told, "")
    missing = MISSING.fullmatch(reason)
    if missing is not None:
        place, reason = f"{place}.{missing['name']}".removeprefix("."), "it is missing"
    return Misshapen(place.removesuffix("[...]") or None, reason.replace("`", ""))
