import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.filters import Layer, first_filters, layers
from pipeline.modeling.zoo import build


class Half(Detector):
    """Four filters: one lives, one is shut by its bias, one sees nothing, one speaks on bright pictures only."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__(1)
        self.first = nn.Conv2d(3, 4, 1)
        self.activation = activation
        self.logits = nn.Conv2d(4, 1, 1)  # no activation follows it: it is not judged
        with torch.no_grad():
            self.first.weight[:] = torch.tensor([1.0, 1.0, 0.0, 1.0])[:, None, None, None]
            self.first.bias[:] = torch.tensor([0.0, -9999.0, 5.0, -600.0])  # type: ignore[index]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.logits(self.activation(self.first(images.float())))
        return torch.zeros(len(images), 1, 4), x.flatten(2).transpose(1, 2)

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError


def pictures(*levels: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    return [np.tile(np.array([[0, level]], np.uint8)[..., None], (2, 1, 3)) for level in levels]


@pytest.mark.parametrize(
    ("levels", "dead"),
    [
        pytest.param((100, 50), 3, id="dark pictures"),
        pytest.param((100, 250), 2, id="one bright picture wakes the fourth"),
        pytest.param((0, 0), 4, id="black pictures: all are constant"),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_dead_filters_by_hand(levels: tuple[int, ...], dead: int, batch_size: int) -> None:
    assert layers(Half(nn.ReLU()).eval(), pictures(*levels), batch_size) == [Layer("first", 4, dead)]


def test_an_activation_in_place_is_watched_too() -> None:
    assert layers(Half(nn.ReLU(inplace=True)).eval(), pictures(100), 1) == [Layer("first", 4, 3)]


def test_the_first_convolution_of_a_detector() -> None:
    found = first_filters(build("nano", 2, (64, 64), "none"))
    assert found is not None
    assert (found[0], found[1].shape) == ("backbone.stem.0.0", (16, 3, 3, 3))


def test_a_detector_without_convolutions_has_no_filters() -> None:
    model = Half(nn.ReLU())
    model.first, model.logits = nn.Identity(), nn.Identity()  # type: ignore[assignment]
    assert first_filters(model) is None


def test_nothing_stays_hooked() -> None:
    model = Half(nn.ReLU()).eval()
    layers(model, pictures(100), 1)
    assert not any(part._forward_hooks for part in model.modules())
