"""docs/how-to/verify-a-bundle.md: its commands, run as they stand on a bundle that we exported."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from exporting import real_bundle
from judges import golang
from own_logs import OwnLog

from audit import archives, queries

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "verify-a-bundle.md"
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODULE = "golang.org/x/mod"
SECONDS = 400
# What the server would answer lies in a folder: no command on the page needs another one.
CURL = """#!/bin/sh
target=/dev/stdout
while [ $# -gt 1 ]; do
    case "$1" in -o) target=$2; shift;; -H) [ "$2" = "Authorization: Bearer cs_acme_1_s" ] || exit 9; shift;; esac
    shift
done
cat "$SERVED/${1#https://acme.test/api/v1/}" > "$target"
"""  # noqa: E501


@pytest.fixture
def served(own_log: OwnLog, tmp_path: Path) -> Path:
    """The answers of the API, by their addresses."""
    folder = tmp_path / "served" / "ledger"
    folder.mkdir(parents=True)
    real_bundle(tmp_path / "bundle")
    with (folder / "export").open("wb") as file:
        archives.pack(tmp_path / "bundle", file)
    key = {"verifier_key": queries.latest_checkpoint().verifier_key}
    (folder / "checkpoint").write_text(json.dumps(key))
    return folder.parent


def _programs(folder: Path) -> Path:
    """Python and curl as the page names them."""
    folder.mkdir()
    programs = {"python3": f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', "curl": CURL}
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def _module_proxy(folder: Path, toolchain: Path) -> Path:
    """A Go module proxy that has the one module which the page gets, as the toolchain ships it."""
    place = folder / MODULE / "@v"
    place.mkdir(parents=True)
    manifest = f"module {MODULE}\n\ngo 1.24\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{MODULE}@v0.1.0/go.mod", manifest)
        for package in golang.PACKAGES:
            for source in sorted((toolchain / golang.THEIRS / package).glob("*.go")):
                name = f"{MODULE}@v0.1.0/sumdb/{package}/{source.name}"
                archive.writestr(name, source.read_bytes())
    (place / "list").write_text("v0.1.0\n")
    (place / "v0.1.0.info").write_text('{"Version":"v0.1.0","Time":"2026-01-01T00:00:00Z"}')
    (place / "v0.1.0.mod").write_text(manifest)
    (place / "v0.1.0.zip").write_bytes(packed.getvalue())
    return folder


def test_the_page_takes_a_stranger_from_a_bundle_to_a_verdict(served: Path, tmp_path: Path) -> None:
    toolchain = golang.toolchain()
    proxy = _module_proxy(tmp_path / "proxy", toolchain)
    programs = _programs(tmp_path / "programs")
    golang.built(toolchain)  # compiles what the page's program needs as well, once for both
    environment = {
        "PATH": f"{programs}:{toolchain / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "API": "https://acme.test/api/v1",
        "TOKEN": "cs_acme_1_s",
        "SERVED": str(served),
        "COUNTERSIGN": str(ROOT),
        "GOROOT": str(toolchain),
        "GOPATH": str(tmp_path / "gopath"),
        "GOCACHE": str(golang.CACHE),
        "GOPROXY": proxy.as_uri(),
        "GOSUMDB": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": f"-modcacherw {golang.FLAGS}",
        "CGO_ENABLED": "0",
    }
    (tmp_path / "stranger").mkdir()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(COMMANDS.findall(PAGE.read_text()))],
        cwd=tmp_path / "stranger",
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("WHOLE: the bundle is exactly what the log signed") == 2, said
    assert re.search(r"^whole: 651 entries of ledger\.test/", done.stdout, re.MULTILINE), said
    assert re.search(r"^whole 651 ledger\.test/", done.stdout, re.MULTILINE), said
    assert "refused: ours" in done.stdout, said
    assert "TAMPERED" in done.stdout, said
    assert "NOT WHOLE: the entries are not those that were signed" in done.stderr, said
    assert "refused: the Go team's" in done.stdout, said
    assert re.search(r"^NOT WHOLE 651 ", done.stdout, re.MULTILINE), said
