"""Picture files from outside: the header is checked before anything is decoded, and upright is the only way up."""

import io
import struct
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.core.limits import size_defect
from pipeline.core.params import UsableParams

FORMATS = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
ORIENTATION = 0x0112  # the EXIF tag
# Exif 2.32, 4.6.4: what brings a picture of each orientation upright, as (quarter turns counterclockwise, then mirror).
UPRIGHT = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
# What Pillow's readers raise on hostile bytes; UnidentifiedImageError is an OSError.
UNREADABLE = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, EOFError, struct.error)


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture to (H, W, 3) uint8 RGB, upright (EXIF orientation applied).

    Raises:
        DataError: the bytes are no picture.
    """
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"  # OpenCV turns every other format upright itself
    flags = cv2.IMREAD_COLOR_RGB | (cv2.IMREAD_IGNORE_ORIENTATION if webp else 0)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise DataError(f"the picture cannot be decoded: {error.err}") from None
    if image is None:
        raise DataError("the bytes are no picture that can be decoded")
    return _upright(np.asarray(image, np.uint8), data) if webp else np.asarray(image, np.uint8)


def _upright(image: NDArray[np.uint8], data: bytes) -> NDArray[np.uint8]:
    turns, mirror = UPRIGHT.get(orientation(data), (0, False))
    turned = np.rot90(image, turns)
    return np.ascontiguousarray(turned[:, ::-1] if mirror else turned)


def orientation(data: bytes) -> int:
    """EXIF orientation 1..8 of a picture file; 1 where there is none that can be read."""
    header = _open(data)
    if header is None:
        return 1
    with warnings.catch_warnings(), header:
        warnings.simplefilter("ignore")  # odd metadata is no defect of the picture
        try:
            return int(header.getexif().get(ORIENTATION, 1))
        except UNREADABLE:
            return 1


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode an (H, W, 3) uint8 RGB picture as JPEG of quality 0..100."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def defect(data: bytes, suffix: str, limits: UsableParams) -> str:
    """Why a picture file cannot be used, as `key: details`; "" where nothing is wrong.

    The size is read from the header first, so a picture that claims to be huge is never decompressed. Bytes behind
    the picture's end are not held against it.

    Args:
        data: the file.
        suffix: of its name, lower case, one of `FORMATS`.
        limits: on sides (pixels) and megapixels.
    """
    if not data:
        return "empty file: 0 bytes"
    header = _open(data)
    if header is None:
        return "broken picture: no header of a JPEG, PNG, BMP, TIFF or WebP picture can be read"
    with header:
        found = "JPEG" if header.format == "MPO" else header.format  # a JPEG file that holds several pictures
        if found != FORMATS[suffix]:
            return f"wrong extension: {found} named {suffix}"
        return size_defect(*header.size, limits) or _damage(header, data)


def _open(data: bytes) -> Image.Image | None:
    """The header; nothing is decompressed. Pillow's own limit on pixels steps aside: ours is checked next."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=sorted(set(FORMATS.values())))
    except UNREADABLE:
        return None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _damage(picture: Image.Image, data: bytes) -> str:
    """Decode with Pillow, which refuses damaged pictures; OpenCV fills what is missing with grey and says nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture.draft("L", (1, 1))  # JPEG: every bit is read, but at an eighth of the size, four times as fast
            picture.load()
    except UNREADABLE as error:
        cut = "truncated" in str(error).lower()
        return f"{'truncated' if cut else 'broken picture'}: {error}"
    scan = data.find(START_OF_SCAN)
    if picture.format in {"JPEG", "MPO"} and END_OF_IMAGE not in data[max(scan, 0) :]:
        return "truncated: the JPEG has no end marker"
    return ""
