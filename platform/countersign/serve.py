"""The only place behind `make serve`: everything, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

from countersign import configuration
from countersign.configuration import Configuration
from countersign.embedded import EmbeddedServerFailed
from countersign.installation import running
from countersign.processes import INTERRUPTIONS, CannotRun
from countersign.supervision import supervised


def say(sentence: str) -> None:
    """Print a sentence at once, also into a pipe."""
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def interrupt(*_: object) -> None:
    """Make every signal end a run as Ctrl-C does, which a shell's background job would ignore."""
    raise KeyboardInterrupt


def wait() -> NoReturn:
    """Wait for an interruption."""
    while True:
        time.sleep(1)


def main() -> int:
    """Serve until interrupted. The exit code is 1 where something on this machine is in the way."""
    for number in INTERRUPTIONS:
        signal.signal(number, interrupt)
    # http on loopback: cookies that only travel over https would never come back.
    os.environ.setdefault("HTTPS", "false")
    try:
        _serve(configuration.read())
    except KeyboardInterrupt:
        say("Stopped.")
        return 0
    except (CannotRun, EmbeddedServerFailed, ImproperlyConfigured, OSError) as problem:
        say(str(problem))
    return 1


def _serve(wanted: Configuration) -> NoReturn:
    with running(wanted, say=say) as installation, supervised(installation, say):
        logs = installation.state / "log"
        say(f"Countersign is ready at {installation.address} (logs: {logs}).")
        say("Make a tenant: .venv/bin/python manage.py create_tenant acme you@example.com")
        say(
            f"Its console is then at http://acme.localhost:{installation.port}."
            " Ctrl-C stops everything."
        )
        wait()


if __name__ == "__main__":
    sys.exit(main())
