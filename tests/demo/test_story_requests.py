"""The only place that plays the demo's requests against its tools and its provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demo.handbook import render
from demo.tools import TOOLS
from gateway.providers.offline.provider import reply

SEARCH = {
    "name": "search_returns_handbook",
    "description": "Search the collection Returns handbook.",
    "arguments": {"type": "object", "properties": {"query": {"type": "string"}}},
}
OFFERED = [
    {
        "type": "function",
        "function": {
            "name": tool["name"],
            "description": tool["description"],
            "parameters": {**tool["arguments"], "required": ["query"]}
            if tool is SEARCH
            else tool["arguments"],
        },
    }
    for tool in (*TOOLS, SEARCH)
]


def sections() -> list[dict[str, Any]]:
    """The handbook's sections as a search would give them."""
    parts = render.SOURCE.read_text(encoding="utf-8").split("\n#")
    return [
        {
            "ref": f"P{number}",
            "document": "Returns handbook",
            "heading": part.partition("\n")[0].strip("# "),
            "page": None,
            "text": part.partition("\n")[2].strip(),
        }
        for number, part in enumerate(parts, 1)
    ]


def played(text: str, results: dict[str, Any]) -> tuple[list[str], str]:
    """The names of the calls that a request leads to, and the final answer."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
    names: list[str] = []
    while len(names) < 8:
        said = reply({"messages": messages, "tools": OFFERED})
        if said.call is None:
            return names, said.content or ""
        names.append(said.call[0])
        call_id = f"c{len(names)}"
        function = {"name": said.call[0], "arguments": said.call[1]}
        calls = [{"id": call_id, "type": "function", "function": function}]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        content = json.dumps(results[said.call[0]])
        messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
    raise AssertionError(names)


FOUND = {"search_returns_handbook": {"passages": sections()}}
ORDER = {"order_id": "1043", "customer": "Sofia Lindqvist", "refundable_cents": 124900}


@pytest.mark.parametrize(
    ("question", "part"),
    [
        ("How long do customers have to return most items?", "within 30 days of delivery"),
        ("What is the return window for electronics?", "14 days after delivery"),
        ("Who approves refunds above 2,000 EUR?", "and of the finance department. ["),
        ("Can a gift card be exchanged for cash?", "Gift cards cannot be exchanged for cash. ["),
        ("How long are records of refunds kept?", "Records of refunds are kept for 7 years"),
        ("Are customs duties refunded?", "Customs duties and import taxes are not refunded"),
    ],
)
def test_a_question_is_answered_from_the_handbook(question: str, part: str) -> None:
    names, answer = played(question, FOUND)
    assert names == ["search_returns_handbook"]
    assert part in answer


@pytest.mark.parametrize(
    "question", ["What is the capital of France?", "Do you offer gift wrapping for birthdays?"]
)
def test_what_the_handbook_does_not_say_is_not_known(question: str) -> None:
    assert played(question, FOUND)[1].startswith("I don't know")


def test_a_refund_is_looked_up_checked_and_made() -> None:
    made = {"refund_id": "rf_1", "order_id": "1043", "amount_cents": 60000, "currency": "EUR"}
    results = {**FOUND, "look_up_order": ORDER, "refund_order": made}
    names, answer = played("Refund order 1043, 600.00 EUR: a pole was broken.", results)
    assert names == ["look_up_order", "search_returns_handbook", "refund_order"]
    assert answer.startswith("The refund was made: refund id rf_1")
    assert "600.00 EUR" in answer


def test_a_rejection_is_told_to_the_customer() -> None:
    rejected = {"error": {"code": "rejected", "message": "The photographs are missing."}}
    results = {**FOUND, "look_up_order": ORDER, "refund_order": rejected}
    _, answer = played("Refund order 1043, 600.00 EUR.", results)
    assert answer == "The refund was rejected and not made: The photographs are missing."
