from __future__ import annotations

import json
from typing import Any

import pytest
from builders import Desk
from workbench import (
    LOOKING,
    SMALL,
    Listening,
    answering,
    equip,
    error_told,
    hanging,
    kinds,
    outcomes,
    propose,
    publish,
    redefine,
    refund,
    told,
)
from world import calls, says

from audit.ids import new_id
from audit.queries import entries
from gateway import portal
from governance import permits
from governance.intents import UseTool
from governance.permits import Permit
from runtime import runs, toolbox, tools
from runtime.models import Run, RunState, Step, Tool
from runtime.queries import steps_of
from runtime.toolbox import Definition
from tenants.outgoing import AddressRefused

TEXT = {"type": "string"}


@pytest.fixture
def till(desk: Desk, till_open: None) -> Desk:
    """A desk whose small refunds need nobody, with tools that are waited for for a second."""
    return desk


def _listen(desk: Desk, *replies: Any) -> Listening:
    desk.world.tool_reply = Listening(*replies)
    return desk.world.tool_reply


@pytest.mark.soak
def test_a_reading_tool_that_times_out_is_tried_three_times_and_then_the_model_is_told(
    till: Desk,
) -> None:
    heard = _listen(till, hanging)
    run = propose(till, LOOKING)
    assert len(heard.targets) == 3
    assert outcomes(run)[1] == ("failed", "tool_timeout")
    assert list(steps_of(run))[1].usage["attempts"] == ["look_up_order: tool_timeout"] * 3
    assert error_told(till)["code"] == "tool_timeout"
    assert run.state == RunState.COMPLETED


def test_a_reading_tool_that_comes_back_is_used(till: Desk) -> None:
    heard = _listen(till, answering({}, 500), None)
    run = propose(till, LOOKING)
    assert len(heard.targets) == 2
    assert outcomes(run)[1] == ("ended", None)
    assert list(steps_of(run))[1].usage["attempts"] == [
        "look_up_order: effect_uncertain",
        "look_up_order: answered",
    ]
    assert told(till) == [{"order_id": "1042", "status": "delivered", "total_cents": 12_900}]


def test_a_repeatable_write_that_times_out_is_tried_again_under_the_same_key(till: Desk) -> None:
    heard = _listen(till, hanging, None)
    run = propose(till, refund())
    assert outcomes(run)[1] == ("ended", None)
    assert heard.keys == [f"{run.pk}-2"] * 2
    assert till.world.refunds == [{"order_id": "1042", "amount_cents": SMALL}]


@pytest.mark.soak
def test_a_repeatable_write_that_never_answers_ends_unknown_and_the_run_with_it(
    till: Desk,
) -> None:
    heard = _listen(till, hanging)
    run = propose(till, refund(), then="never said")
    assert heard.keys == [f"{run.pk}-2"] * 3
    assert outcomes(run) == [("ended", None), ("unknown", "effect_uncertain")]
    assert (run.state, run.failure["code"]) == (RunState.FAILED, "effect_uncertain")
    assert kinds(run)[-2:] == ["effect.unknown", "run.failed"]
    till.work(run)
    assert len(heard.keys) == 3, "nothing is repeated"


def test_a_write_that_is_not_repeatable_is_tried_once(till: Desk) -> None:
    redefine(till, "refund_order", repeatable=False, timeout_seconds=1)
    heard = _listen(till, hanging, None)
    run = propose(till, refund())
    assert len(heard.keys) == 1
    assert run.failure["code"] == "effect_uncertain"


def _take_two_steps(desk: Desk, run: Run) -> Run:
    """The proposal, and half a second before the run's time is over what it proposes."""
    runs.take_step(run.pk, holder="worker", now=desk.now)
    runs.take_step(run.pk, holder="worker", now=desk.later(seconds=59, milliseconds=500))
    return run


def test_a_reading_tool_is_cut_off_when_the_runs_time_is_over(till: Desk) -> None:
    redefine(till, "look_up_order", timeout_seconds=20)
    publish(till, limits_={"seconds": 60})
    _listen(till, hanging)
    run = _take_two_steps(till, till.ask("?", calls(LOOKING), says("never said")))
    assert outcomes(run)[1] == ("failed", "limit_reached")
    assert not runs.take_step(run.pk, holder="worker", now=till.later(seconds=60))
    run.refresh_from_db()
    assert run.failure["code"] == "limit_reached"


def test_of_a_write_that_is_cut_off_so_nobody_knows(till: Desk) -> None:
    redefine(till, "refund_order", timeout_seconds=20)
    publish(till, limits_={"seconds": 60})
    heard = _listen(till, hanging)
    run = _take_two_steps(till, till.ask("?", calls(refund()), says("never said")))
    assert len(heard.keys) == 1
    assert outcomes(run)[1] == ("unknown", "effect_uncertain")
    till.work(run)
    assert run.failure["code"] == "effect_uncertain"
    assert "time was over" in run.failure["message"]


@pytest.mark.parametrize(
    "later",
    [answering({"message": "the key is in use"}, 409), answering(b"<html>", 404)],
    ids=["conflict", "gone"],
)
def test_a_refusal_after_a_try_of_which_nobody_can_tell_proves_nothing(
    till: Desk, later: Any
) -> None:
    _listen(till, answering({}, 502), later)
    run = propose(till, refund())
    assert outcomes(run)[1] == ("unknown", "effect_uncertain")


UNUSABLE = [
    answering(b"x" * 5_000_000),
    answering(b"<html>hello</html>"),
    answering(b'{"a": "\xff"}'),
    answering(b"[" * 100_000 + b"]" * 100_000),
    answering(b"[" * 900 + b"]" * 900),
    answering(b'{"a": 1e999}'),
    answering(b"\x1f\x8b", **{"Content-Encoding": "gzip"}),
]


def test_what_a_tool_may_not_answer_is_a_failed_read(till: Desk) -> None:
    heard = _listen(till, *UNUSABLE)
    run = propose(till, *[LOOKING] * len(UNUSABLE))
    assert run.state == RunState.COMPLETED
    assert outcomes(run)[1:-1] == [("failed", "tool_answer_unusable")] * len(UNUSABLE)
    codes = [each["error"]["code"] for each in told(till)]
    assert codes == ["tool_answer_unusable"] * len(UNUSABLE)
    assert len(heard.targets) == len(UNUSABLE)


def test_what_a_tool_may_not_answer_is_an_unknown_write(till: Desk) -> None:
    for reply in UNUSABLE:
        heard = _listen(till, reply)
        assert outcomes(propose(till, refund()))[1] == ("unknown", "effect_uncertain")
        assert len(heard.targets) == 3


@pytest.mark.parametrize("slug", ["look_up_order", "refund_order"])
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_not_followed_and_the_model_is_told_that_nothing_was_done(
    till: Desk, status: int, slug: str
) -> None:
    heard = _listen(till, answering(b"" if status == 304 else {}, status, Location="/elsewhere"))
    run = propose(till, LOOKING if slug == "look_up_order" else refund(), then="It was not done.")
    assert outcomes(run)[1] == ("failed", "tool_failed")
    assert (run.state, run.answer["text"]) == (RunState.COMPLETED, "It was not done.")
    assert "answered" in error_told(till)["message"]
    assert "127.0.0.1" not in error_told(till)["message"]
    assert len(heard.targets) == 1
    assert "elsewhere" not in heard.targets[0]


def test_a_redirect_after_a_try_of_which_nobody_can_tell_proves_nothing(till: Desk) -> None:
    _listen(till, answering({}, 502), answering({}, 302, Location="/elsewhere"))
    assert outcomes(propose(till, refund()))[1] == ("unknown", "effect_uncertain")


def test_a_refusal_that_can_not_be_read_is_a_refusal_and_a_breakdown_is_none(till: Desk) -> None:
    packed = {"Content-Encoding": "gzip"}
    for status, outcome in (
        (404, ("failed", "tool_answer_unusable")),
        (500, ("unknown", "effect_uncertain")),
    ):
        _listen(till, answering(b"\x1f\x8b", status, **packed))
        assert outcomes(propose(till, refund()))[1] == outcome


def test_a_reading_tool_that_answers_500_is_tried_three_times_and_failed(till: Desk) -> None:
    heard = _listen(till, answering({"message": "down"}, 500))
    run = propose(till, LOOKING)
    assert len(heard.targets) == 3
    assert (run.state, outcomes(run)[1]) == (RunState.COMPLETED, ("failed", "tool_failed"))


@pytest.mark.parametrize("body", [b"", b"[1, 2]", b'"fine"', b"null"])
def test_an_answer_that_is_no_object_is_shown_as_one(till: Desk, body: bytes) -> None:
    _listen(till, answering(body))
    propose(till, LOOKING)
    assert told(till)[-1] == ({"value": json.loads(body)} if body else {})


def test_an_answer_with_odd_numbers_and_characters_is_kept(till: Desk) -> None:
    big = 10**30
    body = f'{{"n": {big}, "price": 12.50, "text": "a\\u0000b", "half": 1e22}}'.encode()
    _listen(till, answering(body))
    run = propose(till, LOOKING)
    assert run.state == RunState.COMPLETED
    assert told(till) == [{"n": big, "price": 12.5, "text": "a\ufffdb", "half": 1e22}]


def test_what_a_tool_refuses_the_model_is_told_in_the_tools_words(till: Desk) -> None:
    _listen(till, answering({"message": "the order was refunded already"}, 422))
    run = propose(till, refund())
    assert outcomes(run)[1] == ("failed", "tool_failed")
    assert "422: the order was refunded already" in error_told(till)["message"]
    assert kinds(run).count("effect.failed") == 1


def test_a_tool_that_is_not_there_did_nothing(till: Desk) -> None:
    redefine(till, "refund_order", url="http://127.0.0.1:1/refunds")
    run = propose(till, refund())
    assert outcomes(run)[1] == ("failed", "tool_failed")
    assert "can't be reached" in error_told(till)["message"]


def _use(slug: str, arguments: dict[str, Any], permit: Permit | None = None) -> dict[str, Any]:
    intent = UseTool(
        tenant="acme",
        principal_kind="agent",
        principal="refund-desk",
        resource=slug,
        arguments=arguments,
    )
    permit = permit or permits.mint(intent, new_id())
    spec = toolbox.spec_of(Tool.objects.get(slug=slug))
    used = portal.call(tools.use, spec, permit=permit, intent=intent, idempotency_key="k")
    return used.value


def test_a_private_address_is_not_called_once_the_operator_does_not_allow_it(
    till: Desk, settings: Any
) -> None:
    heard = _listen(till)
    assert _use(*LOOKING)["order_id"] == "1042"
    settings.ALLOW_PRIVATE_ADDRESSES = False
    with pytest.raises(AddressRefused, match="not on the public internet"):
        _use(*LOOKING)
    assert len(heard.targets) == 1


def test_a_tool_whose_address_is_refused_when_it_is_called_says_so(
    till: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise AddressRefused(address="inside", reason="it is not on the public internet")

    monkeypatch.setattr(tools.outgoing, "session", refuse)
    run = propose(till, refund())
    assert outcomes(run)[1] == ("failed", "address_refused")
    assert "effect.failed" in kinds(run)


def test_a_permit_opens_the_door_once_and_for_its_own_arguments(till: Desk) -> None:
    heard = _listen(till)
    slug, arguments = refund(SMALL)
    intent = UseTool(
        tenant="acme",
        principal_kind="agent",
        principal="refund-desk",
        resource=slug,
        arguments=arguments,
    )
    permit = permits.mint(intent, new_id())
    with pytest.raises(permits.PermitMismatch):
        _use(slug, {**arguments, "amount_cents": SMALL + 1}, permit)
    _use(slug, arguments, permit)
    with pytest.raises(permits.PermitSpent):
        _use(slug, arguments, permit)
    assert len(heard.targets) == 1


def test_secret_headers_are_sealed_and_sent_and_shown_nowhere(till: Desk) -> None:
    secret = "Bearer sk-very-secret-indeed"
    tool = redefine(till, "refund_order", headers={"Authorization": secret, "X-Team": "refunds"})
    heard = _listen(till, answering({"error": {"message": f"bad key: {secret}"}}, 401))
    run = propose(till, refund())
    assert heard.headers[0]["authorization"] == secret
    assert b"secret" not in bytes(tool.headers)
    assert "secret" not in error_told(till)["message"]
    steps = json.dumps(list(Step.objects.filter(run=run).values()), default=str)
    ledger = " ".join(str(entry.event) for entry in entries())
    rows = json.dumps(list(Run.objects.filter(pk=run.pk).values()), default=str)
    for shown in (steps, ledger, rows, repr(toolbox.spec_of(tool))):
        assert "very-secret" not in shown


def _files(desk: Desk, **parts: Any) -> Definition:
    definition = {
        "slug": "get_file",
        "description": "Get a file of a customer.",
        "method": "GET",
        "url": f"{desk.world.address}/files/{{customer}}/{{name}}?kind={{kind}}&fixed=1",
        "parameters": {
            "type": "object",
            "properties": {
                "customer": TEXT,
                "name": TEXT,
                "kind": TEXT,
                "limit": {"type": "integer"},
                "deep": {"type": "boolean"},
            },
            "required": ["customer", "name", "kind"],
            "additionalProperties": False,
        },
        "effect": "read",
    }
    return Definition(**{**definition, **parts})


PLACES = [
    ({"customer": "7", "name": "a b"}, "/files/7/a%20b?kind=x&fixed=1"),
    ({"customer": "7", "name": "a/b"}, "/files/7/a%2Fb?kind=x&fixed=1"),
    ({"customer": "7", "name": "a?x=1#y"}, "/files/7/a%3Fx%3D1%23y?kind=x&fixed=1"),
    ({"customer": "{name}", "name": "ü"}, "/files/%7Bname%7D/%C3%BC?kind=x&fixed=1"),
    ({"customer": "7", "name": "@evil.example"}, "/files/7/%40evil.example?kind=x&fixed=1"),
    (
        {"customer": "7", "name": "b", "kind": "x&fixed=2#", "limit": 3, "deep": True},
        "/files/7/b?kind=x%26fixed%3D2%23&fixed=1&limit=3&deep=true",
    ),
    ({"customer": "7", "name": "b", "kind": ""}, "/files/7/b?kind=&fixed=1"),
    ({"customer": "7", "name": "v1..2"}, "/files/7/v1..2?kind=x&fixed=1"),
]


def test_a_place_in_the_url_is_filled_with_one_encoded_value(till: Desk) -> None:
    equip(till, _files(till))
    heard = _listen(till, answering({}))
    run = propose(till, *[("get_file", {"kind": "x", **given}) for given, _ in PLACES])
    assert outcomes(run)[1:-1] == [("ended", None)] * len(PLACES)
    assert heard.targets == [f"GET {target}" for _, target in PLACES]


CLIMBING = ["", ".", "..", "../../admin?x=", "..\\x", "%2e%2e", "%252e%252e/x", "a/../b", "..;x"]


def test_a_value_that_would_lead_to_another_address_is_refused_and_nothing_is_sent(
    till: Desk,
) -> None:
    equip(till, _files(till))
    heard = _listen(till, answering({}))
    climbing = [{"customer": "7", "name": name, "kind": "x"} for name in CLIMBING]
    run = propose(till, *[("get_file", given) for given in climbing])
    assert outcomes(run)[1:-1] == [("failed", "argument_refused")] * len(CLIMBING)
    assert heard.targets == []


def test_two_values_can_not_make_such_a_segment_together(till: Desk) -> None:
    equip(till, _files(till, url=f"{till.world.address}/files/{{customer}}{{name}}/{{kind}}"))
    heard = _listen(till, answering({}))
    together = [(".", ".", "x"), ("%2", "e%2e", "x"), ("a", "b", "x" * 9_000)]
    given = [dict(zip(("customer", "name", "kind"), each, strict=True)) for each in together]
    run = propose(till, *[("get_file", each) for each in given])
    assert outcomes(run)[1:-1] == [("failed", "argument_refused")] * 3
    assert heard.targets == []


def test_a_delete_carries_its_other_arguments_in_the_query_and_a_put_in_its_body(
    till: Desk,
) -> None:
    url = f"{till.world.address}/files/{{customer}}/{{name}}"
    equip(till, _files(till, method="DELETE", url=url, effect="irreversible"))
    tool = redefine(till, "get_file")
    heard = _listen(till, answering({}))
    arguments = {"customer": "7", "name": "b", "kind": "x y&z"}
    address, body = tools._request(toolbox.spec_of(tool), arguments)
    assert (address.raw_path_qs, body) == ("/files/7/b?kind=x+y%26z", None)
    tool = redefine(till, "get_file", method="PUT")
    address, body = tools._request(toolbox.spec_of(tool), arguments)
    assert (address.raw_path_qs, body) == ("/files/7/b", {"kind": "x y&z"})
    assert heard.targets == []
