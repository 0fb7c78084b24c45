"""Receptive fields by the arithmetic of convolutions, and one that the literature gives."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import alexnet

from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.levels import extent, levels, side
from pipeline.modeling.zoo import BUILDERS, build


class Maps(Detector):
    """A backbone of parts, each of which gives a map."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__(1)
        self.backbone = Each(parts)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.backbone(images.float() / 255)
        return torch.zeros(len(images), 1, 4), torch.zeros(len(images), 1, 1)

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError


class Each(nn.Module):
    def __init__(self, parts: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for part in self.parts:
            x = part(x)
            found.append(x)
        return found


class Gate(nn.Module):
    """Squeeze and excitation: each place depends on the mean over all of them."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


def noise(width: int, height: int, count: int = 2) -> list[np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def conv(kernel: int, stride: int = 1, inputs: int = 3, dilation: int = 1) -> nn.Sequential:
    body = nn.Conv2d(inputs, 3, kernel, stride, dilation * (kernel // 2), dilation)
    return nn.Sequential(body, nn.BatchNorm2d(3), nn.ReLU())


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        pytest.param([conv(3), conv(3)], [3, 5], id="each adds two"),
        pytest.param([conv(3, 2), conv(3, 2), conv(3)], [3, 7, 15], id="by the stride before it"),
        pytest.param([conv(3, 2), nn.MaxPool2d(2), conv(3)], [3, 5, 13], id="pooling: a maximum sees all it is of"),
        pytest.param([conv(3, dilation=3), conv(1)], [7, 7], id="dilated, and one to one"),
    ],
)
def test_receptive_fields_by_arithmetic(parts: list[nn.Module], fields: list[int]) -> None:
    found = levels(Maps(*parts).eval(), noise(64, 48))
    assert [it.field for it in found] == [(field, field) for field in fields]


def test_alexnets_last_map_sees_195_pixels() -> None:
    """Araujo, Norris & Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019."""
    (found,) = levels(Maps(alexnet().features).eval(), noise(255, 255, 1))
    assert found.field == (195, 195)
    assert (found.stride, found.channels) == (36, 256)  # 7 cells of 255 pixels; its own stride is 32


def test_beyond_the_picture_it_is_the_picture() -> None:
    (found,) = levels(Maps(nn.Sequential(conv(9), conv(9))).eval(), noise(40, 10))
    assert found.field == (17, 10)


def test_a_gate_lets_the_whole_picture_in_and_moves_little() -> None:
    (found,) = levels(Maps(nn.Sequential(conv(3), Gate())).eval(), noise(40, 32))
    assert found.field == (40, 32)
    assert found.effective <= 3


def test_the_effective_field_of_equal_weights() -> None:
    """Nothing but a mean over 5 x 5: all of it counts the same. Of two, those far from the middle no longer count."""
    mean = nn.Conv2d(3, 1, 5, padding=2)
    nn.init.constant_(mean.weight, 1.0)
    again = nn.Conv2d(1, 1, 5, padding=2)
    nn.init.constant_(again.weight, 1.0)
    first, second = levels(Maps(mean, again).eval(), noise(32, 32))
    assert first.effective == 5
    # (1 2 3 4 5 4 3 2 1) on both axes: below 0.0455 of 25 is only the product 1 of the four corners
    assert second.effective == pytest.approx((81 - 4) ** 0.5)


def test_what_no_pixel_moves_has_no_field() -> None:
    assert extent(np.zeros((4, 4), np.bool_)) == (0, 0)
    assert side(np.zeros((4, 4))) == 0


@pytest.mark.parametrize("name", [name for name in BUILDERS if "resnet50" not in name and name != "retinanet"])
def test_every_family_has_levels_that_see_more_the_coarser_they_are(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, 2, (96, 64), "none").eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = levels(model, noise(96, 64))
    assert found
    assert [it.stride for it in found] == sorted(it.stride for it in found)
    assert all(0 < it.field[0] <= 96 and 0 < it.field[1] <= 64 for it in found if any(it.field))
    assert found[-1].field >= found[0].field or not any(found[-1].field)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
