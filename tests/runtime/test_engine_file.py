from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.engine_file import engine_path, read_card, read_engine, write_engine
from pipeline.runtime.files import Model, read_model
from tests.exports import ENGINE, HERE, card_of, write_kit


@pytest.fixture
def kit(tmp_path: Path) -> Model:
    return read_model(write_kit(tmp_path / "nvidia"))


def test_an_engine_runs_where_it_was_built(kit: Model) -> None:
    path = write_engine(kit, ENGINE, card_of(kit))
    assert path == kit.folder.parent / "nvidia-engines" / "fp16.engine"
    assert read_engine(kit, read_card(kit), HERE) == ENGINE
    assert sorted(it.name for it in kit.folder.iterdir()) == ["contract.json", "fp16.onnx"]  # as it was shipped


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        pytest.param({"tensorrt": "10.16.1"}, "tensorrt is '11.4.1', not '10.16.1'", id="TensorRT"),
        pytest.param({"gpu": "NVIDIA T4"}, "gpu is 'NVIDIA L4', not 'NVIDIA T4'", id="GPU"),
        pytest.param({"driver": "12.4"}, "driver is '13.0', not '12.4'", id="driver"),
        pytest.param({"graph": "0" * 64}, "graph is", id="graph"),
        pytest.param({"engine": "0" * 64}, "engine file is", id="damaged"),
    ],
)
def test_an_engine_of_another_machine_or_model_is_refused(kit: Model, changes: dict[str, str], match: str) -> None:
    write_engine(kit, ENGINE, card_of(kit, **changes))
    with pytest.raises(DataError, match=f"{match}.*run: sightline engine build {kit.folder} --precision fp16"):
        read_engine(kit, read_card(kit), HERE)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"tensorrt": "11.4.1"}'])
def test_a_broken_card_is_refused(kit: Model, text: str) -> None:
    write_engine(kit, ENGINE, card_of(kit)).with_suffix(".json").write_text(text)
    with pytest.raises(DataError, match=r"(?s)describes no engine.*run: sightline engine build"):
        read_card(kit)


def test_a_card_without_its_engine_is_refused(kit: Model) -> None:
    write_engine(kit, ENGINE, card_of(kit))
    engine_path(kit).unlink()
    with pytest.raises(DataError, match="does not exist, though its card does"):
        read_engine(kit, read_card(kit), HERE)
