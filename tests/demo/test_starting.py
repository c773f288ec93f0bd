"""`python -m demo` and `manage.py` in an environment that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import ROOT


def _said(command: list[str], state: Path, **wrong: str) -> str:
    path = f"{ROOT}{os.pathsep}{ROOT / 'platform'}"
    kept = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "SECRET_KEY"}}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": path, "COUNTERSIGN_STATE_DIRECTORY": str(state), **wrong},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert not state.exists()  # nothing was started
    return done.stdout


@pytest.mark.parametrize(
    "port",
    [
        "abc",
        *(pytest.param(odd, marks=pytest.mark.soak) for odd in ("", "0", "-1", "70000", "80.5")),
    ],
)
def test_a_wrong_port_is_named_before_anything_starts(tmp_path: Path, port: str) -> None:
    for command in (["-m", "demo", "--serve=0"], ["manage.py", "migrate_schemas"]):
        said = _said(command, tmp_path / "state", PORT=port)
        assert "The environment is not usable:" in said
        assert "PORT: " in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://here"),
        ("DATABASE_POOL_SIZE", "many"),
        ("HTTPS", "perhaps"),
        ("COUNTERSIGN_LEASE_SECONDS", ""),
        ("OPENAI_MODEL", ""),
    ],
)
def test_every_variable_is_read_before_anything_starts(
    tmp_path: Path, name: str, value: str
) -> None:
    said = _said(["-m", "demo", "--serve=0"], tmp_path / "state", **{name: value})
    assert f"{name}: " in said
    assert "Traceback" not in said
