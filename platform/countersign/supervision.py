"""The only place that watches a running installation, and starts again what died."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import psutil

from countersign import embedded
from countersign.embedded import EmbeddedServerFailed
from countersign.installation import Installation
from countersign.processes import CannotRun, uninterrupted

LOOK_SECONDS = 0.5
Say = Callable[[str], None]


@contextlib.contextmanager
def supervised(installation: Installation, say: Say) -> Iterator[None]:
    """Start again whatever dies while the block runs, and say so.

    Where that is not possible the main thread, which runs the block and takes SIGTERM for Ctrl-C,
    is interrupted. Raises CannotRun, EmbeddedServerFailed.
    """
    watch = Watch(installation, say)
    watch.start()
    try:
        yield
    except KeyboardInterrupt:
        if watch.failure:
            raise watch.failure from None
        raise
    finally:
        with uninterrupted():
            watch.end()


class Watch(threading.Thread):
    """Looks at PostgreSQL and at every process twice a second.

    A thread, so that the main one may play a story or wait; only processes that died by themselves
    are its business, and none that somebody stops or kills through `Processes`.
    """

    def __init__(self, installation: Installation, say: Say) -> None:
        super().__init__(name="watch", daemon=True)
        self.failure: CannotRun | EmbeddedServerFailed | None = None
        self._installation = installation
        self._say = say
        self._over = threading.Event()

    def run(self) -> None:
        """Look until the end; on what can't be mended, interrupt the main thread."""
        try:
            while not self._over.wait(LOOK_SECONDS):
                self._look()
        except (CannotRun, EmbeddedServerFailed) as problem:
            self._give_up(problem)
        except (OSError, psutil.Error) as problem:
            self._give_up(CannotRun(f"A process died and can't be started again: {problem}"))

    def end(self) -> None:
        """Look no more; what is being started at this moment is up afterwards."""
        self._over.set()
        self.join()

    def _look(self) -> None:
        # First the database, without which nothing else would start.
        data = self._installation.postgres
        if data and not embedded.is_running(data):
            self._say(f"PostgreSQL died; starting it again (log: {data / 'log'}).")
            embedded.start_again(data)
            self._say("PostgreSQL is up again, with all that was committed.")
        processes = self._installation.processes
        for name, code in processes.revive().items():
            log = processes.log_of(name)
            self._say(f"The {name} ended with code {code}; it is started again (log: {log}).")

    def _give_up(self, problem: CannotRun | EmbeddedServerFailed) -> None:
        self.failure = problem
        if not self._over.is_set():
            # SIGINT is ignored where a shell started the program in the background.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
