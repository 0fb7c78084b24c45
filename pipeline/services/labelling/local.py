"""A Label Studio of the project's own, in an environment of its own, on this machine only."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pipeline.core.errors import SightlineError
from pipeline.services.label_studio import Server

HOME = Path(".labelstudio")  # git ignores it
HOST = "127.0.0.1"
START_S = 240.0  # the first start makes the database
# The server ends when whoever started it does, however that ends: `read` returns when the pipe is closed.
GUARD = (
    'exec 3<&0; "$@" </dev/null & server=$!; (read -r _ <&3; kill $server 2>/dev/null) & guard=$!; '
    "wait $server; code=$?; kill $guard 2>/dev/null; exit $code"
)


@dataclass(frozen=True, slots=True)
class Account:
    """Who may log in."""

    email: str
    password: str
    token: str  # 40 hex digits

    @classmethod
    def new(cls) -> "Account":
        """An account with secrets that nobody knows yet."""
        return cls("annotator@example.com", secrets.token_urlsafe(12), secrets.token_hex(20))

    @classmethod
    def kept(cls, path: Path) -> "Account":
        """The account in the file, which is made where it is missing; only its owner may read it."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, json.dumps(asdict(cls.new())))
        return cls(**json.loads(path.read_bytes()))


class LocalServer:
    """A running Label Studio; as a context manager it is ready inside the block and stopped after it.

    Args:
        program: the `label-studio` command.
        data: folder of its database and files.
        account: made at the first start.
        port: where it listens; 0 takes a free one.

    Raises:
        SightlineError: it is not installed, does not start, or the port is taken; the log is named.
    """

    def __init__(self, program: Path, data: Path, account: Account, port: int = 0) -> None:
        self._program = program
        self._data = data.absolute()
        self._account = account
        self.port = port or _free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.files = self._data / "files"  # what it serves from disk
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it prints."""
        return self._data / "server.log"

    def client(self) -> Server:
        """A client with the account's token."""
        return Server(self.url, self._account.token)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers."""
        if not self._program.exists():
            raise SightlineError(f"{self._program} does not exist; Label Studio is installed by: make labelstudio")
        if not _is_free(self.port):
            raise SightlineError(f"port {self.port} is taken; choose another with --port")
        self.files.mkdir(parents=True, exist_ok=True)
        who = self._account
        command = [str(self._program), "start", "--no-browser", "--internal-host", HOST, "--port", str(self.port)]
        command += ["--username", who.email, "--password", who.password, "--user-token", who.token]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", GUARD, "sh", *command],
                env={**os.environ, **self._settings()},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends whoever waits for it, and that ends it in order
            )
        self._wait()

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            while not _is_free(self.port):  # the guard is gone before the server is
                time.sleep(0.05)

    def _settings(self) -> dict[str, str]:
        return {
            "LABEL_STUDIO_BASE_DATA_DIR": str(self._data),
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self.files),
            "COLLECT_ANALYTICS": "false",  # nothing is reported to anybody
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
        }

    def _wait(self) -> None:
        import httpx  # noqa: PLC0415

        assert self._process is not None  # noqa: S101 - for the type checker
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.25)
        last = "; ".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-2:])
        self.kill()
        raise SightlineError(f"Label Studio did not start: {last[:300]}; see {self.log}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def program(home: Path = HOME) -> Path:
    """The server's command in its own environment."""
    return home / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "label-studio"
