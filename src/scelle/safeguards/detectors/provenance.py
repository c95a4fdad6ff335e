"""Note what a picture says of where it is from: its C2PA manifest (extra `provenance`) and IPTC's source type in XMP.

No factor: no rule speaks of it. The state of a manifest is noted *with* its failure codes, for a manifest can be valid
though nobody knows who signed it; this detector ships no list of trusted signers, so it calls none trusted. No manifest
says nothing: saving a picture anew removes it. XMP can be written by anybody. Nothing is fetched: a manifest that lies
elsewhere is `elsewhere`. Codes and numbers are noted; titles, names and addresses are not read out.
"""

import io
import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from scelle.safeguards.detectors import extras, pictures
from scelle.safeguards.detectors.interface import Found, Input, Inputs, Note, Role, files_digest
from scelle.safeguards.gate.bundle import Detector as Registered

ID: Final = "provenance"
VERSION: Final = "1"
CODES_MAX: Final = 16  # of each kind; a manifest can hold any number
SOURCE_TYPES: Final = frozenset(
    {
        "algorithmicallyEnhanced",
        "algorithmicMedia",
        "composite",
        "compositeCapture",
        "compositeSynthetic",
        "compositeWithTrainedAlgorithmicMedia",
        "computationalCapture",
        "dataDrivenMedia",
        "digitalArt",
        "digitalCapture",
        "digitalCreation",
        "empty",
        "humanEdits",
        "minorHumanEdits",
        "multiFrameComputationalCapture",
        "negativeFilm",
        "positiveFilm",
        "print",
        "screenCapture",
        "softwareImage",
        "trainedAlgorithmicData",
        "trainedAlgorithmicMedia",
        "virtualRecording",
    }
)
"""The terms of IPTC's and C2PA's vocabularies; any other is `other`."""
_TYPES: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
_TIFF: Final = (b"II*\0", b"MM\0*")
_STATES: Final = {"Invalid": "invalid", "Valid": "valid", "Trusted": "trusted"}
_ERRORS: Final = {"ManifestNotFound": "none", "NotSupported": "unsupported", "Remote": "elsewhere"}
_OFFLINE: Final = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_TERM: Final = re.compile(rb"digitalsourcetype/([A-Za-z]{1,48})")
_XMP_MAX_BYTES: Final = 1 << 20


class ProvenanceDetector:
    """Reports no factor; notes of each reference and output what its metadata say."""

    reports: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._c2pa = extras.library("c2pa", "provenance")
        self._context = self._c2pa.Context.from_dict(_OFFLINE)
        self.files = files()
        version = extras.name_version(VERSION, "c2pa-python")
        self.registered = Registered(ID, version, files_digest(self.files))

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        """Return nothing: what a picture says of itself decides nothing."""
        return ()

    def notes(self, inputs: Inputs, deadline: float) -> tuple[Note, ...]:
        """Return a note for each picture; what is left at the deadline is `unread`."""
        given = {each.id: each for each in inputs.all if each.role is not Role.PROMPT}
        return tuple(Note(name, ID, self._content(each, deadline)) for name, each in given.items())

    def _content(self, given: Input, deadline: float) -> dict[str, Any]:
        if time.monotonic() >= deadline:
            return {"state": "unread"}
        return {**self._manifest(given.data), "xmp_source_types": _xmp_source_types(given.data)}

    def _manifest(self, data: bytes) -> dict[str, Any]:
        form = _form(data)
        if form is None:
            return {"state": "unsupported"}
        try:
            with self._c2pa.Reader(form, io.BytesIO(data), context=self._context) as reader:
                return _read(json.loads(reader.json()), is_embedded=bool(reader.is_embedded()))
        except self._c2pa.C2paError as error:
            return {"state": _ERRORS.get(str(error).partition(":")[0], "unreadable")}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return {"state": "unreadable"}


def build() -> ProvenanceDetector:
    """Build the detector in a process of its own."""
    return ProvenanceDetector()


def files() -> tuple[Path, ...]:
    """Return what the detector consists of: its code."""
    return extras.code("provenance")


def _read(store: Mapping[str, Any], *, is_embedded: bool) -> dict[str, Any]:
    """Return what is noted of a manifest store as c2pa reports it."""
    manifests, results = store["manifests"], store.get("validation_results", {})
    active = manifests[store["active_manifest"]]
    deltas = [each["validationDeltas"] for each in results.get("ingredientDeltas") or ()]
    before = [each for name, each in manifests.items() if name != store["active_manifest"]]
    return {
        "state": _STATES.get(store.get("validation_state", ""), "unreadable"),
        "is_trusted": store.get("validation_state") == "Trusted",
        "failures": _codes(results.get("activeManifest", {}).get("failure", ())),
        "ingredient_failures": _codes(code for each in deltas for code in each.get("failure", ())),
        "source_types": _source_types([active]),
        "earlier_source_types": _source_types(before),
        "ingredients": len(active.get("ingredients", ())),
        "manifests": len(manifests),
        "is_embedded": is_embedded,
    }


def _codes(found: Iterable[Mapping[str, Any]]) -> list[str]:
    codes = {str(each["code"]) for each in found}
    return sorted({each if _CODE.fullmatch(each) else "other" for each in codes})[:CODES_MAX]


def _source_types(manifests: Iterable[Mapping[str, Any]]) -> list[str]:
    actions = (
        action
        for manifest in manifests
        for assertion in manifest.get("assertions", ())
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", ())
    )
    return sorted(
        {_term(str(each["digitalSourceType"])) for each in actions if each.get("digitalSourceType")}
    )


def _term(address: str) -> str:
    term = address.rpartition("/")[2]
    return term if term in SOURCE_TYPES else "other"


def _xmp_source_types(data: bytes) -> list[str]:
    """Return the terms in a picture's XMP; nothing is decoded but the header, and nothing is parsed as XML."""
    if not pictures.is_readable():
        return []
    xmp = pictures.xmp(data)[:_XMP_MAX_BYTES]
    return sorted({_term(each.decode()) for each in _TERM.findall(xmp)})


def _form(data: bytes) -> str | None:
    if data[:4] in _TIFF:
        return "image/tiff"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((form for magic, form in _TYPES.items() if data.startswith(magic)), None)


__all__ = ["ID", "SOURCE_TYPES", "ProvenanceDetector", "build", "files"]
