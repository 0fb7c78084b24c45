import os
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.io.manifest import Listing, SourceFile, list_sources

PICTURES = {".jpg", ".png"}
HEADER = "file,camera,clip,timestamp_s"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def pictures(root: Path) -> Listing:
    return list_sources(root, PICTURES, video=False)


def clips(root: Path) -> Listing:
    return list_sources(root, {".mp4", ".mkv"}, video=True)


def places(listing: Listing) -> list[tuple[str, str, str, int]]:
    return [(file.name, file.camera, file.clip, file.index) for file in listing.files]


def refusals(files: tuple[SourceFile, ...]) -> dict[str, str]:
    return {file.name: file.refusal.partition(":")[0] for file in files}


def test_pictures_get_camera_and_clip_from_their_folders(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.JPG", "gate/2.png", "gate/1.jpg", "lot/night/1.jpg")
    assert places(pictures(tmp_path)) == [
        ("a.JPG", "images", "images", 0),
        ("b.jpg", "images", "images", 1),
        ("gate/1.jpg", "gate", "gate", 0),
        ("gate/2.png", "gate", "gate", 1),
        ("lot/night/1.jpg", "lot", "lot/night", 0),
    ]


def test_videos_get_camera_and_clip_from_their_folders(tmp_path: Path) -> None:
    touch(tmp_path, "lobby.mp4", "gate/monday.mkv", "gate/tuesday.mp4")
    assert places(clips(tmp_path)) == [
        ("gate/monday.mkv", "gate", "gate/monday", 0),
        ("gate/tuesday.mp4", "gate", "gate/tuesday", 0),
        ("lobby.mp4", "lobby", "lobby", 0),
    ]


def test_files_that_are_not_looked_at_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.heic", "c.heic", "README")
    assert pictures(tmp_path).ignored == {".heic": 2, "no suffix": 1}


def test_the_manifest_says_whose_a_file_is(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "notes.txt")
    rows = [f"{HEADER},weather,site", "b.jpg,gate,monday,0.5,rain,", "a.jpg,gate,monday,2,,north"]
    (tmp_path / "manifest.csv").write_text("\ufeff" + "\n".join(rows), encoding="utf-8")
    listing = pictures(tmp_path)
    assert places(listing) == [("a.jpg", "gate", "monday", 1), ("b.jpg", "gate", "monday", 0)]
    assert [file.timestamp_s for file in listing.files] == [2.0, 0.5]
    assert [file.attributes for file in listing.files] == [{"site": "north"}, {"weather": "rain"}]
    assert listing.ignored == {".txt": 1, "not in manifest.csv": 1}


def test_a_picture_without_a_time_is_a_single_one(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "manifest.csv").write_text(f"{HEADER}\na.jpg,gate,monday,\n", encoding="utf-8")
    assert pictures(tmp_path).files[0].timestamp_s is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(f"{HEADER}\nz.jpg,c,k,\n", "line 2: 'z.jpg' is no such file", id="unknown file"),
        pytest.param(f"{HEADER}\n../a.jpg,c,k,\n", "'../a.jpg' leaves the folder", id="climbs out"),
        pytest.param(f"{HEADER}\n/etc/a.jpg,c,k,\n", "'/etc/a.jpg' leaves the folder", id="absolute"),
        pytest.param(f"{HEADER}\na.jpg,c,k,\na.jpg,c,k,\n", "line 3: 'a.jpg' is listed twice", id="twice"),
        pytest.param(f"{HEADER}\na.jpg,,k,\n", "needs a camera and a clip", id="no camera"),
        pytest.param(f"{HEADER}\na.jpg\n", "needs a camera and a clip", id="short row"),
        pytest.param(f"{HEADER}\na.jpg,c,k,soon\n", "must be seconds from 0 or empty, got 'soon'", id="no time"),
        pytest.param(f"{HEADER}\na.jpg,c,k,nan\n", "must be seconds from 0 or empty, got 'nan'", id="nan"),
        pytest.param(f"{HEADER}\na.jpg,c,k,-1\n", "must be seconds from 0 or empty, got '-1'", id="before the start"),
        pytest.param(f"{HEADER}\na.jpg,c,k,,x\n", "more values than columns: 2", id="long row"),
        pytest.param("file,camera,clip\na.jpg,c,k\n", "lacks the column timestamp_s", id="missing column"),
        pytest.param(f"{HEADER},file\na.jpg,c,k,,b\n", "has a column twice", id="column twice"),
        pytest.param("", "lacks the column file, camera, clip, timestamp_s", id="empty"),
        pytest.param(f"{HEADER}\n", "has no row", id="no row"),
        pytest.param(f'{HEADER}\n"a.jpg,c', "is no CSV file", id="open quote"),
        pytest.param("file\x00,camera", "CSV|column", id="zero byte"),
    ],
)
def test_bad_manifests_are_clear_errors(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        pictures(tmp_path)


def test_every_bad_row_is_named_up_to_ten(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    rows = [f"{n}.jpg,c,k," for n in range(12)]
    (tmp_path / "manifest.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    with pytest.raises(DataError, match=r"12 bad rows(.|\n)*line 2(.|\n)*line 11(.|\n)*and 2 more"):
        pictures(tmp_path)


def test_a_manifest_that_is_not_text_is_a_clear_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "manifest.csv").write_bytes(b"file,\xff\xfe")
    with pytest.raises(DataError, match="is no CSV file in UTF-8"):
        pictures(tmp_path)


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    root, outside = touch(tmp_path / "root", "a.jpg"), touch(tmp_path / "outside", "secret.jpg")
    (root / "b.jpg").symlink_to(outside / "secret.jpg")
    (root / "c.jpg").symlink_to(root / "a.jpg")
    (root / "d.jpg").symlink_to(root / "nowhere.jpg")
    (root / "e.jpg").symlink_to(outside)
    os.mkfifo(root / "f.jpg")
    assert refusals(pictures(root).files) == {
        "a.jpg": "",
        "b.jpg": "outside the source",
        "c.jpg": "",
        "d.jpg": "not a file",
        "e.jpg": "outside the source",
        "f.jpg": "not a file",
    }


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path / "disk", "a.jpg")
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    assert refusals(pictures(tmp_path / "root").files) == {"a.jpg": ""}


def test_names_that_are_no_utf_8_are_escaped(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(path)).write_bytes(b"x")
    (file,) = pictures(tmp_path).files
    assert file.name == "caf\\xe9.jpg"
    assert file.path.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param([], "holds none of .mkv, .mp4", id="empty folder"),
        pytest.param(["a.jpg"], "data.format=images takes pictures", id="pictures"),
        pytest.param(["a.mkv", "a.mp4"], r"several videos are one clip: a.mkv \(clip a\), a.mp4", id="one clip twice"),
    ],
)
def test_folders_without_what_was_asked_for(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        clips(touch(tmp_path, *names))


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no folder; set data\.path"):
        pictures(tmp_path / "nowhere")
