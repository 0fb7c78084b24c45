"""A camera over RTSP: a real server, of GStreamer, run by the system's Python, which has its bindings.

Like a camera it shows what is the case: unit floor((now - zero) * rate) of its stream by the clock of this machine,
from the start again at the end, to a new viewer from the next key frame on. It prints its port when it listens, and
ends when its input does, so with the test that started it.
"""

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PIPELINE = (
    "( appsrc name=source is-live=true format=time "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au ! h264parse config-interval=-1 ! rtph264pay name=pay0 )"
)
PUSH_MS = 4


def units_of(data: bytes) -> list[bytes]:
    """Access units, each behind its length in 4 bytes."""
    found, place = [], 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        found.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    return found


class Feed:
    """Pushes the units that are due to one pipeline, until it is gone."""

    def __init__(self, gst: Any, source: Any, units: Sequence[bytes], rate: float, gop: int, zero: float) -> None:
        self.gst, self.source, self.units, self.rate, self.zero = gst, source, units, rate, zero
        self.first = self.next = -(-int((time.time() - zero) * rate + 1) // gop) * gop

    def push(self) -> bool:
        while self.next <= (time.time() - self.zero) * self.rate:
            unit = self.gst.Buffer.new_wrapped(self.units[self.next % len(self.units)])
            unit.pts = round((self.next - self.first) / self.rate * self.gst.SECOND)
            if self.source.emit("push-buffer", unit) != self.gst.FlowReturn.OK:
                return False
            self.next += 1
        return True


def guard(gst: Any, rtsp: Any, server: Any, factory: Any, user: str) -> None:
    """Lets in who says `name:password`, and no one else."""
    name, _, password = user.partition(":")
    token = rtsp.RTSPToken.new()
    token.set_string("media.factory.role", "viewer")
    server.get_auth().add_basic(rtsp.RTSPAuth.make_basic(name, password), token)
    role = "viewer, media.factory.access=true, media.factory.construct=true"
    factory.add_role_from_structure(gst.Structure.from_string(role)[0])


def main(port: str, stream: str, rate: str, gop: str, zero: str, user: str, certificate: str) -> None:
    import gi  # type: ignore[import-not-found]  # noqa: PLC0415 - the system's Python has it, not ours

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import Gio, GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: PLC0415

    Gst.init(None)
    units = units_of(Path(stream).read_bytes())
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE)
    factory.set_shared(True)

    def configure(_: Any, media: Any) -> None:
        source = media.get_element().get_by_name_recurse_up("source")
        GLib.timeout_add(PUSH_MS, Feed(Gst, source, units, float(rate), int(gop), float(zero)).push)

    factory.connect("media-configure", configure)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if user or certificate:
        server.set_auth(GstRtspServer.RTSPAuth.new())
    if certificate:
        server.get_auth().set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
    if user:
        guard(Gst, GstRtspServer, server, factory, user)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
