"""How Label Studio gets at the pictures: they are sent to it, written where it serves files, or lie elsewhere."""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.core.errors import ConfigError
from pipeline.core.params import LabellingParams
from pipeline.io.files import write_bytes
from pipeline.services.label_studio import Project, Server, insist

ADDRESS_FIELDS = {"frame_id", "camera", "clip", "index", "source"}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to annotate: a frame, or a whole clip."""

    key: str  # what is never pushed twice
    data: Mapping[str, Any]  # of the task, but for the address
    file: str  # name under which its bytes are sent
    read: Callable[[], bytes]
    fields: Mapping[str, Any]  # what an address may be made of
    size: tuple[int, int]  # upright, pixels


Serve = Callable[[Sequence[Item]], Mapping[str, str]]  # the address of each item, by its key


def _upload(server: Server, project: Project, _: LabellingParams) -> Serve:
    """Pictures go to the server; one that an earlier push had sent already is used again."""
    sent = server.uploads(project)

    def missing(items: list[Item]) -> list[Item]:
        return [item for item in items if item.file not in sent]

    def look(items: list[Item]) -> list[Item]:
        sent.update(server.uploads(project))
        return missing(items)

    def serve(batch: Sequence[Item]) -> Mapping[str, str]:
        new = missing(list(batch))
        if new:
            insist(lambda left: server.upload(project, {item.file: item.read() for item in left}), look, new)
            sent.update(server.uploads(project))
        return {item.key: sent[item.file] for item in batch}

    return serve


def _local(server: Server, project: Project, p: LabellingParams) -> Serve:
    """Pictures are written below the document root of the server, which serves them from there."""
    folder = f"sightline-{project.id}"
    place = Path(p.serve.root).absolute() / folder
    place.mkdir(parents=True, exist_ok=True)
    storages = server.get("api/storages/localfiles", project=project.id)
    if not any(storage["path"] == str(place) for storage in storages):
        body = {"project": project.id, "title": "Sightline", "path": str(place), "use_blob_urls": True}
        server.send("POST", "api/storages/localfiles", body)

    def serve(batch: Sequence[Item]) -> Mapping[str, str]:
        for item in batch:
            if not (place / item.file).exists():
                write_bytes(place / item.file, item.read())
        return {item.key: f"/data/local-files/?d={quote(f'{folder}/{item.file}')}" for item in batch}

    return serve


def _url(_: Server, __: Project, p: LabellingParams) -> Serve:
    """Pictures lie elsewhere; their address is made from a template."""
    used = {name for _, name, _, _ in string.Formatter().parse(p.serve.url) if name is not None}
    if not used or used - ADDRESS_FIELDS:
        raise ConfigError(
            f"labelling.serve.url: {p.serve.url!r} must be made of {{{'}, {'.join(sorted(ADDRESS_FIELDS))}}}"
        )

    def serve(batch: Sequence[Item]) -> Mapping[str, str]:
        return {item.key: p.serve.url.format_map({k: _quoted(v) for k, v in item.fields.items()}) for item in batch}

    return serve


def _quoted(value: object) -> object:
    return quote(value) if isinstance(value, str) else value


SERVERS: Mapping[str, Callable[[Server, Project, LabellingParams], Serve]] = {
    "upload": _upload,
    "local": _local,
    "url": _url,
}
