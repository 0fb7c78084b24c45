import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.cli import main
from pipeline.runtime.bundle import SUMS, sums

WriteExport = Callable[..., Path]


@pytest.fixture
def model(write_export: WriteExport, tmp_path: Path) -> Path:
    return write_export(tmp_path / "cpu")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """White and light grey, of another shape than the model's input, in two folders."""
    folder = tmp_path / "pictures"
    (folder / "gate").mkdir(parents=True)
    cv2.imwrite(str(folder / "white.png"), np.full((32, 32, 3), 255, np.uint8))
    cv2.imwrite(str(folder / "gate" / "grey.png"), np.full((64, 64, 3), 204, np.uint8))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames at 5 frames a second, white."""
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 255, np.uint8), "rgb24")))
        container.mux(stream.encode())
    return path


def predict(*arguments: object) -> None:
    main(["predict", *map(str, arguments)])


def test_json_of_a_folder(model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predict(pictures, "--model", model, "--format", "json", "--out", tmp_path / "out", "--all")
    document = json.loads((tmp_path / "out/predictions.json").read_bytes())
    found = {
        it["source"]: [(d["label"], d["score"], d["box"]) for d in it["detections"]] for it in document["pictures"]
    }
    assert found == {
        "gate/grey.png": [("person", 0.8, [16, 16, 32, 32]), ("vehicle", 0.2, [16, 16, 32, 32])],
        "white.png": [("person", 1.0, [8, 8, 16, 16])],
    }
    said = capsys.readouterr().out
    assert "brightness, fp32: ONNX Runtime" in said
    assert "3 detections in 2 pictures" in said


def test_what_is_below_its_threshold_is_left_out(model: Path, pictures: Path, tmp_path: Path) -> None:
    predict(pictures, "--model", model, "--format", "coco", "--out", tmp_path)
    document = json.loads((tmp_path / "coco.json").read_bytes())
    assert [annotation["score"] for annotation in document["annotations"]] == [0.8, 1.0]  # the vehicle asks for 0.25


def test_boxes_are_drawn(model: Path, pictures: Path, tmp_path: Path) -> None:
    predict(pictures, "--model", model, "--out", tmp_path / "out")
    drawn = cv2.imread(str(tmp_path / "out/gate/grey.png.jpg"))
    assert drawn is not None
    assert drawn.shape == (64, 64, 3)
    plain, line = drawn[60, 60].astype(int), drawn[47, 30].astype(int)  # y 48 is the box's lower side, orange
    assert np.abs(plain - 204).max() < 20
    assert np.abs(drawn[46:50, 30].astype(int) - 204).max() > 60, line
    assert (tmp_path / "out/white.png.jpg").exists()


@pytest.mark.parametrize(
    ("options", "frames"),
    [([], list(range(1, 11))), (["--fps", "1"], [1, 6])],
    ids=["every frame", "one a second"],
)
def test_a_clip_as_mot(model: Path, clip: Path, tmp_path: Path, options: list[str], frames: list[int]) -> None:
    predict(clip, "--model", model, "--format", "mot", "--out", tmp_path / "out", *options)
    text = (tmp_path / "out/clip.mkv.txt").read_text()
    assert text == "".join(f"{frame},-1,8,8,16,16,1,1,-1,-1\n" for frame in frames)


def test_pictures_of_a_folder_are_a_sequence(model: Path, pictures: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(pictures / "gate/next.png"), np.full((32, 32, 3), 255, np.uint8))
    predict(pictures, "--model", model, "--format", "mot", "--out", tmp_path / "out")
    assert (tmp_path / "out/gate.txt").read_text().splitlines()[1] == "2,-1,8,8,16,16,1,1,-1,-1"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["gate.txt", "pictures.txt"]


def test_the_same_pictures_give_the_same_bytes(model: Path, pictures: Path, clip: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        predict(pictures, clip, "--model", model, "--format", "json", "--out", tmp_path / out)
    one, two = ((tmp_path / out / "predictions.json").read_bytes() for out in ("one", "two"))
    assert one == two


def test_a_broken_picture_is_named_and_left_out(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (pictures / "white.png").read_bytes()
    (pictures / "half.png").write_bytes(whole[: len(whole) // 2])
    predict(pictures, "--model", model, "--format", "json", "--out", tmp_path / "out")
    streams = capsys.readouterr()
    assert "half.png: truncated" in streams.err
    assert "2 pictures" in streams.out
    assert "1 files could not be read whole" in streams.out


def test_a_bundle_is_unpacked_and_checked(model: Path, pictures: Path, tmp_path: Path) -> None:
    (model / SUMS).write_text(sums(model))
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        for path in sorted(model.iterdir()):
            archive.write(path, path.name)
    predict(pictures, "--model", tmp_path / "bundle.zip", "--format", "json", "--out", tmp_path / "out")
    assert (tmp_path / "out/predictions.json").exists()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        pytest.param(["nowhere.jpg"], "nowhere.jpg does not exist", id="no such file"),
        pytest.param(["cpu"], "holds no picture or video", id="no picture in it"),
        pytest.param(["pictures/notes.txt"], "holds no picture or video", id="no picture"),
        pytest.param(["pictures", "--artifact", "int8"], "names no artifact 'int8'", id="no such artifact"),
        pytest.param(["pictures", "pictures/white.png"], "would be written under one name", id="twice"),
        pytest.param(["pictures", "--model", "pictures"], "a model ships with its contract", id="no model"),
        pytest.param(["broken.jpg"], "nothing could be read: broken.jpg: empty file", id="nothing"),
    ],
)
def test_what_is_wrong_is_said(
    model: Path,
    pictures: Path,
    tmp_path: Path,
    arguments: list[str],
    match: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.jpg").touch()
    given = arguments if "--model" in arguments else [*arguments, "--model", "cpu"]
    with pytest.raises(SystemExit, match="2"):
        predict(*given, "--format", "json")
    assert match in capsys.readouterr().err
    assert not Path("predictions").exists()


def test_a_changed_bundle_is_refused(model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / SUMS).write_text(sums(model))
    contract = model / "contract.json"
    contract.write_text(contract.read_text().replace('"nms_iou": 0.6', '"nms_iou": 0.9'))
    with pytest.raises(SystemExit, match="2"):
        predict(pictures, "--model", model, "--format", "json")
    assert "contract.json changed since the bundle was made" in capsys.readouterr().err
