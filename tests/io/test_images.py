import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.core.errors import DataError
from pipeline.core.params import UsableParams
from pipeline.io.images import FORMATS, decode, defect, encode_jpeg

COCO = Path(__file__).parents[3] / "shared" / "data" / "coco256" / "images"
LIMITS = UsableParams(min_side=32, max_side=2000, max_megapixels=1.0, min_luminance=0.0, min_sharpness=0.0)


def scene(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """A picture that is different in every corner, smooth enough for JPEG."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 60)], axis=-1).astype(np.uint8)


def encoded(kind: str, orientation: int = 1, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, kind, **({} if kind == "BMP" else {"exif": exif}), **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def jpeg_header(width: int, height: int) -> bytes:
    """A JPEG whose start-of-frame segment claims another size than was encoded."""
    data = bytearray(encoded("JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_pictures_are_decoded_upright(kind: str, orientation: int) -> None:
    data = encoded(kind, orientation, **({"lossless": True} if kind == "WEBP" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    found = decode(data)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 3  # two JPEG decoders


def test_broken_metadata_does_not_cost_a_picture() -> None:
    data = encoded("WEBP", 6, lossless=True)
    assert np.array_equal(decode(data.replace(b"MM\x00*", b"MM\x00?")), scene())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"once upon a time", id="text"),
        pytest.param(encoded("PNG")[:60], id="cut"),
    ],
)
def test_what_is_no_picture_is_not_decoded(data: bytes) -> None:
    with pytest.raises(DataError, match="decoded"):
        decode(data)


def test_jpeg_round_trip_keeps_the_colours() -> None:
    assert np.abs(decode(encode_jpeg(scene(), 95)).astype(int) - scene()).mean() < 3


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        *[pytest.param(encoded(kind), suffix, id=suffix) for suffix, kind in FORMATS.items()],
        pytest.param(encoded("JPEG", progressive=True), ".jpg", id="progressive"),
        pytest.param(encoded("JPEG") + b"\0" * 100, ".jpg", id="padded jpeg"),
        pytest.param(encoded("JPEG") + encoded("JPEG")[:500], ".jpg", id="jpeg with a cut preview behind it"),
        pytest.param(encoded("PNG") + b"signature", ".png", id="png with trailing bytes"),
        pytest.param(encoded("MPO", save_all=True, append_images=[Image.fromarray(scene())]), ".jpg", id="two in one"),
    ],
)
def test_good_pictures_have_no_defect(data: bytes, suffix: str) -> None:
    assert defect(data, suffix, LIMITS) == ""


@pytest.mark.parametrize(
    ("data", "suffix", "reason"),
    [
        pytest.param(b"", ".jpg", "empty file: 0 bytes", id="empty"),
        pytest.param(b"once upon a time", ".jpg", "broken picture: no header", id="text"),
        pytest.param(encoded("PNG"), ".jpg", "wrong extension: PNG named .jpg", id="png named jpg"),
        pytest.param(encoded("JPEG"), ".png", "wrong extension: JPEG named .png", id="jpeg named png"),
        pytest.param(encoded("JPEG")[:100], ".jpg", "broken picture: no header", id="cut in the header"),
        pytest.param(encoded("JPEG")[:-200], ".jpg", "truncated: ", id="cut jpeg"),
        pytest.param(encoded("JPEG")[:-2], ".jpg", "truncated: ", id="jpeg without its end"),
        pytest.param(encoded("JPEG", progressive=True)[:-200], ".jpg", "truncated: ", id="cut progressive jpeg"),
        pytest.param(encoded("PNG")[:-100], ".png", "truncated: ", id="cut png"),
        pytest.param(encoded("BMP")[:-100], ".bmp", "truncated: ", id="cut bmp"),
        pytest.param(png_header(50_000, 50_000), ".png", "too large: 50000 x 50000 pixels", id="huge png"),
        pytest.param(jpeg_header(50_000, 50_000), ".jpg", "too large: 50000 x 50000 pixels", id="huge jpeg"),
        pytest.param(
            png_header(1500, 1500), ".png", "too large: 1500 x 1500 pixels, more than 1 meg", id="many pixels"
        ),
        pytest.param(png_header(1, 1), ".png", "too small: 1 x 1 pixels", id="one pixel"),
    ],
)
def test_defects_begin_with_a_stable_key(data: bytes, suffix: str, reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert defect(data, suffix, LIMITS).startswith(reason)


def test_limits_on_pixels_are_ours_alone() -> None:
    """Pillow's own limit must neither warn nor refuse, and must be back in place for others."""
    before = Image.MAX_IMAGE_PIXELS
    generous = LIMITS.model_copy(update={"max_side": 60_000, "max_megapixels": 3000.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not defect(png_header(15_000, 15_000), ".png", generous).startswith("too large")
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(not COCO.exists(), reason="needs ../shared/data/coco256")
def test_real_photographs_are_good_whole_and_refused_cut() -> None:
    for path in sorted(COCO.rglob("*.jpg"))[::16]:
        data = path.read_bytes()
        assert defect(data, ".jpg", LIMITS) == ""
        for lost in (1, 2, 3, 100, len(data) // 2):
            assert defect(data[:-lost], ".jpg", LIMITS).startswith("truncated: "), (path.name, lost)
