"""A manifest's state is noted with its failure codes, nothing is fetched, and no text of a picture is read out."""

import importlib
import importlib.util
import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import Input, Inputs, Pool, Program, Role, provenance
from tests.unit.safeguards.detector_pictures import bomb, circles, encoded, needs_images, not_looked_at

HAS_C2PA = importlib.util.find_spec("c2pa") is not None
needs_c2pa = pytest.mark.skipif(not HAS_C2PA, reason="the extra `provenance` (c2pa-python) is not installed")
pytestmark = [needs_images, needs_c2pa]
LONG_S = 60.0
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SECRET = "a title that must not be read out"


@pytest.fixture(scope="module")
def detector() -> provenance.ProvenanceDetector:
    return provenance.build()


def noted(detector: provenance.ProvenanceDetector, data: bytes) -> dict[str, Any]:
    given = Inputs((Input(Role.PROMPT, b"coat"), Input(Role.REFERENCE, data)))
    assert detector.detect(given, time.monotonic() + LONG_S) == ()
    (note,) = detector.notes(given, time.monotonic() + LONG_S)
    assert (note.input_id, note.detector_id) == (given.all[1].id, provenance.ID)
    assert "title" not in json.dumps(dict(note.content))
    return dict(note.content)


def test_a_manifest_of_an_unknown_signer_is_valid_and_not_trusted(
    detector: provenance.ProvenanceDetector,
) -> None:
    found = noted(detector, signed(drawn(), created("trainedAlgorithmicMedia")))
    assert found == {
        "state": "valid",
        "is_trusted": False,
        "failures": ["signingCredential.untrusted"],
        "ingredient_failures": [],
        "source_types": ["trainedAlgorithmicMedia"],
        "earlier_source_types": [],
        "ingredients": 0,
        "manifests": 1,
        "is_embedded": True,
        "xmp_source_types": [],
    }


def test_an_edit_shows_what_it_was_made_of(detector: provenance.ProvenanceDetector) -> None:
    source = signed(drawn(), created("digitalCapture"))
    edit = [{"action": "c2pa.edited", "digitalSourceType": TERMS + "compositeWithTrainedAlgorithmicMedia"}]
    found = noted(detector, signed(source, edit, ingredient=source))
    assert (found["ingredients"], found["manifests"]) == (1, 2)
    assert found["source_types"] == ["compositeWithTrainedAlgorithmicMedia"]
    assert found["earlier_source_types"] == ["digitalCapture"]


def test_a_changed_picture_is_invalid_and_says_why(detector: provenance.ProvenanceDetector) -> None:
    data = bytearray(signed(drawn(), created("digitalCapture")))
    data[-200] ^= 1
    found = noted(detector, bytes(data))
    assert (found["state"], found["is_trusted"]) == ("invalid", False)
    assert found["failures"] == ["assertion.dataHash.mismatch", "signingCredential.untrusted"]


def test_a_source_type_of_no_vocabulary_is_other(detector: provenance.ProvenanceDetector) -> None:
    found = noted(detector, signed(drawn(), created("a title in disguise")))
    assert found["source_types"] == ["other"]


def test_without_a_manifest_the_state_is_none_and_a_copy_has_lost_it(
    detector: provenance.ProvenanceDetector,
) -> None:
    image = importlib.import_module("PIL.Image").open(io.BytesIO(signed(drawn(), created("digitalCapture"))))
    for data in (drawn(), encoded(circles(1)), encoded(image.convert("RGB"), "JPEG")):
        assert noted(detector, data) == {"state": "none", "xmp_source_types": []}


def test_what_is_no_picture_or_torn_is_noted_as_that(detector: provenance.ProvenanceDetector) -> None:
    states = {name: noted(detector, data)["state"] for name, data in not_looked_at().items()}
    assert set(states.values()) <= {"none", "unsupported", "unreadable"}
    assert (states["text"], states["ZIP"], states["torn JPEG"]) == (
        "unsupported",
        "unsupported",
        "unreadable",
    )
    assert noted(detector, signed(drawn(), created("digitalCapture"))[:3000])["state"] == "unreadable"
    assert noted(detector, bomb(60_000))["xmp_source_types"] == []


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_source_type_in_xmp_is_noted_as_found(detector: provenance.ProvenanceDetector, form: str) -> None:
    term = f"<Iptc4xmpExt:DigitalSourceType>{TERMS}%s</Iptc4xmpExt:DigitalSourceType>"
    packet = "".join(
        ["<x:xmpmeta>", SECRET, *(term % each for each in ("trainedAlgorithmicMedia", "secret"))]
    )
    options: dict[str, Any] = {"xmp": packet.encode()}
    if form == "PNG":
        options = {"pnginfo": importlib.import_module("PIL.PngImagePlugin").PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", packet)
    found = noted(detector, encoded(circles(1), form, **options))
    assert found == {"state": "none", "xmp_source_types": ["other", "trainedAlgorithmicMedia"]}


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/manifest", asked
        server.shutdown()
        thread.join()


def test_a_manifest_that_lies_elsewhere_is_not_fetched(
    detector: provenance.ProvenanceDetector, server: tuple[str, list[str]]
) -> None:
    """The library does fetch it if it is not told: a stranger's picture would send us wherever he likes."""
    address, asked = server
    data = signed(drawn(), created("digitalCapture"), remote=address)
    c2pa = importlib.import_module("c2pa")
    with pytest.raises(c2pa.C2paError):
        c2pa.Reader("image/jpeg", io.BytesIO(data))
    assert asked == ["/manifest"]
    assert noted(detector, data)["state"] == "elsewhere"
    assert asked == ["/manifest"]


def test_late_is_unread(detector: provenance.ProvenanceDetector) -> None:
    (note,) = detector.notes(Inputs((Input(Role.OUTPUT, drawn()),)), time.monotonic() - 1)
    assert note.content == {"state": "unread"}


def test_codes_that_are_none_and_more_than_enough_are_not_passed_on() -> None:
    """The store of a manifest is a stranger's: whatever stands in it must fit into a note."""
    failures = [{"code": each} for each in (SECRET, "x" * 81, *(f"code.{n}" for n in range(40)))]
    active = {
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [{"digitalSourceType": SECRET}]}}]
    }
    store = {"active_manifest": "a", "manifests": {"a": active}, "validation_state": SECRET}
    store["validation_results"] = {"activeManifest": {"failure": failures}}
    found = provenance._read(store, is_embedded=True)
    assert SECRET not in json.dumps(found)
    assert len(found["failures"]) == provenance.CODES_MAX
    assert (found["state"], found["is_trusted"], found["source_types"]) == ("unreadable", False, ["other"])


def test_in_its_process_its_notes_arrive() -> None:
    built = provenance.build()
    with Pool([Program(provenance.__name__, built.registered, built.files, built.reports)]) as pool:
        given = Inputs((Input(Role.OUTPUT, signed(drawn(), created("digitalCapture"))),))
        found = pool.inspect(given, time.monotonic() + LONG_S)
    assert {name: each.value for name, each in found.factors.items()} == {"detectors": "healthy"}
    assert [(each.input_id, each.content["state"]) for each in found.notes] == [(given.all[0].id, "valid")]


def test_without_the_library_it_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(DetectorWrong, match=r"install scelle\[provenance\]"):
        provenance.build()


def drawn() -> bytes:
    return encoded(circles(1), "JPEG")


def created(term: str) -> list[dict[str, str]]:
    return [{"action": "c2pa.created", "digitalSourceType": TERMS + term}]


def signed(
    data: bytes, actions: list[dict[str, str]], *, ingredient: bytes | None = None, remote: str = ""
) -> bytes:
    """Return a JPEG with a manifest that a fictitious authority signed."""
    c2pa: Any = importlib.import_module("c2pa")
    manifest = {
        "claim_generator_info": [{"name": "drawn", "version": "1"}],
        "title": SECRET,
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}],
    }
    chain, key = credential()
    with c2pa.Builder(json.dumps(manifest)) as builder:
        if remote:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        if ingredient is not None:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            described = json.dumps({"title": SECRET, "relationship": "parentOf"})
            builder.add_ingredient(described, "image/jpeg", io.BytesIO(ingredient))
        with c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, key, None)) as signer:
            out = io.BytesIO()
            builder.sign(signer, "image/jpeg", io.BytesIO(data), out)
    return out.getvalue()


@cache
def credential() -> tuple[bytes, bytes]:
    """Return a chain of certificates and the key of its first, in PEM."""
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = [
        certificate("signer", own, authority, is_authority=False),
        certificate("authority", authority, authority, is_authority=True),
    ]
    form = serialization.Encoding.PEM
    key = own.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return b"".join(each.public_bytes(form) for each in chain), key


def certificate(
    name: str, own: ec.EllipticCurvePrivateKey, authority: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called("authority"))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
        )
    )
    if not is_authority:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(authority, hashes.SHA256())


def called(name: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fictitious")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), organization])
