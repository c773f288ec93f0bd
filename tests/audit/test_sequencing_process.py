"""The only place that tests the sequencer's process as an operator starts it, with all places."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bucket_server import BucketServer
from bucket_server import served as bucket_served
from own_logs import OwnLog, ask, direct, environment, record_committed
from own_places import ANCHORED, COSIGNED, WitnessProcess
from stamping import Authority as StampingAuthority
from stamping import need_openssl
from stamping import served as stamping_served

from audit import checkpoints, signing
from audit.checkpoints import VerifierKey
from tests.environment import ROOT


def _wait(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _public(log: OwnLog, *private: Any) -> list[VerifierKey]:
    return [checkpoints.log_key(log.origin, key).verifier for key in private]


@pytest.mark.soak
def test_the_sequencers_process_signs_twice_and_takes_checkpoints_to_every_place(
    committed_log: OwnLog, tmp_path: Path
) -> None:
    need_openssl()
    for name in ("authority", "guard"):
        (tmp_path / name).mkdir()
    files = {name: tmp_path / f"{name}.key" for name in ("ed25519", "mldsa")}
    keys = _public(
        committed_log, signing.load(files["ed25519"]), signing.load_mldsa(files["mldsa"])
    )
    authority, bucket = StampingAuthority(tmp_path / "authority"), BucketServer()
    witness = WitnessProcess(tmp_path, *keys)
    witness.start()
    pem = tmp_path / "authority.pem"
    pem.write_bytes(authority.pem)
    with stamping_served(authority) as stamp, bucket_served(bucket) as store, direct() as raw:
        pairs = [f"{key}@{witness.url}#{committed_log.origin}" for key in witness.keys]
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run_sequencer"],
            cwd=ROOT,
            env=environment(
                COUNTERSIGN_LEDGER_KEY_FILE=str(files["ed25519"]),
                COUNTERSIGN_LEDGER_MLDSA_KEY_FILE=str(files["mldsa"]),
                COUNTERSIGN_LEDGER_GUARD_DIRECTORY=str(tmp_path / "guard"),
                COUNTERSIGN_WITNESSES=" ".join(pairs),
                COUNTERSIGN_TIMESTAMP_URL=stamp,
                COUNTERSIGN_TIMESTAMP_AUTHORITY=str(pem),
                COUNTERSIGN_CHECKPOINT_SINK=f"s3://ledgers?region={bucket.region}&endpoint={store}",
                AWS_ACCESS_KEY_ID=bucket.credentials.access_key,
                AWS_SECRET_ACCESS_KEY=bucket.credentials.secret_key,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            record_committed(raw, committed_log, 5)
            _wait(lambda: len(ask(raw, committed_log, COSIGNED)) == len(pairs), process)
            _wait(lambda: len(ask(raw, committed_log, ANCHORED)) == 2, process)
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=10)
        finally:
            process.kill()
            witness.kill()
    assert process.returncode == 0, said
    assert "The sequencer ended." in said
    with direct() as raw:
        ((note, text),) = ask(raw, committed_log, "SELECT note, verifier_key FROM audit.checkpoint")
    assert {each.key for each in checkpoints.signed_by(note, keys)} == set(keys)
    assert text.split("\n") == [str(key) for key in keys]
