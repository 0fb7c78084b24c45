"""A run of `sightline watch`: cameras, model, rules and sinks put together, and the end of it."""

import argparse
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePath
from types import FrameType
from urllib.parse import urlsplit

from pipeline.core.errors import DataError
from pipeline.core.stage import summary
from pipeline.runtime.bundle import unpacked
from pipeline.runtime.cameras import Camera, CameraStatus, Watch
from pipeline.runtime.evidence import Evidence, EvidenceParams
from pipeline.runtime.frames import OnGap, Source
from pipeline.runtime.metadata import scene as metadata
from pipeline.runtime.metadata.jsonl import JsonLines
from pipeline.runtime.metadata.mqtt import Broker, Mqtt
from pipeline.runtime.metadata.onvif import OnvifXml
from pipeline.runtime.metadata.scene import Clock
from pipeline.runtime.metadata.sink import MetadataSink, Output
from pipeline.runtime.motion import MotionParams
from pipeline.runtime.outlets import Outlet
from pipeline.runtime.rtsp import public
from pipeline.runtime.session import open_session
from pipeline.runtime.site import Site, read_site
from pipeline.runtime.sources import open_source
from pipeline.runtime.watching import CameraPipeline, Detector, detector_of
from pipeline.services.watch_status import StatusLines, balance, warnings
from pipeline.services.watch_view import Scene, View

Handler = Callable[[int, FrameType | None], object] | int | None  # as `signal` takes and gives them
MOTION = MotionParams()
_NO_NAME = re.compile(r"[^\w .-]+")


def watch(args: argparse.Namespace) -> None:
    """Watch the sources until all have ended, the time is over or a signal comes.

    Raises:
        SightlineError: a source, the model or the site is not as it must be, or no camera could be watched.
    """
    with unpacked(args.model) as folder:
        session = open_session(folder, args.artifact, args.threads)
        print(f"  {session.contract.model}, {session.artifact}: {session.chosen}", flush=True)
        detector = detector_of(session)
        site = read_site(args.site) if args.site else Site.default(detector.classes)
        sources = cameras_of(args.sources, site)
        site.check(detector.classes, sources)
        status = _watched(sources, site, detector, args)
    broken = [f"{it.camera}: {it.problem}" for it in status if it.problem]
    if broken and not any(it.frames for it in status):
        raise DataError(f"no camera could be watched: {'; '.join(broken)}")
    frames, dropped = sum(it.frames for it in status), sum(it.dropped for it in status)
    told = f", {len(broken)} ended before their end" if broken else ""
    summary("watch", f"{frames} frames of {len(status)} cameras, {dropped} dropped{told}")


def cameras_of(given: Sequence[str], site: Site) -> dict[str, str]:
    """What is to be watched: source by camera. A source that the site does not know gives its camera a name.

    Raises:
        DataError: there is nothing to watch, a camera of the site has no source, or two sources have one name.
    """
    known = {name: camera.source for name, camera in site.cameras.items() if camera.source}
    if not given and not known:
        raise DataError("nothing to watch; give a source, or a source to a camera in the site file")
    found: dict[str, str] = {}
    for text in given or known:
        name, source = _camera(text, site, known)
        if name in found:
            raise DataError(f"two sources would be the camera {name!r}; name them in the site file")
        found[name] = source
    return found


def _camera(text: str, site: Site, known: Mapping[str, str]) -> tuple[str, str]:
    if text in site.cameras:
        if text not in known:
            raise DataError(f"cameras.{text} has no source in the site file; give it one, or name a file or address")
        return text, known[text]
    named = next((name for name, source in known.items() if source == text), None)
    return named or _name(text), text


def _name(text: str) -> str:
    """A camera's name from its source: of a file its stem, of an address the end of its path, or its host."""
    stem = Path(text).stem
    if "://" in text:
        parts = urlsplit(public(text))  # the end of a path may hold a password
        stem = PurePath(parts.path).name or parts.hostname or ""
    return _NO_NAME.sub("_", stem).strip("_. -") or "camera"


def opened(text: str, on_gap: OnGap, *, loop: bool) -> Source:
    """The source of a camera; with `loop` a file is played over and over as a camera would give it.

    It gives no more frames a second than the detector may look at: nobody would look at the others.
    """
    source = open_source(text, fps=MOTION.detect_fps, paced=loop, loop=loop, on_gap=on_gap)
    source.live = source.live or loop  # a camera does not wait
    return source


def _watched(
    sources: Mapping[str, str], site: Site, detector: Detector, args: argparse.Namespace
) -> list[CameraStatus]:
    cameras = [
        Camera(
            partial(opened, text, loop=args.loop),
            CameraPipeline(name, detector, site.camera(name), MOTION),
        )
        for name, text in sources.items()
    ]
    with ExitStack() as stack, stopping(args.duration) as stop:
        notes: dict[str, Callable[[], str]] = {}
        outlets = list(_outlets(list(sources), site, detector, args, notes))
        lines = StatusLines(outlets, notes, stack.enter_context(warnings()))
        status = Watch(cameras, outlets).run(stop, lines.show)
    ends = balance(status, [it.status() for it in outlets])
    print("".join(f"  {it}\n" for it in [*ends, *(f"{name}: {told()}" for name, told in notes.items())]), end="")
    return status


def _outlets(
    cameras: Sequence[str],
    site: Site,
    detector: Detector,
    args: argparse.Namespace,
    notes: dict[str, Callable[[], str]],
) -> Iterator[Outlet]:
    """Where observations go, each apart from the others; `notes` take what an outlet has to say of itself."""
    clock = Clock()  # one for all: the same moment has the same time everywhere
    if args.jsonl:
        yield _metadata("jsonl", JsonLines(args.jsonl), detector, clock)
    if args.onvif:
        yield _metadata("onvif", OnvifXml(args.onvif), detector, clock)
    if args.mqtt:
        broker = Mqtt(Broker.of(args.mqtt))
        notes["mqtt"] = lambda: broker.status
        yield _metadata("mqtt", broker, detector, clock)
    mask = () if args.show_people else EvidenceParams().mask
    if args.evidence:
        evidence = Evidence(args.evidence, detector.classes, EvidenceParams(mask=mask), clock)
        notes["evidence"] = lambda: f"{evidence.written} clips written, {evidence.lost} lost"
        yield Outlet("evidence", evidence, pictures=True)
    if args.web is not None:
        view = View(args.web, {name: Scene(site.camera(name), detector.classes, mask) for name in cameras})
        print(f"  view: {view.address}", flush=True)
        yield Outlet("view", view, pictures=True)


def _metadata(name: str, output: Output, detector: Detector, clock: Clock) -> Outlet:
    return Outlet(name, MetadataSink(metadata.Scene(detector.classes, clock), [output]))


@contextmanager
def stopping(after_s: float | None = None) -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM or the time sets; a second signal ends the process as it would without us."""
    stop = threading.Event()
    before: dict[int, Handler] = {}

    def ask(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    timer = threading.Timer(after_s or 0, stop.set)
    timer.daemon = True
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    if after_s is not None:
        timer.start()
    try:
        yield stop
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
