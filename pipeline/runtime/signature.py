"""model.sig: who vouches for a bundle. The format is that of sigstore's model-signing 1.0 with an elliptic-curve key.

It is a sigstore bundle 0.3 (JSON) around a DSSE envelope (v1.0) around an in-toto statement (v1) that names each file
with its SHA-256. `model_signing verify key` of that project reads what is written here, and the other way round. No
server is asked and no log is written: whoever holds the private key vouches.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import ConfigError, DataError, SightlineError
from pipeline.runtime.bundle import MAX_LIST, SIGNATURE, SUMS, check_sums
from pipeline.runtime.files import read_plain

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey

MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
KEY = "SIGHTLINE_BUNDLE_KEY"  # environment variable with the path of the public key of whom to trust
CURVES = ("secp256r1", "secp384r1", "secp521r1")  # those of the format


def sign(files: Mapping[str, str], name: str, key: Path) -> dict[str, Any]:
    """The content of model.sig.

    Args:
        files: name -> SHA-256 in hex, of every file but the signature.
        name: of the bundle.
        key: PEM file with the private key, without a password.

    Raises:
        ConfigError: the key cannot be read, or is none that the format knows.
    """
    private = _private(key)
    payload = json.dumps(_statement(files, name), sort_keys=True).encode()
    signature = private.sign(_encoded(payload), _algorithm(private.public_key(), deterministic=True))
    return {
        "mediaType": MEDIA,
        "verificationMaterial": {"publicKey": {"hint": _hint(private.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def check_bundle(folder: Path, key: Path | None = None) -> None:
    """Hold a bundle against its list, and its signature against a key: the one given, or the one that `KEY` names.

    Raises:
        DataError: a file, the list or the signature is not what it must be.
        ConfigError: the key cannot be read.
    """
    files = check_sums(folder)
    trusted = key or (Path(os.environ[KEY]) if os.environ.get(KEY) else None)
    if trusted:
        listing = hashlib.sha256(read_plain(folder / SUMS, MAX_LIST)).hexdigest()
        verify(folder, {**files, SUMS: listing}, trusted)


def guard(folder: Path) -> None:
    """`check_bundle` where a model is loaded: of a bundle always, and of every folder where a key is configured."""
    if (folder / SUMS).exists() or os.environ.get(KEY):
        check_bundle(folder)


def verify(folder: Path, files: Mapping[str, str], key: Path) -> None:
    """Hold a bundle's signature against its files and a public key.

    Args:
        folder: the bundle.
        files: name -> SHA-256 in hex of every file but the signature, as they are.
        key: PEM file with the public key.

    Raises:
        DataError: there is no signature, another key made it, or it is of other files.
        ConfigError: the key cannot be read.
    """
    path = folder / SIGNATURE
    payload = _verified(path, _public(key))
    try:
        statement = json.loads(payload)
        signed = {it["name"]: it["digest"] for it in statement["predicate"]["resources"]}
        kind = statement["predicateType"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path} is signed, but is no list of a model's files") from None
    if kind != PREDICATE or signed != dict(files):
        other = sorted(set(signed.items()) ^ set(files.items()))
        raise DataError(f"{path} was made for other files: {', '.join(sorted({name for name, _ in other}))}")


def _verified(path: Path, public: "EllipticCurvePublicKey") -> bytes:
    """The payload, once it is known that this key signed it."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only who asks for a signature needs it

    try:
        envelope = json.loads(read_plain(path, MAX_LIST))["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        kind = envelope["payloadType"]
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist: nobody vouches for this bundle; see: sightline bundle --sign"
        ) from None
    except (ValueError, KeyError, IndexError, TypeError, RecursionError, binascii.Error) as error:
        raise DataError(f"{path} is no signature: {error!r}") from None
    try:
        public.verify(signature, _encoded(payload), _algorithm(public))
    except InvalidSignature:
        raise DataError(f"{path} was not made with this key, or was changed since") from None
    if kind != PAYLOAD:
        raise DataError(f"{path} signs {kind!r}, expected {PAYLOAD}")
    return payload


def _statement(files: Mapping[str, str], name: str) -> dict[str, Any]:
    """The in-toto statement; its subject is the hash of all files' hashes, in the order of their names."""
    ordered = sorted(files.items())
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered)).hexdigest()
    resources = [{"name": file, "algorithm": "sha256", "digest": digest} for file, digest in ordered]
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": PREDICATE,
        "predicate": {"resources": resources, "serialization": how},
    }


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding, which binds the payload's type to it."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def _algorithm(public: "EllipticCurvePublicKey", *, deterministic: bool = False) -> "ECDSA":
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415

    of_size = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    return ECDSA(of_size[public.curve.key_size], deterministic_signing=deterministic)


def _hint(public: "EllipticCurvePublicKey") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    return hashlib.sha256(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _private(path: Path) -> "EllipticCurvePrivateKey":
    load_private, _ = _loaders()
    try:
        key = load_private(_key_bytes(path), None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no private key in PEM without a password: {error}") from None
    if getattr(getattr(key, "curve", None), "name", "") not in CURVES:
        raise ConfigError(f"{path} is no key on {' or '.join(CURVES)}; make one with: {_making(path)}")
    return key  # type: ignore[no-any-return]  # the curve says what it is


def _public(path: Path) -> "EllipticCurvePublicKey":
    _, load_public = _loaders()
    try:
        key = load_public(_key_bytes(path))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no public key in PEM: {error}") from None
    if getattr(getattr(key, "curve", None), "name", "") not in CURVES:
        raise ConfigError(f"{path} is no key on {' or '.join(CURVES)}")
    return key  # type: ignore[no-any-return]


def _loaders() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    except ImportError:
        raise SightlineError("signatures need a package that is not installed: pip install cryptography") from None
    return serialization.load_pem_private_key, serialization.load_pem_public_key


def _key_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read: {error.strerror}") from None


def _making(path: Path) -> str:
    return f"openssl ecparam -name prime256v1 -genkey -noout -out {path}"
