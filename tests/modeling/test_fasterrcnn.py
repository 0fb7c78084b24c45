import pytest
import torch
from torchvision.ops import batched_nms

from pipeline.modeling.detector import Target
from pipeline.modeling.fasterrcnn import ROUNDS, FasterRcnn, cluster_nms
from pipeline.modeling.onnx_graph import body, to_onnx
from tests.detectors import awake

SIZE = (128, 96)


def pictures(count: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randint(0, 255, (count, 3, SIZE[1], SIZE[0]), dtype=torch.uint8, generator=rng)


@pytest.fixture(scope="module")
def model() -> FasterRcnn:
    torch.manual_seed(0)
    found = awake(FasterRcnn(3, SIZE, "none"), pictures(4))
    assert isinstance(found, FasterRcnn)
    return found


@pytest.mark.parametrize("spread", [pytest.param(5.0, id="heaps"), pytest.param(80.0, id="apart")])
def test_cluster_nms_keeps_what_the_greedy_one_keeps(spread: float) -> None:
    rng = torch.Generator().manual_seed(0)
    corner = torch.rand(4, 450, 2, generator=rng) * spread
    boxes = torch.cat([corner, corner + 20 + torch.rand(4, 450, 2, generator=rng) * 10], -1)
    level = torch.randint(0, 3, (4, 450), generator=rng)
    wanted = torch.rand(4, 450, generator=rng) > 0.1
    kept = cluster_nms(boxes, level, wanted, 0.7)
    scores = torch.linspace(1, 0, 450)
    for i in range(4):
        at = wanted[i].nonzero().flatten()
        best = at[batched_nms(boxes[i, at], scores[at], level[i, at], 0.7)]
        assert kept[i].nonzero().flatten().tolist() == sorted(best.tolist())
        assert 3 <= len(best) < 400


def test_a_chain_as_long_as_the_rounds_is_resolved() -> None:
    """Each box suppresses the next one only: the greedy NMS keeps every second."""
    left = torch.arange(ROUNDS + 1) * 20.0
    boxes = torch.stack([left, torch.zeros_like(left), left + 100, torch.full_like(left, 10)], -1)[None]
    kept = cluster_nms(boxes, torch.zeros(1, len(left)), torch.ones(1, len(left), dtype=torch.bool), 0.6)
    assert kept[0].tolist() == [i % 2 == 0 for i in range(len(left))]


def test_a_candidate_keeps_its_place_and_speaks_for_one_class(model: FasterRcnn) -> None:
    with torch.inference_mode():
        boxes, scores = model(pictures(4))
    anchors = len(model.anchors)
    assert boxes.shape == (4, 3 * anchors, 4)
    assert ((scores > 0).sum(-1) <= 1).all()
    speaks = (scores > 0).reshape(4, anchors, 3, 3)
    assert (speaks == speaks & torch.eye(3, dtype=torch.bool)).all()
    silent = ~speaks.flatten(2).any(-1)
    assert 0 < int((~silent[0]).sum()) <= model.net.rpn.post_nms_top_n()
    resting = model.anchors[None, :, None].expand(4, -1, 3, -1)
    assert torch.equal(boxes.reshape(4, anchors, 3, 4)[silent], resting[silent])


def test_its_draw_comes_from_the_generator_that_the_loop_seeds(model: FasterRcnn) -> None:
    target = Target(torch.tensor([[10.0, 10, 60, 80]]), torch.tensor([1]), torch.tensor([False]))
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append({name: float(value.detach()) for name, value in model.loss(pictures(1), [target]).items()})
    assert found[0] == found[1]
    assert found[2] != found[0]


def test_what_lies_in_an_ignore_region_is_not_trained(model: FasterRcnn) -> None:
    """Nothing is drawn where all is ignored, and objects alone where there are some."""
    region, box = torch.tensor([[-500.0, -500, 500, 500]]), torch.tensor([[10.0, 10, 60, 80]])
    labels = torch.zeros(2, dtype=torch.int64)
    both = Target(torch.cat([box, region]), labels, torch.tensor([False, True]))
    alone = Target(region, labels[:1], torch.tensor([True]))
    plain = Target(box, labels[:1], torch.tensor([False]))
    assert {float(value.detach()) for value in model.loss(pictures(1), [alone]).values()} == {0.0}
    assert model.loss(pictures(1), [both])["loss_objectness"] != model.loss(pictures(1), [plain])["loss_objectness"]


def test_a_first_stage_that_proposes_nothing_is_trained_and_finds_nothing() -> None:
    model = FasterRcnn(1, SIZE, "none").eval()
    torch.nn.init.constant_(model.net.rpn.head.cls_logits.bias, -20.0)
    target = Target(torch.tensor([[10.0, 10, 60, 80]]), torch.tensor([0]), torch.tensor([False]))
    assert all(torch.isfinite(value) for value in model.loss(pictures(1), [target]).values())
    with torch.inference_mode():
        assert not model(pictures(1))[1].any()


def test_coordinates_are_never_computed_in_fewer_bits(model: FasterRcnn) -> None:
    """The proposals feed the second stage's layers, and are a decoding all the same."""
    graph = to_onnx(model, SIZE, 18, dynamic=True)
    kinds = {node.name: node.op_type for node in graph.graph.node}
    nodes = body(graph)
    assert not {"TopK", "Exp", "GatherElements", "Less"} & {kinds[name] for name in nodes}
    layers = set(nodes.values())
    assert "net.rpn.head.conv.0.0" in layers
    assert "net.roi_heads.box_head.fc6" in layers
    assert not {layer for layer in layers if layer.endswith(("cls_logits", "bbox_pred", "cls_score"))}
