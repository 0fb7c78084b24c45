"""Metadata to an MQTT broker, as ONVIF's JSON and as our own events; an outage loses nothing that fits the store.

The caller never waits: messages go into a bounded store, a thread of its own hands them to the broker at QoS 1, some at
a time, and a message leaves the store when the broker has confirmed it. In an outage the store fills; where it is full,
the oldest frame gives way, and the oldest event only where no frame is left. What was lost is counted and told in the
retained status message.
"""

import json
import logging
import os
import ssl
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.core.errors import ConfigError
from pipeline.runtime.metadata.jsonl import event_record, line
from pipeline.runtime.metadata.onvif import (
    Message,
    Messages,
    frame_json,
    frame_topic,
    message_json,
    message_topic,
    topic_part,
)
from pipeline.runtime.metadata.scene import SceneEvent, SceneFrame, iso

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

LOG = logging.getLogger(__name__)
PORTS = {"mqtt": 1883, "mqtts": 8883}
QOS = 1
WINDOW = 20  # messages under way at once
RETRY_S = 1, 8  # between attempts to connect: the first and the longest
KEEPALIVE_S = 20  # a broker that is silent for one and a half of it is away
CONNECT_S = 5.0
VARIABLES = {  # of the environment; a password in an address or option would show in lists of processes
    "user": "SIGHTLINE_MQTT_USER",
    "password": "SIGHTLINE_MQTT_PASSWORD",
    "ca": "SIGHTLINE_MQTT_CA",
    "certificate": "SIGHTLINE_MQTT_CERT",
    "key": "SIGHTLINE_MQTT_KEY",
}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to get in."""

    host: str
    port: int
    tls: bool
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""  # file of the authority that signed the broker's certificate; "" the system's
    certificate: str = ""  # files of our own certificate and key, where the broker asks for them
    key: str = field(default="", repr=False)

    @classmethod
    def of(cls, address: str, environment: Mapping[str, str] = os.environ) -> "Broker":
        """A broker of `mqtt://host[:port]` or, with TLS, `mqtts://host[:port]`, and of the variables.

        Raises:
            ConfigError: the address is none, or holds credentials.
        """
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
        except ValueError:
            host = port = None
        if not host or not port:
            raise ConfigError("the broker's address must be mqtt://host[:port], or mqtts://host[:port] for TLS")
        if parts.username is not None or parts.password is not None:
            raise ConfigError(f"no credentials in the address of {host}: set {VARIABLES['user']} and its like")
        values = {name: environment.get(variable, "") for name, variable in VARIABLES.items()}
        return cls(host, port, parts.scheme == "mqtts", **values)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A message that waits."""

    number: int  # in the order in which they came
    topic: str
    payload: bytes
    retain: bool

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload)


class Store:
    """What waits for the broker: frames and events, bounded in bytes. For one thread at a time."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._waiting: dict[str, deque[_Parcel]] = {"frames": deque(), "events": deque()}  # the first give way first
        self._size = 0
        self._number = 0
        self.lost = {"frames": 0, "events": 0}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, kind: str, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Add the newest; the oldest give way to it."""
        self._number += 1
        parcel = _Parcel(self._number, topic, payload, retain)
        self._waiting[kind].append(parcel)
        self._size += parcel.size
        while self._size > self._max_bytes:
            loser = next(name for name, waiting in self._waiting.items() if waiting)
            self._size -= self._waiting[loser].popleft().size
            self.lost[loser] += 1

    def take(self) -> _Parcel:
        """Remove the oldest. Raises IndexError where nothing waits."""
        heads = [waiting for waiting in self._waiting.values() if waiting]
        if not heads:
            raise IndexError
        parcel = min(heads, key=lambda waiting: waiting[0].number).popleft()
        self._size -= parcel.size
        return parcel

    def give_up(self) -> None:
        """Count all that waits as lost."""
        for kind, waiting in self._waiting.items():
            self.lost[kind] += len(waiting)
            waiting.clear()
        self._size = 0


class Mqtt:
    """An output to a broker. It connects in the background and goes on trying.

    | topic below the prefix | |
    |---|---|
    | `<camera>/onvif-mj/...` | frames, ONVIF's JSON |
    | `<camera>/onvif-ej/...` | events, ONVIF's JSON; states are retained |
    | `<camera>/event` | events, with what ONVIF has no word for: alarm or recorded only, score, begin and end |
    | `status` | retained: online, offline, or lost (the last will); outages and what they cost |

    Args:
        broker: where to.
        prefix: first level of all topics.
        max_bytes: what may wait in memory.
        close_s: seconds that `close` waits for what is on its way.

    Raises:
        ConfigError: paho-mqtt is not installed, a TLS file is wrong, or a limit is no positive number.
    """

    def __init__(
        self, broker: Broker, prefix: str = "sightline", max_bytes: int = 16 << 20, close_s: float = 3
    ) -> None:
        if max_bytes < 1:
            raise ConfigError(f"what may wait for the broker must be at least 1 byte, got {max_bytes}")
        self._broker, self._prefix, self._close_s = broker, topic_part(prefix), close_s
        self._messages = Messages()
        self._changed = threading.Condition()  # guards all below
        self._store = Store(max_bytes)
        self._under_way = 0  # given to the client, not yet confirmed
        self._connected = self._closing = False
        self._problem = ""
        self._away_since: float | None = time.monotonic()  # on this clock; None while connected
        self._was_connected = False
        self._outages: dict[str, Any] = {"outages": 0, "last_outage": None}
        self._lost_before = dict(self._store.lost)
        self._client = _client(broker)
        self._client.will_set(self._topic("status"), json.dumps({"state": "lost"}), QOS, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.connect_async(broker.host, broker.port, KEEPALIVE_S)
        self._client.loop_start()
        self._sender = threading.Thread(target=self._send, name="mqtt-sender", daemon=True)
        self._sender.start()

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        with self._changed:
            return self._connected

    @property
    def status(self) -> str:
        """How it stands, in words for a status line."""
        with self._changed:
            absent = "closed" if self._closing else self._problem or "not connected yet"
            state = "connected" if self._connected else absent
            counts = {"waiting": len(self._store) + self._under_way, "lost": sum(self._store.lost.values())}
        return ", ".join([f"{self._broker} {state}", *(f"{count} {what}" for what, count in counts.items() if count)])

    def frame(self, it: SceneFrame) -> None:
        """See `Output.frame`. Does not wait."""
        self._put("frames", frame_topic(self._camera(it.camera), it.camera), frame_json(it))

    def event(self, it: SceneEvent) -> None:
        """See `Output.event`. Does not wait."""
        self._put("events", f"{self._camera(it.camera)}/event", line(event_record(it)))
        if (message := self._messages.of(it)) is not None:
            self._tell(message, it.camera)

    def close(self) -> None:
        """Waits up to `close_s` for what is on its way; the rest is counted as lost."""
        for message in self._messages.deleted():
            self._tell(message, message.source[0][1])
        with self._changed:
            self._changed.wait_for(lambda: self._idle() or not self._connected, self._close_s)
            left = len(self._store) + self._under_way
            self._store.give_up()
            self._closing = True
            self._changed.notify_all()
        self._sender.join()
        if left:
            LOG.warning("MQTT broker %s: %d messages could not be delivered before the end", self._broker, left)
        if self.connected:
            self._publish_status("offline").wait_for_publish(self._close_s)
        self._client.disconnect()
        self._client.loop_stop()

    def _tell(self, message: Message, camera: str) -> None:
        topic = message_topic(self._camera(camera), message)
        self._put("events", topic, message_json(message), retain=bool(message.operation))

    def _put(self, kind: str, topic: str, payload: str, *, retain: bool = False) -> None:
        with self._changed:
            self._store.put(kind, topic, payload.encode(), retain=retain)
            self._changed.notify_all()

    def _send(self) -> None:
        """The sender's thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._may_send())
                if self._closing:
                    return
                parcel = self._store.take()
            self._publish(parcel.topic, parcel.payload, retain=parcel.retain)

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> "MQTTMessageInfo":
        """Hand the client a message. Not under the lock: the client confirms others under a lock of its own."""
        with self._changed:
            self._under_way += 1
        return self._client.publish(topic, payload, QOS, retain)

    def _may_send(self) -> bool:
        return self._connected and len(self._store) > 0 and self._under_way < WINDOW

    def _idle(self) -> bool:
        return not len(self._store) and not self._under_way

    def _on_publish(self, *_: Any) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self._changed:
            if reason.is_failure:
                self._trouble(f"refuses us: {reason}")
                return
            self._end_outage()
            self._connected, self._problem = True, ""
            self._changed.notify_all()
        self._publish_status("online")

    def _on_connect_fail(self, *_: Any) -> None:
        problem = sys.exception()  # the client calls this while it handles the error, and does not hand it over
        words = getattr(problem, "verify_message", "") or getattr(problem, "strerror", "") or str(problem)
        with self._changed:
            self._trouble(f"cannot be reached: {words}")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self._changed:
            if self._closing:
                self._connected = False
            elif self._connected:
                self._connected = False
                self._away_since = time.monotonic()
                self._lost_before = dict(self._store.lost)
                self._trouble(f"is away: {reason}")
            self._changed.notify_all()

    def _trouble(self, problem: str) -> None:
        if problem != self._problem:
            LOG.warning("MQTT broker %s %s; messages wait, and it is tried again", self._broker, problem)
        self._problem = problem

    def _end_outage(self) -> None:
        """Note an outage that is over; the time before the first connection is one if anything was lost in it."""
        seconds = time.monotonic() - (self._away_since or time.monotonic())
        lost = {kind: count - self._lost_before[kind] for kind, count in self._store.lost.items()}
        if self._was_connected or any(lost.values()):
            self._outages["outages"] += 1
            self._outages["last_outage"] = {"seconds": round(seconds, 1), "waiting": len(self._store), "lost": lost}
            LOG.warning("MQTT broker %s is back after %.1f s; lost: %s", self._broker, seconds, lost)
        self._was_connected, self._away_since = True, None

    def _publish_status(self, state: str) -> "MQTTMessageInfo":
        with self._changed:
            value = {"state": state, "time": iso(datetime.now(UTC)), **self._outages, "lost": dict(self._store.lost)}
        return self._publish(self._topic("status"), json.dumps(value).encode(), retain=True)

    def _camera(self, camera: str) -> str:
        return self._topic(topic_part(camera))

    def _topic(self, rest: str) -> str:
        return f"{self._prefix}/{rest}"


def _client(broker: Broker) -> "Client":
    try:
        from paho.mqtt.client import Client  # noqa: PLC0415 - an extra
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415
    except ImportError:
        raise ConfigError("MQTT needs paho-mqtt; pip install 'sightline[mqtt]'") from None
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"sightline-{uuid.uuid4().hex[:12]}")
    client.connect_timeout = CONNECT_S
    client.max_inflight_messages_set(WINDOW + 2)  # and the status
    client.reconnect_delay_set(*RETRY_S)
    if broker.user:
        client.username_pw_set(broker.user, broker.password or None)
    if broker.tls:
        client.tls_set_context(_context(broker))
    return client


def _context(broker: Broker) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=broker.ca or None)
        if broker.certificate:
            context.load_cert_chain(broker.certificate, broker.key or None)
    except (OSError, ssl.SSLError) as error:
        names = [VARIABLES[name] for name in ("ca", "certificate", "key")]
        raise ConfigError(f"TLS for {broker}: a file of {', '.join(names)} is wrong: {error.strerror}") from None
    return context
