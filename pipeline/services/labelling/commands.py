"""`sightline labels ...`: what people do by hand with Label Studio. A command's docstring is its help."""

import argparse
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.core.errors import ConfigError, DataError
from pipeline.core.params import AnnotateParams, DataParams, LabellingParams, RegisterParams
from pipeline.core.stage import summary
from pipeline.core.types import Frame
from pipeline.io.files import file_sha256, read_json
from pipeline.io.shards import ShardReader, by_id
from pipeline.io.tables import read_frames, read_labelled
from pipeline.runtime.contract import CONTRACT
from pipeline.runtime.session import Session, open_session
from pipeline.services.arguments import count
from pipeline.services.label_studio import TOKEN, URL, Server
from pipeline.services.labelling.local import HOME, Account, LocalServer, program, write_private
from pipeline.services.labelling.push import Proposer, clip_items, frame_items, push, spread
from pipeline.services.labelling.review import review
from pipeline.services.labelling.serve import Item
from pipeline.services.labelling.setup import setup
from pipeline.services.labelling.snapshot import pull
from pipeline.services.labelling.status import status
from pipeline.services.tracking import exported_model

CHAMPION = "champion"
REVIEWED = 50  # frames sent for review where no number is given
FRAMES, LABELLED = Path("data/frames"), Path("data/annotations/labelled.parquet")
SNAPSHOT, ISSUES = Path("data/labels/export"), Path("reports/evaluate/label_issues.json")


def setup_command(args: argparse.Namespace) -> None:
    """Make the project in Label Studio, or bring it up to conf/: classes, colours, keys, attributes, template.

    A project that holds annotations is changed only with --yes; without, what would change is shown.
    Address and token: LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, in the environment or in .env.

    Examples:
      sightline labels setup
      sightline labels setup --yes
    """
    data, p = DataParams.load("data"), LabellingParams.load("labelling")
    told = setup(Server.configured(), data, p, yes=args.yes)
    print("".join(f"  {line}\n" for line in told), end="")
    summary("labels", f"project {p.project!r} {'is set up' if told else 'was as it should be'}")


def push_command(args: argparse.Namespace) -> None:
    """Give frames to annotators: each frame once, whatever happened in between.

    By default these are all usable frames that nobody has labelled. With a budget they are spread evenly over cameras
    and time. --predict shows annotators a model's boxes; --review sends back the frames on which the evaluated model
    and people disagree most.

    Examples:
      sightline labels push --budget 200
      sightline labels push --budget 200 --predict
      sightline labels push --only frames.txt --predict models/export
      sightline labels push --review 20
    """
    p = LabellingParams.load("labelling")
    server = Server.configured()
    frames = read_frames(args.frames / "frames.parquet")
    with ShardReader(args.frames) as reader, TemporaryDirectory() as folder:
        if args.review is not None:
            _review(server, p, frames, reader, args.review)
            return
        proposer = _proposer(args.predict, p, Path(folder))
        items = _clips(frames) if p.template == "video" else _frames(_chosen(args, frames), reader)
        new, before = push(server, p, items, proposer, args.budget)
    summary("labels", f"{new} tasks added to {p.project!r}, {before} were there before")


def _clips(frames: Sequence[Frame]) -> list[Item]:
    data = DataParams.load("data")
    if data.format != "video":
        raise ConfigError(f"labelling.template=video needs clips, but data.format is {data.format}")
    from pipeline.runtime.video import frame_rate  # noqa: PLC0415 - opens FFmpeg's libraries

    return clip_items(frames, Path(data.path), frame_rate)


def _frames(frames: Sequence[Frame], reader: ShardReader) -> list[Item]:
    return frame_items(frames, reader, video=DataParams.load("data").format == "video")


def _chosen(args: argparse.Namespace, frames: Sequence[Frame]) -> Sequence[Frame]:
    """The frames asked for, in the order in which a budget takes them."""
    usable = by_id(list(frames))
    if args.only is not None:
        ids = args.only.read_text(encoding="utf-8").split()
        unknown = [frame_id for frame_id in ids if frame_id not in usable]
        if unknown:
            raise DataError(f"{args.only}: {args.frames} has no usable frame {unknown[0]} ({len(unknown)} such lines)")
        return [usable[frame_id] for frame_id in ids]
    done = set() if args.labelled or not LABELLED.exists() else {it.frame_id for it in read_labelled(LABELLED)}
    return spread([frame for frame_id, frame in usable.items() if frame_id not in done], len(usable))


def _proposer(predict: str | None, p: LabellingParams, folder: Path) -> Proposer | None:
    if predict is None:
        return None
    if p.template == "video":
        raise ConfigError("--predict proposes boxes on frames; for clips set labelling.template=image")
    if predict == CHAMPION:
        model = RegisterParams.load("register").model
        version, export = exported_model(model, CHAMPION, folder)
        return _proposing(open_session(export), f"{model}-v{version}")
    given = Path(predict)
    export, artifact = (given, "") if given.is_dir() else (given.parent, given.name)
    session = open_session(export, artifact)
    return _proposing(session, f"{session.contract.model}-{file_sha256(export / CONTRACT)[:8]}")


def _proposing(session: Session, version: str) -> Proposer:
    return Proposer(session, session.contract.classes, session.contract.thresholds, version)


def _review(server: Server, p: LabellingParams, frames: Sequence[Frame], reader: ShardReader, count: int) -> None:
    if p.template == "video":
        raise ConfigError("--review shows boxes on frames; for clips set labelling.template=image")
    issues = read_json(ISSUES)["issues"]
    chosen = list(dict.fromkeys(issue["frame_id"] for issue in issues))[:count]
    known = by_id(list(frames))
    items = {item.key: item for item in _frames([known[key] for key in chosen if key in known], reader)}
    version = f"{p.project}-review"
    marked, before = review(server, p, [issue for issue in issues if issue["frame_id"] in items], items, version)
    summary("labels", f"{marked} tasks of {p.project!r} marked for review, {before} were so before; filter by `review`")


def pull_command(args: argparse.Namespace) -> None:
    """Take a snapshot of the project, byte for byte, for the annotate stage; only what changed is fetched.

    The stage reads it where data.labels.path is the snapshot's folder. With labelling.pull=[server] `dvc repro` pulls
    by itself, and what follows runs again only if something changed.

    Examples:
      sightline labels pull && dvc repro
      sightline labels pull --full
      sightline compose data.labels.path=data/labels/export labelling.pull=[server]
    """
    p = LabellingParams.load("labelling")
    pulled = pull(Server.configured(), p, args.snapshot, full=args.full)
    what = f"{pulled.fetched} of {pulled.tasks} tasks fetched" if pulled.fetched else f"{pulled.tasks} tasks"
    summary("labels", f"{what}; {args.snapshot} {'changed' if pulled.changed else 'is as it was'}")


def status_command(args: argparse.Namespace) -> None:
    """Say where the labelling stands: tasks by state, annotators, agreement, what waits, whether to pull.

    Examples:
      sightline labels status
    """
    p, annotate = LabellingParams.load("labelling"), AnnotateParams.load("annotate")
    print("\n".join(status(Server.configured(), p, args.snapshot, annotate.consensus_iou)))


def serve_command(args: argparse.Namespace) -> None:
    """Start the project's own Label Studio on 127.0.0.1, set the project up, push frames, and stay until Ctrl-C.

    Address and token go into .env, where the other commands find them, unless they are set already.

    Examples:
      sightline labels serve
      sightline labels serve --port 8081 --budget 20
    """
    account = Account.kept(HOME / "account.json")
    with LocalServer(program(), HOME / "data", account, args.port) as running:
        _remember(running.url, account.token)
        p = LabellingParams.load("labelling")
        server = running.client()
        setup(server, DataParams.load("data"), p, yes=True)
        project = server.project(p.project)
        if not next(server.tasks(project, "id"), None):
            with ShardReader(FRAMES) as reader, TemporaryDirectory() as folder:
                frames = read_frames(FRAMES / "frames.parquet")
                if p.template == "video":
                    push(server, p, _clips(frames), None, args.budget)
                else:
                    usable = list(by_id(frames).values())
                    proposer = _proposer(CHAMPION, p, Path(folder))
                    push(server, p, _frames(spread(usable, args.budget), reader), proposer)
        summary("labels", f"{running.url}/projects/{project.id} as {account.email}, password {account.password}")
        with suppress(KeyboardInterrupt):
            signal.pause()


def _remember(url: str, token: str) -> None:
    """Write address and token where the other commands look, unless a server is set already."""
    path = Path(".env")
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if URL not in known and URL not in os.environ:
        write_private(path, f"{known}{URL}={url}\n{TOKEN}={token}\n")


def serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `serve`."""
    parser.add_argument("--port", type=count, default=8080, metavar="PORT", help="default: 8080")
    parser.add_argument("--budget", type=count, default=60, metavar="N", help="frames pushed at first (default 60)")


def push_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `push`."""
    parser.add_argument("--budget", type=count, metavar="N", help="at most N new tasks")
    parser.add_argument("--only", type=Path, metavar="FILE", help="frame ids, one a line, in the order of their worth")
    parser.add_argument("--labelled", action="store_true", help="also frames that have labels")
    parser.add_argument(
        "--predict", nargs="?", const=CHAMPION, metavar="EXPORT", help="show a model's boxes; default: the champion's"
    )
    parser.add_argument(
        "--review", nargs="?", type=count, const=REVIEWED, metavar="N", help=f"send N frames back (default {REVIEWED})"
    )
    parser.add_argument("--frames", type=Path, default=FRAMES, metavar="PATH", help=f"default: {FRAMES}")


def setup_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `setup`."""
    parser.add_argument("--yes", action="store_true", help="change a project that holds annotations")


def pull_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `pull`."""
    parser.add_argument("--full", action="store_true", help="fetch every task, changed or not")
    status_arguments(parser)


def status_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `status`."""
    parser.add_argument("--snapshot", type=Path, default=SNAPSHOT, metavar="PATH", help=f"default: {SNAPSHOT}")


COMMANDS: Mapping[str, tuple[Callable[[argparse.Namespace], None], Callable[[argparse.ArgumentParser], None]]] = {
    "setup": (setup_command, setup_arguments),
    "push": (push_command, push_arguments),
    "pull": (pull_command, pull_arguments),
    "serve": (serve_command, serve_arguments),
    "status": (status_command, status_arguments),
}
