import sys
from pathlib import Path

import pytest

from pipeline.core.errors import DataError, SightlineError
from pipeline.runtime.engine_file import write_engine
from pipeline.runtime.files import Model, read_model
from pipeline.runtime.session import open_session
from tests.exports import ENGINE, card_of, write_kit


@pytest.fixture
def kit(tmp_path: Path) -> Model:
    return read_model(write_kit(tmp_path / "nvidia"))


def test_a_kit_without_an_engine_says_what_builds_it(kit: Model) -> None:
    with pytest.raises(DataError, match=f"no engine for fp16 yet; .*: sightline engine build {kit.folder}"):
        open_session(kit.folder)


def test_the_library_is_asked_for_where_it_is_missing(kit: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    write_engine(kit, ENGINE, card_of(kit))
    words = "pip install tensorrt-cu13.*carry the whole folder .*nvidia and run: sightline engine build nvidia"
    with pytest.raises(SightlineError, match=words):
        open_session(kit.folder)


def test_an_engine_of_another_graph_is_refused_before_the_library_is_asked_for(
    kit: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    write_engine(kit, ENGINE, card_of(kit, graph="0" * 64))
    with pytest.raises(DataError, match="does not fit: graph is"):
        open_session(kit.folder)
