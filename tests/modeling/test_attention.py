import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.modeling.attention import Attention, attend
from pipeline.modeling.detector import Detector, Target

LEFT, RIGHT = (0.0, 0.0, 32.0, 32.0), (32.0, 0.0, 64.0, 32.0)


class Halves(Detector):
    """A candidate each half. Class 0 looks at its own half, class 1 at the other, class 2 at nothing."""

    def __init__(self) -> None:
        super().__init__(3)
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        halves = torch.stack([half.mean((1, 2, 3)) for half in images.float().chunk(2, 3)], 1) / 255
        scores = torch.stack([halves, halves.flip(1), torch.full_like(halves, 0.25)], 2)
        return torch.tensor([LEFT, RIGHT]).expand(len(images), 2, 4), self.scale * scores

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError


IMAGE = np.full((32, 64, 3), 100, np.uint8)


@pytest.mark.parametrize(
    ("box", "label", "inside"),
    [
        pytest.param(LEFT, 0, 1.0, id="its own half"),
        pytest.param(RIGHT, 0, 1.0, id="the other candidate"),
        pytest.param(LEFT, 1, 0.0, id="context alone"),
        pytest.param((0.0, 0.0, 16.0, 32.0), 0, 0.5, id="half of what it looks at"),
    ],
)
def test_where_a_score_comes_from(box: tuple[float, ...], label: int, inside: float) -> None:
    seen = attend(Halves().eval(), IMAGE, np.array(box, np.float32), label)
    assert isinstance(seen, Attention)
    assert seen.inside == pytest.approx(inside, abs=0.02)  # the blur leaks over the edge
    assert seen.heat.sum() == pytest.approx(1, abs=1e-4)
    assert seen.score == pytest.approx(100 / 255, rel=1e-4)


def test_what_nothing_moves_says_so() -> None:
    assert attend(Halves().eval(), IMAGE, np.array(LEFT, np.float32), 2) == "no pixel moves the score"


class Fixed(Halves):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return super().forward(images)


def test_what_is_not_differentiable_says_so() -> None:
    assert attend(Fixed().eval(), IMAGE, np.array(LEFT, np.float32), 0) == "the model is not differentiable"
