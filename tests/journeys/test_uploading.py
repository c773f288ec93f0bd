"""An upload in a real browser that the server does not take: the page and its form stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import furnish
from cast import Cast
from django.conf import settings
from journeys.conftest import Stack, sign_in
from playwright.sync_api import Page, expect
from world import World


@pytest.fixture
def handbook(committed_acme: Cast, world: World, stack: Stack) -> str:
    """The address of a collection of acme."""
    furnish(committed_acme, world, datetime.now(UTC))
    return f"{stack.address('acme')}/collections/handbook/"


@pytest.fixture
def upload(page: Page, tmp_path: Path) -> Callable[[str, bytes], None]:
    """Chooses a file in the form, and sends it."""

    def act(name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        page.get_by_label("Files").set_input_files(tmp_path / name)
        page.get_by_role("button", name="Upload").click()

    return act


@pytest.mark.browser
def test_an_upload_that_is_refused_says_why_and_keeps_the_form(
    handbook: str,
    stack: Stack,
    page: Page,
    upload: Callable[[str, bytes], None],
    console_errors: list[str],
) -> None:
    sign_in(page, stack, "alice")
    page.goto(handbook)
    refused = page.locator("[data-refused]")
    upload("large.txt", b"a" * (settings.MAX_BODY_BYTES + 1))
    expect(refused).to_contain_text("larger than")
    page.route("**/upload", lambda route: route.abort())
    upload("lost.txt", b"The connection breaks.")
    expect(refused).to_contain_text("The connection broke")
    page.unroute("**/upload")
    page.route("**/upload", lambda route: route.fulfill(status=502, body="Bad Gateway"))
    upload("proxy.txt", b"A proxy answers.")
    expect(refused).to_contain_text("The answer (502) is no page of the console")
    page.unroute("**/upload")
    page.context.clear_cookies(name="sessionid")
    upload("signed-out.txt", b"The session ended.")
    expect(refused).to_contain_text("The answer (200) is no page of the console")
    sign_in(page, stack, "alice")
    page.goto(handbook)
    expect(refused).to_be_hidden()
    upload("small.txt", b"A kettle may be returned within thirty days.")
    expect(page.get_by_text("Uploaded. A document can be searched")).to_be_visible()
    assert all("Failed to load resource" in each for each in console_errors), console_errors
    console_errors.clear()
