from pathlib import Path
from typing import Any

from pipeline.services.label_studio import Server
from pipeline.services.labelling.push import push
from pipeline.services.labelling.snapshot import pull
from pipeline.services.labelling.status import status

SNAPSHOT = Path("data/labels/export")


def box(x: float) -> dict[str, Any]:
    """A person, 40 % wide and as high as the picture."""
    place = {"x": x, "y": 0, "width": 40, "height": 100, "rotation": 0, "rectanglelabels": ["person"]}
    return {"id": f"r{x}", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": place}


def test_it_says_what_is_done_by_whom_and_what_waits(site: Any, second_person: Server) -> None:
    push(site.server, site.p, site.items)
    first, second, third = (task["id"] for task in site.tasks())
    site.server.send("POST", f"api/tasks/{first}/annotations", {"result": [box(0), box(50)]})
    second_person.send("POST", f"api/tasks/{first}/annotations", {"result": [box(0)]})
    second_person.send("POST", f"api/tasks/{second}/annotations", {"result": [], "was_cancelled": True})
    site.server.send("POST", f"api/tasks/{third}/drafts", {"result": [], "lead_time": 1})
    lines = status(site.server, site.p, SNAPSHOT, 0.5)
    assert lines[0].endswith("3 tasks")
    assert lines[1] == "annotated 1 (1 by several people), skipped 1, begun 1, waiting 0"
    assert "second@example.com: 2 tasks" in "\n".join(lines)
    assert "agreement: F1 0.667 over 1 tasks at IoU 0.5" in lines  # one match of 2 and 1 boxes: 2 / 3
    assert lines[-1] == f"{SNAPSHOT}: never pulled; run: sightline labels pull"
    pull(site.server, site.p, SNAPSHOT)
    assert status(site.server, site.p, SNAPSHOT, 0.5)[-1] == f"{SNAPSHOT}: up to date"


def test_nothing_is_said_about_agreement_of_one(site: Any) -> None:
    assert "agreement: not assessable, no task has two annotations" in status(site.server, site.p, SNAPSHOT, 0.5)
