import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.modeling.detector import Detector
from pipeline.modeling.nano import NANO, SMALL, Backbone, Nano
from pipeline.modeling.zoo import build


def multiply_adds(model: Detector) -> int:
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model.eval()(torch.zeros(1, 3, 192, 320, dtype=torch.uint8))
    return int(counted.get_total_flops()) // 2


def test_small_costs_three_to_four_times_nano() -> None:
    nano, small = (multiply_adds(build(name, 2, (320, 192), "none")) for name in ("nano", "small"))
    assert 3 <= small / nano <= 4


def test_small_sees_what_nano_sees() -> None:
    nano, small = Nano(2, (96, 64)), Nano(2, (96, 64), SMALL)
    assert torch.equal(nano.points, small.points)


def test_depth_adds_residual_blocks_and_renames_none() -> None:
    one, two = Backbone(NANO.widths, 1).state_dict(), Backbone(NANO.widths, 2).state_dict()
    added = {name for name in two if name not in one}
    assert one.keys() <= two.keys()
    assert {name[: len("levels.0.2")] for name in added} == {"levels.0.2", "levels.1.2", "levels.2.2"}
