from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from countersign import configuration, embedded, installation, processes, serve
from countersign.processes import CannotRun, Lock, Processes, check_disk, free_port, uninterrupted

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
WITH_A_CHILD = [
    sys.executable,
    "-c",
    "import subprocess as s; s.Popen(['sleep', '60']); print('up', flush=True); s.time.sleep(60)",
]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Processes]:
    """Processes of an installation, stopped at the end."""
    made = Processes(tmp_path, os.environ)
    yield made
    made.stop()


def _wait(reached: object) -> None:
    deadline = time.monotonic() + 10
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_stopping_ends_what_the_children_started_as_well(tmp_path: Path, run: Processes) -> None:
    pid = run.start("worker", WITH_A_CHILD)
    _wait(lambda: "up" in run.last_lines("worker"))
    family = [pid, *(child.pid for child in psutil.Process(pid).children())]
    assert len(family) == 2
    run.stop()
    _wait(lambda: not any(map(_alive, family)))
    assert list((tmp_path / "run").iterdir()) == []


def test_of_a_log_only_what_this_installation_wrote_is_told(tmp_path: Path, run: Processes) -> None:
    log = run.log_of("worker")
    log.parent.mkdir()
    log.write_text("Traceback of an earlier run\n")
    assert run.last_lines("worker") == ""
    run.start("worker", [sys.executable, "-c", "print('first')"])
    _wait(run.ended)
    run.start_again("worker")
    _wait(lambda: run.last_lines("worker") == "first\nfirst")
    assert log.read_text().startswith("Traceback")


def test_a_log_is_for_its_owner_alone(run: Processes) -> None:
    run.start("worker", [sys.executable, "-c", ""])
    assert run.log_of("worker").stat().st_mode & 0o777 == 0o600


def test_a_child_that_ignores_the_request_to_end_is_killed(
    run: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
    pid = run.start("worker", [sys.executable, "-c", f"{stubborn}; time.sleep(60)"])
    _wait(lambda: "up" in run.last_lines("worker"))
    run.stop()
    assert not _alive(pid)


def test_what_a_killed_run_left_behind_is_ended_by_the_next(tmp_path: Path, run: Processes) -> None:
    pid = run.start("web", SLEEP)
    assert Processes(tmp_path, {}).end_left_over() == ["web"]
    assert not _alive(pid)
    assert run.ended() == {"web": -signal.SIGKILL}
    assert Processes(tmp_path, {}).end_left_over() == []


@pytest.mark.parametrize("born_at", ["1.0", "", "soon"])
def test_a_pid_that_belongs_to_somebody_else_by_now_is_left_alone(
    tmp_path: Path, born_at: str
) -> None:
    somebody = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "web.pid").write_text(f"{somebody.pid} {born_at}".strip())
        assert Processes(tmp_path, {}).end_left_over() == []
        assert somebody.poll() is None
        assert not (tmp_path / "run" / "web.pid").exists()
    finally:
        somebody.kill()
        somebody.wait()


@pytest.mark.parametrize("text", ["", "none", "999999999 1.0", "-1 1.0"])
def test_a_pid_file_that_says_nothing_is_dropped(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "web.pid").write_text(text)
    assert Processes(tmp_path, {}).end_left_over() == []
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_has_one_installation_at_a_time(tmp_path: Path) -> None:
    with Lock(tmp_path), pytest.raises(CannotRun, match=f"process {os.getpid()}"), Lock(tmp_path):
        pass
    with Lock(tmp_path):
        pass


def test_of_two_that_start_at_once_one_runs(tmp_path: Path) -> None:
    outcomes: list[str] = []
    begin, end = threading.Barrier(2), threading.Barrier(2)

    def start() -> None:
        begin.wait(10)
        try:
            with Lock(tmp_path):
                outcomes.append("runs")
                end.wait(10)
        except CannotRun:
            outcomes.append("refused")
            end.wait(10)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "runs"]


def test_a_folder_that_can_not_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRun, match="can't use the folder"), Lock(tmp_path / "file"):
        pass


def test_a_folder_that_takes_no_more_bytes_is_said(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(CannotRun, match="can't write to") as raised, Lock(tmp_path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in str(raised.value)


def test_a_command_whose_server_does_not_start_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("not a folder")
    monkeypatch.setenv("COUNTERSIGN_STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.delenv("DATABASE_URL")
    refused = pytest.raises(SystemExit, match="PostgreSQL could not start")
    with refused, embedded.database_for(["migrate_schemas"], configuration.read()):
        pass


def test_a_disk_with_too_little_room_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERSIGN_STATE_DIRECTORY", str(tmp_path))
    check_disk(tmp_path)
    monkeypatch.setattr(processes, "LEAST_FREE_BYTES", 2**62)
    with pytest.raises(CannotRun, match=r"has \d+ MB free; Countersign needs at least \d+ MB"):
        check_disk(tmp_path)
    with (
        pytest.raises(CannotRun, match="Make room and start again"),
        installation.running(configuration.read(), say=lambda _: None),
    ):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}


def test_a_busy_port_gives_way_to_the_next() -> None:
    with socket.socket() as busy:
        busy.bind(("0.0.0.0", 0))  # noqa: S104  (others may listen on every address)
        busy.listen()
        number = busy.getsockname()[1]
        if number < processes.LAST_PORT:
            assert free_port(number) > number


def test_no_port_beyond_the_last_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(socket.socket):
        def bind(self, *_: object) -> None:
            raise OSError

    monkeypatch.setattr(processes.socket, "socket", Busy)
    with pytest.raises(CannotRun, match=r"No free port between 65530 and 65535\. Set PORT"):
        free_port(65_530)


def test_whoever_presses_ctrl_c_again_does_not_break_the_stopping() -> None:
    with uninterrupted():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_a_child_is_started_takes_effect_once_the_child_is_known(
    run: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.Popen

    def interrupted(*args: Any, **more: Any) -> Any:
        child = real(*args, **more)
        signal.raise_signal(signal.SIGINT)
        return child

    monkeypatch.setattr(processes.subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.start("web", SLEEP)
    monkeypatch.undo()
    (child,) = run._running.values()
    assert _alive(child.pid)
    run.stop()
    assert not _alive(child.pid)


def test_a_wrong_environment_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = {number: signal.getsignal(number) for number in processes.INTERRUPTIONS}
    monkeypatch.setenv("COUNTERSIGN_STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("PORT", "none")
    try:
        assert serve.main() == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert "PORT: " in capsys.readouterr().out
    assert not (tmp_path / "state").exists()


def test_a_generated_secret_is_one_for_everybody_and_readable_by_nobody_else(
    tmp_path: Path,
) -> None:
    found: list[str] = []
    begin = threading.Barrier(8)

    def read() -> None:
        begin.wait(10)
        found.append(configuration.generated_secret(tmp_path / "state" / "secret"))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found[0]) > 50
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["secret"]
    assert (tmp_path / "state" / "secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("pid", ["", "x\n", "999999999\n", f"{os.getpid()}\n"], ids=range(4))
def test_a_pid_file_of_a_server_that_is_gone_is_dropped(tmp_path: Path, pid: str) -> None:
    socket_lock = tmp_path / embedded.SOCKET_LOCK
    for file in (tmp_path / "postmaster.pid", socket_lock):
        file.write_text(pid)
    embedded._drop_stale_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert embedded.end_left_over(tmp_path) is False


def test_another_folders_server_is_not_taken_for_this_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil.Process, "name", lambda _: "postgres")
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert embedded._postmaster(tmp_path) is None
    monkeypatch.setattr(psutil.Process, "cwd", lambda _: str(tmp_path))
    assert embedded._postmaster(tmp_path) == os.getpid()
    (tmp_path / "postmaster.pid").rename(tmp_path / embedded.SOCKET_LOCK)
    assert embedded._postmaster(tmp_path) == os.getpid()


def test_users_of_the_server_that_were_killed_do_not_keep_it_running(tmp_path: Path) -> None:
    users = tmp_path / ".handle_pids.json"
    users.write_text(f"[{os.getpid()}, {os.getppid()}, 999999999]")
    assert embedded._forget_the_dead(tmp_path) == [os.getppid()]
    # Somebody who was born after the list was written is not who is meant.
    os.utime(users, (1, 1))
    assert embedded._forget_the_dead(tmp_path) == []
    assert users.read_text() == "[]"
    users.write_text("[1,")
    assert embedded._forget_the_dead(tmp_path) == []


def test_why_the_server_did_not_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = embedded._why(tmp_path, PermissionError(13, "Permission denied", "/x/lock"))
    assert "/x/lock belongs to another user" in said
    (tmp_path / "log").write_text("FATAL:  could not write: No space left on device\n")
    assert "is full" in embedded._why(tmp_path, RuntimeError("x"))
    (tmp_path / "log").write_text("one\ntwo\n")
    assert "one\ntwo" in embedded._why(tmp_path, RuntimeError("x"))
    monkeypatch.setattr(embedded, "LEAST_FREE_BYTES", 2**62)
    assert "is full" in embedded._why(tmp_path / "gone", RuntimeError("x"))
