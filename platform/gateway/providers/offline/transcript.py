"""The only place for reading a request's messages: whose words they are, and what came back."""

from __future__ import annotations

import json
from typing import Any

import msgspec

MAX_REQUEST_MESSAGES = 6
REQUEST_ENDS = 6_000


class Passage(msgspec.Struct, frozen=True):
    """One retrieved passage as a search tool gave it; `ref` is what an answer cites."""

    ref: str
    document: str
    heading: str
    text: str
    page: int | None = None


class ToolResult(msgspec.Struct, frozen=True):
    """One tool message with the call it answers; `value` is its JSON, or its text."""

    tool: str
    arguments: dict[str, Any]
    value: Any

    @property
    def error(self) -> dict[str, str] | None:
        """Code and message, where the tool message says that the call was not performed."""
        error = self.value.get("error") if isinstance(self.value, dict) else None
        if error is None or error is False:
            return None
        if isinstance(error, dict):
            return {key: text_of(error.get(key)) for key in ("code", "message")}
        return {"code": "", "message": text_of(error)}

    @property
    def passages(self) -> list[Passage]:
        """The passages that the result carries, in their order."""
        listed = self.value.get("passages") if isinstance(self.value, dict) else None
        rows = listed if isinstance(listed, list) else []
        return [_passage(row, number) for number, row in enumerate(rows, 1) if _readable(row)]

    @property
    def searched(self) -> bool:
        """Whether it is the result of a search, even one that found nothing."""
        return isinstance(self.value, dict) and isinstance(self.value.get("passages"), list)


class Conversation(msgspec.Struct, frozen=True):
    """What the messages say, told apart by origin: only `request` is ever planned from."""

    request: str
    context: tuple[str, ...]
    earlier: tuple[ToolResult, ...]
    results: tuple[ToolResult, ...]
    length: int


def read(messages: object) -> Conversation:
    """Read chat messages of whatever quality; what is not a message is passed over.

    `request` is the last user message, with those before it that only led to a question back;
    `results` are the tool results since then, `earlier` those before. Of a request longer than
    12,000 characters only both ends are planned from: people command before or after what they
    paste; the whole of it is `context`.
    """
    rows = [row for row in messages if isinstance(row, dict)] if isinstance(messages, list) else []
    start, request = _request(rows)
    cut = _cut(request)
    context = [_text(row) for row in rows if _is_context(row, rows, start)]
    return Conversation(
        request=cut,
        context=tuple(filter(None, [*context, request if cut != request else ""])),
        earlier=tuple(_results(rows[:start], rows)),
        results=tuple(_results(rows[start:], rows)),
        length=len(rows),
    )


def text_of(value: object) -> str:
    """Any JSON value as text that UTF-8 can carry; "" for null."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode()


def _text(row: dict[str, Any]) -> str:
    """A message's text; content parts that are not text are left out."""
    content = row.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text_of(part) for part in parts if isinstance(part, str))
    return text_of(content) if isinstance(content, str) else ""


def _request(rows: list[dict[str, Any]]) -> tuple[int, str]:
    """Where the request starts, and its words: an answered question belongs to its question."""
    users = [index for index, row in enumerate(rows) if row.get("role") == "user"]
    if not users:
        return 0, ""
    first = len(users) - 1
    while first > 0 and users[first] - users[first - 1] >= 2 and _asked_back(rows, users[first]):
        if len(users) - first >= MAX_REQUEST_MESSAGES:
            break
        first -= 1
    return users[first], "\n".join(_text(rows[index]) for index in users[first:])


def _cut(request: str) -> str:
    if len(request) <= 2 * REQUEST_ENDS:
        return request
    return f"{request[:REQUEST_ENDS]}\n{request[-REQUEST_ENDS:]}"


def _asked_back(rows: list[dict[str, Any]], index: int) -> bool:
    before = rows[index - 1]
    asking = before.get("role") == "assistant" and not before.get("tool_calls")
    return asking and _text(before).rstrip().endswith("?")


def _is_context(row: dict[str, Any], rows: list[dict[str, Any]], start: int) -> bool:
    if row.get("role") in {"system", "developer"}:
        return True
    return row.get("role") == "user" and any(row is earlier for earlier in rows[:start])


def _results(part: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[ToolResult]:
    calls = _calls(rows)
    return [
        ToolResult(*calls.get(text_of(row.get("tool_call_id")), ("", {})), _parsed(_text(row)))
        for row in part
        if row.get("role") == "tool"
    ]


def _calls(rows: list[dict[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every call of the conversation by its id: the tool's name and the arguments."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for row in rows:
        made = row.get("tool_calls")
        for call in made if isinstance(made, list) else []:
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                arguments = _parsed(text_of(function.get("arguments")))
                known = arguments if isinstance(arguments, dict) else {}
                found[text_of(call.get("id"))] = (text_of(function.get("name")), known)
    return found


def _parsed(text: str) -> Any:
    """JSON where it is JSON (never NaN or Infinity, which are not), else the text itself."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _readable(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("text"), str)


def _passage(row: dict[str, Any], number: int) -> Passage:
    page = row.get("page")
    return Passage(
        ref=text_of(row.get("ref")) or f"P{number}",
        document=text_of(row.get("document")),
        heading=text_of(row.get("heading")),
        text=text_of(row["text"]),
        page=page if isinstance(page, int) else None,
    )
