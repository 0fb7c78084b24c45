import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torchvision.ops import box_convert

from pipeline.core.errors import SightlineError
from pipeline.modeling import dfine
from pipeline.modeling.detector import Target
from pipeline.modeling.dfine import Dfine

SIZE = (128, 64)  # width, height
IMAGES = torch.randint(0, 255, (2, 3, 64, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PERSON, VEHICLE = (10.0, 10, 60, 50), (70.0, 10, 110, 50)


def target(objects: Sequence[tuple[float, ...]], ignored: Sequence[tuple[float, ...]]) -> Target:
    boxes = torch.tensor([*objects, *ignored]).reshape(-1, 4)
    return Target(boxes, torch.arange(len(boxes)) % 2, torch.arange(len(boxes)) >= len(objects))


@pytest.fixture(scope="module")
def model() -> Dfine:
    torch.manual_seed(0)
    made = Dfine(2, SIZE, "none").eval()
    for layer in (made.net.model.enc_bbox_head, *made.net.model.decoder.bbox_embed):
        torch.nn.init.normal_(layer.layers[-1].weight, std=0.1)  # boxes that are not all the same
    return made


def test_candidates_are_the_queries_of_transformers(model: Dfine) -> None:
    with torch.inference_mode():
        boxes, scores = model(IMAGES)
        said = model.net(IMAGES.float() / 255)
    assert boxes.shape[1] == 8 * 4 + 4 * 2  # places of strides 16 and 32
    expected = box_convert(said.pred_boxes, "cxcywh", "xyxy") * torch.tensor([128.0, 64, 128, 64])
    for found, all_scores, wanted, logits in zip(boxes, scores, expected, said.logits, strict=True):
        place = torch.cdist(wanted, found).argmin(1)
        assert torch.equal(found[place], wanted)
        torch.testing.assert_close(all_scores[place], logits.sigmoid())


def test_places_without_a_query_score_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dfine, "QUERIES", 10)
    with torch.inference_mode():
        boxes, scores = Dfine(2, SIZE, "none").eval()(IMAGES)
    assert boxes.shape == (2, 40, 4)
    assert ((scores > 0).all(-1).sum(1) == 10).all()


def test_the_loss_is_that_of_transformers(model: Dfine) -> None:
    targets = [target([PERSON, VEHICLE], []), target([], [])]
    labels = [
        {"boxes": torch.tensor([[35 / 128, 30 / 64, 50 / 128, 40 / 64], [90 / 128, 30 / 64, 40 / 128, 40 / 64]]),
         "class_labels": torch.tensor([0, 1])},
        {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.int64)},
    ]  # fmt: skip
    torch.manual_seed(0)
    original = dfine.network(2, 40, "none")[0]  # whose loss is transformers' own
    original.load_state_dict(model.net.state_dict())
    torch.manual_seed(0)  # of the denoising queries
    expected = original.train()(IMAGES.float() / 255, labels=labels).loss
    torch.manual_seed(0)
    try:
        found = model.train().loss(IMAGES, targets)
    finally:
        model.eval()
    assert set(found) == {"vfl", "bbox", "giou", "fgl", "ddf"}
    assert float(torch.stack(list(found.values())).sum().detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def terms(model: Dfine, *targets: Target) -> dict[str, float]:
    torch.manual_seed(0)
    with torch.no_grad():
        return {name: float(value) for name, value in model.loss(IMAGES, list(targets)).items()}


def test_what_lies_in_an_ignore_region_is_not_trained(model: Dfine) -> None:
    everywhere = [(-500.0, -500, 500, 500)]
    assert terms(model, target([], []), target([], []))["vfl"] > 0.01
    assert terms(model, target([], everywhere), target([], everywhere))["vfl"] == 0


def test_an_object_in_an_ignore_region_is_trained(model: Dfine) -> None:
    aside = target([PERSON], [(0.0, 0, 128, 64)])
    inside, alone = terms(model, aside, aside), terms(model, *[target([PERSON], [])] * 2)
    assert 0 < inside["vfl"] < alone["vfl"]
    assert inside["bbox"] > 0


def test_its_noise_comes_from_the_generator_that_the_loop_seeds(model: Dfine) -> None:
    targets = [target([PERSON], []), target([VEHICLE], [])]
    try:
        model.train()
        one, other = (terms(model, *targets) for _ in range(2))
        torch.manual_seed(1)
        with torch.no_grad():
            elsewhere = {name: float(value) for name, value in model.loss(IMAGES, targets).items()}
    finally:
        model.eval()
    assert one == other
    assert elsewhere != one


def test_no_weight_has_two_names(model: Dfine) -> None:
    held = [value.data_ptr() for name, value in model.state_dict().items() if value.numel() > 1]
    assert len(set(held)) == len(held)


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SightlineError, match=r"sightline\[transformers\]"):
        Dfine(2, SIZE, "none")


def test_weights_that_cannot_be_had_name_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers  # noqa: PLC0415 - seconds that other tests do not need

    def unreachable(*_: Any, **__: Any) -> Any:
        raise OSError("no network\nmore")

    monkeypatch.setattr(transformers.DFineForObjectDetection, "from_pretrained", unreachable)
    with pytest.raises(SightlineError, match=r"\(no network\); .*model\.weights=none"):
        Dfine(2, SIZE, "default")
