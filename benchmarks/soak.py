"""`watch` for minutes on clips in a loop: does memory stay flat, is a frame ever late, what does an outage cost?

    python benchmarks/soak.py [--minutes 10] [--model models/export/cpu] [--broker] [--rtsp] [--outage 30]

The command runs in a process of its own, as people run it, on four clips of data/demo/clips at their own speed, with
JSON lines and evidence going out. Its resident memory is read every second; flat means that after the warm-up (the
first fifth, at most two minutes) the median of each minute is within 5 % of the first's: single readings go up while a
clip of evidence is written. A camera was never blocked where the frames served and dropped are those that its clip gave
in that time.

`--broker` adds a real mosquitto that is killed for 30 s after a third of the time: every event and every frame of the
JSON lines must have arrived at a subscriber at the end. `--rtsp` adds a real RTSP server that is killed for 30 s after
two thirds: that camera must miss the frames of that time and no others, and must say so; the others must miss none.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from pipeline.runtime.motion import MotionParams
from pipeline.runtime.sources import open_source

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # where the broker and the camera that the tests use lie

CLIPS = ("lobby", "lot_a", "aisle", "workshop")
RATE = MotionParams().detect_fps  # frames a second that `watch` takes
FLAT, LATE = 0.05, 0.02
PROGRAM = """
import argparse
from pipeline.core.stage import run
from pipeline.services.watching import watch_arguments, watch_command
parser = argparse.ArgumentParser()
watch_arguments(parser)
run(lambda: watch_command(parser.parse_args()))
"""
LINE = re.compile(
    r"  (?P<camera>[\w -]+): (?P<frames>\d+) frames, (?P<looks>\d+) detections, (?P<dropped>\d+) dropped"
    r"(, (?P<gaps>\d+) gaps? of (?P<gap_s>[\d.]+) s)?"
)


@dataclass
class Run:
    """What was seen from outside."""

    seconds: float = 0.0  # from the first frame to the end
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds and MiB
    out: str = ""
    err: str = ""


def per_second(clip: Path) -> float:
    """Frames a second that `watch` takes of the clip when it is played over and over."""
    times = [frame.timestamp_s for frame in open_source(str(clip), fps=RATE).frames()]
    return len(times) / (times[-1] + times[-1] - times[-2])


def watched(arguments: list[str], seconds: float, outages: list[tuple[float, Callable[[], None]]]) -> Run:
    """Run the command for so long, read its memory, and let each outage begin or end at its second."""
    it = Run()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments, "--duration", str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        readers = [_reader(it, "out", process), _reader(it, "err", process)]
        began = time.monotonic()
        resident = psutil.Process(process.pid)
        while process.poll() is None:
            now = time.monotonic() - began
            while outages and outages[0][0] <= now:
                outages.pop(0)[1]()
            if resident.is_running() and resident.status() != psutil.STATUS_ZOMBIE:
                it.memory.append((now, resident.memory_info().rss / 2**20))
            time.sleep(min(1.0, seconds / 50))
        for reader in readers:
            reader.join()
    if process.returncode:
        sys.exit(f"watch failed: {it.out}{it.err}")
    return it


def _reader(it: Run, name: str, process: "subprocess.Popen[str]") -> threading.Thread:
    def read() -> None:
        setattr(it, name, getattr(process, f"std{name}").read())

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def flat(memory: list[tuple[float, float]], seconds: float) -> bool:
    """Whether resident memory keeps within bounds after the warm-up, minute by minute."""
    warm = min(120.0, seconds / 5)
    rest = [(at, mib) for at, mib in memory if at >= warm]
    parts = max(2, round((rest[-1][0] - warm) / 60))
    medians = [float(np.median([mib for _, mib in part])) for part in np.array_split(rest, parts)]
    print(f"  memory from {warm:.0f} s on: {min(it for _, it in rest):.0f} to {max(it for _, it in rest):.0f} MiB")
    print(f"    medians: {', '.join(f'{it:.1f}' for it in medians)} MiB")
    most = max(abs(mib / medians[0] - 1) for mib in medians)
    return told(f"farthest from the first median: {100 * most:.1f} % (bar: {100 * FLAT:.0f} %)", most <= FLAT)


def told(text: str, good: bool) -> bool:  # noqa: FBT001 - the verdict on the text
    print(f"  {text}: {'reached' if good else 'NOT reached'}")
    return good


def served(it: Run, expected: dict[str, float], lost_s: dict[str, float]) -> bool:
    """Whether each camera got all frames of its time, but for those of its outage."""
    good = []
    for line in filter(None, map(LINE.match, it.out.splitlines())):
        name, rate = line["camera"], expected[line["camera"]]
        due = rate * (it.seconds - lost_s.get(name, 0.0))
        got = int(line["frames"]) + int(line["dropped"])
        outage = f", said: {line['gaps']} gap of {line['gap_s']} s" if line["gaps"] else ""
        text = f"{name}: {line['frames']} frames, {line['dropped']} dropped, {due:.0f} due{outage}"
        gap = float(line["gap_s"] or 0)
        said = abs(gap - lost_s.get(name, 0.0)) <= 8 if name in lost_s else not line["gaps"]
        good.append(told(text, said and abs(got - due) <= LATE * due + 2 * rate and int(line["dropped"]) <= LATE * due))
    return len(good) == len(expected) and all(good)


def arrived(folder: Path, messages: list[tuple[str, bytes, bool]]) -> bool:
    """Whether every frame and event of the JSON lines came to the subscriber, and nothing else did."""
    lines = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    sent = Counter((it["type"], it["camera"]) for it in lines)
    came: Counter[tuple[str, str]] = Counter()
    for topic in {(topic, payload) for topic, payload, _ in messages if payload}:
        parts = topic[0].split("/")
        kind = {"event": "event", "onvif-mj": "frame"}.get(parts[2] if len(parts) > 2 else "")
        if kind:
            came[kind, parts[1]] += 1
    missing = sent - came
    return told(
        f"MQTT: {sum(sent.values())} frames and events, missing at the subscriber: {dict(missing)}", not missing
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", type=Path, default=Path("models/export/cpu"))
    parser.add_argument("--broker", action="store_true")
    parser.add_argument("--rtsp", action="store_true")
    parser.add_argument("--outage", type=float, default=30.0, help="seconds")
    args = parser.parse_args()
    seconds, outages, lost_s = 60 * args.minutes, [], {}
    clips = [ROOT / "data/demo/clips" / f"{name}.mp4" for name in CLIPS]
    expected = {clip.stem: per_second(clip) for clip in clips}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arguments = [str(clip) for clip in clips] + ["--model", str(args.model.resolve()), "--loop"]
        arguments += ["--jsonl", str(folder / "lines"), "--evidence", str(folder / "evidence")]
        subscriber = None
        if args.broker:
            from tests.runtime.metadata.test_mqtt import Mosquitto, Subscriber  # noqa: PLC0415 - needs paho-mqtt

            (folder / "broker").mkdir()
            broker = Mosquitto(folder / "broker")
            stack.callback(broker.kill)
            subscriber = Subscriber(broker.port)
            stack.callback(subscriber.close)
            arguments += ["--mqtt", f"mqtt://127.0.0.1:{broker.port}"]
            outages += [(seconds / 3, broker.kill), (seconds / 3 + args.outage, broker.start)]
        if args.rtsp:
            from tests.cameras import camera, write_stream  # noqa: PLC0415 - needs GStreamer

            server = stack.enter_context(camera(write_stream(folder / "stream")))
            arguments.insert(0, server.address())
            expected["live"], lost_s["live"] = RATE, args.outage
            outages += [(2 * seconds / 3, server.kill), (2 * seconds / 3 + args.outage, server.start)]
        run = watched(arguments, seconds, outages)
        run.seconds = seconds
        print("".join(f"  | {line}\n" for line in [*run.err.splitlines(), *run.out.splitlines()[-12:]]), end="")
        good = [flat(run.memory, seconds), served(run, expected, lost_s)]
        if subscriber is not None:
            good.append(arrived(folder / "lines", subscriber.got))
        good.append(told("sinks lost nothing", not re.search(r"observations taken, |[1-9]\d* lost", run.out)))
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
