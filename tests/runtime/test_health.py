from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike

from pipeline.runtime.health import HealthFinding, HealthMonitor, HealthParams, make_reference
from tests.camera_view import HEIGHT, WIDTH, Luma, noisy, view, walked

VIEW = view()
REFERENCE = make_reference([noisy(VIEW, seed) for seed in range(6)])
LOOK_S = 0.5
ONSET = 20  # looks
Fault = Callable[[Luma], Luma | None]
Found = tuple[float, HealthFinding]  # when it was told


def live(look: int) -> Luma:
    """The faultless camera, people walking."""
    return noisy(walked(VIEW, 12 * look % (2 * WIDTH)), 100 + look)


def watch(
    monitor: HealthMonitor, shown: Callable[[int], Luma | None], looks: range
) -> list[tuple[float, HealthFinding]]:
    return [(k * LOOK_S, it) for k in looks for it in monitor.step(shown(k), k * LOOK_S)]


def knocked(frame: Luma, matrix: ArrayLike) -> Luma:
    seen = cv2.warpAffine(frame, np.asarray(matrix, np.float64), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(seen, np.uint8)


def shifted(frame: Luma) -> Luma:
    return knocked(frame, [[1, 0, 32], [0, 1, -18]])


def tilted(frame: Luma) -> Luma:
    return knocked(frame, cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 3.0, 1.0))


def webbed(frame: Luma) -> Luma:
    lines = np.zeros_like(frame)
    for radius in range(15, 160, 14):
        cv2.circle(lines, (150, 90), radius, 255, 1, cv2.LINE_AA)
    alpha = 0.5 * cv2.GaussianBlur(lines, (0, 0), 0.7) / 255
    return np.asarray(frame * (1 - alpha) + 215 * alpha, np.uint8)


def dirty(frame: Luma) -> Luma:
    spots = np.zeros(frame.shape, np.float32)
    for x, y in ((40, 40), (120, 110), (200, 60), (280, 140), (60, 150)):
        cv2.circle(spots, (x, y), 28, 0.9, cv2.FILLED)
    alpha = cv2.GaussianBlur(spots, (0, 0), 4)
    behind = 0.35 * cv2.GaussianBlur(frame, (0, 0), 4).astype(np.float32) + 45
    return np.asarray(frame * (1 - alpha) + behind * alpha, np.uint8)


def covered(frame: Luma) -> Luma:
    return noisy(np.full_like(frame, 70), int(frame[0, 0]))


def blurred(frame: Luma) -> Luma:
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), 2.0), np.uint8)


FAULTS: dict[str, Fault] = {
    "covered": covered,
    "moved": shifted,
    "tilted": tilted,
    "defocused": blurred,
    "too dark": lambda frame: np.asarray(frame * 0.12, np.uint8),
    "too bright": lambda frame: np.clip(frame * 2.6 + 20.0, 0, 255).astype(np.uint8),
    "frozen": lambda _: live(ONSET),
    "dirt": dirty,
    "web": webbed,
    "no signal": lambda _: None,
    "flat": lambda frame: np.full_like(frame, 30),
}
KINDS = {"tilted": "moved", "flat": "no signal"}  # by another name


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_within_10_s_by_its_name(name: str) -> None:
    fault = FAULTS[name]
    monitor = HealthMonitor(REFERENCE)
    assert watch(monitor, live, range(ONSET)) == []
    found = watch(monitor, lambda k: fault(live(k)), range(ONSET, ONSET + 20))
    at, finding = found[0]
    assert len(found) == 1
    assert finding.kind == KINDS.get(name, name)
    assert at - ONSET * LOOK_S < 10
    assert 0 <= finding.start_s - ONSET * LOOK_S <= 3
    assert finding.end_s is None
    assert 0 < finding.severity <= 1
    assert finding.detail


def test_who_walks_by_is_no_fault() -> None:
    assert watch(HealthMonitor(REFERENCE), live, range(240)) == []


def test_who_stands_there_is_no_fault() -> None:
    assert watch(HealthMonitor(REFERENCE), lambda k: noisy(walked(VIEW, 140), k), range(120)) == []


def test_a_slow_change_of_light_is_no_fault() -> None:
    def dusk(k: int) -> Luma:
        return np.asarray(live(k) * (1 - 0.004 * k), np.uint8)

    assert watch(HealthMonitor(REFERENCE), dusk, range(100)) == []


def test_a_short_fault_is_none() -> None:
    monitor = HealthMonitor(REFERENCE)
    assert watch(monitor, lambda k: covered(live(k)) if 20 <= k < 25 else live(k), range(60)) == []


def test_a_fault_that_is_gone_is_ended_once() -> None:
    monitor = HealthMonitor(REFERENCE)
    found = watch(monitor, lambda k: shifted(live(k)) if 20 <= k < 60 else live(k), range(100))
    begun, ended = (it for _, it in found)
    assert begun.end_s is None
    assert (ended.kind, ended.start_s) == ("moved", begun.start_s)
    assert ended.end_s == pytest.approx(30, abs=2)  # look 60
    assert monitor.current is None


def test_the_last_of_two_faults_takes_over() -> None:
    monitor = HealthMonitor(REFERENCE)
    found = watch(monitor, lambda k: blurred(live(k)) if k < 60 else covered(live(k)), range(20, 90))
    assert [(it.kind, it.end_s is None) for _, it in found] == [
        ("defocused", True),
        ("defocused", False),
        ("covered", True),
    ]


def test_severity_grows_with_the_fault() -> None:
    def severity(sigma: float) -> float:
        monitor = HealthMonitor(REFERENCE)
        watch(monitor, lambda k: np.asarray(cv2.GaussianBlur(live(k), (0, 0), sigma), np.uint8), range(20))
        assert monitor.current is not None
        return monitor.current.severity

    assert severity(1.6) < severity(3.0)


def test_a_gap_that_nobody_told_of_is_begun_and_ended_at_once() -> None:
    monitor = HealthMonitor(REFERENCE)
    watch(monitor, live, range(20))
    (finding,) = monitor.step(live(20), 60.0)
    assert (finding.kind, finding.start_s, finding.end_s) == ("no signal", 9.5, 60.0)
    assert monitor.current is None


def test_frames_of_another_size_are_compared_all_the_same() -> None:
    monitor = HealthMonitor(REFERENCE)
    large = (2 * WIDTH, 2 * HEIGHT)
    assert watch(monitor, lambda k: np.asarray(cv2.resize(live(k), large), np.uint8), range(60)) == []


def test_looks_are_taken_no_more_often_than_asked() -> None:
    monitor = HealthMonitor(REFERENCE, HealthParams(look_s=1.0))
    found = [it for k in range(150) for it in monitor.step(live(k) if k % 10 else shifted(live(k)), k / 10)]
    assert [it.kind for it in found] == ["moved"]  # it has seen every tenth frame, and no other
