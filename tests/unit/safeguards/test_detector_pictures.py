"""What strangers send is decoded within bounds, or is None; no decoder's error gets out."""

import importlib
from random import Random
from typing import Any

import pytest

from scelle.safeguards.detectors import pictures
from tests.unit.safeguards.detector_pictures import (
    bomb,
    circles,
    encoded,
    needs_images,
    not_looked_at,
    shapes,
)

pytestmark = needs_images
SIDE = 512
SEED = 20_261_128


def test_each_kind_of_picture_is_decoded_and_brought_down() -> None:
    for name, data in shapes().items():
        picture = pictures.decode(data, 128)
        assert picture is not None, name
        assert picture.pixels.shape == (128, 128, 3), name
        assert str(picture.pixels.dtype) == "uint8", name
        assert picture.is_opaque, name
        assert picture.width == picture.height == (256 if name.startswith("16 bits") else 512)


def test_what_is_no_picture_is_none() -> None:
    for name, data in not_looked_at().items():
        assert pictures.decode(data, SIDE) is None, name


def test_what_is_behind_a_picture_changes_nothing() -> None:
    plain, polyglot = (pictures.decode(shapes()[each], SIDE) for each in ("PNG", "polyglot"))
    assert plain is not None
    assert polyglot is not None
    assert (plain.pixels == polyglot.pixels).all()


def test_sixteen_bits_of_grey_keep_their_steps() -> None:
    picture = pictures.decode(shapes()["16 bits of grey"], 256)
    assert picture is not None
    assert list(picture.pixels[:, 0, 0]) == list(range(256))


def test_a_picture_is_turned_upright() -> None:
    image, exif = circles(1).crop((0, 0, 512, 256)), importlib.import_module("PIL.Image").Exif()
    upright = pictures.decode(encoded(image), SIDE)
    assert upright is not None
    undone = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    for orientation, transposition in undone.items():
        exif[0x0112] = orientation
        found = pictures.decode(encoded(image.transpose(transposition), exif=exif), SIDE)
        assert found is not None
        assert (found.width, found.height) == (512, 256)
        assert (found.pixels == upright.pixels).all(), orientation


def test_transparency_is_told() -> None:
    clear = circles(1).convert("RGBA")
    clear.putpixel((7, 7), (0, 0, 0, 254))
    picture = pictures.decode(encoded(clear), SIDE)
    assert picture is not None
    assert not picture.is_opaque


@pytest.mark.parametrize("size", [(8001, 8000), (60_000, 60_000)])
def test_a_bomb_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    def decoded(*_: object, **__: object) -> None:
        was_decoded.append(True)

    was_decoded: list[bool] = []
    image_file = importlib.import_module("PIL.ImageFile")
    monkeypatch.setattr(image_file.ImageFile, "load", decoded)
    assert pictures.decode(bomb(size[0]), SIDE) is None
    assert not was_decoded


def test_the_bound_is_where_it_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PIXELS_MAX", 512 * 512)
    assert pictures.decode(encoded(circles(1)), SIDE) is not None
    monkeypatch.setattr(pictures, "PIXELS_MAX", 512 * 512 - 1)
    assert pictures.decode(encoded(circles(1)), SIDE) is None


def test_25_megabytes_are_decoded() -> None:
    noise = (
        importlib.import_module("numpy").random.default_rng(SEED).integers(0, 256, (2900, 2900, 3), "uint8")
    )
    data = encoded(importlib.import_module("PIL.Image").fromarray(noise), compress_level=0)
    assert len(data) > 25_000_000
    picture = pictures.decode(data, SIDE)
    assert picture is not None
    assert picture.pixels.shape == (512, 512, 3)


def test_damage_is_none_or_a_picture_and_never_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    draw = Random(SEED)
    whole = [encoded(circles(1, 96), form) for form in pictures.FORMATS]
    for data in whole:
        found: set[bool] = set()
        for _ in range(150):
            damaged = bytearray(data[: draw.choice((len(data), draw.randrange(len(data))))] or data)
            for _ in range(draw.choice((1, 3, 30))):
                damaged[draw.randrange(min(len(damaged), draw.choice((64, 10**6))))] = draw.randrange(256)
            found.add(pictures.decode(bytes(damaged), SIDE) is None)
            pictures.xmp(bytes(damaged))
        assert found == {True, False}, data[:4]
    capfd.readouterr()  # libtiff speaks for itself


def test_an_error_of_a_decoder_is_none_whatever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(importlib.import_module("PIL.Image").Image, "convert", fails)
    assert pictures.decode(encoded(circles(1), "JPEG"), SIDE) is None
