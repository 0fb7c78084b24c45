"""The cameras in a browser: one page with the current picture of each, boxes and zones drawn, people masked.

A picture is shown of each frame that the detector looked at, so that boxes and masks lie where the people are. The page
asks for nothing but its own pictures, and only this machine is answered unless another address is given.
"""

import html
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import SightlineError
from pipeline.io.images import encode_jpeg
from pipeline.runtime.masking import masked
from pipeline.runtime.site import CameraRules
from pipeline.runtime.tracking import Track
from pipeline.runtime.watching import Observation
from pipeline.vision.draw import Color, draw_boxes

LOCAL = "127.0.0.1"
HOSTS = frozenset({LOCAL, "localhost"})  # what a browser here may call us; a page elsewhere cannot borrow the name
QUALITY = 80  # JPEG's 0..100
WAIT_S = 1.0  # for a new picture, before the old one is sent again
POLL_S = 0.1  # of the server, for its end
BOUNDARY = "frame"
PART = "--{boundary}\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
_PICTURES = re.compile(r"/(?P<index>\d{1,4})\.(?P<kind>jpg|mjpeg)")
# Okabe and Ito: told apart by colour-blind eyes as well.
COLORS: Sequence[Color] = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0))
INCLUDE, EXCLUDE, LINE = (0, 158, 115), (213, 94, 0), (240, 228, 66)
POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sightline: cameras</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif }}
body {{ margin: 1rem }}
main {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)) }}
figure {{ margin: 0 }}
img {{ width: 100%; height: auto; background: #808080 }}
</style>
<h1>Cameras</h1>
<main>
{figures}
</main>
</html>
"""
FIGURE = '<figure><img src="/{index}.mjpeg" alt="{name}: current picture"><figcaption>{name}</figcaption></figure>'

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is drawn on a camera's pictures, and what its labels mean."""

    rules: CameraRules
    classes: tuple[str, ...]
    masked: tuple[str, ...] = ("person",)  # classes that are made unrecognisable


class View:
    """A sink that shows; `address` says where.

    Args:
        port: to listen on; 0 for any that is free.
        scenes: by camera.

    Raises:
        SightlineError: the port cannot be had.
    """

    def __init__(self, port: int, scenes: Mapping[str, Scene]) -> None:
        self._scenes = scenes
        self._cameras = list(scenes)
        self._latest: dict[str, tuple[int, Observation]] = {}  # number and observation
        self._drawn: dict[str, tuple[int, bytes]] = {}
        self._changed = threading.Condition()
        self._drawing = threading.Lock()
        self._closed = False
        try:
            self._server = _Server((LOCAL, port), self)
        except (OSError, OverflowError) as error:
            raise SightlineError(f"the view cannot have {LOCAL}:{port}: {error}; give --web another port") from None
        self.address = f"http://{LOCAL}:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="view", daemon=True).start()

    def emit(self, it: Observation) -> None:
        """Keep what there is to show; it is drawn when somebody looks."""
        if it.detected and it.frame is not None:
            with self._changed:
                number = self._latest[it.camera][0] + 1 if it.camera in self._latest else 0
                self._latest[it.camera] = number, it
                self._changed.notify_all()

    def close(self) -> None:
        """End the page and every stream of pictures."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def page(self) -> bytes:
        """The page."""
        figures = [FIGURE.format(index=i, name=html.escape(name)) for i, name in enumerate(self._cameras)]
        return PAGE.format(figures="\n".join(figures)).encode()

    @property
    def count(self) -> int:
        """Cameras."""
        return len(self._cameras)

    def picture(self, index: int, after: int) -> tuple[int, bytes] | None:
        """A camera's picture and its number, newer than `after` if one comes in time; None where there is none."""
        camera = self._cameras[index]
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._latest.get(camera, (after,))[0] > after, WAIT_S)
            latest = None if self._closed else self._latest.get(camera)
        if latest is None:
            return None
        with self._drawing:
            if self._drawn.get(camera, (-1,))[0] != latest[0]:
                self._drawn[camera] = latest[0], encode_jpeg(drawn(latest[1], self._scenes[camera]), QUALITY)
            return self._drawn[camera]

    @property
    def closed(self) -> bool:
        """Whether the view has ended."""
        return self._closed


def drawn(it: Observation, scene: Scene) -> Image:
    """The observation's picture with people masked, zones, lines and boxes; (H, W, 3) uint8 RGB."""
    if it.frame is None:
        raise ValueError("an observation without its frame cannot be drawn")
    people = [track.box.tolist() for track in it.tracks if scene.classes[track.label] in scene.masked]
    canvas = masked(it.frame.rgb(), people)
    _draw_rules(canvas, scene.rules)
    for label, name in enumerate(scene.classes):
        mine = [track for track in it.tracks if track.label == label and track.confirmed and track.visible]
        boxes = np.array([track.box for track in mine]).reshape(-1, 4)
        canvas = draw_boxes(canvas, boxes, [_caption(name, track) for track in mine], COLORS[label % len(COLORS)])
    return canvas


def _caption(name: str, track: Track) -> str:
    return f"{name} {track.track_id}"


def _draw_rules(canvas: Image, rules: CameraRules) -> None:
    height, width = canvas.shape[:2]
    for zone in rules.zones:
        corners = np.round(np.array(zone.polygon) * (width, height)).astype(np.int32)
        cv2.polylines(canvas, [corners], isClosed=True, color=INCLUDE if zone.kind == "include" else EXCLUDE)
    for line in rules.lines:
        start, end = np.round(np.array([line.start, line.end]) * (width, height)).astype(int).tolist()
        cv2.arrowedLine(canvas, start, end, LINE, tipLength=0.03)


class _Server(ThreadingHTTPServer):
    """Holds the view that its handlers show."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], view: View) -> None:
        super().__init__(address, _Handler)
        self.view = view


class _Handler(BaseHTTPRequestHandler):
    """The page at `/`; of each camera, by number, `/0.jpg` and the stream `/0.mjpeg`."""

    protocol_version = "HTTP/1.0"  # a stream ends with its connection
    server_version, sys_version = "Sightline", ""
    timeout = 10  # seconds, for a browser that does not read

    @property
    def _view(self) -> View:
        return cast("_Server", self.server).view

    def do_GET(self) -> None:
        """Answer one request."""
        if self.headers.get("Host", LOCAL).partition(":")[0] not in HOSTS:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path == "/":
            self._send("text/html; charset=utf-8", self._view.page())
        elif (path := _PICTURES.fullmatch(self.path)) and int(path["index"]) < self._view.count:
            SHOW[path["kind"]](self, int(path["index"]))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def picture(self, index: int) -> None:
        """The current picture."""
        latest = self._view.picture(index, -1)
        if latest is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._send("image/jpeg", latest[1])

    def stream(self, index: int) -> None:
        """One picture after another, until the view ends or the browser leaves."""
        number = -1
        self.send_response(HTTPStatus.OK)
        self._headers(f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        with suppress(OSError):
            while not self._view.closed:
                latest = self._view.picture(index, number)
                if latest is not None:
                    number, data = latest
                    self.wfile.write(PART.format(boundary=BOUNDARY, length=len(data)).encode() + data + b"\r\n")

    def _send(self, kind: str, data: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(data)))
        self._headers(kind)
        self.wfile.write(data)

    def _headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing: the terminal belongs to the status."""


SHOW = {"jpg": _Handler.picture, "mjpeg": _Handler.stream}
