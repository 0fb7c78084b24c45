import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.dfine import Dfine
from pipeline.modeling.fcos import Fcos
from pipeline.modeling.hog_svm import HogSvm
from pipeline.modeling.patch import LEAST, SIDE, Scene, random_patch, sides, train_patch, worn
from pipeline.modeling.zoo import BUILDERS, build


def boxes(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 4)


def scene(*rows: tuple[float, ...], level: int = 100) -> Scene:
    return Scene(np.full((64, 64, 3), level, np.uint8), boxes(*rows), np.zeros(len(rows), np.int64))


@pytest.mark.parametrize(
    ("box", "share", "side"),
    [
        pytest.param((0, 0, 20, 50), 0.1, 10, id="a tenth of 1000 pixels"),
        pytest.param((0, 0, 20, 49), 0.1, 9, id="rounded down: never more than asked"),
        pytest.param((0, 0, 5, 400), 0.1, 5, id="not wider than the object"),
        pytest.param((9, 9, 9, 9), 0.1, 0, id="nothing"),
    ],
)
def test_the_side_keeps_to_the_share(box: tuple[float, ...], share: float, side: int) -> None:
    assert sides(boxes(box), share).tolist() == [side]


def test_the_patch_lies_in_the_middle_and_nowhere_else() -> None:
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    out = worn(scene((10, 10, 30, 60)), white, 0.1)
    y, x = np.nonzero((out == 255).all(axis=2))
    assert (x.min(), x.max() + 1, y.min(), y.max() + 1) == (15, 25, 30, 40)
    assert (out == 100).all(axis=2).sum() == 64 * 64 - 100


def test_a_patch_at_the_edge_stays_in_the_picture() -> None:
    """A box of the truth may reach half a pixel out of the letterboxed picture."""
    out = worn(scene((-0.5, -0.5, 5.9, 63.9)), np.full((SIDE, SIDE, 3), 255, np.uint8), 0.1)
    assert (out == 255).all(axis=2).sum() == 36


def test_what_is_too_small_wears_nothing() -> None:
    small = scene((0, 0, 9, 9))
    assert sides(small.boxes, 0.1)[0] < LEAST
    assert (worn(small, random_patch(0), 0.1) == 100).all()


@pytest.mark.parametrize(("side", "mean"), [pytest.param(8, 30.0, id="smaller"), pytest.param(64, 30.0, id="larger")])
def test_the_patch_is_stretched_whole(side: int, mean: float) -> None:
    patch = np.zeros((SIDE, SIDE, 3), np.uint8)
    patch[: SIDE // 2] = 60
    box = scene((0, 0, 64, 64))
    out = worn(box, patch, (side / 64) ** 2)
    inside = out[32 - side // 2 : 32 + side // 2, 32 - side // 2 : 32 + side // 2].astype(float)
    assert inside.mean() == pytest.approx(mean, abs=0.5)
    assert (inside[: side // 2] == 60).all()


class Redness(Detector):
    """One candidate, the left half of the picture; its score grows with the red there."""

    def __init__(self, *, differentiable: bool = True) -> None:
        super().__init__(1)
        self.scale = torch.nn.Parameter(torch.tensor(1.0))
        self.differentiable = differentiable

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        red = images[:, 0, :, :32].float().mean(dim=(1, 2)) / 255
        score = torch.sigmoid(20 * self.scale * (red - 0.4))[:, None, None]
        box = torch.tensor([0.0, 0.0, 32.0, 64.0]).expand(len(images), 1, 4)
        return box, score if self.differentiable else score.detach()


def test_descent_finds_what_the_detector_looks_at() -> None:
    """Red is all that it sees: the patch loses its red, and keeps the rest as it was drawn."""
    patch = train_patch(Redness(), [scene((0, 0, 32, 64))], 0.1, 100, seed=3)
    assert patch is not None
    assert (patch[..., 0] == 0).all()
    assert (patch[..., 1:] == random_patch(3)[..., 1:]).all()


def test_the_same_seed_gives_the_same_patch() -> None:
    scenes = [scene((0, 0, 32, 64), level=level) for level in range(20, 200, 20)]
    first, second = (train_patch(Redness(), scenes, 0.1, 5, seed=1) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first == second).all()


def test_a_model_without_a_gradient_is_not_attacked() -> None:
    assert train_patch(Redness(differentiable=False), [scene((0, 0, 32, 64))], 0.1, 3, seed=0) is None


@pytest.mark.parametrize("name", BUILDERS)
def test_a_gradient_reaches_the_patch_through_every_model(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, 1, (64, 64), "none").eval()
    if isinstance(model, Fcos):
        torch.nn.init.ones_(model.net.head.regression_head.bbox_reg.bias)  # else its first boxes are points
    if isinstance(model, Dfine):
        torch.nn.init.constant_(model.net.model.enc_bbox_head.layers[-1].bias[2:], 3.0)  # its first boxes are small
    if isinstance(model, HogSvm):
        torch.nn.init.normal_(model.templates.weight)  # it begins as nothing
    patch = train_patch(model, [scene((4, 4, 60, 60))], 0.1, 1, seed=0)
    assert patch is not None
    assert (patch != random_patch(0)).any()
