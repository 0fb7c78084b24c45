"""A camera's view made of boxes and gravel, with a sensor's noise and somebody who walks by."""

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
HEIGHT, WIDTH = 180, 320


def view(seed: int = 0) -> Luma:
    """What the camera sees when nobody is there, (180, 320)."""
    rng = np.random.default_rng(seed)
    picture = np.full((HEIGHT, WIDTH), 110, np.uint8)
    for _ in range(40):
        x, y = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT))
        w, h = rng.integers(10, 70, 2).tolist()
        cv2.rectangle(picture, (x, y), (x + w, y + h), int(rng.integers(60, 190)), cv2.FILLED)
    gravel = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)), (0, 0), 1.0)
    return np.clip(picture + 25 * gravel, 0, 255).astype(np.uint8)


def noisy(picture: Luma, seed: int) -> Luma:
    """With a sensor's noise."""
    noise = np.random.default_rng(seed).standard_normal(picture.shape)
    return np.clip(picture + 2 * noise + 0.5, 0, 255).astype(np.uint8)


def walked(picture: Luma, x: int) -> Luma:
    """With somebody at column `x`."""
    crowd = picture.copy()
    cv2.rectangle(crowd, (x, 60), (x + 35, 175), 40, cv2.FILLED)
    cv2.circle(crowd, (x + 17, 50), 12, 150, cv2.FILLED)
    return crowd
