import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from pipeline.core.errors import SightlineError
from pipeline.services.labelling.local import Account, LocalServer, program, write_private

ROOT = Path(__file__).parents[3]


def test_an_account_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    account = Account.kept(tmp_path / "new" / "account.json")
    assert Account.kept(tmp_path / "new" / "account.json") == account
    assert Account.kept(tmp_path / "other.json").token != account.token
    assert len(bytes.fromhex(account.token)) == 20
    assert stat.S_IMODE((tmp_path / "new" / "account.json").stat().st_mode) == 0o600


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("old")
    (tmp_path / "secret").chmod(0o644)
    write_private(tmp_path / "secret", "new")
    assert (tmp_path / "secret").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_where_it_is_not_installed_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match="is installed by: make labelstudio"):
        LocalServer(program(tmp_path), tmp_path, Account.new()).start()


def test_a_taken_port_is_said(running: LocalServer, tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match=rf"port {running.port} is taken"):
        LocalServer(Path(sys.executable), tmp_path, Account.new(), running.port).start()


def test_one_that_does_not_start_shows_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("#!/bin/sh\necho no database\nexit 3\n")
    (tmp_path / "broken").chmod(0o755)
    with pytest.raises(SightlineError, match=r"did not start: no database; see .*server\.log"):
        LocalServer(tmp_path / "broken", tmp_path / "data", Account.new()).start()


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tmp_path / "server").chmod(0o755)
    code = (
        "import sys; from pathlib import Path; from pipeline.services.labelling.local import *\n"
        "LocalServer(Path(sys.argv[1]) / 'server', Path(sys.argv[1]) / 'data', Account.new()).start()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    children: list[psutil.Process] = []
    while not any(child.name() == "sleep" for child in children):
        assert starter.poll() is None
        children = psutil.Process(starter.pid).children(recursive=True)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


def test_it_listens_on_this_machine_only(running: LocalServer) -> None:
    sockets = [c.laddr for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr]
    assert {address.ip for address in sockets if address.port == running.port} == {"127.0.0.1"}


def test_a_killed_server_starts_again(own_server: LocalServer) -> None:
    own_server.kill()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{own_server.url}/health", timeout=5)
    own_server.start()
    assert own_server.client().version()
