import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pipeline.cli import main
from pipeline.io.files import file_sha256
from pipeline.runtime.bundle import SUMS, sums
from pipeline.runtime.golden import write_golden
from tests.colours import pictures, write_model

NAMES = {
    "LICENSE", "SHA256SUMS", "contract.json", "golden.npz", "model.onnx", "model_card.md", "preconditions.json",
    "sbom.json",
}  # fmt: skip


@pytest.fixture
def cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a cycle leaves: an export with a verified and a refused artifact, and reports."""
    folder = write_model(tmp_path / "models/export/cpu")
    contract = json.loads((folder / "contract.json").read_text())
    shutil.copy(folder / "model.onnx", folder / "model-int8.onnx")
    files = {"model-int8.onnx": file_sha256(folder / "model-int8.onnx")}
    int8 = contract["artifacts"]["fp32"] | {"precision": "int8", "model": "model-int8.onnx", "files": files}
    contract |= {"artifacts": contract["artifacts"] | {"int8": int8}, "default": "int8"}
    (folder / "contract.json").write_text(json.dumps(contract))
    write_golden(folder, pictures())
    verified = {
        f"cpu/{name}": {"verified": name == "fp32", "reasons": ["slow"], "files": it["files"]}
        for name, it in contract["artifacts"].items()
    }
    reports = {
        "verify/verify.json": {"artifacts": verified}, "evaluate/metrics.json": {"class": {}},
        "evaluate/preconditions.json": {"conditions": []},
    }  # fmt: skip
    for name, value in reports.items():
        path = tmp_path / "reports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    (tmp_path / "LICENSE").write_text("free\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pair(cycle: Path) -> tuple[str, str]:
    private = ec.generate_private_key(ec.SECP256R1())
    (cycle / "k.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (cycle / "p.pem").write_bytes(public)
    return "k.pem", "p.pem"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_a_bundle_holds_all_that_belongs_to_a_model(cycle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["bundle", "cpu", "--out", "b"])
    assert {path.name for path in (cycle / "b").iterdir()} == NAMES
    contract = json.loads((cycle / "b/contract.json").read_text())
    assert (list(contract["artifacts"]), contract["default"]) == (["fp32"], "fp32")
    assert "left out, not verified: int8" in capsys.readouterr().out


def test_the_same_cycle_gives_the_same_zip(cycle: Path) -> None:
    for name in ("a.zip", "b.zip"):
        main(["bundle", "cpu", "--out", name])
    assert (cycle / "a.zip").read_bytes() == (cycle / "b.zip").read_bytes()
    assert set(zipfile.ZipFile(cycle / "a.zip").namelist()) == NAMES


@pytest.mark.parametrize("out", ["b", "b.zip"])
def test_a_bundle_passes_its_own_test(cycle: Path, capsys: pytest.CaptureFixture[str], out: str) -> None:
    main(["bundle", "cpu", "--out", out])
    main(["selftest", out])
    assert "golden pictures agree" in capsys.readouterr().out


def test_a_signed_bundle_needs_the_right_key(
    cycle: Path, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["bundle", "cpu", "--out", "b.zip", "--sign", pair[0]])
    main(["selftest", "b.zip", "--key", pair[1]])
    assert "hashes and signature and golden" in capsys.readouterr().out
    main(["bundle", "cpu", "--out", "unsigned.zip"])
    assert "nobody vouches" in refused(["selftest", "unsigned.zip", "--key", pair[1]], capsys)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", sorted(NAMES - {SUMS}))
def test_a_flipped_bit_in_any_file_is_refused(cycle: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    main(["bundle", "cpu", "--out", "b"])
    flip(cycle / "b" / name)
    assert f"{name} changed since the bundle was made" in refused(["selftest", "b"], capsys)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"mean": 117.0}, id="changed mean"),
        pytest.param({"swap": True}, id="swapped channels"),
        pytest.param({"seed": 1}, id="another model"),
    ],
)
def test_selftest_sees_through_a_bundle_whose_hashes_were_made_to_fit(
    cycle: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    main(["bundle", "cpu", "--out", "b"])
    other = write_model(cycle / "other", **changes)
    for name in ("model.onnx", "contract.json"):
        shutil.copy(other / name, cycle / "b" / name)
    (cycle / "b" / SUMS).write_text(sums(cycle / "b"))
    assert "does not find what it must" in refused(["selftest", "b"], capsys)


def edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text())
    change(value["artifacts"])
    path.write_text(json.dumps(value))


def test_nothing_verified_ships_nothing(cycle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(cycle / "reports/verify/verify.json", lambda it: it["cpu/fp32"].update(verified=False))
    assert "nothing ships" in refused(["bundle", "cpu", "--out", "b.zip"], capsys)
    assert not (cycle / "b.zip").exists()


def test_what_was_never_measured_does_not_ship(cycle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(cycle / "reports/verify/verify.json", dict.clear)
    assert "nothing ships" in refused(["bundle", "cpu", "--out", "b.zip"], capsys)


def test_a_verdict_about_other_bytes_does_not_count(cycle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(cycle / "reports/verify/verify.json", lambda it: it["cpu/fp32"].update(files={"model.onnx": "0" * 64}))
    assert "run: dvc repro verify" in refused(["bundle", "cpu", "--out", "b.zip"], capsys)


def test_a_kit_may_ship_unverified_and_says_so(cycle: Path) -> None:
    main(["bundle", "cpu", "--out", "b", "--unverified"])
    assert "NOT verified: slow" in (cycle / "b/model_card.md").read_text()


def test_a_folder_with_other_things_in_it_is_not_overwritten(cycle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cycle / "mine").mkdir()
    (cycle / "mine/thesis.txt").write_text("years")
    assert "holds other things" in refused(["bundle", "cpu", "--out", "mine"], capsys)
    assert (cycle / "mine/thesis.txt").exists()
