from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from countersign import queueing

MESSAGES = 200


@pytest.fixture
def broker(tmp_path: Path) -> Any:
    """An embedded queue in a folder of its own."""
    folder = str(tmp_path / "messages")
    Path(folder).mkdir()
    options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": str(tmp_path)}
    queueing.register()
    return lambda: Connection("embedded://localhost", transport_options=options)


def _write(broker: Any, first: int) -> None:
    with broker() as connection, connection.SimpleQueue("work") as queue:
        for number in range(first, first + MESSAGES):
            queue.put({"number": number, "padding": "x" * 5_000})


def _read(broker: Any, got: list[int], problems: list[Exception]) -> None:
    with broker() as connection, connection.SimpleQueue("work") as queue:
        while len(got) < 2 * MESSAGES and not problems:
            try:
                message = queue.get_nowait()
            except queue.Empty:
                continue
            except ValueError as problem:
                problems.append(problem)
            else:
                got.append(message.payload["number"])
                message.ack()


def test_a_reader_never_meets_half_a_message(broker: Any) -> None:
    """Two readers look without a pause while two writers write: nothing breaks, nothing is lost."""
    got: list[int] = []
    problems: list[Exception] = []
    with broker() as connection, connection.SimpleQueue("work"):
        pass  # the queue is there before anybody writes to it, as a worker's is
    reading = (broker, got, problems)
    threads = [
        *(threading.Thread(target=_read, args=reading, daemon=True) for _ in range(2)),
        *(threading.Thread(target=_write, args=(broker, first)) for first in (0, MESSAGES)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert sorted(got) == list(range(2 * MESSAGES))
