"""What every detector of torchvision's must keep, and the code that they share."""

import urllib.error
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torchvision.models import MobileNet_V3_Large_Weights, ResNet50_Weights, WeightsEnum, mobilenet_v3_large, resnet50
from torchvision.ops import batched_nms, clip_boxes_to_image

from pipeline.core.errors import SightlineError
from pipeline.modeling.detector import Target
from pipeline.modeling.onnx_graph import BOXES, IMAGES, SCORES, serialised, to_onnx
from pipeline.modeling.targets.nvidia import cast_first, refusals
from pipeline.modeling.torchvision_common import BACKGROUND, NEITHER, TorchvisionDetector, fetched, matches, pyramid
from pipeline.modeling.zoo import build
from tests.detectors import awake

SIZE = (160, 96)  # width, height
FIRST = {"ssdlite": 1, "retinanet": 0, "fcos": 0, "fasterrcnn": 1}  # torchvision's number of our class 0
FAMILIES = list(FIRST)


def pixels(count: int) -> Tensor:
    """Noise, from coarse to fine, so that every level of a network sees something."""
    rng = torch.Generator().manual_seed(0)
    parts = [torch.rand(count, 3, SIZE[1] // n, SIZE[0] // n, generator=rng) for n in (1, 8, 32)]
    whole = sum(torch.nn.functional.interpolate(part, (SIZE[1], SIZE[0])) for part in parts)
    return (whole * 85).byte()  # type: ignore[union-attr]  # of a sum of tensors, mypy fears the 0 of an empty one


def fresh(name: str) -> TorchvisionDetector:
    """A network of two classes; its own transform resizes to the size that our letterbox gives."""
    torch.manual_seed(0)
    model = build(name, 2, SIZE, "none")
    assert isinstance(model, TorchvisionDetector)
    model.net.transform.fixed_size, model.net.transform._skip_resize = SIZE, True
    if name == "fcos":
        torch.nn.init.ones_(model.net.head.regression_head.bbox_reg.bias)  # else most sides are cut off at nothing
    return model


def target(*boxes: tuple[float, ...], ignore: bool = False) -> Target:
    """All boxes are of class 1."""
    found = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Target(found, torch.ones(len(found), dtype=torch.int64), torch.full((len(found),), ignore))


OBJECTS = [target((20.0, 10, 90, 80), (100, 30, 140, 90)), target(), target((5, 5, 60, 90))]


def kept(boxes: Tensor, scores: Tensor, rule: Any, first: int) -> dict[str, Tensor]:
    """Detections of candidates (A, 4) and (A, C) by torchvision's thresholds and its NMS."""
    anchor, label = (scores > rule.score_thresh).nonzero(as_tuple=True)
    inside, score = clip_boxes_to_image(boxes[anchor], (SIZE[1], SIZE[0])), scores[anchor, label]
    best = batched_nms(inside, score, label + first, rule.nms_thresh)[: rule.detections_per_img]
    return {"boxes": inside[best], "scores": score[best], "labels": label[best] + first}


@pytest.mark.parametrize("name", FAMILIES)
def test_candidates_make_the_detections_of_torchvisions_own_model(name: str) -> None:
    """Through its transform, its loop over pictures, its proposals and its NMS."""
    images = pixels(3)
    model = fresh(name)
    awake(model, images)
    rule = model.net.roi_heads if name == "fasterrcnn" else model.net
    rule.score_thresh, rule.topk_candidates = 0.05, 10_000  # of a level; ours has a limit on all levels together
    if name == "fasterrcnn":  # regions under a cell's size pool the same, so its scores tie, and NMS keeps any of them
        rule.nms_thresh, rule.detections_per_img = 1.0, 10_000
    with torch.inference_mode():
        expected = model.net(list(images.float() / 255))
        found = [kept(b, s, rule, FIRST[name]) for b, s in zip(*model(images), strict=True)]
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours["boxes"]) == len(theirs["boxes"]) > 10
        near = alike(ours, theirs)
        assert near.any(0).all()
        assert near.any(1).all()


def alike(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> Tensor:
    """Which detections (N) are which (M), whatever the order of equal scores: (N, M) bool."""
    shift = torch.cdist(ours["boxes"], theirs["boxes"], p=float("inf"))
    change = (ours["scores"][:, None] - theirs["scores"]).abs()
    return (shift < 0.01) & (change < 1e-4) & (ours["labels"][:, None] == theirs["labels"])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_is_that_of_torchvisions_own_model(name: str) -> None:
    images, model = pixels(3), fresh(name).train()
    torch.manual_seed(0)  # of the anchors that Faster R-CNN draws
    ours = model.loss(images, OBJECTS)
    theirs = [{"boxes": t.boxes, "labels": t.labels + FIRST[name]} for t in OBJECTS]
    torch.manual_seed(0)
    expected = model.net(list(images.float() / 255), theirs)
    assert ours.keys() == expected.keys()
    for term in expected:
        torch.testing.assert_close(ours[term], expected[term], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    images, model = pixels(1), fresh(name).train()
    optimizer, losses = torch.optim.AdamW(model.parameters(), 3e-4), []
    for _ in range(6):
        loss = torch.stack(list(model.loss(images.repeat(2, 1, 1, 1), OBJECTS[:1] * 2).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own lacks types
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "targets",
    [
        pytest.param([target(), target()], id="empty"),
        pytest.param([target((0.0, 0, *SIZE), ignore=True)] * 2, id="all ignored"),
    ],
)
def test_pictures_without_an_object_have_a_loss(name: str, targets: list[Target]) -> None:
    model = fresh(name).train()
    loss = torch.stack(list(model.loss(pixels(2), targets).values())).sum()
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own lacks types
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_moves_the_loss_little(name: str) -> None:
    """The anchors stay float32, in which 200 is not 200.5."""
    images, model = pixels(3), awake(fresh(name), pixels(3))
    with torch.no_grad():
        plain = model.loss(images, OBJECTS)
        with torch.autocast("cpu", torch.bfloat16):
            half = model.loss(images, OBJECTS)
    for term in plain:
        assert half[term].dtype == torch.float32
        assert float(half[term]) == pytest.approx(float(plain[term]), rel=0.2, abs=0.02)


def soil(*sizes: int) -> None:
    """Leave large numbers in memory that the next tensors of so many values are likely to get."""
    _ = [torch.full((size,), 1e30) for size in sizes]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("ssdlite", "net.backbone.extra.1.1.0"),
        ("retinanet", "net.backbone.fpn.extra_blocks.p7"),
        ("fcos", "net.backbone.fpn.extra_blocks.p7"),
    ],
)
def test_half_precision_learns_from_maps_one_pixel_wide(name: str, layer: str) -> None:
    """Two of the three columns of these kernels see only padding, whatever the memory held before."""
    torch.manual_seed(0)
    model = build(name, 2, (64, 96), "none").train()
    weight = model.get_parameter(f"{layer}.weight")
    images, columns = torch.randint(0, 256, (3, 3, 96, 64), dtype=torch.uint8), []
    for _ in range(5):
        model.zero_grad()
        soil(weight.numel(), 2 * weight.numel(), 9 * len(weight))
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.stack(list(model.loss(images, OBJECTS).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own lacks types
        assert weight.grad is not None
        columns.append(weight.grad.abs().amax((0, 1, 2)))
    found = torch.stack(columns)
    assert torch.all(found[:, [0, 2]] == 0)
    assert torch.all(found[:, 1] > 0)


@pytest.mark.parametrize("dynamic", [True, False], ids=["any batch", "one picture"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_graph_gives_the_same_candidates(name: str, *, dynamic: bool) -> None:
    images = pixels(3)
    model = awake(fresh(name), images)
    graph = to_onnx(model, SIZE, 18, dynamic=dynamic)
    session = onnxruntime.InferenceSession(serialised(graph))
    for count in (1, 3) if dynamic else (1,):
        with torch.inference_mode():
            boxes, scores = model(images[:count])
        found = session.run([BOXES, SCORES], {IMAGES: images[:count].numpy()})
        np.testing.assert_allclose(found[1], scores, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found[0], boxes, rtol=1e-3, atol=1e-2)
    assert refusals(cast_first(graph)) == []


def test_background_in_an_ignore_region_is_neither() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])
    objects, region = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 30, 10]])
    both = Target(torch.cat([objects, region]), torch.zeros(2, dtype=torch.int64), torch.tensor([False, True]))
    first = lambda overlap: torch.where(overlap[0] > 0.5, 0, BACKGROUND)  # noqa: E731 - a matcher in a line
    assert matches(first, anchors, both).tolist() == [0, NEITHER, BACKGROUND]
    alone = Target(region, torch.zeros(1, dtype=torch.int64), torch.tensor([True]))
    assert matches(first, anchors, alone).tolist() == [NEITHER, NEITHER, BACKGROUND]


@pytest.mark.parametrize(
    ("source", "classifier", "names"),
    [
        pytest.param(MobileNet_V3_Large_Weights, mobilenet_v3_large, FAMILIES, id="mobilenet"),
        pytest.param(ResNet50_Weights, resnet50, ["retinanet_resnet50", "fcos_resnet50"], id="resnet50"),
    ],
)
def test_pretrained_weights_begin_the_same_network(
    source: Any, classifier: Any, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trained model is loaded without the weights that it started from, so nothing else may differ."""
    given = classifier(weights=None).state_dict()
    asked: list[WeightsEnum] = []

    def hand_over(self: WeightsEnum, **_: object) -> dict[str, Tensor]:
        asked.append(self)
        return dict(given)

    monkeypatch.setattr(WeightsEnum, "get_state_dict", hand_over)
    for name in names:
        scratch, started = build(name, 2, SIZE, "none"), build(name, 2, SIZE, "default")
        shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (scratch, started)]
        assert shapes[0] == shapes[1]
        assert scratch.origin == "random weights"
        assert str(source.DEFAULT) in started.origin
        body = [v for k, v in started.state_dict().items() if "backbone" in k and "fpn" not in k and v.ndim == 4]
        mine = {v.sum().item() for v in given.values()}
        assert sum(v.sum().item() in mine for v in body) > 0.6 * len(body)
        assert all(p.requires_grad for p in started.parameters())
    assert asked == [source.DEFAULT] * len(names)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(urllib.error.URLError("no route to host"), id="no network"),
        pytest.param(RuntimeError("invalid hash value"), id="broken file"),
    ],
)
def test_weights_that_cannot_be_had_name_the_way_out(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(SightlineError, match=r"ResNet50_Weights.* cannot be had from https://.*model\.weights=none"):
        fetched(ResNet50_Weights.DEFAULT)


def test_weights_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: {"stem.weight": torch.zeros(1)})
    with pytest.raises(SightlineError, match=r"no layer of .* fits this backbone; set model\.weights=none"):
        pyramid("mobilenet", "default")
