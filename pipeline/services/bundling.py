"""`sightline bundle` and `sightline selftest`: what ships is put together, and checked where it arrives."""

import argparse
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError, SightlineError
from pipeline.core.stage import summary
from pipeline.io.documents import read_object
from pipeline.io.files import sha256, whole_folder, write_bytes
from pipeline.runtime.bundle import SIGNATURE, SUMS, sums, unpacked
from pipeline.runtime.contract import CONTRACT, Contract
from pipeline.runtime.files import read_model, read_plain
from pipeline.runtime.golden import GOLDEN, check_golden, read_golden
from pipeline.runtime.session import open_session
from pipeline.runtime.signature import check_bundle, sign
from pipeline.services.model_card import model_card
from pipeline.services.sbom import sbom

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold: the same files give the same zip
CARD, CONDITIONS, BILL, LICENCE = "model_card.md", "preconditions.json", "sbom.json", "LICENSE"

Values = dict[str, Any]


def bundle_command(args: argparse.Namespace) -> None:
    """Put one target's bundle together: a folder, or a zip where --out ends in .zip.

    Only artifacts that `verify` has verified go in, with the very bytes that it measured. The bundle holds model,
    contract, golden pictures, model card, preconditions, licence, bill of materials and the hash of every file.

    Examples:
      sightline bundle cpu --out demo-cpu.zip
      sightline bundle intel --out demo-intel --sign key.pem
      sightline bundle nvidia --out kit.zip --unverified
    """
    folder = args.export / args.target
    verified = read_object(args.reports / "verify" / "verify.json")
    contract = shipped(Contract.read(folder / CONTRACT), verified, unverified=args.unverified)
    files = contents(folder, contract, args.reports, verified)
    files[LICENCE] = read_plain(args.licence)
    files[BILL] = _json(sbom(contract, {name: sha256(data) for name, data in files.items()}))
    files = listed(files, args.sign, f"{contract.model}-{contract.target}")
    if args.out.suffix == ".zip":
        write_bytes(args.out, zipped(files))
    else:
        write_folder(args.out, files)
    left_out = sorted(set(Contract.read(folder / CONTRACT).artifacts) - set(contract.artifacts))
    told = f"{args.out} with {', '.join(contract.artifacts)} (default {contract.default})"
    summary("bundle", told + (f"; left out, not verified: {', '.join(left_out)}" if left_out else ""))


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a bundle as a folder; an earlier bundle gives way. Raises DataError where other things are in its place."""
    if path.exists() and not (path / SUMS).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path} is no bundle and holds other things; give --out another name")
    with whole_folder(path) as folder:
        for name, data in files.items():
            write_bytes(folder / name, data)


def shipped(contract: Contract, verified: Mapping[str, Any], *, unverified: bool) -> Contract:
    """The contract of what may ship: verified artifacts, and one of them as the default.

    Raises:
        DataError: none is verified, or verify.json is about other bytes.
    """
    names = {}
    for name, artifact in contract.artifacts.items():
        it = verified.get("artifacts", {}).get(f"{contract.target}/{name}", {})
        if it.get("files", artifact.files) != artifact.files:
            raise DataError(f"verify.json is about other files of {contract.target}/{name}; run: dvc repro verify")
        if unverified or it.get("verified") is True:
            names[name] = artifact
    if not names:
        raise DataError(
            f"no artifact of {contract.target} is verified, so nothing ships; see verify.json, or for a kit that is "
            "checked on its device: --unverified"
        )
    default = contract.default if contract.default in names else next(iter(names))
    return contract.model_copy(update={"artifacts": names, "default": default})


def contents(folder: Path, contract: Contract, reports: Path, verified: Values) -> dict[str, bytes]:
    """Files of a bundle by name, but for licence, bill of materials, list and signature."""
    metrics, preconditions = (read_object(reports / "evaluate" / name) for name in ("metrics.json", CONDITIONS))
    files = {file: data for name in contract.artifacts for file, data in read_model(folder, name).data.items()}
    return {
        **files,
        CONTRACT: _json(contract.model_dump(mode="json")),
        GOLDEN: read_plain(folder / GOLDEN),
        CARD: model_card(contract, metrics, preconditions, verified).encode(),
        CONDITIONS: _json(preconditions),
    }


def listed(files: Mapping[str, bytes], key: Path | None, name: str) -> dict[str, bytes]:
    """The files with SHA256SUMS, and with model.sig where a private key is given."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        whole_list = {**files, SUMS: sums(folder).encode()}
    if key is None:
        return whole_list
    digests = {file: sha256(data) for file, data in whole_list.items()}
    return {**whole_list, SIGNATURE: _json(sign(digests, name, key))}


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of files; the same files give the same bytes with any zlib, because nothing is compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            member = zipfile.ZipInfo(name, EPOCH)
            member.external_attr = 0o100644 << 16
            archive.writestr(member, data)
    return out.getvalue()


def selftest_command(args: argparse.Namespace) -> None:
    """Check a bundle on this machine: its hashes, its signature where a key is given, and its golden pictures.

    Every artifact must find in the pictures that travel with it what it found where it was verified.

    Examples:
      sightline selftest demo-cpu.zip
      sightline selftest demo-cpu --key public.pem --artifact int8
    """
    with unpacked(args.bundle) as folder:
        check_bundle(folder, args.key)
        contract = Contract.read(folder / CONTRACT)
        golden = read_golden(folder / GOLDEN)
        wrong = []
        for name in [args.artifact] if args.artifact else contract.artifacts:
            session = open_session(folder, name)
            expected, told = check_golden(session, golden)
            print(f"  {name}: {expected} boxes in {len(golden.pictures)} pictures; {session.chosen}")
            wrong += [f"{name}: {words}" for words in told]
    if wrong:
        raise SightlineError("\n  ".join([f"{args.bundle} does not find what it must on this machine:", *wrong]))
    signed = " and signature" if args.key else ""
    summary("selftest", f"{args.bundle} is what was made: hashes{signed} and golden pictures agree")


def _bundle_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", help="a folder of the export: cpu, intel, nvidia")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="folder, or zip, to write")
    parser.add_argument("--export", type=Path, default=Path("models/export"), metavar="PATH", help="path of the export")
    parser.add_argument("--reports", type=Path, default=Path("reports"), metavar="PATH", help="path of the reports")
    parser.add_argument("--licence", type=Path, default=Path("LICENSE"), metavar="PATH", help="licence of the model")
    parser.add_argument("--sign", type=Path, metavar="KEY", help="PEM file with a private elliptic-curve key")
    parser.add_argument("--unverified", action="store_true", help="take artifacts that are not verified, and say so")


def _selftest_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a bundle's folder or zip")
    parser.add_argument(
        "--key", type=Path, metavar="KEY", help="PEM file with the public key of who must have signed it"
    )
    parser.add_argument("--artifact", default="", help="only this one")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


COMMANDS = {
    "bundle": (bundle_command, _bundle_arguments),
    "selftest": (selftest_command, _selftest_arguments),
}
