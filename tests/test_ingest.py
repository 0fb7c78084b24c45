import io
import json
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.core.params import IngestParams
from pipeline.core.types import Frame
from pipeline.ingest import BATCH, ingest, main
from pipeline.io.images import decode
from pipeline.io.shards import ShardReader
from pipeline.io.tables import read_frames

ROOT = Path(__file__).parents[1]
CLIPS = ROOT / "data" / "demo" / "clips"
VEHICLES = ROOT.parent / "shared" / "data" / "openimages_vehicles"
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def params(near_duplicate_bits: int = 0, mode: str = "all", shard_mb: int = 1) -> IngestParams:
    usable = {**PARAMS["ingest"]["usable"], "max_megapixels": 100.0, "min_luminance": 4.0, "min_sharpness": 1.0}
    sampling = {"mode": mode, "fps": 2.0, "jpeg_quality": 90}
    values = {"sampling": sampling, "usable": usable, "shard_mb": shard_mb, "near_duplicate_bits": near_duplicate_bits}
    return IngestParams.parse("ingest", values)


def scene(seed: int, width: int = 128, height: int = 96) -> NDArray[np.uint8]:
    """A picture of large and small shapes, as different from one seed to the next as two photographs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.rectangle(smooth, (10, 10), (30, 40), (255, 255, 255), 2)
    return np.asarray(smooth, np.uint8)


def encoded(image: NDArray[np.uint8], kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_clip(path: Path, count: int = 20, seed: int = 0) -> Path:
    """Ten frames a second of a square that crosses a scene, a key frame every five."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 128, 96, "yuv420p", 5
        for n in range(count):
            image = scene(seed)
            image[40:60, 4 * n : 4 * n + 20] = 255
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def pictures(source: Path, out: Path, p: IngestParams | None = None) -> dict[str, Frame]:
    """Ingest pictures; the frames by their source."""
    ingest(source, out, p or params(), is_video=False, workers=1)
    return {frame.source: frame for frame in read_frames(out / "frames.parquet")}


def clips(source: Path, out: Path, p: IngestParams | None = None) -> list[Frame]:
    ingest(source, out, p or params(), is_video=True, workers=1)
    return read_frames(out / "frames.parquet")


def keys(frames: dict[str, Frame]) -> dict[str, str]:
    return {name: frame.reason.partition(":")[0] for name, frame in frames.items()}


def huge_png() -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\0IDAT"


def test_bytes_of_pictures_are_kept_as_they_are(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    files = {
        "gate/a.jpg": encoded(scene(1), exif=exif) + b"trailing",
        "gate/b.png": encoded(scene(2), "PNG"),
        "lot/c.webp": encoded(scene(3), "WEBP"),
    }
    frames = pictures(put(tmp_path / "in", files), tmp_path / "out")
    with ShardReader(tmp_path / "out") as reader:
        assert {name: reader.read(frame) for name, frame in frames.items()} == files
    assert [(f.camera, f.clip, f.index) for f in frames.values()] == [
        ("gate",) * 2 + (0,),
        ("gate",) * 2 + (1,),
        ("lot",) * 2 + (0,),
    ]
    assert (frames["gate/a.jpg"].width, frames["gate/a.jpg"].height) == (96, 128)
    assert (frames["gate/b.png"].width, frames["gate/b.png"].height) == (128, 96)
    with tarfile.open(tmp_path / "out" / "shard-00000.tar") as tar:
        assert tar.getnames() == [f"{f.frame_id}{Path(f.source).suffix}" for f in frames.values()]


def test_a_frame_s_id_begins_the_hash_of_its_bytes(tmp_path: Path) -> None:
    """The hash of the empty string, and of `abc`, are those of FIPS 180-2."""
    files = {"a.jpg": encoded(scene(0)), "b.jpg": b"", "c.jpg": b"abc"}
    frames = pictures(put(tmp_path / "in", files), tmp_path / "out")
    assert frames["c.jpg"].frame_id == "ba7816bf8f01cfea"
    assert all(frame.sha256.startswith(frame.frame_id) for frame in frames.values())


HOSTILE: dict[str, tuple[bytes, str]] = {
    "cut.jpg": (encoded(scene(9))[:-300], "truncated"),
    "dark.jpg": (encoded(scene(10) // 100), "too dark"),
    "empty.jpg": (b"", "empty file"),
    "flat.png": (encoded(np.full((96, 128, 3), 90, np.uint8), "PNG"), "blurred"),
    "huge.png": (huge_png(), "too large"),
    "icon.png": (encoded(scene(11, 16, 16), "PNG"), "too small"),
    "png.jpg": (encoded(scene(12), "PNG"), "wrong extension"),
    "text.jpg": (b"once upon a time", "broken picture"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_picture_is_quarantined_and_its_neighbours_are_not(tmp_path: Path, name: str) -> None:
    data, key = HOSTILE[name]
    files = {"a.jpg": encoded(scene(0)), name: data, "z.jpg": encoded(scene(1))}
    frames = pictures(put(tmp_path / "in", files), tmp_path / "out")
    assert keys(frames) == {"a.jpg": "", name: key, "z.jpg": ""}
    assert (frames[name].length > 0) == (key in {"too dark", "blurred"}), "people look at what can be looked at"


def test_a_wrong_extension_names_both(tmp_path: Path) -> None:
    files = {"a.jpg": encoded(scene(0)), "b.jpg": encoded(scene(1), "PNG")}
    frames = pictures(put(tmp_path / "in", files), tmp_path / "out")
    assert frames["b.jpg"].reason == "wrong extension: PNG named .jpg"


def test_a_link_that_leaves_the_source_is_never_read(tmp_path: Path) -> None:
    put(tmp_path, {"in/a.jpg": encoded(scene(0)), "secret.jpg": encoded(scene(1))})
    (tmp_path / "in" / "b.jpg").symlink_to(tmp_path / "secret.jpg")
    frames = pictures(tmp_path / "in", tmp_path / "out")
    assert keys(frames) == {"a.jpg": "", "b.jpg": "outside the source"}
    assert (frames["b.jpg"].sha256, frames["b.jpg"].length) == ("", 0)


def test_the_same_bytes_are_stored_once_and_the_first_is_used(tmp_path: Path) -> None:
    data = encoded(scene(0))
    frames = pictures(put(tmp_path / "in", {"b/1.jpg": data, "a/2.jpg": data, "a/3.jpg": data}), tmp_path / "out")
    first = frames.pop("a/2.jpg")
    assert first.usable
    for frame in frames.values():
        assert frame.reason == "duplicate: of a/2.jpg"
        assert frame.duplicate_of == frame.frame_id == first.frame_id
        assert (frame.shard, frame.offset, frame.length) == (first.shard, first.offset, first.length)
    found = json.loads((tmp_path / "out" / "ingest.json").read_bytes())
    assert found["duplicates"] == {"exact": 2, "near": 0}


def other_scene(image: NDArray[np.uint8]) -> bytes:
    return encoded(scene(77, 640, 480))


def smaller(image: NDArray[np.uint8]) -> bytes:
    return encoded(np.asarray(Image.fromarray(image).resize((320, 240), Image.Resampling.LANCZOS)))


def with_somebody(image: NDArray[np.uint8]) -> bytes:
    changed = image.copy()
    changed[250:310, 300:325] = 0
    return encoded(changed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda image: encoded(image, quality=60), "near duplicate: of a.jpg", id="compressed again"),
        pytest.param(lambda image: encoded(image, "PNG"), "near duplicate: of a.jpg", id="another format"),
        pytest.param(smaller, "near duplicate: of a.jpg", id="smaller"),
        pytest.param(with_somebody, "", id="somebody entered"),
        pytest.param(lambda image: encoded(np.ascontiguousarray(image[:, ::-1])), "", id="mirrored"),
        pytest.param(other_scene, "", id="another scene"),
    ],
)
def test_near_duplicates(tmp_path: Path, change: Callable[[NDArray[np.uint8]], bytes], reason: str) -> None:
    image = scene(0, 640, 480)
    data = change(image)
    name = "b.png" if data[:4] == b"\x89PNG" else "b.jpg"
    frames = pictures(put(tmp_path / "in", {"a.jpg": encoded(image), name: data}), tmp_path / "out", params(4))
    assert frames["a.jpg"].usable
    assert frames[name].reason == reason
    assert frames[name].duplicate_of == (frames["a.jpg"].frame_id if reason else "")
    assert frames[name].length == len(data)


def test_pictures_of_a_sequence_may_look_alike(tmp_path: Path) -> None:
    files = {"a.jpg": encoded(scene(0)), "b.jpg": encoded(scene(0), quality=60)}
    put(
        tmp_path / "in",
        {**files, "manifest.csv": b"file,camera,clip,timestamp_s,sky\na.jpg,c,k,0,grey\nb.jpg,c,k,0.5,\n"},
    )
    frames = pictures(tmp_path / "in", tmp_path / "out", params(4))
    assert keys(frames) == {"a.jpg": "", "b.jpg": ""}
    assert [(f.camera, f.clip, f.timestamp_s) for f in frames.values()] == [("c", "k", 0.0), ("c", "k", 0.5)]
    assert frames["a.jpg"].attributes == {"sky": "grey"}


@pytest.mark.skipif(not VEHICLES.exists(), reason="needs ../shared/data/openimages_vehicles")
def test_planted_duplicates_are_all_found_and_nothing_else(tmp_path: Path) -> None:
    pairs = [line.split(",") for line in (VEHICLES / "duplicates" / "pairs.csv").read_text().splitlines()[1:]]
    copies = sorted((VEHICLES / "duplicates").glob("*.jpg"))
    originals = [next((VEHICLES / "images").rglob(Path(cell).name)) for row in pairs for cell in row if "/" in cell]
    others = sorted((VEHICLES / "images" / "test").glob("*.jpg"))[:40]
    for path in [*copies, *originals, *others]:
        target = tmp_path / "in" / path.relative_to(VEHICLES)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    frames = pictures(tmp_path / "in", tmp_path / "out")
    assert sum(key == "duplicate" for key in keys(frames).values()) == 20 == len(copies)
    assert sum(frame.usable for frame in frames.values()) == len(frames) - 20


def test_frames_of_a_video(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "in" / "gate" / "monday.mp4")
    frames = clips(tmp_path / "in", tmp_path / "out")
    assert {(f.camera, f.clip, f.source) for f in frames} == {("gate", "gate/monday", "gate/monday.mp4")}
    assert [f.index for f in frames] == list(range(20))
    assert [f.timestamp_s for f in frames] == pytest.approx([n / 10 for n in range(20)])
    assert all(f.usable and f.phash and (f.width, f.height) == (128, 96) for f in frames)
    with ShardReader(tmp_path / "out") as reader, av.open(str(path)) as container:
        for frame, shot in zip(frames, container.decode(video=0), strict=True):
            difference = decode(reader.read(frame)).astype(int) - shot.to_ndarray(format="rgb24")
            assert np.abs(difference).mean() < 4


@pytest.mark.parametrize(
    ("mode", "indices"), [("fps", [0, 5, 10, 15]), ("keyframes", [0, 5, 10, 15]), ("all", list(range(20)))]
)
def test_sampling_modes(tmp_path: Path, mode: str, indices: list[int]) -> None:
    write_clip(tmp_path / "in" / "a.mp4")
    assert [f.index for f in clips(tmp_path / "in", tmp_path / "out", params(mode=mode))] == indices


def test_the_manifest_of_videos_says_camera_attributes_and_when_they_begin(tmp_path: Path) -> None:
    write_clip(tmp_path / "in" / "x1.mp4", 2)
    put(tmp_path / "in", {"manifest.csv": b"file,camera,clip,timestamp_s,weather\nx1.mp4,gate,monday,60,rain\n"})
    frames = clips(tmp_path / "in", tmp_path / "out")
    assert [(f.camera, f.clip, f.timestamp_s) for f in frames] == [("gate", "monday", 60.0), ("gate", "monday", 60.1)]
    assert {f.attributes["weather"] for f in frames} == {"rain"}


def test_broken_videos_are_quarantined_and_no_good_frame_is_lost(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for seed, name in enumerate(("a.mp4", "cut.mp4", "z.mp4")):
        write_clip(source / name, seed=seed)
    data = (source / "cut.mp4").read_bytes()
    put(source, {"cut.mp4": data[: len(data) * 2 // 3], "empty.mp4": b"", "text.mp4": b"once upon a time"})
    frames = clips(source, tmp_path / "out")
    good = [f for f in frames if f.usable]
    assert {name: sum(f.source == name for f in good) for name in ("a.mp4", "z.mp4")} == {"a.mp4": 20, "z.mp4": 20}
    assert sum(f.source == "cut.mp4" for f in good) >= 5
    bad = [(f.source, f.index, f.reason.partition(":")[0]) for f in frames if not f.usable]
    assert bad == [("cut.mp4", -1, "broken video"), ("empty.mp4", -1, "empty file"), ("text.mp4", -1, "broken video")]
    assert "breaks off after" in next(f.reason for f in frames if f.source == "cut.mp4" and not f.usable)


def test_a_frozen_camera_gives_one_usable_frame(tmp_path: Path) -> None:
    still = cv2.imencode(".jpg", scene(0))[1].tobytes()
    with av.open(str(tmp_path / "still.mkv"), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuvj420p"
        for n in range(3):
            packet = av.Packet(still)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, n, n, Fraction(1, 10)
            packet.is_keyframe = True
            container.mux(packet)
    (tmp_path / "in").mkdir()
    (tmp_path / "still.mkv").rename(tmp_path / "in" / "still.mkv")
    frames = clips(tmp_path / "in", tmp_path / "out")
    assert [f.reason for f in frames] == ["", *["duplicate: of still.mkv, frame 0"] * 2]
    assert len({f.frame_id for f in frames}) == 1


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_video", [False, True], ids=["pictures", "videos"])
def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path, *, is_video: bool) -> None:
    if is_video:
        for seed in range(3):
            write_clip(tmp_path / "in" / f"{seed}.mp4", 8, seed)
    else:
        put(tmp_path / "in", {f"{n:03}.jpg": encoded(scene(n // 2), quality=80 + n % 2) for n in range(2 * BATCH + 5)})
    for workers in (1, 2):
        ingest(tmp_path / "in", tmp_path / str(workers), params(), is_video=is_video, workers=workers)
    first = snapshot(tmp_path / "1")
    assert first == snapshot(tmp_path / "2")
    assert set(first) == {"frames.parquet", "ingest.json", "shard-00000.tar"}


def test_shards_have_the_size_that_was_asked_for(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 400, 400, 3), np.uint8)
    put(tmp_path / "in", {f"{n}.bmp": encoded(image, "BMP") for n, image in enumerate(noise)})  # 480 kB each
    frames = pictures(tmp_path / "in", tmp_path / "out", params(shard_mb=1))
    assert [f.shard for f in frames.values()] == [f"shard-0000{n}.tar" for n in (0, 0, 0, 1, 1)]
    with ShardReader(tmp_path / "out") as reader:
        for frame, image in zip(frames.values(), noise, strict=True):
            assert np.array_equal(decode(reader.read(frame)), image)


def test_the_report_counts_by_reason_and_camera(tmp_path: Path) -> None:
    files = {"gate/a.jpg": encoded(scene(0)), "gate/b.jpg": b"", "lot/c.jpg": encoded(scene(1)), "notes.txt": b""}
    found = ingest(put(tmp_path / "in", files), tmp_path / "out", params(), is_video=False, workers=1)
    assert found == json.loads((tmp_path / "out" / "ingest.json").read_bytes())
    counts = {key: found[key] for key in ("files", "frames", "usable", "quarantined", "ignored_files")}
    assert counts == {
        "files": 3,
        "frames": 3,
        "usable": 2,
        "quarantined": {"empty file": 1},
        "ignored_files": {".txt": 1},
    }
    gate = found["cameras"]["gate"]
    assert (gate["frames"], gate["usable"], gate["clips"], gate["seconds"], gate["sizes"]) == (
        2,
        1,
        1,
        0.0,
        {"128x96": 1},
    )
    assert gate["luminance"] == pytest.approx(
        cv2.cvtColor(decode(files["gate/a.jpg"]), cv2.COLOR_RGB2GRAY).mean(), abs=1e-4
    )


def test_an_earlier_output_is_replaced_whole(tmp_path: Path) -> None:
    put(tmp_path, {"in/a.jpg": encoded(scene(0)), "out/left.txt": b""})
    pictures(tmp_path / "in", tmp_path / "out")
    assert set(snapshot(tmp_path / "out")) == {"frames.parquet", "ingest.json", "shard-00000.tar"}


@pytest.mark.parametrize(
    ("source", "out"),
    [
        pytest.param("in", "in", id="the same"),
        pytest.param("in", "in/frames", id="inside"),
        pytest.param("in/sub", "in", id="around"),
    ],
)
def test_a_source_is_never_overwritten(tmp_path: Path, source: str, out: str) -> None:
    put(tmp_path, {"in/a.jpg": encoded(scene(0)), "in/sub/b.jpg": encoded(scene(1))})
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match="lie in each other"):
        ingest(tmp_path / source, tmp_path / out, params(), is_video=False, workers=1)
    assert snapshot(tmp_path) == before


def use_params(folder: Path, data_format: str) -> None:
    values = {
        **PARAMS,
        "data": {**PARAMS["data"], "format": data_format},
        "compute": {"engine": "local", "workers": 1, "processes": 1, "address": ""},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def test_the_stage_on_a_clip_of_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The number of frames is the one that the demo's README states."""
    put(tmp_path, {"in/hall.mp4": (CLIPS / "hall.mp4").read_bytes()})
    use_params(tmp_path, "video")
    monkeypatch.chdir(tmp_path)
    main(["--source", "in", "--out", "out/frames"])
    assert capsys.readouterr().out == "ingest: 23 frames of 1 camera, 23 usable\n"
    assert read_frames(Path("out/frames/frames.parquet"))[22].timestamp_s == pytest.approx(22 / 12, abs=1e-6)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({"in/a.txt": b""}, "holds none of .bmp, .jpeg, .jpg, .png", id="no picture"),
        pytest.param({}, "is no folder; set data.path", id="no folder"),
        pytest.param(
            {"in/a.jpg": b"", "in/b.jpg": b"x"}, "no frame is usable: .* 1 broken picture, 1 empty", id="all bad"
        ),
    ],
)
def test_nothing_to_ingest_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], message: str
) -> None:
    put(tmp_path, files)
    use_params(tmp_path, "images")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        main(["--source", "in", "--out", "out"])
