import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from dvc.lock import make_lock

from pipeline.core.errors import DataError, SightlineError
from pipeline.services.dvc import repair, whole_stages

# The second stage says that it runs, and ends when it may. It looks often, because a test waits for it.
DVC_YAML = """
stages:
  first:
    cmd: echo one > one
    outs: [one]
  second:
    cmd: touch running; while [ ! -e may_end ]; do sleep 0.02; done; cat one > two
    deps: [one]
    outs: [two]
"""
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")} | {
    "DVC_NO_ANALYTICS": "1"
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository before its first run; tests work on copies."""
    root = tmp_path_factory.mktemp("template")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True, env=ENVIRONMENT)
    (root / "dvc.yaml").write_text(DVC_YAML)
    return root


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "repository")


@pytest.fixture
def running(repository: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `dvc repro` in the middle of its second stage; it and what it started are gone afterwards."""
    run = subprocess.Popen(["dvc", "repro", "-q"], cwd=repository, env=ENVIRONMENT)
    await_((repository / "running").exists)
    started = psutil.Process(run.pid).children(recursive=True)
    yield run
    (repository / "may_end").touch()
    run.wait(30)
    psutil.wait_procs(started, 30)


def await_(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.01)


def kill(run: subprocess.Popen[bytes]) -> None:
    run.send_signal(signal.SIGKILL)
    run.wait()


def finish(repository: Path) -> None:
    (repository / "may_end").touch()
    subprocess.run(["dvc", "repro", "-q"], cwd=repository, check=True, env=ENVIRONMENT)
    assert (repository / "two").read_text() == "one\n"


def test_a_living_run_is_not_repaired(repository: Path, running: subprocess.Popen[bytes]) -> None:
    before = (repository / ".dvc" / "tmp" / "rwlock").read_bytes()
    with pytest.raises(SightlineError, match=f"DVC is at work in this repository .*process {running.pid}: .*dvc repro"):
        repair(repository)
    assert (repository / ".dvc" / "tmp" / "rwlock").read_bytes() == before


def test_a_living_run_is_known_by_its_stage_even_where_the_lock_is_lost(
    repository: Path, running: subprocess.Popen[bytes]
) -> None:
    rwlock = repository / ".dvc" / "tmp" / "rwlock"
    kept = rwlock.read_bytes()
    rwlock.write_bytes(b"")
    with pytest.raises(SightlineError, match=f"process {running.pid}"):
        repair(repository)
    rwlock.write_bytes(kept)


def test_a_killed_run_is_cleared_and_its_orphan_named(repository: Path, running: subprocess.Popen[bytes]) -> None:
    orphan = psutil.Process(running.pid).children()[0].pid
    kill(running)
    told = repair(repository)
    assert told[0] == ".dvc/tmp/rwlock named processes that are dead; removed"
    assert told[1].startswith(f"process {orphan} outlived its run and may still write: ")
    assert psutil.pid_exists(orphan)
    assert len(told) == 2


def test_a_lock_that_was_being_written_when_dvc_died_is_cleared(
    repository: Path, running: subprocess.Popen[bytes]
) -> None:
    kill(running)
    (repository / "may_end").touch()
    (repository / ".dvc" / "tmp" / "rwlock").write_bytes(b"")
    stuck = subprocess.run(["dvc", "repro"], cwd=repository, env=ENVIRONMENT, capture_output=True, check=False)
    assert b"JSON structure is corrupted" in stuck.stderr
    assert repair(repository)[0] == ".dvc/tmp/rwlock could not be read; removed"
    await_(lambda: repair(repository) == [])
    finish(repository)


def test_another_holder_of_the_lock_is_respected(repository: Path) -> None:
    with make_lock(str(repository / ".dvc" / "tmp" / "lock")), pytest.raises(SightlineError, match="holds its lock"):
        repair(repository)


@pytest.fixture(scope="module")
def finished(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shutil.copytree(template, tmp_path_factory.mktemp("finished") / "repository")
    finish(root)
    return root


@pytest.fixture
def locked(finished: Path, tmp_path: Path) -> Path:
    """A repository whose run came to its end."""
    return shutil.copytree(finished, tmp_path / "repository")


def test_a_sound_repository_has_nothing_to_repair(locked: Path) -> None:
    before = (locked / "dvc.lock").read_bytes()
    assert repair(locked) == []
    assert (locked / "dvc.lock").read_bytes() == before


def test_a_half_written_lock_file_keeps_its_whole_stages(locked: Path) -> None:
    text = (locked / "dvc.lock").read_text()
    broken = text[: text.rindex("md5:")]
    (locked / "dvc.lock").write_text(broken)
    assert repair(locked) == ["dvc.lock was half-written; it lies in dvc.lock.broken, and its whole stages were kept"]
    assert list(yaml.safe_load((locked / "dvc.lock").read_text())["stages"]) == ["first"]
    assert (locked / "dvc.lock.broken").read_text() == broken
    finish(locked)
    assert (locked / "dvc.lock").read_text() == text


def test_an_empty_lock_file_becomes_the_committed_one(locked: Path) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "add", "dvc.lock"], cwd=locked, check=True)
    subprocess.run([*git, "commit", "-qm", "locked"], cwd=locked, check=True)
    text = (locked / "dvc.lock").read_text()
    (locked / "dvc.lock").write_text("")
    assert repair(locked) == ["dvc.lock was half-written; it lies in dvc.lock.broken, and the committed one is back"]
    assert (locked / "dvc.lock").read_text() == text


def test_an_empty_lock_file_without_a_committed_one_goes(locked: Path) -> None:
    (locked / "dvc.lock").write_bytes(b"")
    assert repair(locked) == ["dvc.lock was half-written; it lies in dvc.lock.broken, and no stage of it could be kept"]
    assert not (locked / "dvc.lock").exists()


def test_every_cut_of_a_lock_file_is_whole_or_mended(locked: Path) -> None:
    text = (locked / "dvc.lock").read_text()
    named = text.index("  second:") + len("  s")  # from here on a cut shows that a second stage began
    assert {whole_stages(text[:cut]) for cut in range(named, len(text))} == {text[: named - len("  s")]}
    assert {whole_stages(text[:cut]) for cut in range(named)} == {""}


def test_outside_a_dvc_repository_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no \.dvc folder"):
        repair(tmp_path)
