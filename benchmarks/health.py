"""How surely camera health finds what is wrong with a camera, and how weak a fault it finds, on the demo's six clips.

    python benchmarks/health.py [--trials 40] [--steps 10] [--minutes 5] [--clips lot_a ...] [--seed 0]

A clip's reference is made from its first 40 %; trials run on the rest, forth and back, for none of the clips is long
enough: that a loop is no real footage, and shows nothing new after its first turn, must be kept in mind. A trial begins
at a frame drawn by chance; 5 to 10 s later a fault sets in, with place, direction and strength drawn by chance, and has
10 s to be found. A shift or a tilt is tried on the inner 80 % of the picture, so that what comes into view is real.

Printed, by fault and clip: the share found in time (whatever it was called), the share that was given its right name at
the end of the 10 s, and the seconds to the finding; what it was called instead; the weakest strength found in half of
the trials; alarms on the untouched clips, whole and looped; milliseconds a look.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.runtime.health import HealthFinding, HealthMonitor, Reference, make_reference
from pipeline.vision.effects import Rng, disk, fractal, scale_of
from pipeline.vision.surveillance import DIRT, WEB_WHITE, lens_dirt, spider_web

CLIPS = Path(__file__).parents[1] / "data" / "demo" / "clips"
WIDTH = 320  # pixels: of a look
LOOK_S = 0.5
DEADLINE_S = 10.0
FOR_REFERENCE = 0.4  # of a clip
LUMA = np.array([0.299, 0.587, 0.114])
NOISE = np.random.default_rng(0).standard_normal((900, 1400), np.float32)
DIRT_SEVERITY = 3  # a fifth of the picture under film, and sixteen drops

Luma = NDArray[np.uint8]  # (H, W)
Effect = Callable[[Luma, Rng], Luma | None]  # of one frame, and the chance of this frame


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip's frames, and their rate."""

    name: str
    frames: tuple[Luma, ...]
    fps: float


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and how it is drawn."""

    kind: str  # as it should be called
    effect: Callable[[Luma, float, Rng], Effect]  # of a trial: an example frame, strength, chance
    unit: str
    strengths: tuple[float, float]  # drawn evenly
    ladder: tuple[float, ...] = ()  # weakest last
    inner: bool = False  # shown on the inner part of the picture


def read(path: Path) -> Clip:
    """A clip's luma."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = tuple(frame.to_ndarray(format="gray") for frame in container.decode(stream))
        return Clip(path.stem, frames, float(stream.average_rate or 0))


def uint8(values: NDArray[np.floating]) -> Luma:
    """Rounded and saturated."""
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def noisy(values: NDArray[np.floating], deviation: float, rng: Rng) -> Luma:
    """With a sensor's noise: a part of one large field of it, for drawing takes longer than all else."""
    height, width = values.shape
    down, right = rng.integers(0, NOISE.shape[0] - height), rng.integers(0, NOISE.shape[1] - width)
    return uint8(values + np.float32(deviation) * NOISE[down : down + height, right : right + width])


def cover(example: Luma, share: float, rng: Rng) -> Effect:
    """Something before the lens, from one side, out of focus: a level, clouds on it, noise."""
    height, width = example.shape
    direction = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    side = np.cos(direction) * x + np.sin(direction) * y
    opacity = np.clip((np.quantile(side, share) - side) / rng.uniform(0.02, 0.15) + 0.5, 0, 1) if share < 1 else 1.0
    surface = rng.uniform(15, 200) + rng.uniform(0, 40) * (fractal(example.shape, 2.5, rng) - 0.5)
    return lambda frame, chance: noisy(frame * (1 - opacity) + surface * opacity, 1.5, chance)


def shift(example: Luma, share: float, rng: Rng) -> Effect:
    """By a share of the sides of the inner part, in any direction."""
    height, width = example.shape
    direction, inner = rng.uniform(0, 2 * np.pi), 0.8 * share
    return moved(np.array([[1, 0, inner * width * np.cos(direction)], [0, 1, inner * height * np.sin(direction)]]))


def tilt(example: Luma, degrees: float, rng: Rng) -> Effect:
    """About the picture's centre."""
    height, width = example.shape
    turn = degrees * int(rng.choice((-1, 1)))
    return moved(np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.0), np.float64))


def moved(matrix: NDArray[np.float64]) -> Effect:
    """The picture elsewhere."""
    return lambda frame, _: np.asarray(cv2.warpAffine(frame, matrix, frame.shape[::-1]), np.uint8)


def defocus(example: Luma, share: float, _: Rng) -> Effect:
    """A disk, its radius a share of the width."""
    kernel = disk(share * example.shape[1], 0.5)
    return lambda frame, _: np.asarray(cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8)


def darken(_: Luma, gain: float, rng: Rng) -> Effect:
    """Less light, and noise."""
    deviation = rng.uniform(1, 5)
    return lambda frame, chance: noisy(frame * np.float32(gain), deviation, chance)


def brighten(_: Luma, gain: float, rng: Rng) -> Effect:
    """Too much light."""
    offset = rng.uniform(20, 80)
    return lambda frame, chance: noisy(frame * np.float32(gain) + np.float32(offset), 1.0, chance)


def freeze(_: Luma, share: float, __: Rng) -> Effect:
    """The frame at the onset, from then on; a share of its pixels still changes by one level, as an encoder may do."""
    held: list[Luma] = []

    def effect(frame: Luma, chance: Rng) -> Luma:
        held.append(frame) if not held else None
        return uint8(held[0] + (chance.random(frame.shape) < share) * chance.choice((-1.0, 1.0), frame.shape))

    return effect


def lost(_: Luma, flat: float, rng: Rng) -> Effect:
    """No frame, or one flat level."""
    level = int(rng.integers(0, 236))  # of video
    return lambda frame, _: np.full_like(frame, level) if flat > 0.5 else None


def web(example: Luma, severity: float, rng: Rng) -> Effect:
    """`spider_web` as an overlay: what it adds to a black picture tells its opacity."""
    alpha = on_black(spider_web, example, round(severity), rng) / (LUMA @ WEB_WHITE)
    return lambda frame, _: uint8(frame * (1 - alpha) + alpha * (LUMA @ WEB_WHITE))


def dirt(example: Luma, opacity: float, rng: Rng) -> Effect:
    """`lens_dirt` as an overlay, its film and drops at this opacity."""
    alpha = on_black(lens_dirt, example, DIRT_SEVERITY, rng)
    alpha *= opacity / max(float(alpha.max()), 1.0)
    spread = 3 * scale_of(example.shape)

    def effect(frame: Luma, _: Rng) -> Luma:
        behind = 0.35 * cv2.GaussianBlur(frame, (0, 0), spread) + 0.65 * (LUMA @ DIRT)
        return uint8(frame * (1 - alpha) + behind * alpha)

    return effect


def on_black(
    effect: Callable[[NDArray[np.uint8], int, Rng], NDArray[np.uint8]], example: Luma, severity: int, rng: Rng
) -> NDArray[np.float32]:
    """Luma (H, W) of an effect of `vision.surveillance` on a black picture."""
    return np.asarray(effect(np.zeros((*example.shape, 3), np.uint8), severity, rng) @ LUMA, np.float32)


FAULTS: Mapping[str, Fault] = {
    "covered": Fault("covered", cover, "of the picture", (0.6, 1.0), (0.8, 0.7, 0.6, 0.5, 0.4, 0.3)),
    "moved": Fault("moved", shift, "of the sides", (0.1, 0.1), (0.1, 0.07, 0.05, 0.04, 0.03, 0.02), inner=True),
    "tilted": Fault("moved", tilt, "degrees", (2.0, 5.0), (3.0, 2.0, 1.5, 1.0, 0.7), inner=True),
    "defocused": Fault("defocused", defocus, "of the width", (0.008, 0.02), (0.01, 0.008, 0.006, 0.004, 0.002)),
    "too dark": Fault("too dark", darken, "of the light left", (0.03, 0.25), (0.25, 0.3, 0.35, 0.4, 0.5)),
    "too bright": Fault("too bright", brighten, "times the light", (2.0, 4.0), (2.0, 1.7, 1.4, 1.2)),
    "frozen": Fault("frozen", freeze, "of the pixels flicker", (0.0, 0.02), (0.02, 0.05, 0.1, 0.2)),
    "web": Fault("web", web, "severity", (0.5, 5.5), (4, 3, 2, 1)),
    "no signal": Fault("no signal", lost, "flat picture", (0.0, 1.0)),
    "dirt": Fault("dirt", dirt, "opacity", (0.5, 1.0), (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)),
}


def look(frame: Luma, *, inner: bool = False) -> Luma:
    """A frame at the width of a look."""
    if inner:
        height, width = frame.shape
        frame = frame[height // 10 : height - height // 10, width // 10 : width - width // 10]
    size = WIDTH, round(WIDTH * frame.shape[0] / frame.shape[1])
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def reference(clip: Clip, *, inner: bool) -> Reference:
    """Of the frames of the clip's beginning."""
    known = clip.frames[: int(len(clip.frames) * FOR_REFERENCE)]
    return make_reference([look(frame, inner=inner) for frame in known[:: max(1, len(known) // 12)]])


def looped(frames: Sequence[Luma], fps: float, start: int, seconds: float) -> list[Luma]:
    """Frames at the times of looks, forth and back."""
    turn = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    return [frames[turn[(start + round(k * LOOK_S * fps)) % len(turn)]] for k in range(int(seconds / LOOK_S) + 1)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a trial."""

    early: int  # findings before the onset
    after_s: float | None  # when something was found
    called: str  # at the deadline; "" nothing


def trial(clip: Clip, known: Reference, fault: Fault, strength: float | None, rng: Rng) -> Outcome:
    """One trial; the strength is drawn where none is given."""
    frames = clip.frames[int(len(clip.frames) * FOR_REFERENCE) :]
    onset = round(rng.uniform(5, 10) / LOOK_S) * LOOK_S
    shown = looped(frames, clip.fps, int(rng.integers(2 * len(frames))), onset + DEADLINE_S)
    strength = rng.uniform(*fault.strengths) if strength is None else strength
    effect = fault.effect(frames[0], strength, rng)
    watching, begun = HealthMonitor(known), []
    for k, frame in enumerate(shown):
        now = k * LOOK_S
        seen = effect(frame, rng) if now >= onset else frame
        begun += [
            (now, it)
            for it in watching.step(None if seen is None else look(seen, inner=fault.inner), now)
            if it.end_s is None
        ]
    after = [now - onset for now, it in begun if now >= onset]
    current = watching.current.kind if watching.current else ""
    return Outcome(sum(now < onset for now, _ in begun), after[0] if after else None, current)


def untouched(clip: Clip, minutes: float) -> tuple[list[HealthFinding], float, float]:
    """Findings, seconds shown, and milliseconds a look: the clip whole, then its rest forth and back."""
    watching, found, seconds, spent = HealthMonitor(reference(clip, inner=False)), [], 0.0, 0.0
    rest = looped(clip.frames, clip.fps, 0, max(60 * minutes, len(clip.frames) / clip.fps))
    for k, frame in enumerate(rest):
        small, begin = look(frame), time.process_time()
        found += watching.step(small, k * LOOK_S)
        spent += time.process_time() - begin
        seconds = k * LOOK_S
    return found, seconds, 1000 * spent / len(rest)


def main() -> None:
    """Run all and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--steps", type=int, default=10, help="trials a strength")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clips", nargs="+", default=sorted(path.stem for path in CLIPS.glob("*.mp4")))
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    for name in args.clips:
        clip = read(CLIPS / f"{name}.mp4")
        found, seconds, cost = untouched(clip, args.minutes)
        alarms = ", ".join(f"{it.kind} at {it.start_s:.0f} s" for it in found) or "no alarm"
        print(f"{name}: untouched for {seconds:.0f} s: {alarms}; {cost:.2f} ms a look", flush=True)
        for title in args.faults:
            print("  " + report(clip, title, args.trials, args.steps, args.seed), flush=True)


def report(clip: Clip, title: str, trials: int, steps: int, seed: int) -> str:
    """One line: a fault on a clip."""
    fault = FAULTS[title]
    number, known = list(FAULTS).index(title), reference(clip, inner=fault.inner)
    drawn = [trial(clip, known, fault, None, np.random.default_rng((seed, number, i))) for i in range(trials)]
    times = [it.after_s for it in drawn if it.after_s is not None]
    called = Counter(it.called or "nothing" for it in drawn if it.called != fault.kind)
    early = sum(it.early for it in drawn)
    text = f"{title:10} found {len(times):3}/{trials} named {sum(it.called == fault.kind for it in drawn):3}/{trials}"
    text += f" median {np.median(times) if times else np.nan:4.1f} s, worst {max(times, default=np.nan):4.1f} s"
    text += f", called instead {dict(called)}" if called else ""
    text += f", {early} alarms before the onset" if early else ""
    shares = {}
    for i, strength in enumerate(fault.ladder):
        tried = [
            trial(clip, known, fault, strength, np.random.default_rng((seed, number, i, j, 1))) for j in range(steps)
        ]
        shares[strength] = sum(it.called == fault.kind for it in tried) / max(steps, 1)
    ladder = " ".join(f"{strength:g}:{100 * share:.0f}%" for strength, share in shares.items())
    return text + (f" | named by {fault.unit}: {ladder}" if steps and ladder else "")


if __name__ == "__main__":
    main()
