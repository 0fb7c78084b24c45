import numpy as np
import pytest

from pipeline.runtime.frames import LazyFrame
from pipeline.runtime.health import HealthFinding
from pipeline.runtime.health_watch import FIRST, HealthWatch
from tests.watching import Image, frame

RATE = 10  # frames a second
SIZE = (320, 192)
LEARNT_S = FIRST / 2  # two looks a second


def scene(index: int, level: float = 1.0, size: tuple[int, int] = SIZE) -> LazyFrame:
    """A textured ground under a sensor's noise, lit to a share of its level."""
    ground = np.random.default_rng(0).integers(60, 200, (size[1] // 16 + 1, size[0] // 16 + 1))
    shown = np.kron(ground, np.ones((16, 16)))[: size[1], : size[0]]
    noise = np.random.default_rng(index).normal(0, 2, shown.shape)
    grey = np.clip(level * (shown + noise), 0, 255).astype(np.uint8)
    return frame(index, index / RATE, np.repeat(grey[..., None], 3, axis=2))


def watched(watch: HealthWatch, first_s: float, last_s: float, level: float = 1.0) -> list[HealthFinding]:
    looks = range(round(first_s * RATE), round(last_s * RATE))
    return [it for index in looks for it in watch.step(scene(index, level))]


def test_a_camera_that_goes_dark_is_found_and_found_to_be_well_again() -> None:
    watch = HealthWatch()
    assert watched(watch, 0, LEARNT_S + 5) == []
    assert not watch.kinds
    (found,) = watched(watch, LEARNT_S + 5, LEARNT_S + 15, level=0.1)
    assert found.start_s == pytest.approx(LEARNT_S + 5, abs=2)
    assert watch.kinds == (found.kind,)
    (over,) = watched(watch, LEARNT_S + 15, LEARNT_S + 25)
    assert over.end_s == pytest.approx(LEARNT_S + 15, abs=2)
    assert not watch.kinds


def test_a_picture_of_another_size_has_a_reference_of_its_own() -> None:
    watch = HealthWatch()
    watched(watch, 0, LEARNT_S + 1)
    larger = [scene(round((LEARNT_S + 1) * RATE) + i, 0.1, (640, 384)) for i in range(100)]
    assert [it for shown in larger for it in watch.step(shown)] == []


def test_what_is_too_small_is_not_judged() -> None:
    watch = HealthWatch()
    found = [it for index in range(300) for it in watch.step(scene(index, 1.0 if index < 150 else 0.0, (48, 32)))]
    assert found == []


def test_only_the_looks_that_are_due_cost_something() -> None:
    asked: list[float] = []

    class Asked(LazyFrame):
        def luma(self, width: int) -> Image:
            asked.append(self.timestamp_s)
            return super().luma(width)

    watch = HealthWatch()
    for index in range(20):
        it = scene(index)
        watch.step(Asked(it.index, it.timestamp_s, it.picture))
    assert asked == [0.0, 0.5, 1.0, 1.5]
