"""The client against servers that refuse, break off or are none; what it does with a good one is in `labelling`."""

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.core.errors import ConfigError, SightlineError
from pipeline.services.label_studio import Server, UnreachableError, insist

TOKEN = "feed" * 10


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers 503 as often as its server says, then JSON; whatever the path says otherwise."""

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        busy = self.server.asked <= self.server.busy  # type: ignore[attr-defined]
        body = (
            b"<html>"
            if "html" in self.path
            else b'{"release": "9"}'
            if not busy
            else f'{{"detail": "{TOKEN}"}}'.encode()
        )
        self.send_response(503 if busy else 200)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(busy: int = 0, certificate: Path | None = None) -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    server.asked, server.busy = 0, busy  # type: ignore[attr-defined]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client(server: http.server.HTTPServer, scheme: str = "http", waits: tuple[float, ...] = ()) -> Server:
    return Server(f"{scheme}://127.0.0.1:{server.server_port}", TOKEN, waits)


def test_a_busy_server_is_asked_again() -> None:
    with serving(busy=2) as server:
        assert client(server, waits=(0.01, 0.01)).version() == "9"
        assert server.asked == 3  # type: ignore[attr-defined]


def test_patience_ends_and_the_token_is_not_shown() -> None:
    with serving(busy=9) as server, pytest.raises(UnreachableError, match=r"answers 503 \(\*\*\*\)"):
        client(server, waits=(0.01,)).version()


def test_a_change_is_asked_for_once() -> None:
    with serving(busy=9) as server:
        with pytest.raises(SightlineError, match="whether it took the request is not known") as error:
            client(server, waits=(0.01,)).send("POST", "api/projects/", {})
        assert not isinstance(error.value, UnreachableError)
        assert server.asked == 1  # type: ignore[attr-defined]


def test_nobody_there() -> None:
    with serving() as server:
        gone = client(server)
    with pytest.raises(UnreachableError, match=r"does not answer \(ConnectError\); start it \(`make labelstudio`\)"):
        gone.version()


def test_another_kind_of_server() -> None:
    with serving() as server, pytest.raises(SightlineError, match="is no Label Studio"):
        client(server).get("html")


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run(
        [*made, "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")], check=True, capture_output=True
    )
    both.write_bytes((tmp_path / "key").read_bytes() + (tmp_path / "cert").read_bytes())
    with serving(certificate=both) as server, pytest.raises(SightlineError, match=r"is not trusted .*SSL_CERT_FILE"):
        client(server, "https").version()


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", ""])
def test_an_address_is_one(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABEL_STUDIO_URL", url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    with pytest.raises(ConfigError, match="LABEL_STUDIO_URL") as error:
        Server.configured()
    assert TOKEN not in str(error.value)


def test_a_password_in_the_address_is_not_shown() -> None:
    assert Server("https://me:secret@host/", TOKEN).url == "https://***@host"


@pytest.mark.parametrize(
    ("taken_before_breaking", "breaks", "sent"),
    [
        pytest.param(0, 0, [[1, 2, 3]], id="at-once"),
        pytest.param(0, 1, [[1, 2, 3], [1, 2, 3]], id="nothing-taken"),
        pytest.param(2, 1, [[1, 2, 3], [3]], id="some-taken"),
        pytest.param(3, 1, [[1, 2, 3]], id="all-taken"),
    ],
)
def test_what_a_broken_request_took_is_not_sent_again(
    taken_before_breaking: int, breaks: int, sent: list[list[int]]
) -> None:
    taken: list[int] = []
    asked: list[list[int]] = []

    def send(things: list[int]) -> None:
        asked.append(things)
        broken = len(asked) <= breaks
        taken.extend(things[:taken_before_breaking] if broken else things)
        if broken:
            raise UnreachableError("gone")

    insist(send, lambda things: [thing for thing in things if thing not in taken], [1, 2, 3])
    assert asked == sent
    assert taken == [1, 2, 3]


def test_a_server_that_keeps_going_away_is_given_up() -> None:
    def send(_: list[int]) -> None:
        raise UnreachableError("gone")

    with pytest.raises(UnreachableError, match="gone"):
        insist(send, lambda things: things, [1])
