"""What happens to the picture of a surveillance camera, in five severities: light, weather, dirt, a thin line.

Lengths are in pixels of a picture whose short side is 224, as in `imagenet_c`, and scaled to the picture at hand.
"""

from collections.abc import Callable
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.vision.effects import (
    EDGE,
    Field,
    Picture,
    Rng,
    blend,
    blurred,
    cover,
    fractal,
    lines,
    saturated,
    scale_of,
)

WEB_WHITE = (215, 215, 210)
DIRT = (74, 62, 48)
HEADLIGHT = (255, 247, 228)
LEAST = 16  # pixels: a side of the smallest picture that is given to the encoder


def low_light(image: Picture, severity: int, rng: Rng) -> Picture:
    """Little light at high gain: darker, with shot noise that grows with the root of the level, and read noise."""
    gain, shot, read = ((0.6, 0.3, 2), (0.45, 0.6, 4), (0.33, 1.2, 6), (0.24, 2.2, 8), (0.17, 3.5, 10))[severity - 1]
    mean = np.arange(256, dtype=np.float32) * np.float32(gain)
    deviation = np.sqrt(shot * mean + read**2).astype(np.float32)
    return saturated(mean[image] + deviation[image] * rng.standard_normal(image.shape, np.float32))


def infrared(image: Picture, severity: int, rng: Rng) -> Picture:
    """Night mode: no colour, and an illuminator that lights the middle and leaves the corners dark and noisy."""
    fall, deviation = ((0.3, 2), (0.5, 4), (0.65, 7), (0.78, 10), (0.88, 14))[severity - 1]
    grey = cv2.transform(image, np.array([[0.55, 0.35, 0.1]], np.float32))  # silicon sees more of the red end
    height, width = image.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    light = (1.2 - fall * (x * x + y * y)).clip(0.05).astype(np.float32)
    noise = np.float32(deviation) * rng.standard_normal((height, width), np.float32)
    return np.asarray(
        cv2.cvtColor(saturated(grey.reshape(height, width) * light + noise), cv2.COLOR_GRAY2RGB), np.uint8
    )


def headlight_glare(image: Picture, severity: int, rng: Rng) -> Picture:
    """Cars that face the camera: pairs of lights with a core, a halo and the lens's streak, over a veil."""
    pairs, radius, power = ((1, 6, 0.7), (1, 9, 0.9), (2, 11, 1.0), (2, 15, 1.2), (3, 17, 1.3))[severity - 1]
    height, width = image.shape[:2]
    reach = radius * scale_of(image.shape)
    light = np.zeros(tuple(max(1, side // 4) for side in (height, width)), np.float32)
    for _ in range(pairs):
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.35, 0.75) * height
        for side in (-1, 1):
            light += _lamp(light.shape, (x + side * 2.5 * reach) / 4, y / 4, reach / 4)
    layer = np.asarray(cv2.resize(np.float32(power) * (light + np.float32(0.04)), (width, height)), np.float32)
    return saturated(image + layer[..., None] * np.array(HEADLIGHT, np.float32))


def _lamp(shape: tuple[int, ...], x: float, y: float, radius: float) -> Field:
    """Light of one lamp, (H, W), 1 and more in its core; place and radius in pixels."""
    dy, dx = np.arange(shape[0], dtype=np.float32)[:, None] - y, np.arange(shape[1], dtype=np.float32)[None] - x
    far = np.sqrt(dx * dx + dy * dy) / radius
    across = np.exp(-np.abs(dy) / (0.25 * radius)) * np.exp(-np.abs(dx) / (5 * radius))
    return np.asarray(1.5 * np.exp(-far * far) + 0.3 * np.exp(-far / 3) + 0.3 * across, np.float32)


def rain_streaks(image: Picture, severity: int, rng: Rng) -> Picture:
    """Rain: far drops as a fine hatch, near ones as long pale streaks, under a grey veil."""
    count, veil, opacity = (
        (150, 0.06, 0.55),
        (300, 0.12, 0.6),
        (550, 0.2, 0.65),
        (900, 0.28, 0.7),
        (1400, 0.36, 0.75),
    )[severity - 1]
    slant = rng.uniform(75, 105)
    far = lines(image.shape, count, 12, slant, 0.5, rng)
    near = lines(image.shape, count / 6, 26, slant, 1.0, rng)
    return cover(_veiled(image, veil, 150), np.maximum(0.75 * far, near) * np.float32(opacity), (200, 205, 210))


def snow_streaks(image: Picture, severity: int, rng: Rng) -> Picture:
    """Falling snow: small far flakes, large near ones drawn out by the shutter, in white air."""
    count, veil = ((80, 0.05), (170, 0.12), (320, 0.2), (520, 0.28), (800, 0.36))[severity - 1]
    slant = rng.uniform(60, 120)
    far = lines(image.shape, count, 2, slant, 1.2, rng)
    near = lines(image.shape, count / 6, 6, slant, 3.2, rng)
    return cover(_veiled(image, veil, 215), np.maximum(0.85 * far, near) * np.float32(0.95), (245, 246, 250))


def _veiled(image: Picture, share: float, level: float) -> Picture:
    """Air that scatters light of this level (Koschmieder, 1924)."""
    return blend(image, 1 - share, image, 0, share * level)


def lens_dirt(image: Picture, severity: int, rng: Rng) -> Picture:
    """Dust and dried drops on the dome: out of focus, they swallow light and smear what is behind them."""
    share, spots, opacity = (
        (0.06, 6, 0.6),
        (0.13, 10, 0.7),
        (0.22, 16, 0.78),
        (0.34, 24, 0.85),
        (0.48, 34, 0.92),
    )[severity - 1]
    scale = scale_of(image.shape)
    height, width = image.shape[:2]
    clouds = fractal(tuple(max(1, side // 4) for side in (height, width)), 2.2, rng)
    edge = float(np.quantile(clouds, 1 - share))
    film = cv2.resize(np.clip((clouds - edge) / 0.2 + 0.5, 0, 1), (width, height))
    drops = np.zeros((height, width), np.uint8)
    for x, y, radius in zip(
        rng.uniform(0, width, spots), rng.uniform(0, height, spots), rng.gamma(3, 1.6, spots), strict=True
    ):
        cv2.circle(drops, (round(x), round(y)), max(1, round(radius * scale)), 255, cv2.FILLED)
    soft = np.asarray(blurred(drops, 1.5 * scale), np.float32) / 255
    mask = (np.maximum(film, soft) * np.float32(opacity))[..., None]
    behind = blend(np.asarray(blurred(image, 3 * scale), np.uint8), 0.35, np.full_like(image, DIRT), 0.65)
    return saturated(image * (1 - mask) + behind * mask)


def spider_web(image: Picture, severity: int, rng: Rng) -> Picture:
    """Webs across the lens, lit by the camera's own illuminator and out of focus."""
    webs, reach, thickness, opacity = (
        (1, 0.5, 0.5, 0.5),
        (1, 0.9, 0.5, 0.65),
        (2, 0.9, 0.5, 0.75),
        (2, 1.2, 0.8, 0.85),
        (3, 1.3, 0.8, 0.95),
    )[severity - 1]
    scale = scale_of(image.shape)
    mask = np.zeros(image.shape[:2], np.uint8)
    width = max(1, round(thickness * scale))
    for _ in range(webs):
        cv2.polylines(mask, _web(image.shape, reach, rng), False, 255, width, cv2.LINE_AA)  # noqa: FBT003 - cv2's own
    soft = np.asarray(blurred(mask, 0.8 * scale), np.float32) / 255
    return cover(image, np.minimum(soft * np.float32(1.8), 1) * np.float32(opacity), WEB_WHITE)


def _web(shape: tuple[int, ...], reach: float, rng: Rng) -> list[NDArray[np.int32]]:
    """Threads from a hub and rings between them that sag inwards; `reach` in sides of the picture."""
    height, width = shape[:2]
    hub = rng.uniform(0.1, 0.9, 2) * (width, height)
    turns = np.sort(rng.uniform(-0.12, 0.12, 13) + np.arange(13)) * 2 * np.pi / 13
    longest = reach * min(width, height) * rng.uniform(0.7, 1.1, 13)
    rays = np.stack([np.cos(turns), np.sin(turns)], 1)
    threads = [np.stack([hub, hub + ray * far]) for ray, far in zip(rays, longest, strict=True)]
    for share in np.linspace(0.1, 0.85, 9) + rng.uniform(-0.02, 0.02, 9):
        knots = hub + rays * (longest * share)[:, None]
        sagging = (knots + np.roll(knots, -1, axis=0)) / 2 * 0.93 + hub * 0.07
        ring = np.stack([knots, sagging], 1).reshape(-1, 2)
        threads.append(np.concatenate([ring, ring[:1]]))
    return [thread.round().astype(np.int32) for thread in threads]


def stream_compression(image: Picture, severity: int, _: Rng) -> Picture:
    """A thin line: the frame as H.264 (x264) gives it back at a coarse quantiser."""
    crf = (34, 38, 42, 46, 51)[severity - 1]
    height, width = image.shape[:2]
    below, right = (max(LEAST, side + side % 2) - side for side in (height, width))
    even = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, EDGE), np.uint8)
    return np.ascontiguousarray(_h264(even, crf)[:height, :width])


def _h264(image: Picture, crf: int) -> Picture:
    """One picture of even sides through the encoder and back; one thread, so the bytes are always the same."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
    packets = [*encoder.encode(av.VideoFrame.from_ndarray(image, format="rgb24")), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    (frame,) = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


SURVEILLANCE: dict[str, Callable[[Picture, int, Rng], Picture]] = {
    "low_light": low_light,
    "infrared": infrared,
    "headlight_glare": headlight_glare,
    "rain_streaks": rain_streaks,
    "snow_streaks": snow_streaks,
    "lens_dirt": lens_dirt,
    "spider_web": spider_web,
    "stream_compression": stream_compression,
}
