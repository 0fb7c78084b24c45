import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.modeling.hog import Hog, Pyramid


def picture(seed: int, contrast: float) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (20, 14), np.uint8)
    smooth = cv2.resize(coarse, (96, 160), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.asarray(np.clip((smooth - 128) * contrast + 128, 0, 255), np.uint8)


@pytest.mark.parametrize("cell", [4, 8])
@pytest.mark.parametrize("contrast", [0.1, 1.0, 6.0], ids=["faint", "plain", "harsh"])
def test_it_is_the_descriptor_of_opencv(cell: int, contrast: float) -> None:
    """Of a window 8 x 16 cells within the picture: its neighbours are seen by the gradient, not its frame."""
    image, window = picture(0, contrast), (8 * cell, 16 * cell)
    peer = cv2.HOGDescriptor(window, (2 * cell,) * 2, (cell,) * 2, (cell,) * 2, 9)
    peer_gamma = cv2.HOGDescriptor(window, (2 * cell,) * 2, (cell,) * 2, (cell,) * 2, 9, 1, -1, 0, 0.2, True)
    assert not peer.gammaCorrection
    flat = peer_gamma.compute(image, winStride=(cell, cell), locations=[(2 * cell, 2 * cell)])
    expected = np.asarray(flat).reshape(7, 15, 2, 2, 9)  # block x, block y, cell x, cell y, orientation
    with torch.inference_mode():
        found = Hog(cell)(torch.from_numpy(image)[None, None].float())[0].numpy()
    ours = found[:, 2:17, 2:9].reshape(9, 2, 2, 15, 7).transpose(4, 3, 2, 1, 0)
    np.testing.assert_allclose(ours, expected, atol=1e-3)
    assert float(expected.max()) > 0.1


@pytest.mark.parametrize(
    ("turn", "bin_"),
    [pytest.param(0, 0, id="upright edges"), pytest.param(1, 4, id="lying edges")],
)
def test_orientation_is_that_of_the_gradient(turn: int, bin_: int) -> None:
    """A gradient along x is on the border of the first and last of nine bins; along y it is in the fifth."""
    stripes = np.tile(np.repeat([0, 255], 4).astype(np.float32), (64, 8))
    image = torch.from_numpy(np.ascontiguousarray(np.rot90(stripes, turn)))[None, None]
    found = Hog()(image)[0].reshape(9, 4, -1).sum((1, 2))
    assert int(found.argmax()) in ({0, 8} if bin_ == 0 else {bin_})
    assert float(found[bin_]) > 5 * float(found[2])


def test_light_that_grows_everywhere_changes_little() -> None:
    image = torch.from_numpy(picture(1, 0.4))[None, None].float()
    with torch.inference_mode():
        one, other = Hog()(image), Hog()(0.5 * image)
    assert float((one - other).abs().mean()) < 0.1 * float(one.mean())


def test_levels_shrink_to_whole_cells() -> None:
    pyramid = Pyramid((96, 64), [1.0, 0.5, 0.05])
    assert pyramid.sizes == [(96, 64), (48, 32), (8, 8)]
    maps = pyramid(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    assert [tuple(m.shape) for m in maps] == [(2, 36, 15, 23), (2, 36, 7, 11), (2, 36, 1, 1)]


def test_a_flat_picture_has_gradients_that_are_numbers() -> None:
    image = torch.full((1, 1, 16, 16), 100.0, requires_grad=True)
    Hog()(image).sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
