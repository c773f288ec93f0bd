"""The only place that starts real processes and a real browser for tests."""

from __future__ import annotations

import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError

import msgspec
import pytest
from cast import PASSWORD, Cast
from django.db import connection
from playwright.sync_api import Page, expect, sync_playwright

from countersign.processes import Processes, free_port
from tests.environment import ROOT, STATE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Stack(msgspec.Struct):
    """Countersign's processes on the tests' database and queue."""

    processes: Processes
    port: int

    def address(self, tenant: str) -> str:
        """The tenant's own address."""
        return f"http://{tenant}.localhost:{self.port}"

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = 40) -> None:
        """Look again and again; fail with the ends of the logs."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = [self.processes.last_lines(name) for name in ("worker", "web", "sequencer")]
                raise AssertionError("it did not happen\n" + "\n---\n".join(logs))
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether the web server is up. A process that ended instead fails the test."""
        ended = {name: code for name, code in self.processes.ended().items() if code}
        assert not ended, [self.processes.last_lines(name) for name in ended]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2):
                return True
        except (URLError, ConnectionError, TimeoutError):
            return False


def _environment(port: int) -> dict[str, str]:
    settings = connection.settings_dict
    url = f"postgresql://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}"
    return {
        **os.environ,
        "DATABASE_URL": url,
        "DATABASE_POOL_SIZE": "4",
        "COUNTERSIGN_ALLOW_PRIVATE_ADDRESSES": "true",
        "COUNTERSIGN_SWEEP_SECONDS": "1",
        "COUNTERSIGN_LEASE_SECONDS": "2",
        "PORT": str(port),
    }


@pytest.fixture(scope="package")
def stack(casts: dict[str, Cast]) -> Iterator[Stack]:
    """Real processes on the committed tenants and the tests' own queue.

    They end with this folder's tests: a living worker would take the runs of other tests.
    """
    port = free_port(20_000 + os.getpid() % 20_000)  # apart from what other tests start
    made = Stack(Processes(STATE, _environment(port)), port)
    python, start = sys.executable, made.processes.start
    celery = [python, "-m", "celery", "-A", "countersign.celery"]
    uvicorn = [python, "-m", "uvicorn", "countersign.asgi:application", "--port", str(port)]
    try:
        start("sequencer", [python, "manage.py", "run_sequencer"])
        alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        queues = ["--queues", "celery,documents", "--concurrency", "2"]
        start("worker", [*celery, "worker", *alone, *queues, "--loglevel", "INFO"])
        start("beat", [*celery, "beat", "--schedule", str(STATE / "beat"), "--pidfile="])
        start("collectstatic", [python, "manage.py", "collectstatic", "--noinput"])
        start("web", [*uvicorn, "--timeout-graceful-shutdown", "1"])
        made.wait_until(made.answers)
        yield made
    finally:
        made.processes.stop()


@pytest.fixture
def console_errors() -> list[str]:
    """What the browser's console says is wrong; a test that expects some takes them out."""
    return []


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, console_errors: list[str]) -> Iterator[Page]:
    """A page of the system's Chromium; an error on its console fails the test.

    Ask for it after the fixtures that write: Playwright keeps an event loop in this thread.
    Without a Chromium the test is skipped; in CI that is a failure.
    """
    if CHROMIUM is None:
        reason = "no Chromium is installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        made = context.new_page()
        errors = console_errors
        made.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        made.on("pageerror", lambda error: errors.append(str(error)))
        yield made
        browser.close()
    assert errors == []


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots go: into the documents with `make pictures`, else to be looked at."""
    folder = ROOT / "docs" / "pictures" if os.environ.get("PICTURES") else STATE / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sign_in(page: Page, stack: Stack, person: str) -> None:
    """Go to acme's console as `person`."""
    page.goto(stack.address("acme"))
    page.get_by_label("E-mail address").fill(f"{person}@acme.test")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
