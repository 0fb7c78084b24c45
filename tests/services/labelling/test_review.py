from typing import Any

from pipeline.services.labelling.push import push
from pipeline.services.labelling.review import review


def issue(site: Any, position: int, score: float) -> dict[str, Any]:
    return {
        "frame_id": site.items[position].key,
        "kind": "missing_label",
        "suspicion": score,
        "label": "person",
        "score": score,
        "box": [10.0, 20.0, 30.0, 40.0],
        "human": None,
        "iou": None,
    }


def test_frames_are_marked_once_and_pushed_where_they_are_missing(site: Any) -> None:
    push(site.server, site.p, site.items[:1])
    items = {item.key: item for item in site.items}
    issues = [issue(site, 1, 0.9), issue(site, 0, 0.8), issue(site, 1, 0.7)]
    assert review(site.server, site.p, issues, items, "look") == (2, 0)
    assert review(site.server, site.p, issues, items, "look") == (0, 2)
    notes = {task["data"]["frame_id"]: task["data"]["review"] for task in site.tasks()}
    assert notes == {
        site.items[0].key: "missing label: person 0.80",
        site.items[1].key: "missing label: person 0.90; missing label: person 0.70",
    }
    found = {prediction["score"]: prediction["result"] for prediction in site.predictions()}
    assert sorted(found) == [0.8, 0.9]
    assert [region["score"] for region in found[0.9]] == [0.9, 0.7]
    width, height = site.items[0].size
    place = found[0.8][0]["value"]
    assert [place["x"] * width / 100, place["y"] * height / 100] == [10, 20]
    assert [place["width"] * width / 100, place["height"] * height / 100] == [30, 40]
