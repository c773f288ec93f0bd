"""The only place behind `make serve`: everything, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from countersign.configuration import ROOT
from countersign.embedded import EmbeddedServerFailed
from countersign.installation import running
from countersign.processes import CannotRun


def say(sentence: str) -> None:
    """Print a sentence at once, also into a pipe."""
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def interrupt(*_: object) -> None:
    """Make SIGTERM end a run as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Serve until interrupted. The exit code is 1 where something on this machine is in the way."""
    signal.signal(signal.SIGTERM, interrupt)
    # http on loopback: cookies that only travel over https would never come back.
    os.environ.setdefault("SECURE_COOKIES", "false")
    state = Path(os.environ.get("COUNTERSIGN_STATE_DIRECTORY", ROOT / "var"))
    try:
        with running(state, port=int(os.environ.get("PORT", "8000")), say=say) as installation:
            say(f"Countersign is ready at {installation.address} (logs: {state / 'log'}).")
            say("Make a tenant: .venv/bin/python manage.py create_tenant acme you@example.com")
            say(
                f"Its console is then at http://acme.localhost:{installation.port}."
                " Ctrl-C stops everything."
            )
            installation.keep_running(say)
    except KeyboardInterrupt:
        say("Stopped.")
        return 0
    except (CannotRun, EmbeddedServerFailed) as problem:
        say(str(problem))
        return 1


if __name__ == "__main__":
    sys.exit(main())
