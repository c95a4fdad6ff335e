"""Look pictures up in lists of hashes that an operator supplies: exactly by SHA-256, and alike by PDQ (extra `images`).

A list is a text file: a first line `scelle-hashes/1 KIND`, KIND being opt-out, own-prior-block, ncii or csam, then
one `sha256:HEX` or `pdq:HEX` a line; `#` begins a comment. None ships with entries. PDQ: eight turned and mirrored
variants, at most 31 of 256 bits differ, a quality of 49 or less says nothing (the guidance of PDQ's makers).

A hit is reported; a miss says only that these lists do not hold this picture: a crop is missed. What cannot be compared
with the PDQ entries (small, flat, moving, too many pixels, no picture, or no library) is unknown and not `none`.
"""

import importlib
import importlib.util
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import extras, pictures
from scelle.safeguards.detectors.interface import Found, Input, Inputs, Note, Role, files_digest
from scelle.safeguards.gate.bundle import Detector as Registered
from scelle.safeguards.gate.model import DOMAIN_OF, UNKNOWN

ID: Final = "hashes"
VERSION: Final = "1"
FORMAT: Final = "scelle-hashes/1"
PDQ_MAX_BITS: Final = 31
PDQ_QUALITY_MIN: Final = 50
SIDE_WORKING: Final = 512  # pixels that a picture is brought down to first: PDQ itself works on 64 x 64
_KINDS: Final = ("opt-out", "own-prior-block", "ncii", "csam")
_ENTRY: Final = re.compile(r"(sha256|pdq):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pdq:
    """The PDQ hashes of a picture, as it is, turned and mirrored, and their quality from 0 to 100."""

    variants: tuple[int, ...]
    quality: int


@dataclass(frozen=True, slots=True)
class HashLists:
    """The entries of all lists: the riskiest kind of each SHA-256, and of each PDQ hash."""

    exact: dict[str, str]
    alike: tuple[tuple[int, str], ...]


class HashDetector:
    """Reports `hash_hit` (F7) of each reference and output; `score` is the distance in bits to the nearest PDQ hash.

    Notes the PDQ hash of each where the library is installed, so that an edited picture can be linked to its source.
    """

    reports = frozenset({"hash_hit"})

    def __init__(self, lists: Sequence[Path]) -> None:
        self._lists = load(lists)
        self.files = files(lists)
        self.registered = Registered(ID, VERSION, files_digest(self.files))
        self._seen: dict[str, Pdq | None] = {}

    def detect(self, inputs: Inputs, deadline: float) -> tuple[Found, ...]:
        """Return what each picture is listed as; what is left at the deadline is unknown."""
        given = (*inputs.of(Role.REFERENCE), *inputs.of(Role.OUTPUT))
        self._seen = {}
        return tuple(self._look_up(each, deadline) for each in given)

    def notes(self, inputs: Inputs, deadline: float) -> tuple[Note, ...]:
        """Return the PDQ hash and its quality of each picture that has one and that there is time for."""
        given = {each.id: each for each in inputs.all if each.role is not Role.PROMPT}
        found = {name: self._pdq(each, deadline) for name, each in given.items()}
        return tuple(
            Note(name, ID, {"pdq": f"{pdq.variants[0]:064x}", "quality": pdq.quality, "side": SIDE_WORKING})
            for name, pdq in found.items()
            if pdq is not None
        )

    def _pdq(self, given: Input, deadline: float) -> Pdq | None:
        """Return the hashes of a picture, those that `detect` has just made or new ones; None when it is late."""
        if given.digest not in self._seen:
            self._seen[given.digest] = None if time.monotonic() >= deadline else pdq(given.data)
        return self._seen[given.digest]

    def _look_up(self, given: Input, deadline: float) -> Found:
        exact = self._lists.exact.get(given.digest)
        if not self._lists.alike:
            return Found(given, "hash_hit", exact or "none")
        found = self._pdq(given, deadline)
        if found is None or found.quality < PDQ_QUALITY_MIN:
            return Found(given, "hash_hit", exact or UNKNOWN, None, PDQ_MAX_BITS)
        near = [
            (min((mine ^ listed).bit_count() for mine in found.variants), kind)
            for listed, kind in self._lists.alike
        ]
        hits = [kind for bits, kind in near if bits <= PDQ_MAX_BITS] + ([exact] if exact else [])
        return Found(given, "hash_hit", _riskiest(hits), min(near)[0], PDQ_MAX_BITS)


def build(lists: Sequence[str]) -> HashDetector:
    """Build the detector in a process of its own."""
    return HashDetector([Path(each) for each in lists])


def files(lists: Sequence[Path]) -> tuple[Path, ...]:
    """Return what the detector consists of: its code and its lists, whose names must differ."""
    if len({each.name for each in lists}) != len(lists):
        raise DetectorWrong("two lists of hashes have one file name; rename one")
    return (*extras.code("hashes"), *lists)


def load(lists: Sequence[Path]) -> HashLists:
    """Read lists of hashes; raise DetectorWrong, with file and line, for what is of another form."""
    exact: dict[str, str] = {}
    alike: dict[int, str] = {}
    for path in lists:
        lines = path.read_text(encoding="utf-8").splitlines()
        first = lines[0].split() if lines else []
        if len(first) != 2 or first[0] != FORMAT or first[1] not in _KINDS:
            raise DetectorWrong(
                f"{path.name}: the first line must be {FORMAT} and one of {', '.join(_KINDS)}"
            )
        for number, line in enumerate(lines[1:], 2):
            entry = line.partition("#")[0].strip().lower()
            found = _ENTRY.fullmatch(entry)
            if found is None and entry:
                raise DetectorWrong(
                    f"{path.name} line {number}: an entry is sha256: or pdq: and 64 hexadecimal digits"
                )
            if found is not None and found[1] == "sha256":
                exact[found[2]] = _riskiest([first[1], *([exact[found[2]]] if found[2] in exact else [])])
            elif found is not None:
                code = int(found[2], 16)
                alike[code] = _riskiest([first[1], *([alike[code]] if code in alike else [])])
    return HashLists(exact, tuple(alike.items()))


def pdq(data: bytes) -> Pdq | None:
    """Return the PDQ hashes of a picture, on a copy brought down; None where there is no picture or no library."""
    if not pictures.is_readable() or importlib.util.find_spec("pdqhash") is None:
        return None
    picture = pictures.decode(data, SIDE_WORKING)
    if picture is None:
        return None
    hashes, quality = importlib.import_module("pdqhash").compute_dihedral(picture.pixels)
    return Pdq(tuple(int("".join("1" if bit else "0" for bit in each), 2) for each in hashes), int(quality))


def pdq_variants(data: bytes) -> list[int] | None:
    """Return the PDQ hashes of a picture, turned and mirrored; None where it cannot be compared."""
    found = pdq(data)
    return None if found is None or found.quality < PDQ_QUALITY_MIN else list(found.variants)


def _riskiest(kinds: Sequence[str]) -> str:
    return max(kinds, key=DOMAIN_OF["hash_hit"].position.__getitem__, default="none")
