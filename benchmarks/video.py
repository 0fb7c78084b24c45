"""What motion gating saves, and what it costs in events: gate + 5 detections a second against every frame, in one run.

    python benchmarks/video.py [--model models/export/cpu] [--artifact NAME] [--clips data/demo/clips] [--turns 3]

Both ways run the same model, tracker and alarm rules on one thread over all clips, in turns; CPU seconds are those of
the whole process, so decoding's are in. `every frame` decodes and looks at each; `gated` looks where the gate says so,
at most 5 times a second, and every 2 s where nothing moves. Events are judged as the field test judges them, against
data/demo/events. Streams per core is the share of a core that one 768 x 432 camera takes at 5 detections a second, its
reciprocal: once with the detector at work 5 times a second whatever happens (a busy street), once gated.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.runtime.motion import MotionParams
from pipeline.runtime.session import open_session
from pipeline.runtime.site import Site
from pipeline.runtime.video import LazyFrame, open_source
from pipeline.runtime.watching import PARTS, CameraPipeline, Detector, detector_of
