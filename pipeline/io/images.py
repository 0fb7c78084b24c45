"""Picture files from outside: the header is checked before anything is decoded, and upright is the only way up."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture to (H, W, 3) uint8 RGB, upright (EXIF orientation applied).

    Raises:
        DataError: the bytes are no picture.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    if image is None:
        raise DataError("the bytes are no picture that can be decoded")
    return np.asarray(image, np.uint8)
