"""Augmentation policies: what stands in for conditions that the collected footage does not show.

Operations come from albumentations, behind one interface: a strength of 0 is hardly visible, 1 is the worst that still
leaves the objects visible. They are tuned at the model's input size (a few hundred pixels) and change pixels only:
geometry is the training loop's. Where albumentations' own effect is a cartoon (its fog is bubbles, its snow turns
greens yellow), the operation is built from simpler transforms.
"""

import importlib
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import ConfigError
from pipeline.core.params import AugmentStep

Transform = Any  # an albumentations transform; the package is untyped
Range = tuple[float, float]


def albumentations() -> Any:
    """The package, imported when first used: it takes seconds, and would ask the network for updates."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    return importlib.import_module("albumentations")


def _brightness_contrast(strength: float) -> Transform:
    limit = 0.35 * strength
    return albumentations().RandomBrightnessContrast(brightness_limit=limit, contrast_limit=limit, p=1)


def _hue_saturation(strength: float) -> Transform:
    """White balance and colour rendering of another sensor."""
    return albumentations().HueSaturationValue(
        hue_shift_limit=10 * strength, sat_shift_limit=60 * strength, val_shift_limit=0, p=1
    )


def _blur(strength: float) -> Transform:
    """A lens out of focus."""
    return albumentations().GaussianBlur(blur_limit=0, sigma_limit=(0.3, 0.5 + 2 * strength), p=1)


def _exposure(low: float, high: float) -> Transform:
    """Light times a gain below 1: albumentations' contrast is a plain factor."""
    return albumentations().RandomBrightnessContrast(brightness_limit=0, contrast_limit=(low - 1, high - 1), p=1)


def _low_light(strength: float) -> Transform:
    """Less light, deeper shadows, and the noise of a sensor at high gain."""
    a = albumentations()
    gamma = a.RandomGamma(gamma_limit=(100 + 40 * strength, 100 + 80 * strength), p=1)
    grain = a.GaussNoise(std_range=(0.01 * strength, 0.01 + 0.05 * strength), p=1)
    return a.Sequential([_exposure(1 - 0.5 * strength, 1 - 0.2 * strength), gamma, grain], p=1)


def _noise(strength: float) -> Transform:
    return albumentations().GaussNoise(std_range=(0.01, 0.02 + 0.1 * strength), p=1)


def _motion_blur(strength: float) -> Transform:
    """A slow shutter; centred, so that boxes stay on their objects."""
    longest = 5 + 2 * round(5 * strength)
    return albumentations().MotionBlur(blur_limit=(3, longest), allow_shifted=False, p=1)


def _streaks(kind: str, length: int, width: int, grey: int, gain: float, slant: Range) -> Transform:
    return albumentations().RandomRain(
        slant_range=slant,
        drop_length=length,
        drop_width=width,
        drop_color=(grey, grey, grey),
        blur_value=3,
        brightness_coefficient=gain,
        rain_type=kind,
        p=1,
    )


def _rain(strength: float) -> Transform:
    """Streaks under a darker sky, denser and longer with strength."""
    kinds = ["drizzle", "heavy", "torrential"][: 1 + round(2 * strength)]
    streaks = [_streaks(kind, 6 + round(8 * strength), 1, 110, 1 - 0.25 * strength, (-6, 6)) for kind in kinds]
    return albumentations().OneOf(streaks, p=1)


def _snow(strength: float) -> Transform:
    """Falling flakes in white air."""
    kinds = ["drizzle", "heavy", "torrential"][: 1 + round(2 * strength)]
    flakes = [_streaks(kind, 1 + round(strength), 1, 240, 1.0, (-1, 1)) for kind in kinds]
    a = albumentations()
    return a.Sequential([_veil(0.4 * strength), a.OneOf(flakes, p=1)], p=1)


def _veil(share: float) -> Transform:
    """Air that scatters light: (1 - share) of the scene and `share` of light grey (Koschmieder, 1924)."""
    airlight = 0.8
    return albumentations().RandomBrightnessContrast(
        brightness_limit=(airlight * share, airlight * share), contrast_limit=(-share, -share), p=1
    )


def _fog(strength: float) -> Transform:
    """Koschmieder's law in four densities, thicker towards the top, where a fixed camera looks farther."""
    a = albumentations()
    veils = [_veil(density * 0.75 * strength) for density in (0.4, 0.6, 0.8, 1.0)]
    depth = a.Illumination(
        mode="linear",
        effect_type="brighten",
        intensity_range=(0.02, 0.02 + 0.15 * strength),
        angle_range=(250, 290),
        p=1,
    )
    return a.Sequential([a.OneOf(veils, p=1), depth], p=1)


def _compression(strength: float) -> Transform:
    """A camera's stream at a low bit rate, as JPEG quality."""
    return albumentations().ImageCompression(quality_range=(round(75 - 65 * strength), round(90 - 40 * strength)), p=1)


def _glare(strength: float) -> Transform:
    """A low sun or a headlight in the upper half."""
    return albumentations().RandomSunFlare(
        flare_roi=(0, 0, 1, 0.5), src_radius=12 + round(40 * strength), method="physics_based", p=1
    )


def _grayscale(_: float) -> Transform:
    """A camera in infrared mode; there is no half of it."""
    return albumentations().ToGray(p=1)


OPERATIONS: dict[str, Callable[[float], Transform]] = {
    "brightness_contrast": _brightness_contrast,
    "hue_saturation": _hue_saturation,
    "blur": _blur,
    "low_light": _low_light,
    "noise": _noise,
    "motion_blur": _motion_blur,
    "rain": _rain,
    "snow": _snow,
    "fog": _fog,
    "compression": _compression,
    "glare": _glare,
    "grayscale": _grayscale,
}


@dataclass(frozen=True, slots=True, eq=False)
class Augmented:
    """One augmented picture. K = number of boxes kept."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: NDArray[np.float32]  # (K, 4) pixel xyxy
    index: NDArray[np.int64]  # (K,) which of the boxes given each one is
    operations: tuple[str, ...]  # that were applied, in order


Policy = Callable[[NDArray[np.uint8], NDArray[np.float32], int], Augmented]


def check(steps: Sequence[AugmentStep]) -> None:
    """Raise ConfigError where a step names no operation; names all that there are."""
    unknown = sorted({step.op for step in steps} - OPERATIONS.keys())
    if unknown:
        raise ConfigError(
            f"augment.steps: no such operation: {', '.join(unknown)}; there are {', '.join(sorted(OPERATIONS))}"
        )


def policy(steps: Sequence[AugmentStep], min_visibility: float = 0.0, min_area: float = 0.0) -> Policy:
    """One function of (image, boxes, seed) from steps that are applied in order, each by its own chance.

    The result depends on the arguments alone, not on the process, the order of calls, or what other steps drew: every
    step has a random stream of its own. (`Compose.set_random_seed` hands one seed to all transforms, so that all of
    them would toss the same coin.) Boxes that keep less than `min_visibility` of their area, or less than `min_area`
    pixels^2, are left out.

    Raises:
        ConfigError: a step names no operation.
    """
    check(steps)
    a = albumentations()
    transforms = [OPERATIONS[step.op](step.strength) for step in steps]
    limits = a.BboxParams(
        format="pascal_voc",
        label_fields=["index"],
        min_visibility=min_visibility,
        min_area=min_area,
        clip=True,
        filter_invalid_bboxes=True,
    )

    def apply(image: NDArray[np.uint8], boxes: NDArray[np.float32], seed: int) -> Augmented:
        streams = [np.random.default_rng((seed, number)) for number in range(len(steps))]
        chosen = [number for number, step in enumerate(steps) if streams[number].random() < step.p]
        compose = a.Compose([a.NoOp(p=1), *(transforms[number] for number in chosen)], bbox_params=limits)
        for number in chosen:  # now, because a new Compose seeds its transforms by chance
            stream = streams[number]
            transforms[number].set_random_state(stream, random.Random(int(stream.integers(2**32))))  # noqa: S311
        result = compose(image=image, bboxes=boxes, index=np.arange(len(boxes)))
        return Augmented(
            result["image"],
            np.asarray(result["bboxes"], np.float32).reshape(-1, 4),
            np.asarray(result["index"], np.int64),
            tuple(steps[number].op for number in chosen),
        )

    return apply
