"""Figures that say whether a picture shows anything, and a fingerprint of its look."""

from dataclasses import dataclass

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.params import UsableParams

WORKING_SIDE = 320  # pixels of the longer side at which sharpness is measured
THUMBNAIL_SIDE = 32  # pixels
UNDER_EXPOSED, OVER_EXPOSED = 5, 250  # luma


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of one picture. Luma is Rec. 601: 0.299 R + 0.587 G + 0.114 B, 0..255, in sRGB values as stored."""

    luminance: float  # mean luma
    contrast: float  # standard deviation of luma
    sharpness: float  # variance of the Laplacian of luma, at the working size
    under_exposed: float  # share of pixels at or below luma 5
    over_exposed: float  # share of pixels at or above luma 250


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rec. 601 luma (H, W) of an (H, W, 3) RGB picture."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def measure(grey: NDArray[np.uint8]) -> Quality:
    """Quality figures of an (H, W) luma picture, rounded to 1e-6."""
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    levels = np.arange(256)
    mean = float(share @ levels)
    deviation = float(np.sqrt(share @ (levels - mean) ** 2))
    under, over = float(share[: UNDER_EXPOSED + 1].sum()), float(share[OVER_EXPOSED:].sum())
    return Quality(*(round(figure, 6) for figure in (mean, deviation, sharpness(grey), under, over)))


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al., ICPR 2000; 3 x 3 kernel 0 1 0 / 1 -4 1 / 0 1 0) of luma.

    The figure depends on the resolution, so pictures are first reduced to a longer side of 320 pixels by area
    averaging, which also keeps sensor noise from passing for detail. Smaller pictures are taken as they are.
    """
    ratio = WORKING_SIDE / max(grey.shape)
    if ratio < 1:
        height, width = (max(1, round(side * ratio)) for side in grey.shape)
        grey = np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def quality_defect(quality: Quality, limits: UsableParams) -> str:
    """Why a picture of this quality cannot be used, as `key: details`; "" where it can."""
    if quality.luminance < limits.min_luminance:
        return f"too dark: mean luminance {quality.luminance:.2f} is below {limits.min_luminance:g}"
    if quality.sharpness < limits.min_sharpness:
        return f"blurred: sharpness {quality.sharpness:.2f} is below {limits.min_sharpness:g}"
    return ""


def perceptual_hash(image: NDArray[np.uint8]) -> str:
    """64-bit DCT hash of an (H, W, 3) RGB or (H, W) luma picture, 16 hex digits (imagehash's `phash`)."""
    return str(imagehash.phash(Image.fromarray(image)))


def thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma averaged into 32 x 32 cells."""
    return np.asarray(cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA), np.uint8)
