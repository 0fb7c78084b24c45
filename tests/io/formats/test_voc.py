from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.io.formats.record import Region, Task, Version, pixels
from pipeline.io.formats.voc import from_voc, read_voc, to_voc, write_voc

# The layout of VOC2012's own Annotations/2007_000027.xml, with its figures.
VOC2012 = b"""<annotation>
  <folder>VOC2012</folder>
  <filename>2007_000027.jpg</filename>
  <size><width>486</width><height>500</height><depth>3</depth></size>
  <object>
    <name>person</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>
    <bndbox><xmin>174</xmin><ymin>101</ymin><xmax>349</xmax><ymax>351</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>169</xmin><ymin>104</ymin><xmax>209</xmax><ymax>146</ymax></bndbox></part>
  </object>
</annotation>"""


def test_coordinates_are_one_based_and_inclusive() -> None:
    task = from_voc(VOC2012, "2007_000027.xml")
    (region,) = task.versions[0].regions
    assert task.size == (486, 500)
    assert pixels(region, (486, 500)) == (173, 100, 176, 251)  # pixels 174..349 are 176 of them
    assert region.label == "person"
    assert region.attributes == {"pose": "Unspecified", "truncated": "0", "difficult": "0"}


@pytest.mark.parametrize(
    ("name", "file_name", "pictures"),
    [
        pytest.param("a.xml", "<filename>a.jpg</filename>", ("a.jpg",), id="flat"),
        pytest.param("train/a.xml", "<filename>a.jpg</filename>", ("train/a.jpg", "a.jpg"), id="beside"),
        pytest.param("train/a.xml", "<filename>x/a.jpg</filename>", ("train/a.jpg", "x/a.jpg"), id="own-folder"),
        pytest.param("train/a.xml", "", ("train/a.*", "a.*"), id="not-named"),
    ],
)
def test_where_the_picture_may_be(name: str, file_name: str, pictures: tuple[str, ...]) -> None:
    assert from_voc(f"<annotation>{file_name}</annotation>".encode(), name).pictures == pictures


BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
SIZE = "<size><width>9</width><height>9</height></size>"
BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        pytest.param("", "a.xml is not plain XML", id="0-bytes"),
        pytest.param("<annotation>", "a.xml is not plain XML", id="torn"),
        pytest.param(BOMB, "a.xml is not plain XML", id="entities"),
        pytest.param(OUTSIDE, "a.xml is not plain XML", id="file-reference"),
        pytest.param("<html/>", "expected <annotation>, got <html>", id="another-format"),
        pytest.param("<annotation><filename>../a.jpg</filename></annotation>", "leaves its folder", id="climbs"),
        pytest.param(f"<annotation>{SIZE}<object>{BOX}</object></annotation>", "object 1 has no <name>", id="no-name"),
        pytest.param(f"<annotation><object><name>a</name>{BOX}</object></annotation>", "no <size>", id="no-size"),
        pytest.param(f"<annotation>{SIZE}<object><name>a</name></object></annotation>", "xmin: expected", id="no-box"),
        pytest.param(
            f"<annotation>{SIZE}<object><name>a</name>{BOX.replace('2', 'nan')}</object></annotation>",
            "xmax: nan is no coordinate",
            id="nan",
        ),
    ],
)
def test_broken_files_are_refused_by_name(xml: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_voc(xml.encode(), "a.xml")


def test_round_trip(tmp_path: Path) -> None:
    attributes = {"truncated": "1", "difficult": "1", "weather": "rain"}
    regions = (Region("person", 0.1, 0.1, 0.25, 0.5, attributes=attributes), Region("vehicle", 0.125, 0, 0.0625, 1))
    tasks = [
        Task("cam/a.xml", ("cam/a.jpg",), (Version(regions),), (480, 270)),
        Task("cam/b.xml", ("cam/b.jpg",), (Version(()),), (640, 480)),
    ]
    write_voc(tmp_path / "voc", tasks)
    assert read_voc(tmp_path / "voc") == tasks


def test_ignore_regions_are_written_as_difficult() -> None:
    task = Task("a", ("a.jpg",), (Version((Region("person", 0, 0, 1, 1, ignore=True),)),), (10, 10))
    assert b"<difficult>1</difficult>" in to_voc(task)


def test_a_task_without_a_size_cannot_be_written() -> None:
    with pytest.raises(DataError, match="no picture size"):
        to_voc(Task("a", ("a.jpg",)))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no \.xml file"):
        read_voc(tmp_path)
