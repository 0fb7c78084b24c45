"""From detections to events: the tracker and the alarm logic of one camera, without pictures."""

from collections.abc import Mapping
from dataclasses import replace

from pipeline.core.types import Detections
from pipeline.runtime.alarms import AlarmLogic, Event
from pipeline.runtime.site import CameraRules
from pipeline.runtime.tracking import Track, Tracker, TrackerParams


class Follower:
    """Follows what is found in one camera, moment by moment.

    Args:
        camera: its name, which every event bears.
        rules: what is reported, and where.
        classes: names by label.
        thresholds: operating threshold of each class; a rule's own goes before it.
        tracker: how boxes become tracks; None for tracks that begin at the scores that are reported.

    Attributes:
        tracks: as they stand after the latest step.
        curious: something was seen in the latest look that has not yet lasted long enough to be reported: another look
            soon decides it, where nothing moves too.
    """

    def __init__(
        self,
        camera: str,
        rules: CameraRules,
        classes: tuple[str, ...],
        thresholds: Mapping[str, float],
        tracker: TrackerParams | None = None,
    ) -> None:
        self._tracker = Tracker(tracker or TrackerParams(high_score=starts(rules, classes, thresholds)))
        self._alarms = AlarmLogic(camera, rules, classes, thresholds)
        self._lasting = {
            label: rules.classes[name].min_duration_s for label, name in enumerate(classes) if name in rules.classes
        }
        self.tracks: list[Track] = []
        self.curious = False

    def step(
        self, found: Detections | None, timestamp_s: float, size: tuple[int, int], *, moving: bool = False
    ) -> list[Event]:
        """Events that began or ended at this moment.

        Args:
            found: what the detector found; None where it did not look, so that nothing new is known.
            timestamp_s: seconds of the source's clock, never back.
            size: width and height of the picture, pixels.
            moving: whether anything moves in it.
        """
        if found is None:
            self.tracks = [replace(it, visible=False) if it.visible else it for it in self.tracks]
        else:
            self.tracks = self._tracker.update(found, timestamp_s)
            self.curious = any(it.visible and self._undecided(it) for it in self.tracks)
        return self._alarms.update(self.tracks, timestamp_s, size, moving=moving)

    def _undecided(self, it: Track) -> bool:
        lasting = self._lasting.get(it.label)
        return lasting is not None and (not it.confirmed or it.last_s - it.first_s < lasting)

    def close(self, timestamp_s: float) -> list[Event]:
        """The events that end with the last moment."""
        return self._alarms.close(timestamp_s)


def starts(rules: CameraRules, classes: tuple[str, ...], thresholds: Mapping[str, float]) -> tuple[float, ...]:
    """By class, the score from which on it would be reported: the camera's own threshold, or the operating one."""
    own = {name: rule.threshold for name, rule in rules.classes.items() if rule.threshold is not None}
    return tuple(own.get(name, thresholds[name]) for name in classes)
