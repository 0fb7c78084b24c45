import pytest
import torch

from pipeline.modeling.detector import Target
from pipeline.modeling.hog import CELL, DEPTH
from pipeline.modeling.hog_svm import AREA, KERNEL, TEMPLATES, HogSvm, shape_of


def test_windows_lie_around_their_blocks() -> None:
    """The first block of the finest level covers cells 0 and 1, so its middle is one cell from the corner."""
    model = HogSvm(1, (64, 64))
    with torch.inference_mode():
        boxes, _ = model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    side = AREA**0.5 * CELL
    assert boxes[0, 0].tolist() == pytest.approx([CELL - side / 2] * 2 + [CELL + side / 2] * 2)
    assert boxes.shape[1] == len(model.centres) * TEMPLATES


@pytest.mark.parametrize(
    ("box", "ignore", "told"),
    [
        pytest.param((8.0, 8, 32, 32), False, "shows", id="an object"),
        pytest.param((0.0, 0, 64, 64), True, "neither", id="ignored everywhere"),
    ],
)
def test_what_windows_are_trained_as(box: tuple[float, ...], ignore: bool, told: str) -> None:  # noqa: FBT001
    model = HogSvm(1, (64, 64))
    target = Target(torch.tensor([box]), torch.tensor([0]), torch.tensor([ignore]))
    hinge = float(model.loss(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), [target])["hinge"].detach())
    assert (hinge > 0) == (told == "shows")  # silent templates are right about every window but those of the object


def test_the_window_is_as_wide_as_its_features() -> None:
    assert shape_of(torch.tensor([4.0, 9.0])) == (9, 5)
    assert shape_of(torch.tensor([30.0, 1.0])) == (1, KERNEL)
    assert HogSvm(3, (64, 64)).templates.weight.shape == (3 * TEMPLATES, DEPTH, KERNEL, KERNEL)
