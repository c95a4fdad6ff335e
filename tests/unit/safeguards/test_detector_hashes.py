"""Pictures of harmless shapes are found in lists exactly and alike; what cannot be compared is unknown, not a miss."""

import importlib
import importlib.util
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scelle.errors import DetectorWrong
from scelle.safeguards.detectors import Input, Inputs, Role, hashes
from scelle.safeguards.detectors.hashes import HashDetector, load, pdq_variants
from tests.unit.safeguards.detector_pictures import bomb, circles, encoded

HAS_PDQ = all(importlib.util.find_spec(each) for each in ("PIL", "pdqhash", "numpy"))
needs_pdq = pytest.mark.skipif(not HAS_PDQ, reason="the extra `images` (Pillow, pdqhash) is not installed")
EMPTY = Path(hashes.__file__).with_name("empty-hashes.txt")
FAR = "pdq:" + "5" * 64


def listed(folder: Path, kind: str, *entries: str) -> Path:
    path = folder / f"{kind}.txt"
    path.write_text("\n".join([f"scelle-hashes/1 {kind}", *entries]), encoding="utf-8")
    return path


def hit(data: bytes, *lists: Path, within_s: float = 5) -> tuple[str, float | None]:
    given = Input(Role.REFERENCE, data)
    (found,) = HashDetector(lists).detect(Inputs((given,)), time.monotonic() + within_s)
    assert (found.input, found.name) == (given, "hash_hit")
    return found.value, found.score


def exact(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def pdq(data: bytes) -> str:
    variants = pdq_variants(data)
    assert variants is not None
    return f"pdq:{variants[0]:064x}"


def test_the_list_that_ships_is_empty_and_misses() -> None:
    assert load([EMPTY]) == hashes.HashLists({}, ())
    assert hit(b"a picture", EMPTY) == ("none", None)


def test_an_exact_hit_needs_no_library_and_the_riskiest_list_counts(tmp_path: Path) -> None:
    data = b"a picture of a square"
    lists = [listed(tmp_path, kind, exact(data)) for kind in ("ncii", "opt-out")]
    assert hit(data, *lists) == ("ncii", None)
    assert hit(data, *lists[::-1]) == ("ncii", None)
    assert hit(data + b".", *lists) == ("none", None)


def test_pdq_entries_that_cannot_be_compared_make_a_miss_unknown(tmp_path: Path) -> None:
    data = b"no picture at all"
    assert hit(data, listed(tmp_path, "ncii", FAR)) == ("unknown", None)
    assert hit(data, listed(tmp_path, "ncii", FAR, exact(data))) == ("ncii", None)


def test_outputs_are_looked_up_and_prompts_are_not() -> None:
    inputs = Inputs((Input(Role.PROMPT, b"a"), Input(Role.OUTPUT, b"b")))
    found = HashDetector([EMPTY]).detect(inputs, time.monotonic() + 1)
    assert [each.input.role for each in found] == [Role.OUTPUT]


@needs_pdq
@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image.transpose(0),
        lambda image: image.transpose(1),
        lambda image: image.transpose(2),
        lambda image: image.transpose(3),
        lambda image: image.resize((200, 200)),
    ],
    ids=["same", "mirrored", "upside down", "turned left", "turned round", "smaller"],
)
def test_a_picture_is_found_turned_mirrored_and_resized(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    entries = listed(tmp_path, "own-prior-block", pdq(encoded(circles(1))))
    value, bits = hit(encoded(change(circles(1))), entries)
    assert value == "own-prior-block"
    assert bits is not None
    assert bits <= hashes.PDQ_MAX_BITS


@needs_pdq
def test_a_coarse_jpeg_is_found_and_another_picture_or_a_crop_is_not(tmp_path: Path) -> None:
    entries = listed(tmp_path, "own-prior-block", pdq(encoded(circles(1))))
    assert hit(encoded(circles(1), "JPEG", quality=40), entries)[0] == "own-prior-block"
    assert hit(encoded(circles(2)), entries)[0] == "none"
    assert hit(encoded(circles(1).crop((26, 26, 486, 486))), entries)[0] == "none"  # a miss means nothing


@needs_pdq
def test_what_pdq_says_nothing_about_is_unknown(tmp_path: Path) -> None:
    entries = listed(tmp_path, "ncii", FAR)
    flat = importlib.import_module("PIL.Image").new("RGB", (512, 512), "white")
    moving = encoded(circles(1), "GIF", save_all=True, append_images=[circles(2)])
    small = encoded(circles(1).resize((48, 48)))
    torn = encoded(circles(1))[:400]
    for data in (encoded(flat), moving, small, torn, bomb(20_000), bomb(60_000)):
        assert hit(data, entries)[0] == "unknown"
    assert hit(encoded(circles(1)), entries, within_s=-1)[0] == "unknown"


@needs_pdq
def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object, **__: object) -> None:
        pytest.fail("it was decoded")

    image_file = importlib.import_module("PIL.ImageFile")
    monkeypatch.setattr(image_file.ImageFile, "load", decoded)
    assert pdq_variants(bomb(8001)) is None


@needs_pdq
def test_the_hash_of_each_picture_is_noted_with_its_quality() -> None:
    data = encoded(circles(1))
    given = Inputs((Input(Role.PROMPT, b"coat"), Input(Role.REFERENCE, data), Input(Role.OUTPUT, b"none")))
    detector = HashDetector([EMPTY])
    assert detector.detect(given, time.monotonic() + 5)[0].value == "none"
    (note,) = detector.notes(given, time.monotonic() + 5)
    assert note.input_id == given.all[1].id
    assert f"pdq:{note.content['pdq']}" == pdq(data)
    assert note.content["quality"] >= hashes.PDQ_QUALITY_MIN
    assert detector.notes(given, time.monotonic() + 5) == (note,)
    assert HashDetector([EMPTY]).notes(given, time.monotonic() - 1) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first line"),
        ("scelle-hashes/1 secret\n", "first line"),
        ("scelle-hashes/1 ncii\nsha256:00\n", "line 2"),
        ("scelle-hashes/1 ncii\n# fine\nmd5:00\n", "line 3"),
    ],
)
def test_a_list_of_another_form_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DetectorWrong, match=said):
        load([path])


def test_lists_change_the_digest_and_need_names_of_their_own(tmp_path: Path) -> None:
    one = listed(tmp_path, "ncii")
    before = HashDetector([one]).registered.weights_digest
    one.write_text(f"scelle-hashes/1 ncii\n{FAR}\n", encoding="utf-8")
    assert HashDetector([one]).registered.weights_digest != before
    (tmp_path / "more").mkdir()
    with pytest.raises(DetectorWrong, match="rename"):
        HashDetector([one, listed(tmp_path / "more", "ncii")])
