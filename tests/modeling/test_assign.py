import pytest
import torch

from pipeline.modeling.assign import assign
from pipeline.modeling.detector import Target

POINTS = torch.tensor([[float(x), float(y)] for y in range(4, 64, 8) for x in range(4, 64, 8)])


def target(boxes: list[list[float]], labels: list[int], ignore: list[bool]) -> Target:
    return Target(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.long),
        torch.tensor(ignore, dtype=torch.bool),
    )


def predicted(half: float) -> torch.Tensor:
    return torch.cat([POINTS - half, POINTS + half], 1)


def test_points_inside_the_object_answer_for_it_and_the_best_fit_scores_its_iou() -> None:
    scores = torch.full((64, 2), 0.1)
    found = assign(POINTS, predicted(8.0), scores, target([[12, 12, 28, 28]], [1], [False]))
    inside = (POINTS > 12).all(1) & (POINTS < 28).all(1)
    assert set(found.positive.tolist()) == set(torch.nonzero(inside).flatten().tolist())
    assert found.quality[:, 0].sum() == 0
    assert found.quality.max() == pytest.approx(1.0)  # the point at (20, 20) predicts the box exactly
    assert found.background.all()


def test_an_untrained_prediction_still_finds_points_for_every_object() -> None:
    scores = torch.full((64, 2), 1e-4)
    boxes = torch.zeros(64, 4)
    found = assign(POINTS, boxes, scores, target([[10, 10, 30, 30], [40, 40, 60, 60]], [0, 1], [False, False]))
    assert {tuple(box) for box in found.boxes.tolist()} == {(10.0, 10.0, 30.0, 30.0), (40.0, 40.0, 60.0, 60.0)}


def test_ignore_regions_are_neither_object_nor_background() -> None:
    found = assign(POINTS, predicted(8.0), torch.full((64, 2), 0.1), target([[0, 0, 32, 64]], [0], [True]))
    assert len(found.positive) == 0
    assert found.background.tolist() == (POINTS[:, 0] > 32).tolist()


def test_a_frame_without_objects_is_all_background() -> None:
    found = assign(POINTS, predicted(8.0), torch.full((64, 2), 0.1), target([], [], []))
    assert found.background.all()
    assert found.quality.sum() == 0


def test_a_point_in_two_objects_answers_for_the_better_fit() -> None:
    found = assign(
        POINTS,
        predicted(8.0),
        torch.full((64, 2), 0.1),
        target([[0, 0, 64, 64], [12, 12, 28, 28]], [0, 1], [False] * 2),
    )
    chosen = dict(zip(found.positive.tolist(), found.boxes.tolist(), strict=True))
    best = int(torch.nonzero((POINTS == 20).all(1)).item())
    assert chosen[best] == [12, 12, 28, 28]
