import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from pipeline.core.errors import ConfigError, DataError
from pipeline.runtime.bundle import SIGNATURE, SUMS, sums
from pipeline.runtime.session import open_session
from pipeline.runtime.signature import KEY, check_bundle, sign, verify
from tests.colours import write_model

FILES = {"LICENSE": "11" * 32, "model.onnx": "22" * 32}
# Written by model_signing 1.1.1 (`model_signing sign key`), with the public key that belongs to it: another's work.
DATA = Path(__file__).parents[1] / "data" / "model_signing"


def keys(folder: Path, curve: ec.EllipticCurve | None = None) -> tuple[Path, Path]:
    """Paths of a private and its public key."""
    private = ec.generate_private_key(curve or ec.SECP256R1())
    paths = folder / "private.pem", folder / "public.pem"
    paths[0].write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    paths[1].write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return paths


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return keys(tmp_path)


def write(folder: Path, signature: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / SIGNATURE).write_text(json.dumps(signature))
    return folder


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda it: it.name)
def test_who_holds_the_key_vouches(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    private, public = keys(tmp_path, curve)
    verify(write(tmp_path / "b", sign(FILES, "nano", private)), FILES, public)


def test_the_same_bundle_has_the_same_signature(pair: tuple[Path, Path]) -> None:
    assert sign(FILES, "nano", pair[0]) == sign(dict(reversed(FILES.items())), "nano", pair[0])


def test_a_signature_of_model_signing_is_read() -> None:
    listed = {line[66:]: line[:64] for line in (DATA / "digests.txt").read_text().splitlines()}
    verify(DATA, listed, DATA / "public.pem")


def test_what_is_signed_is_dsse_around_an_in_toto_statement(pair: tuple[Path, Path]) -> None:
    signature = sign(FILES, "nano", pair[0])
    envelope = signature["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    head = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload)  # PAE of the DSSE specification
    public = load_pem_private_key(pair[0].read_bytes(), None).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), head + payload, ec.ECDSA(SHA256()))
    assert json.loads(payload)["_type"] == "https://in-toto.io/Statement/v1"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        pytest.param({**FILES, "LICENSE": "33" * 32}, "LICENSE", id="changed"),
        pytest.param({**FILES, "more": "33" * 32}, "more", id="one more"),
        pytest.param({"LICENSE": "11" * 32}, r"model\.onnx", id="one less"),
    ],
)
def test_other_files_are_refused(pair: tuple[Path, Path], tmp_path: Path, files: dict[str, str], told: str) -> None:
    with pytest.raises(DataError, match=f"other files: {told}"):
        verify(write(tmp_path / "b", sign(FILES, "nano", pair[0])), files, pair[1])


def test_another_key_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    _, other = keys(tmp_path / "o")
    with pytest.raises(DataError, match="not made with this key"):
        verify(write(tmp_path / "b", sign(FILES, "nano", pair[0])), FILES, other)


def test_a_changed_statement_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    signature = sign(FILES, "nano", pair[0])
    payload = base64.b64decode(signature["dsseEnvelope"]["payload"]).replace(b"22", b"44")
    signature["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    changed = {**FILES, "model.onnx": "44" * 32}
    with pytest.raises(DataError, match="not made with this key, or was changed"):
        verify(write(tmp_path / "b", signature), changed, pair[1])


@pytest.mark.parametrize("signature", [{}, [], {"dsseEnvelope": {"payload": "%"}}, {"dsseEnvelope": 3}])
def test_what_is_no_signature_is_refused(pair: tuple[Path, Path], tmp_path: Path, signature: object) -> None:
    with pytest.raises(DataError, match="is no signature"):
        verify(write(tmp_path / "b", signature), FILES, pair[1])


def test_no_signature_is_refused_where_a_key_is_given(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody vouches"):
        verify(tmp_path, FILES, pair[1])


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ed.pem"
    private = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match="secp256r1"):
        sign(FILES, "nano", path)


@pytest.mark.parametrize("text", [b"", b"no key"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match="no private key"):
        sign(FILES, "nano", path)


@pytest.fixture
def signed(pair: tuple[Path, Path], tmp_path: Path) -> Path:
    folder = write_model(tmp_path / "bundle")
    (folder / SUMS).write_text(sums(folder))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    return write(folder, sign(files, "nano", pair[0]))


def test_a_model_loads_from_a_bundle_that_was_signed(
    signed: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, str(pair[1]))
    assert open_session(signed).artifact == "fp32"


def test_a_key_that_is_configured_refuses_what_nobody_signed(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, str(pair[1]))
    with pytest.raises(DataError, match="SHA256SUMS does not exist"):
        open_session(write_model(tmp_path / "loose"))


def test_a_model_does_not_load_from_a_bundle_that_changed(signed: Path) -> None:
    (signed / "contract.json").write_text((signed / "contract.json").read_text().replace("0.6", "0.1"))
    with pytest.raises(DataError, match=r"contract\.json changed"):
        open_session(signed)


def test_a_list_made_anew_does_not_help_against_a_signature(signed: Path, pair: tuple[Path, Path]) -> None:
    (signed / "contract.json").write_text((signed / "contract.json").read_text().replace("0.6", "0.1"))
    (signed / SUMS).write_text(sums(signed))
    check_bundle(signed)
    with pytest.raises(DataError, match="was made for other files"):
        check_bundle(signed, pair[1])
