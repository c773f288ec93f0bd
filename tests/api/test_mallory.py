"""Another tenant's rows look like rows that don't exist; a key opens its own tenant alone."""

from __future__ import annotations

from typing import Any

from callers import Caller, Estate
from cast import Cast
from django.urls import reverse
from mallory import DETAILS, LISTS, MISSING_ID, MISSING_KEY, MISSING_SLUG, SLUGS, places
from own_halts import halt

ATTEMPTS = [(name, method) for name, methods in DETAILS.items() for method in methods]


def _ids(estate: Estate) -> dict[str, str]:
    run = str(estate.run.pk)
    return {
        "member": estate.desk.cast.bob.id,
        "key": estate.key,
        "run": run,
        "run-steps": run,
        "run-events": run,
        "run-cancel": run,
        "approval": estate.approval,
        "votes": estate.approval,
        "document": estate.document,
        "erasure": estate.erasure,
        "erasure-approval": estate.erasure,
        "erasure-rejection": estate.erasure,
        "hold": estate.hold,
        "hold-release": estate.hold,
        "entry": estate.entry,
        "proof": estate.entry,
        "halt-approvals": str(halt()),  # made here: a halted ledger can not be sealed
        "ledger-export": estate.export,
        "ledger-export-bundle": estate.export,
    }


def _try(caller: Caller, name: str, method: str, where: tuple[Any, ...]) -> Any:
    path = reverse(f"api:{name}", args=where)
    body = DETAILS[name][method]
    if body == "form":
        return caller.upload(path, {"file": ""})
    return caller.send(method, path, body)


def _named(name: str) -> tuple[str, ...]:
    """What else an address of this name has in it."""
    return (
        places(name, {})[0] + places(name, {})[1] if name == "log-tile" else (SLUGS.get(name, "-"),)
    )


def _blurred(answer: Any, ids: dict[str, str], name: str) -> Any:
    """The answer without the name that was asked for."""
    text = answer.content.decode()
    for known in (*ids.values(), *_named(name), MISSING_ID, MISSING_KEY, MISSING_SLUG):
        text = (
            text.replace(f"{known} ", "X ").replace(f'"{known}"', '"X"').replace(f"{known}.", "X.")
        )
    return text


def test_mallory_finds_the_same_404_for_acmes_rows_as_for_ones_that_do_not_exist(
    estate: Estate, mallory: Caller
) -> None:
    ids = _ids(estate)
    for name, method in ATTEMPTS:
        theirs, missing = places(name, ids)
        answer = _try(mallory, name, method, theirs)
        nothing = _try(mallory, name, method, missing)
        tried = f"{method} {name}: {answer.content.decode()}"
        assert (answer.status_code, nothing.status_code) == (404, 404), tried
        assert answer["Content-Type"] == "application/problem+json", tried
        assert _blurred(answer, ids, name) == _blurred(nothing, ids, name), tried


def test_nothing_of_acme_is_in_mallorys_lists(estate: Estate, mallory: Caller) -> None:
    secret = (*_ids(estate).values(), "acme", "scripted", "handbook", "look_up_order")
    for name, body in LISTS.items():
        answer = mallory.get(reverse(f"api:{name}"))
        if answer.status_code == 405:
            answer = mallory.post(reverse(f"api:{name}"), body)
        text = answer.content.decode()
        assert not [word for word in secret if word in text], f"{name}: {text}"


def test_mallory_cannot_name_acmes_rows_in_what_she_creates(
    estate: Estate, mallory: Caller
) -> None:
    for name in ("endpoints", "routes", "policy-check"):
        assert mallory.post(reverse(f"api:{name}"), LISTS[name]).status_code == 404, name


def _everywhere() -> list[str]:
    """An address of every endpoint; whether the row is there is not looked at without a key."""
    ids = dict.fromkeys(DETAILS, MISSING_ID) | {"key": MISSING_KEY}
    rows = [reverse(f"api:{name}", args=places(name, ids)[0]) for name in DETAILS]
    return [*rows, *(reverse(f"api:{name}") for name in LISTS)]


def test_acmes_key_opens_nothing_on_globexs_host(globex: Cast, robo: Caller) -> None:
    stranger = Caller(robo.key, "globex.localhost")
    for path in _everywhere():
        answer = stranger.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "key_refused"), path
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_nobody_gets_in_without_a_key(acme: Cast) -> None:
    for path in _everywhere():
        answer = Caller(None, "acme.localhost").get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_needed"), path


def test_another_app_of_the_same_tenant_sees_none_of_robos_work(
    estate: Estate, other_app: Caller
) -> None:
    ids = _ids(estate)
    for name in ("run", "run-steps", "run-events", "approval", "entry", "proof"):
        theirs, missing = places(name, ids)
        answer = _try(other_app, name, "GET", theirs)
        nothing = _try(other_app, name, "GET", missing)
        assert (answer.status_code, nothing.status_code) == (404, 404), name
        assert _blurred(answer, ids, name) == _blurred(nothing, ids, name), name


def test_another_app_cannot_cancel_robos_run(estate: Estate, other_app: Caller) -> None:
    assert other_app.post(f"runs/{estate.run.pk}/cancel").status_code == 404


def test_on_the_base_host_the_key_says_which_tenant_is_meant(robo: Caller, mallory: Caller) -> None:
    for caller, tenant in ((robo, "acme"), (mallory, "globex")):
        answer = Caller(caller.key, "localhost").get("me")
        assert answer.json()["tenant"] == tenant


def test_a_mangled_an_unknown_and_a_revoked_key_are_refused_alike(
    acme: Any, robo: Caller, alice: Caller
) -> None:
    assert robo.key is not None
    unknown = Caller(robo.key[:-4] + "0000", robo.host).get("me")
    mangled = Caller("not-a-key", robo.host).get("me")
    tenantless = Caller(robo.key.replace("cs_acme", "cs_nobody"), "localhost").get("me")
    alice.delete(f"keys/{acme.robo.id}")
    revoked = robo.get("me")
    answers = [unknown, mangled, tenantless, revoked]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
