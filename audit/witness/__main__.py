"""The only command line of the witness: `python -m audit.witness`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from audit import note_keys
from audit.errors import Problem
from audit.note_keys import SigningKey
from audit.witness import keys
from audit.witness.server import Server
from audit.witness.state import State
from audit.witness.witnessing import Witness


def main(arguments: list[str] | None = None) -> int:
    """Make a key, or serve until SIGTERM or Ctrl-C; 0 if all went well, 1 if it can't."""
    options = _parser().parse_args(arguments)
    try:
        if options.new_key:
            name, path = options.new_key
            _show(keys.make(name, Path(path)))
        else:
            _serve(options)
    except (Problem, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit.witness",
        description="Cosign the checkpoints of logs that only ever grow.",
        epilog="@FILE reads arguments from a file, one a line.",
        fromfile_prefix_chars="@",
    )
    parser.add_argument("--new-key", nargs=2, metavar=("NAME", "FILE"), help="make a key, and end")
    parser.add_argument("--key", type=Path, help="the witness's key file (mode 0600)")
    parser.add_argument("--state", type=Path, help="the directory for what it has cosigned")
    parser.add_argument(
        "--log", action="append", default=[], metavar="VKEY", help="a key of a log; may be repeated"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8765, help="the port; 0 takes a free one")
    return parser


def _serve(options: argparse.Namespace) -> None:
    if not (options.key and options.state and options.log):
        _parser().error("--key, --state and --log are needed (or --new-key)")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    own = keys.load(options.key)
    logs = [note_keys.parse_key(text) for text in options.log]
    origins = sorted({key.name for key in logs})
    state = State(options.state, [key.verifier for key in own], origins)
    server = Server(options.host, options.port, Witness(own, logs, state, _seconds))
    _show(own)
    sys.stdout.write(f"Listening on http://{_address(server)}\n")
    sys.stdout.flush()
    _run(server)
    state.close()


def _run(server: Server) -> None:
    stop = threading.Event()

    def told(*_: Any) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    stop.wait()
    server.shutdown()
    serving.join()
    server.server_close()


def _show(own: list[SigningKey]) -> None:
    sys.stdout.write("".join(f"{key.verifier}\n" for key in own))


def _address(server: Server) -> str:
    host = f"[{server.server_name}]" if ":" in server.server_name else server.server_name
    return f"{host}:{server.server_port}"


def _seconds() -> int:
    return int(time.time())  # noqa: TID251  (a command: an edge, which reads the clock)


if __name__ == "__main__":
    sys.exit(main())
