"""The only place where the demo makes acme's witness a key, names it, and starts and kills it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from audit import checkpoints, durable_files
from audit.checkpoints import Verified
from countersign.installation import Installation
from countersign.processes import ROOT, CannotRun
from demo.neighbours import Neighbour

PROGRAM = [sys.executable, "-m", "audit.witness"]
NAME = "witness.example/acme"
FIRST_PORT = 8765


class Witness:
    """A witness that acme would run elsewhere. Its key and what it remembers are kept; the process
    ends with the demo.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder / "witness"
        self._origin = origin
        self._command: list[str] = []
        self._process: Neighbour

    @property
    def keys_file(self) -> Path:
        """Its public keys, one a line."""
        return self._folder / "witness.vkey"

    def be_named(self, installation: Installation) -> None:
        """Have processes that start from now on ask it about acme's ledger. Raises CannotRun."""
        self._make_key()
        self._process = Neighbour(installation, "witness", first_port=FIRST_PORT)
        address = f"{self._process.address}#{self._origin}"
        own = [f"{key}@{address}" for key in self.keys_file.read_text().split()]
        others = installation.environment.get("COUNTERSIGN_WITNESSES", "").split()
        installation.environment["COUNTERSIGN_WITNESSES"] = " ".join([*own, *others])

    def start(self, ledger_keys: str) -> None:
        """Watch the ledger that signs with these keys, one a line. Raises CannotRun."""
        self._command = [*PROGRAM, "--key", str(self._key), "--state", str(self._folder / "state")]
        for key in ledger_keys.split():
            self._command += ["--log", key]
        self.come_back()

    def go_away(self) -> None:
        """SIGKILL: nobody cosigns any more."""
        self._process.kill()

    def come_back(self) -> None:
        """Go on, from what it had on the disk. Raises CannotRun."""
        self._process.start(self._command, is_up=self._is_up)

    def cosignatures(self, note: str) -> list[Verified]:
        """Those of the note's signatures that are this witness's, by each of its keys.

        Raises CheckpointMalformed, CheckpointNotSigned.
        """
        keys = checkpoints.parse_keys(self.keys_file.read_text())
        found = checkpoints.signed_by(note, keys)
        return found if len(found) == len(keys) else []

    @property
    def _key(self) -> Path:
        return self._folder / "witness.key"

    def _make_key(self) -> None:
        """Once; a key whose public part was not kept is one that nobody was told of."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.keys_file.exists():
            return
        self._key.unlink(missing_ok=True)
        command = [*PROGRAM, "--new-key", NAME, str(self._key)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"The witness's key can't be made:\n{done.stderr}")
        durable_files.replace(self.keys_file, done.stdout.encode())

    def _is_up(self) -> bool:
        """Whether it is this witness that answers."""
        return self.keys_file.read_text() in self._process.ask("GET", "/").decode()
