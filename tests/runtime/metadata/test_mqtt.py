"""MQTT against the real mosquitto: what arrives, what an outage costs, who gets in, and what is never shown."""

import datetime as dt
import ipaddress
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.core.errors import ConfigError
from pipeline.runtime.metadata.mqtt import Broker, Mqtt, Store
from pipeline.runtime.metadata.scene import Clock, Scene
from pipeline.runtime.metadata.sink import MetadataSink
from tests.scenes import CLASSES, START, Seen, event, track

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
SECRET = "correct-horse-battery"  # noqa: S105 - of this test's own broker
DEADLINE_S = 30.0

real_broker = pytest.mark.skipif(not MOSQUITTO, reason="mosquitto is not installed; apt-get install mosquitto")


def wait_for(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE_S:g} s"
        time.sleep(0.01)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Mosquitto:
    """A broker on a free port that can be killed and started again, and remembers its sessions."""

    def __init__(self, folder: Path, settings: str = "allow_anonymous true") -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = int(taken.getsockname()[1])
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\npersistence true\npersistence_location {folder}/\n"
            f"max_queued_messages 0\nuser root\n{settings}\n"
        )
        self._sessions = folder / "mosquitto.db"
        self.start()

    def start(self) -> None:
        assert MOSQUITTO
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(self.port) or self.process.poll() is not None, "the broker starts")
        assert self.process.poll() is None

    def kill(self) -> None:
        """At once, but for its sessions, which it is told to write first."""
        self._sessions.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        wait_for(self._sessions.exists, "the broker writes its sessions")
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Subscriber:
    """Takes all that the broker has, over outages: the broker keeps its session."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client  # noqa: PLC0415 - an extra
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

        self.got: list[tuple[str, bytes, bool]] = []
        self.ready = False
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: setattr(self, "ready", True)
        self._client.on_message = lambda _c, _d, it: self.got.append((it.topic, bytes(it.payload), it.retain))
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()
        wait_for(lambda: self.ready, "the subscriber is there")

    def json(self, topic: str) -> list[Any]:
        return [json.loads(payload) for name, payload, _ in list(self.got) if name == topic and payload]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    it = Mosquitto(tmp_path)
    yield it
    it.kill()


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    it = Subscriber(broker.port)
    yield it
    it.close()


def output(port: int, **settings: Any) -> Mqtt:
    return Mqtt(Broker.of(f"mqtt://127.0.0.1:{port}", {}), "site", **settings)


def sink(out: Mqtt) -> MetadataSink:
    return MetadataSink(Scene(CLASSES, Clock(START)), [out])


EVENTS = "site/lobby/event"
FRAMES = "site/lobby/onvif-mj/VideoAnalytics/lobby/sightline"
INSIDE = "site/lobby/onvif-ej/RuleEngine/FieldDetector/ObjectsInside/&lobby/sightline/door:person"


@real_broker
def test_frames_and_events_arrive_under_their_cameras(broker: Mosquitto, subscriber: Subscriber) -> None:
    out = output(broker.port)
    metadata = sink(out)
    metadata.emit(Seen(tracks=[track()], events=[event()]))
    metadata.emit(Seen(timestamp_s=5.0, events=[event(end_s=2.0)]))
    wait_for(lambda: len(subscriber.json(INSIDE)) == 2, "both states arrive")
    metadata.close()
    wait_for(lambda: subscriber.json("site/status")[-1:][0]["state"] == "offline", "the end is told")
    assert [it["state"] for it in subscriber.json(EVENTS)] == ["begin", "end"]
    assert [len(it["Frame"][0].get("Object", [])) for it in subscriber.json(FRAMES)] == [1, 0]
    assert [it["Data"]["IsInside"] for it in subscriber.json(INSIDE)] == ["true", "false"]
    assert [it["state"] for it in subscriber.json("site/status")] == ["online", "offline"]
    assert (INSIDE, b"") in [(topic, payload) for topic, payload, _ in subscriber.got], "a deleted property is emptied"


@real_broker
def test_an_outage_loses_nothing_that_fits(broker: Mosquitto, subscriber: Subscriber) -> None:
    out = output(broker.port)
    metadata = sink(out)
    metadata.emit(Seen(tracks=[track()], events=[event(0.0)]))
    wait_for(lambda: subscriber.json(EVENTS), "the first event arrives")
    broker.kill()
    wait_for(lambda: not out.connected, "the outage is noticed")
    slowest = 0.0
    for number in range(1, 101):
        began = time.perf_counter()
        metadata.emit(Seen(timestamp_s=float(number), tracks=[track()], events=[event(float(number))]))
        slowest = max(slowest, time.perf_counter() - began)
    assert "waiting" in out.status
    broker.start()
    wait_for(lambda: len(subscriber.json(EVENTS)) >= 101, "all events arrive")
    wait_for(lambda: len(subscriber.json(FRAMES)) >= 101, "all frames arrive")
    metadata.close()
    starts = [it["start"] for it in subscriber.json(EVENTS)]
    assert sorted(set(starts)) == list(dict.fromkeys(starts)), "in their order"
    assert len(set(starts)) == 101
    told = next(it for it in subscriber.json("site/status") if it["outages"])
    assert (told["outages"], told["lost"]) == (1, {"frames": 0, "events": 0})
    assert told["last_outage"]["seconds"] > 0
    assert slowest < 0.5, "the caller never waits for the broker"


@real_broker
def test_what_exceeds_the_bound_is_counted_and_told(broker: Mosquitto, subscriber: Subscriber) -> None:
    out = output(broker.port, max_bytes=40_000)
    metadata = sink(out)
    wait_for(lambda: out.connected, "the connection")
    broker.kill()
    wait_for(lambda: not out.connected, "the outage is noticed")
    for number in range(200):
        events = [event(float(number))] * (number % 10 == 0)
        metadata.emit(Seen(timestamp_s=float(number), tracks=[track()], events=events))
    broker.start()
    wait_for(lambda: out.connected and "waiting" not in out.status, "the store is empty")
    wait_for(lambda: any(it["outages"] for it in subscriber.json("site/status")), "the outage is told")
    lost = next(it["last_outage"]["lost"] for it in subscriber.json("site/status") if it["outages"])
    wait_for(lambda: len(subscriber.json(FRAMES)) == 200 - lost["frames"], "all others arrive")
    wait_for(lambda: len(subscriber.json(EVENTS)) == 20, "events outlast frames")
    assert lost["frames"] > 0
    assert lost["events"] == 0
    assert f"{lost['frames']} lost" in out.status
    metadata.close()


@real_broker
def test_a_broker_that_comes_late_gets_all(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    subscriber = Subscriber(broker.port)
    broker.kill()
    metadata = sink(out := output(broker.port))
    metadata.emit(Seen(events=[event()]))
    broker.start()
    wait_for(lambda: subscriber.json(EVENTS), "the event arrives")
    assert out.connected
    metadata.close()
    subscriber.close()
    broker.kill()


@real_broker
def test_the_last_will_tells_of_a_sudden_end(broker: Mosquitto, subscriber: Subscriber) -> None:
    out = output(broker.port)
    wait_for(lambda: subscriber.json("site/status"), "it is online")
    link = out._client.socket()
    assert link is not None
    out._client.loop_stop()
    link.close()  # as a process that is killed closes it: without a word
    wait_for(lambda: subscriber.json("site/status")[-1]["state"] == "lost", "the last will")


@real_broker
def test_closing_without_a_broker_does_not_hang(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        metadata = sink(output(taken.getsockname()[1], close_s=0.2))
        metadata.emit(Seen(tracks=[track()], events=[event()]))
        began = time.monotonic()
        metadata.close()
    assert time.monotonic() - began < 10


@real_broker
def test_a_password_opens_and_is_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tmp_path / "users"
    tool = shutil.which("mosquitto_passwd")
    if not tool:
        pytest.skip("mosquitto_passwd is not installed; apt-get install mosquitto")
    subprocess.run([tool, "-b", "-c", str(users), "camera", SECRET], check=True)
    users.chmod(0o644)
    broker = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {users}")
    address = f"mqtt://127.0.0.1:{broker.port}"
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SIGHTLINE_MQTT_USER", "camera")
    monkeypatch.setenv("SIGHTLINE_MQTT_PASSWORD", SECRET)
    right = Mqtt(Broker.of(address))
    wait_for(lambda: right.connected, "the right password opens")
    wrong = Mqtt(Broker.of(address, {"SIGHTLINE_MQTT_USER": "camera", "SIGHTLINE_MQTT_PASSWORD": f"{SECRET}?"}))
    wait_for(lambda: "refuses" in wrong.status, "the wrong password is refused")
    assert not wrong.connected
    shown = caplog.text + right.status + wrong.status + repr(Broker.of(address)) + str(Broker.of(address))
    assert "refuses us" in caplog.text
    assert SECRET not in shown
    right.close()
    wrong.close()
    broker.kill()


@real_broker
def test_tls_checks_who_the_broker_is(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "right")
    other, _ = self_signed(tmp_path, "other")
    broker = Mosquitto(tmp_path, f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}")
    address = f"mqtts://127.0.0.1:{broker.port}"
    known = Mqtt(Broker.of(address, {"SIGHTLINE_MQTT_CA": str(certificate)}))
    wait_for(lambda: known.connected, "the broker that is known")
    known.close()
    stranger = Mqtt(Broker.of(address, {"SIGHTLINE_MQTT_CA": str(other)}), close_s=0.1)
    wait_for(lambda: "certificate" in stranger.status, "the broker that is not known is refused")
    assert not stranger.connected
    stranger.close()
    broker.kill()


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.mark.parametrize(
    ("address", "host", "port", "tls"),
    [
        pytest.param("mqtt://broker", "broker", 1883, False, id="plain"),
        pytest.param("mqtts://broker", "broker", 8883, True, id="TLS"),
        pytest.param("mqtt://[::1]:99", "::1", 99, False, id="port"),
    ],
)
def test_an_address_is_read(address: str, host: str, port: int, tls: bool) -> None:  # noqa: FBT001 - a case
    assert Broker.of(address, {}) == Broker(host, port, tls)


@pytest.mark.parametrize(
    "address", ["broker", "http://broker", "mqtt://", "mqtt://broker:99999", f"mqtt://me:{SECRET}@broker"]
)
def test_an_address_that_is_none_or_tells_secrets_is_refused(address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Broker.of(address, {})
    assert SECRET not in str(refused.value)


def test_a_tls_file_that_is_not_there_is_named_by_its_variable() -> None:
    with pytest.raises(ConfigError, match="SIGHTLINE_MQTT_CA"):
        Mqtt(Broker.of("mqtts://127.0.0.1:1", {"SIGHTLINE_MQTT_CA": "/nowhere.pem"}))


def test_the_store_gives_up_the_oldest_frames_first_and_keeps_the_order() -> None:
    store = Store(max_bytes=50)  # five messages of ten bytes
    for number, kind in enumerate(["frames", "events", "frames", "frames", "events", "frames", "events"]):
        store.put(kind, "topic", b"%05d" % number)
    assert store.lost == {"frames": 2, "events": 0}
    assert [int(store.take().payload) for _ in range(len(store))] == [1, 3, 4, 5, 6]
    for number in range(7):
        store.put("events", "topic", b"%05d" % number)
    assert store.lost == {"frames": 2, "events": 2}
    assert [int(store.take().payload) for _ in range(len(store))] == [2, 3, 4, 5, 6]
    with pytest.raises(IndexError):
        store.take()
