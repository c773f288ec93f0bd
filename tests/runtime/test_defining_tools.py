from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from builders import REFUND, Desk
from cast import Cast
from django.db import connection
from workbench import allow_small_refunds, outcomes, propose, redefine, refund

from audit.queries import entries
from governance import policy_sets
from governance.policies import PolicyInvalid
from runtime import toolbox
from runtime.models import RunState, Tool
from runtime.toolbox import Definition, ToolInvalid, ToolTaken
from tenants import isolation
from tenants.outgoing import AddressRefused
from tenants.principals import NotPermitted

TEXT = {"type": "string"}
PAY = Definition(
    slug="pay",
    description="Pay an invoice.",
    method="POST",
    url="https://pay.example/invoices/{invoice}/payments",
    parameters={
        "type": "object",
        "properties": {"invoice": TEXT, "cents": {"type": "integer"}},
        "required": ["invoice", "cents"],
        "additionalProperties": False,
    },
    effect="write",
)


def _but(**changes: Any) -> Definition:
    return msgspec.structs.replace(PAY, **changes)


def _taking(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"invoice": TEXT, **properties},
        "required": ["invoice"],
    }


def test_a_builder_adds_a_tool_and_the_ledger_commits_to_its_definition(
    acme: Cast, now: Any
) -> None:
    tool = toolbox.add(PAY, by=acme.dave, now=now)
    entry = entries(kind="tool.added")[0]
    assert entry.event == {"effect": "write", "sha256": toolbox.sha256_of(tool), "tool": "pay"}
    assert toolbox.sha256_of(tool) == PAY.digest()


def test_a_reviewer_adds_none_and_neither_does_a_client_app(acme: Cast, now: Any) -> None:
    for principal in (acme.bob, acme.carol, acme.robo):
        with pytest.raises(NotPermitted):
            toolbox.add(PAY, by=principal, now=now)


def test_one_slug_is_one_tool(acme: Cast, now: Any) -> None:
    toolbox.add(PAY, by=acme.dave, now=now)
    with pytest.raises(ToolTaken):
        toolbox.add(PAY, by=acme.dave, now=now)
    with pytest.raises(ToolInvalid, match="slug can't be changed"):
        toolbox.change(Tool.objects.get(slug="pay"), _but(slug="other"), by=acme.dave, now=now)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"slug": "Pay"}, "Lower-case"),
        ({"slug": "pay\n"}, "Lower-case"),
        ({"effect": "magic"}, "effect must be"),
        ({"method": "TRACE"}, "method must be"),
        ({"timeout_seconds": 0}, "timeout"),
        ({"timeout_seconds": 10_000}, "timeout"),
        ({"description": "  "}, "description"),
        ({"description": "a\0b"}, "description"),
        ({"url": "https://{invoice}.example/x"}, "host can't be"),
        ({"url": "https://pay.example:{invoice}/x"}, None),
        ({"url": "{invoice}://pay.example/x"}, None),
        ({"url": "https://pay.example/{unknown}"}, "needs a required parameter"),
        ({"url": "https://pay.example/{cents}", "parameters": _taking(cents=TEXT)}, "required"),
        (
            {"url": "https://pay.example/{invoice}", "parameters": {"type": "object"}},
            "needs a required parameter",
        ),
        ({"url": "https://pay.example/{in voice}"}, None),
        ({"url": "https://pay.example/{invoice"}, "braces"),
        ({"url": "https://pay.example/x#{invoice}"}, "fragment"),
        ({"url": "https://pay.example/ü"}, "ASCII"),
        ({"url": "https://pay.example/a/../{invoice}"}, "leads elsewhere"),
        ({"url": "https://pay.example/a/%2e%2e/{invoice}"}, "leads elsewhere"),
        ({"url": "https://pay.example/x?cents=1"}, "holds already"),
        ({"headers": {"Idempotency-KEY": "mine"}}, "not yours"),
        ({"headers": {"Host": "elsewhere.example"}}, "not yours"),
        ({"headers": {"X-Key": "a\r\nHost: b"}}, "can't be sent"),
        ({"headers": {"X Key": "a"}}, "can't be sent"),
        ({"headers": {"X-Key": ""}}, "can't be sent"),
        ({"headers": {"X-Key": "a", "x-key": "b"}}, "twice"),
    ],
)
def test_a_definition_that_is_not_sound_is_refused(
    acme: Cast, now: Any, changes: dict[str, Any], reason: str | None
) -> None:
    with pytest.raises((ToolInvalid, AddressRefused), match=reason):
        toolbox.add(_but(**changes), by=acme.dave, now=now)
    assert not Tool.objects.exists()


def test_a_place_is_a_string_or_an_integer(acme: Cast, now: Any) -> None:
    for part in ({"type": "boolean"}, {"type": ["string", "null"]}, {}, True):
        parameters = {"type": "object", "properties": {"invoice": part}, "required": ["invoice"]}
        with pytest.raises(ToolInvalid, match="a string or an integer"):
            toolbox.add(_but(parameters=parameters), by=acme.dave, now=now)


@pytest.mark.parametrize(
    "parameters",
    [
        _taking(price={"type": "number"}),
        _taking(price={"type": ["number", "null"]}),
        _taking(prices={"type": "array", "items": {"type": "number"}}),
        _taking(cart={"type": "object", "properties": {"price": {"type": "number"}}}),
        _taking(cart={"type": "object", "properties": {"default": {"type": "number"}}}),
        _taking(cart={"type": "object", "additionalProperties": {"type": "number"}}),
        _taking(price={"anyOf": [TEXT, {"type": "number"}]}),
        {**_taking(price={"$ref": "#/$defs/price"}), "$defs": {"price": {"type": "number"}}},
    ],
)
def test_a_number_is_refused_however_deep_it_lies(
    acme: Cast, now: Any, parameters: dict[str, Any]
) -> None:
    with pytest.raises(ToolInvalid, match="can't be a number"):
        toolbox.add(_but(parameters=parameters), by=acme.dave, now=now)


def test_a_property_that_is_only_called_type_or_default_is_none(acme: Cast, now: Any) -> None:
    parameters = _taking(type=TEXT, default=TEXT, kind={"enum": [{"type": "number"}]})
    toolbox.add(_but(parameters=parameters), by=acme.dave, now=now)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"type": "string"}, "type"),
        ({"type": "objekt"}, "no JSON Schema"),
        (_taking(a={"type": "string", "pattern": "(["}), "missing"),
        (_taking(a={"type": "integer", "minimum": 0.5}), "float"),
        (_taking(a={"type": "string", "enum": ["\0"]}), "NUL"),
        (_taking(a={"$ref": "http://169.254.169.254/latest"}), "outside"),
        (_taking(a={"$ref": "file:///etc/passwd"}), "outside"),
        ({"type": "object", "allOf": [{"$ref": "#/$defs/nothing"}]}, "nowhere"),
        ({"type": "object", "allOf": [{"$ref": "#"}]}, "circle"),
    ],
)
def test_a_schema_that_is_not_sound_is_refused_and_never_fetched(
    acme: Cast, now: Any, parameters: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ToolInvalid, match=reason):
        toolbox.add(_but(parameters=parameters), by=acme.dave, now=now)


def test_only_a_get_may_be_called_a_read(acme: Cast, now: Any) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(ToolInvalid, match="effect is write"):
            toolbox.add(_but(method=method, effect="read"), by=acme.dave, now=now)
    toolbox.add(_but(method="GET", effect="read"), by=acme.dave, now=now)


@pytest.mark.parametrize("path", ["{invoice}", "{invoice}/{cents}", "{invoice}?x=1"])
def test_a_get_whose_whole_path_the_model_chooses_is_a_write(
    acme: Cast, now: Any, path: str
) -> None:
    url = f"https://pay.example/{path}"
    with pytest.raises(ToolInvalid, match="carries data out"):
        toolbox.add(_but(method="GET", effect="read", url=url), by=acme.dave, now=now)
    assert toolbox.add(_but(method="GET", effect="write", url=url), by=acme.dave, now=now)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest",
        "http://localhost/x",
        "http://0x7f.1/x",
        "ftp://pay.example/x",
        "https://user:word@pay.example/x",
        "https://pay.example\\@evil.example/",
        "//pay.example/x",
    ],
)
def test_an_address_that_is_private_or_none_at_all_is_refused_when_it_is_saved(
    acme: Cast, now: Any, settings: Any, url: str
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = False
    with pytest.raises(AddressRefused):
        toolbox.add(_but(url=url), by=acme.dave, now=now)


def test_a_tool_on_which_the_policies_rely_can_not_lose_that_argument(desk: Desk) -> None:
    allow_small_refunds(desk)
    tool = Tool.objects.get(slug="refund_order")
    less = {"type": "object", "properties": {"order_id": TEXT}, "required": ["order_id"]}
    with pytest.raises(PolicyInvalid):
        redefine(desk, "refund_order", parameters=less)
    with pytest.raises(toolbox.ToolInUse, match=r"line \d+ \(small-refunds-run-unattended\)"):
        toolbox.remove(tool, by=desk.cast.dave, now=desk.now)
    assert "amount_cents" in toolbox.schemas()["refund_order"]["properties"]


def test_a_tool_that_was_removed_and_added_again_is_not_granted(desk: Desk) -> None:
    toolbox.remove(Tool.objects.get(slug="refund_order"), by=desk.cast.dave, now=desk.now)
    assert "refund_order" not in toolbox.schemas()
    again = msgspec.structs.replace(REFUND, url=f"{desk.world.address}/refunds")
    toolbox.add(again, by=desk.cast.dave, now=desk.now)
    run = propose(desk, refund())
    assert outcomes(run)[1] == ("denied", "not_granted")
    assert run.state == RunState.COMPLETED


def test_of_two_who_add_one_slug_at_once_one_is_told(committed_acme: Cast, now: Any) -> None:
    barrier, results = threading.Barrier(2), []

    def add() -> None:
        try:
            with isolation.acting_for(committed_acme.tenant):
                barrier.wait()
                toolbox.add(PAY, by=committed_acme.dave, now=now)
                results.append("added")
        except ToolTaken:
            results.append("taken")
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["added", "taken"]
    assert policy_sets.active() is not None
