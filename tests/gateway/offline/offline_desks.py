"""The only place for the tool sets and conversations of the offline provider's tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gateway.providers.offline.provider import reply

TEXT = {"type": "string"}
COUNT = {"type": "integer"}
DAY = {"type": "string", "format": "date"}
EMAIL = {"type": "string", "format": "email"}
CENTS = {"type": "integer", "description": "The amount in cents."}
Results = Callable[[str, dict[str, Any]], Any]


def tool(
    name: str, description: str, required: dict[str, Any], optional: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A function as a chat request offers it."""
    schema = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }
    function = {"name": name, "description": description, "parameters": schema}
    return {"type": "function", "function": function}


LOOK_UP = tool("look_up_order", "Look up one order of the shop.", {"order_id": TEXT})
REFUND = tool(
    "refund_order",
    "Refund an amount of an order to the customer.",
    {"order_id": TEXT, "amount_cents": CENTS},
    {"reason": TEXT},
)
SEARCH = tool(
    "search_returns_handbook",
    "Search the collection Returns handbook: returns and refunds.",
    {"query": TEXT},
)
SHOP = [LOOK_UP, REFUND, SEARCH]
CALENDAR = [
    tool("list_events", "List calendar events of one day.", {"date": DAY}),
    tool(
        "create_event",
        "Create a calendar event or meeting.",
        {"title": TEXT, "date": DAY},
        {"start_time": TEXT, "attendees": {"type": "array", "items": EMAIL}},
    ),
    tool("cancel_event", "Cancel an event.", {"event_id": TEXT}),
]
INVENTORY = [
    tool("get_stock", "Current stock of an article.", {"sku": TEXT}),
    tool("add_stock", "Add pieces of an article to the stock.", {"sku": TEXT, "quantity": COUNT}),
]
STATUS = {"type": "string", "enum": ["open", "closed", "pending"]}
PRIORITY = {"type": "string", "enum": ["low", "high", "urgent"]}
TICKETS = [
    tool("find_tickets", "Find support tickets.", {}, {"status": STATUS, "limit": COUNT}),
    tool("create_ticket", "Open a support ticket.", {"title": TEXT, "priority": PRIORITY}),
    tool("close_ticket", "Close a ticket.", {"ticket_id": TEXT}, {"notify": {"type": "boolean"}}),
]
WEATHER = [
    tool(
        "current_weather",
        "Weather of a city now.",
        {"city": TEXT},
        {"unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    ),
    tool("send_email", "Send an e-mail.", {"to": EMAIL, "body": TEXT}, {"subject": TEXT}),
]


def user(text: str) -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": text}


def called(number: int, name: str, arguments: dict[str, Any], result: Any) -> list[dict[str, Any]]:
    """A call that was made, and its tool message."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": f"c{number}", "type": "function", "function": function}
    content = result if isinstance(result, str) else json.dumps(result)
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": content},
    ]


def found(*texts: str) -> dict[str, Any]:
    """The result of a search."""
    rows = [
        {"ref": f"P{number}", "document": "Handbook", "heading": None, "page": number, "text": text}
        for number, text in enumerate(texts, 1)
    ]
    return {"passages": rows}


def ok(_name: str, _arguments: dict[str, Any]) -> Any:
    """A tool that only says that all is well."""
    return {"passages": []} if _name.startswith("search") else {"done": True}


def worked(
    text: str, tools: list[dict[str, Any]], results: Results = ok, **options: Any
) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Run a request as an agent would: every call that was made, and the final answer."""
    messages = [{"role": "system", "content": "You are a desk."}, user(text)]
    calls: list[tuple[str, dict[str, Any]]] = []
    while len(calls) < 12:
        said = reply({"messages": messages, "tools": tools, **options})
        if said.call is None:
            return calls, said.content or ""
        name, arguments = said.call[0], json.loads(said.call[1])
        calls.append((name, arguments))
        messages += called(len(calls), name, arguments, results(name, arguments))
    message = f"{text!r} never ended: {calls}"
    raise AssertionError(message)
