import json
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.io.documents import Figures, Folder, thresholds


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    root = tmp_path / "reports"
    root.mkdir()
    (root / "gate.json").write_text(json.dumps({"verdict": "promote", "lines": [{"metric": "AP"}]}))
    (root / "curves.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    return Folder(root)


def test_figures_name_their_file_by_the_folder_alone(folder: Folder) -> None:
    gate = folder.figures("gate.json", "gate")
    assert gate["verdict"] == "promote"
    assert gate.origin == "reports/gate.json"


def test_lines_come_in_order(folder: Folder) -> None:
    rows = folder.lines("curves.jsonl", "train")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[0].origin == "reports/curves.jsonl"


@pytest.mark.parametrize("where", ["top", "inside a list"])
def test_a_missing_key_names_file_and_stage(folder: Folder, where: str) -> None:
    gate = folder.figures("gate.json", "gate")
    figures: Figures = gate if where == "top" else gate["lines"][0]
    with pytest.raises(DataError, match=r"reports/gate\.json has no 'figure'.*run: dvc repro -f gate"):
        figures["figure"]
    assert figures.get("figure") is None


def test_a_missing_file_names_its_stage(folder: Folder) -> None:
    assert folder.holds("gate.json")
    assert not folder.holds("register.json")
    for read in (folder.figures, folder.lines, folder.path_of):
        with pytest.raises(DataError, match=r"register\.json does not exist; run: dvc repro register"):
            read("register.json", "register")


@pytest.mark.parametrize("content", [pytest.param("[1]", id="list"), pytest.param("3", id="number")])
def test_what_is_no_object_is_an_error(folder: Folder, content: str) -> None:
    (folder.path / "gate.json").write_text(content)
    with pytest.raises(DataError, match="holds no object; run: dvc repro -f gate"):
        folder.figures("gate.json", "gate")
    with pytest.raises(DataError, match="holds no object; run: dvc repro -f gate"):
        folder.lines("gate.json", "gate")


@pytest.mark.parametrize("content", [b"{}\n{", b"\xff\xfe"], ids=["cut off", "binary"])
def test_lines_that_are_no_json_are_an_error(folder: Folder, content: bytes) -> None:
    (folder.path / "curves.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"is not JSON lines.*run: dvc repro -f train"):
        folder.lines("curves.jsonl", "train")


def test_operating_thresholds_are_those_of_every_class(tmp_path: Path) -> None:
    path = tmp_path / "operating.json"
    path.write_text(json.dumps({"threshold": {"person": 0.3, "train": 0.5}}))
    assert thresholds(path, ["train", "person"]).tolist() == [0.5, 0.3]
    with pytest.raises(DataError, match="no threshold of vehicle; run: dvc repro evaluate"):
        thresholds(path, ["person", "vehicle"])


def test_a_table_is_read_by_its_columns(folder: Folder) -> None:
    (folder.path / "pr.csv").write_text('recall,class\n0.5,"a, b"\n')
    assert folder.table("pr.csv", "evaluate", ("recall", "class")) == [{"recall": "0.5", "class": "a, b"}]


@pytest.mark.parametrize("content", ["", "recall\n0.5\n"], ids=["empty", "another version"])
def test_a_table_that_lacks_a_column_names_its_stage(folder: Folder, content: str) -> None:
    (folder.path / "pr.csv").write_text(content)
    with pytest.raises(DataError, match=r"pr\.csv has no column .*class; run: dvc repro -f evaluate"):
        folder.table("pr.csv", "evaluate", ("recall", "class"))
