"""The only place for the embedded queue: kombu's filesystem transport, with messages put whole.

kombu opens a message's file and then writes it, so a reader may take it while it is empty: the
message is lost, and the worker ends. Here it is written aside, and renamed when it is complete.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.encoding import str_to_bytes
from kombu.utils.json import dumps

SCHEME = "embedded"


class Channel(filesystem.Channel):
    """A channel whose messages appear in one step."""

    def _put(self, queue: str, payload: dict[str, Any], **_: Any) -> None:  # type: ignore[override]
        # Readers take what ends in `<queue>.msg`, the oldest first.
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        whole = Path(self.data_folder_out) / name
        unfinished = whole.with_name(f"{name}.unfinished")
        unfinished.write_bytes(str_to_bytes(dumps(payload)))
        unfinished.rename(whole)


class Transport(filesystem.Transport):
    """The filesystem transport over such channels."""

    Channel = Channel


def register() -> None:
    """Make `embedded://` a broker that Celery knows."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
