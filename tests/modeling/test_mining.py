from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.core.config import read_params
from pipeline.core.errors import SightlineError
from pipeline.core.params import TrainParams
from pipeline.modeling import mining
from pipeline.modeling.detector import Detector, to_batch
from pipeline.modeling.hog_svm import AREA, KERNEL, TEMPLATES, HogSvm, flat, shape_of
from pipeline.modeling.loop import Trained
from tests.squares import Squares

ROOT = Path(__file__).parents[2]
PARAMS = TrainParams.parse("train", read_params(ROOT / "params.yaml")["train"] | {"epochs": 2, "batch_size": 8})


def learn(pictures: Squares, size: tuple[int, int] = (64, 64)) -> tuple[HogSvm, Trained]:
    torch.manual_seed(0)
    model = HogSvm(2, size)
    scores = iter([0.5, 0.25, 0.75, 0.0])

    def validate(_: Detector) -> dict[str, float]:
        return {"val/AP": next(scores)}

    return model, mining.fit(model, pictures, PARAMS, validate=validate, on_epoch=lambda _, __: None)


@pytest.fixture(scope="module")
def learned() -> tuple[HogSvm, Trained]:
    return learn(Squares(32))


def test_it_finds_what_it_was_shown(learned: tuple[HogSvm, Trained]) -> None:
    pictures, model = Squares(32), learned[0].eval()
    with torch.inference_mode():
        boxes, scores = model(to_batch([pictures.picture(i) for i in range(32)]))
    best = scores.amax(2).argmax(1)
    centres = (boxes[torch.arange(32), best, :2] + boxes[torch.arange(32), best, 2:]) / 2
    truth = torch.from_numpy(np.stack([(b[0, :2] + b[0, 2:]) / 2 for b in pictures.boxes]))
    assert float(((centres - truth).abs().amax(1) < 8).float().mean()) > 0.8


def test_a_round_is_a_row_and_the_best_is_kept(learned: tuple[HogSvm, Trained]) -> None:
    trained = learned[1]
    assert [row["epoch"] for row in trained.rows] == [1, 2]
    assert (trained.best_epoch, trained.best_score) == (1, 0.5)
    assert trained.rows[1]["windows"] > trained.rows[0]["windows"]
    assert not torch.equal(trained.best["templates.weight"], trained.last["templates.weight"])


def test_the_same_training_gives_the_same_weights(learned: tuple[HogSvm, Trained]) -> None:
    again = learn(Squares(32))[1]
    assert all(torch.equal(value, again.last[name]) for name, value in learned[1].last.items())


def test_a_filter_is_a_window_times_its_weights(learned: tuple[HogSvm, Trained]) -> None:
    """A window that `mining` cuts out, times the template's weights, is the margin that the convolution gives."""
    model, template, place = learned[0], 1, 40
    height, width = shape_of(model.sizes[template])
    top, left = (KERNEL - height) // 2, (KERNEL - width) // 2
    with torch.inference_mode():
        maps = model.backbone(to_batch([Squares(1).picture(0)]))
        padded = [functional.pad(m[0], (KERNEL // 2,) * 4) for m in maps]
        window = mining._cut(padded, place, (height, width))
        weight = model.templates.weight[template, :, top : top + height, left : left + width]
        expected = float(window @ weight.flatten() + model.templates.bias[template])  # type: ignore[index]
        assert float(flat(model.margins(maps))[0, place, template]) == pytest.approx(expected, abs=1e-4)
    assert torch.count_nonzero(model.templates.weight[template]) == torch.count_nonzero(weight)


def test_templates_have_the_aspects_of_the_boxes() -> None:
    """Of aspects 0.25 (three times) and 4 the quartiles are 0.25 and, a quarter on from the third, 1.1875."""
    pictures = Squares(4)
    pictures.boxes = [np.array([[0, 0, w, h]], np.float32) for w, h in ((8, 32), (8, 32), (8, 32), (32, 8))]
    pictures.labels = [np.array([0])] * 4
    sizes = mining.template_sizes(pictures, 0)
    assert (sizes[:, 0] / sizes[:, 1]).tolist() == pytest.approx([0.25, 1.1875])
    assert sizes.prod(1).tolist() == pytest.approx([AREA, AREA])
    assert mining.template_sizes(pictures, 1).tolist() == [[AREA**0.5] * 2] * TEMPLATES  # a class without a box


def test_without_pictures_it_says_so() -> None:
    with pytest.raises(SightlineError, match="holds no picture"):
        learn(Squares(0))
