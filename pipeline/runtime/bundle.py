"""A bundle: one folder or zip with a model and all that belongs to it, and the hash of every file in SHA256SUMS.

The list is complete both ways: a file that it does not name is refused like one that is missing. Its format is that of
sha256sum, so `sha256sum --check SHA256SUMS` tells the same on any machine.
"""

import hashlib
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pipeline.core.errors import DataError
from pipeline.runtime.files import read_plain

SUMS, SIGNATURE = "SHA256SUMS", "model.sig"
MAX_FILES = 64
MAX_UNPACKED = 4 << 30  # bytes of a zip's files together
MAX_LIST = 1 << 20  # bytes of the list, and of a signature
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>[A-Za-z0-9][\w.-]*)")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def sums(folder: Path) -> str:
    """The list of a folder's files, sorted by name. Raises DataError where something in it is no plain file."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests(folder).items())


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 in hex of every file but the list and the signature, sorted by name. Raises DataError as `sums`."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in {SUMS, SIGNATURE})
    return {name: hashlib.sha256(read_plain(folder / name)).hexdigest() for name in names}


def check_sums(folder: Path) -> dict[str, str]:
    """Hold a bundle's files against its list.

    Returns:
        the digest of each file, by name.

    Raises:
        DataError: the list is missing or broken, a file is missing or not named, is a link, or has other bytes.
    """
    listed = _read_sums(folder / SUMS)
    there = {path.name for path in folder.iterdir()} - {SUMS, SIGNATURE}
    for what, names in (("lacks", set(listed) - there), ("holds without listing", there - set(listed))):
        if names:
            raise DataError(f"{folder}: the bundle {what} {', '.join(sorted(names))}; {SUMS} and files must agree")
    changed = [name for name, digest in digests(folder).items() if digest != listed[name]]
    if changed:
        raise DataError(f"{folder}: {', '.join(changed)} changed since the bundle was made (SHA-256 differs)")
    return listed


def _read_sums(path: Path) -> dict[str, str]:
    try:
        lines = read_plain(path, MAX_LIST).decode().splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; make a bundle with: sightline bundle") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no list of hashes") from None
    found = [_LINE.fullmatch(line) for line in lines]
    listed = {it["name"]: it["digest"] for it in found if it}
    if len(listed) < len(lines) or not listed:
        raise DataError(f"{path} is no list of hashes: expected a SHA-256, two spaces and a file name a line")
    return listed


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A bundle's folder: itself, or a zip's content in a temporary one.

    Raises:
        DataError: there is no such bundle, or the zip is broken or not one of ours.
    """
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="sightline-") as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(path) as archive:
                _extract(archive, folder)
        except FileNotFoundError:
            raise DataError(f"{path} does not exist; give a bundle's folder or zip") from None
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
            raise DataError(f"{path} is no bundle: {error}") from None
        yield folder


def _extract(archive: zipfile.ZipFile, folder: Path) -> None:
    """Write files beside each other, and nowhere else; what a zip says of sizes is not believed, but counted."""
    members = archive.infolist()
    names = [_plain_name(member) for member in members]
    if len(members) > MAX_FILES or len(set(names)) < len(names):
        raise DataError(f"{archive.filename} holds {len(members)} files, at most {MAX_FILES} of different names may be")
    left = MAX_UNPACKED
    for member, name in zip(members, names, strict=True):
        with archive.open(member) as source, (folder / name).open("xb") as target:
            while part := source.read(1 << 20):
                left -= len(part)
                if left < 0:
                    raise DataError(f"{archive.filename} unpacks to more than {MAX_UNPACKED} bytes")
                target.write(part)


def _plain_name(member: zipfile.ZipInfo) -> str:
    """A member's name, which must be that of a file in the bundle's own folder."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    name = PurePosixPath(member.filename).name
    if name != member.filename or not _NAME.fullmatch(name) or kind not in {0, stat.S_IFREG}:
        raise DataError(f"the zip holds {member.filename!r}; a bundle holds plain files without folders")
    return name
