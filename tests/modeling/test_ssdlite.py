import torch
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList

from pipeline.modeling.detector import Target
from pipeline.modeling.ssdlite import SsdLite
from pipeline.modeling.torchvision_common import matches


def test_candidates_and_loss_are_torchvisions_own() -> None:
    """Our path around torchvision's transform gives its own network's loss on the same pixels."""
    torch.manual_seed(0)
    model = SsdLite(2, (320, 320), "none").eval()
    images = torch.randint(0, 255, (2, 3, 320, 320), dtype=torch.uint8)
    boxes = torch.tensor([[40.0, 60, 200, 240]])
    target = Target(boxes, torch.tensor([1]), torch.tensor([False]))
    ours = model.loss(images, [target] * 2)
    net = model.net
    normalised = ImageList((images.float() / 255 - 0.5) / 0.5, [(320, 320)] * 2)
    maps = list(net.backbone(normalised.tensors).values())
    head, anchors = net.head(maps), net.anchor_generator(normalised, maps)
    wanted = [{"boxes": boxes, "labels": torch.tensor([2])}] * 2
    from torchvision.ops import box_iou  # noqa: PLC0415 - beside its only use

    matched = [net.proposal_matcher(box_iou(boxes, a)) for a in anchors]
    theirs = net.compute_loss(wanted, head, anchors, matched)
    assert all(torch.allclose(ours[name], theirs[name]) for name in theirs)


def test_non_square_inputs_are_taken() -> None:
    model = SsdLite(2, (320, 192), "none").eval()
    with torch.inference_mode():
        boxes, scores = model(torch.zeros(1, 3, 192, 320, dtype=torch.uint8))
    assert boxes.shape[1] == scores.shape[1] > 500


def test_what_lies_in_an_ignore_region_is_no_negative() -> None:
    """Of the classification only the object's own anchors are left where all else is ignored."""
    torch.manual_seed(0)
    model = SsdLite(2, (320, 192), "none").eval()
    images = torch.randint(0, 255, (1, 3, 192, 320), dtype=torch.uint8)
    boxes = torch.tensor([[40.0, 30, 200, 150], [-500, -500, 900, 900]])
    target = Target(boxes, torch.tensor([1, 0]), torch.tensor([False, True]))
    found = model.loss(images, [target])["classification"]
    mine = matches(model.net.proposal_matcher, model.anchors, target) >= 0
    logits = model.head(images)["cls_logits"][0, mine]
    torch.testing.assert_close(found, functional.cross_entropy(logits, torch.full((len(logits),), 2)))
