"""The fifteen common corruptions of Hendrycks & Dietterich (ICLR 2019), in five severities, on numpy and OpenCV.

The severities' values are the paper's. What it gives in pixels of a 224-pixel picture is scaled to the picture at hand.
Three things differ, because boxes must stay true and frames are large: motion is a uniform, centred shutter of the same
spread, where the paper's trails to one side; glass moves each pixel by a drawn offset instead of swapping neighbours
one after the other; the elastic transform keeps the local warping alone, for the paper's affine part (up to a fifth of
the picture in the first two severities) would move the truth.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.vision.effects import (
    EDGE,
    Picture,
    Rng,
    blend,
    blurred,
    disk,
    fractal,
    saturated,
    scale_of,
    smeared,
)

QUANTILES = 4096  # steps of the chance in the table of photon counts
RADIUS = 4  # pixels: disks beyond it make OpenCV take the slow way
DOUBLINGS = 5  # of the zoom blur: 32 zooms


def gaussian_noise(image: Picture, severity: int, rng: Rng) -> Picture:
    """Noise of a sensor in low light."""
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return blend(image, 1, rng.standard_normal(image.shape, np.float32), 255 * deviation)


def shot_noise(image: Picture, severity: int, rng: Rng) -> Picture:
    """Poisson noise of few photons: a level of 255 is this many."""
    table = _photons((60, 25, 12, 5, 3)[severity - 1])
    chance = rng.integers(0, QUANTILES, image.shape, np.uint16)
    return np.asarray(table.take(image.astype(np.int32) * QUANTILES + chance), np.uint8)


@lru_cache(8)
def _photons(white: int) -> Picture:
    """Noisy level for each level and each quantile of the chance, flat (256 * QUANTILES,)."""
    mean = np.arange(256)[:, None] / 255 * white
    counts = np.arange(1, 8 * white + 20)
    ratios = np.exp(-mean) * np.cumprod(np.concatenate([np.ones((256, 1)), mean / counts], axis=1), axis=1)
    chance = (np.arange(QUANTILES) + 0.5) / QUANTILES
    drawn = np.stack([np.searchsorted(row, chance) for row in ratios.cumsum(axis=1)])
    return np.clip(drawn / white * 255, 0, 255).astype(np.uint8).ravel()


def impulse_noise(image: Picture, severity: int, rng: Rng) -> Picture:
    """Salt and pepper: defect pixels and bit errors."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    chance = rng.integers(0, 65536, image.shape, np.uint16)
    noisy = np.where(chance < 32768 * share, np.uint8(0), image)
    return np.where(chance >= 65536 - 32768 * share, np.uint8(255), noisy)


def defocus_blur(image: Picture, severity: int, _: Rng) -> Picture:
    """A lens out of focus. Filtered at the size where the radius is small: the kernel lets nothing finer through."""
    radius, soft = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    height, width = image.shape[:2]
    scale = scale_of(image.shape) * max(1.0, radius / RADIUS)
    small = max(1, round(width / scale)), max(1, round(height / scale))
    kernel = disk(min(radius, RADIUS), soft * min(1.0, RADIUS / radius))
    few = cv2.filter2D(cv2.resize(image, small, interpolation=cv2.INTER_AREA), -1, kernel, borderType=EDGE)
    return np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def glass_blur(image: Picture, severity: int, rng: Rng) -> Picture:
    """Frosted glass: pixels from a little way off, between two blurs."""
    sigma, reach, times = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    scale = scale_of(image.shape)
    height, width = image.shape[:2]
    offset = np.zeros((height, width, 2), np.float32)
    for _ in range(times):
        offset += rng.uniform(-reach * scale, reach * scale, offset.shape).astype(np.float32)
    smooth = np.asarray(blurred(image, sigma * scale), np.uint8)
    return np.asarray(blurred(_displaced(smooth, offset, cv2.INTER_NEAREST), sigma * scale), np.uint8)


def _displaced(image: Picture, offset: NDArray[np.float32], interpolation: int) -> Picture:
    """Each pixel from `offset` (H, W, 2) pixels away."""
    height, width = image.shape[:2]
    x = offset[..., 0] + np.arange(width, dtype=np.float32)
    y = offset[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(image, x, y, interpolation, borderMode=EDGE), np.uint8)


def motion_blur(image: Picture, severity: int, rng: Rng) -> Picture:
    """A slow shutter while camera or object moves; as far as the standard deviation of the paper's half Gaussian."""
    sigma = (3, 5, 8, 12, 15)[severity - 1]
    return np.asarray(smeared(image, _length(sigma) * scale_of(image.shape), rng.uniform(-45, 45)), np.uint8)


def _length(sigma: float) -> float:
    """Length of a uniform motion with the standard deviation of a half Gaussian of `sigma`."""
    return sigma * math.sqrt(12 * (1 - 2 / math.pi))


def zoom_blur(image: Picture, severity: int, _: Rng) -> Picture:
    """A camera that moves towards the scene: the mean over zooms from 1 to the largest."""
    largest = (1.11, 1.16, 1.21, 1.26, 1.31)[severity - 1]
    height, width = image.shape[:2]
    mean = image
    for n in range(DOUBLINGS):  # each turn doubles the number of zooms in the mean
        zoom = largest ** (2**n / 2**DOUBLINGS)
        matrix = np.array([[zoom, 0, (1 - zoom) * (width - 1) / 2], [0, zoom, (1 - zoom) * (height - 1) / 2]])
        mean = blend(mean, 0.5, cv2.warpAffine(mean, matrix, (width, height), borderMode=EDGE), 0.5)
    return mean


def snow(image: Picture, severity: int, rng: Rng) -> Picture:
    """Flakes blown across a whitened picture."""
    mean, spread, zoom, least, sigma, kept = (
        (0.1, 0.3, 3, 0.5, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 0.55),
    )[severity - 1]
    scale = scale_of(image.shape)
    height, width = image.shape[:2]
    small = tuple(int(np.ceil(side / (zoom * scale))) for side in (height, width))
    drawn = rng.normal(mean, spread, small)
    flakes = cv2.resize(np.clip(255 * drawn, 0, 255).astype(np.uint8), (width, height))
    falling = np.where(flakes < 255 * least, np.uint8(0), flakes)
    streaks = smeared(falling, _length(sigma) * scale, rng.uniform(-135, -45))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    bright = cv2.cvtColor(blend(grey, 1.5, grey, 0, 127.5), cv2.COLOR_GRAY2RGB)
    whitened = blend(image, kept, cv2.max(image, bright), 1 - kept)
    layer = cv2.cvtColor(cv2.add(streaks, cv2.rotate(streaks, cv2.ROTATE_180)), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.add(whitened, layer), np.uint8)


def frost(image: Picture, severity: int, rng: Rng) -> Picture:
    """Ice crystals on the window: one of five photographs."""
    kept, ice = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    texture = _textures()[rng.integers(len(_textures()))]
    height, width = image.shape[:2]
    scale = 1.2 * max(height / texture.shape[0], width / texture.shape[1])
    size = (int(np.ceil(texture.shape[1] * scale)), int(np.ceil(texture.shape[0] * scale)))
    grown = cv2.resize(texture, size, interpolation=cv2.INTER_LINEAR)
    top, left = rng.integers(0, size[1] - height + 1), rng.integers(0, size[0] - width + 1)
    return blend(image, kept, np.ascontiguousarray(grown[top : top + height, left : left + width]), ice)


@lru_cache(1)
def _textures() -> tuple[Picture, ...]:
    """The photographs beside this module, RGB, by name."""
    found = sorted((path for path in files("pipeline.vision").joinpath("frost").iterdir()), key=lambda path: path.name)
    data = [np.frombuffer(path.read_bytes(), np.uint8) for path in found if path.name.endswith(".jpg")]
    return tuple(np.asarray(cv2.imdecode(it, cv2.IMREAD_COLOR_RGB), np.uint8) for it in data)


def fog(image: Picture, severity: int, rng: Rng) -> Picture:
    """Banks of fog."""
    density, decay = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))[severity - 1]
    brightest = float(image.max()) / 255
    layer = (255 * density * fractal(image.shape, decay, rng))[..., None]
    return saturated((image + layer) * np.float32(brightest / (brightest + density)))


def brightness(image: Picture, severity: int, _: Rng) -> Picture:
    """Over-exposure: HSV's value raised, hue and saturation kept."""
    rise = 255 * (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]
    value = image.max(axis=2)
    level = np.arange(256, dtype=np.float32)
    gain = np.minimum(level + rise, 255) / np.maximum(level, 1)
    brighter = saturated(image * gain[value][..., None])
    brighter[value == 0] = round(rise)  # black has no hue to keep
    return brighter


def contrast(image: Picture, severity: int, _: Rng) -> Picture:
    """Levels drawn towards the mean of each channel."""
    kept = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    mean = image.mean(axis=(0, 1))
    table = np.arange(256)[:, None] * kept + (1 - kept) * mean
    return np.asarray(cv2.LUT(image, table.round().astype(np.uint8)[None]), np.uint8)


def elastic_transform(image: Picture, severity: int, rng: Rng) -> Picture:
    """Local stretching; the two mild severities continue the paper's last three downwards."""
    scale = scale_of(image.shape)
    reach = scale * 244 * (0.02, 0.035, 0.05, 0.07, 0.12)[severity - 1]
    drawn = rng.random((*image.shape[:2], 2), np.float32) * 2 - 1
    offset = np.asarray(blurred(drawn, scale * 244 * 0.01), np.float32) * np.float32(reach)
    return _displaced(image, offset, cv2.INTER_LINEAR)


def pixelate(image: Picture, severity: int, _: Rng) -> Picture:
    """A picture enlarged from few pixels."""
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1] / scale_of(image.shape)
    height, width = image.shape[:2]
    small = max(1, int(width * share)), max(1, int(height * share))
    few = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def jpeg_compression(image: Picture, severity: int, _: Rng) -> Picture:
    """JPEG of low quality."""
    quality = (25, 18, 15, 10, 7)[severity - 1]
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


COMMON: dict[str, Callable[[Picture, int, Rng], Picture]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}
