"""The sink that turns observations into metadata once, and hands them to every form that is asked for."""

from collections.abc import Sequence
from typing import Protocol

from pipeline.runtime.metadata.scene import Observed, Scene, SceneEvent, SceneFrame


class Output(Protocol):
    """A form of metadata on its way out."""

    def frame(self, it: SceneFrame) -> None:
        """Take a frame. Raises SightlineError where it cannot be taken."""

    def event(self, it: SceneEvent) -> None:
        """Take the begin or end of an event. Raises SightlineError where it cannot be taken."""

    def close(self) -> None:
        """Nothing more comes."""


class MetadataSink:
    """Observations in, metadata out: the same numbers and times in every output.

    Args:
        scene: what makes them anonymous.
        outputs: each takes all.
    """

    def __init__(self, scene: Scene, outputs: Sequence[Output]) -> None:
        self._scene = scene
        self._outputs = list(outputs)

    def emit(self, it: Observed) -> None:
        """Take one observation. Raises SightlineError where an output cannot take it."""
        frame = self._scene.frame(it)
        events = self._scene.events(it)
        for output in self._outputs:
            if frame is not None:
                output.frame(frame)
            for event in events:
                output.event(event)

    def close(self) -> None:
        """Close all outputs."""
        for output in self._outputs:
            output.close()
