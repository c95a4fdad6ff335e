"""Decode what strangers send as pictures, for all detectors alike: header first, bounded, and never with an error.

What is read from the header alone is refused before anything is decoded: more than `PIXELS_MAX` pixels (a
decompression bomb), another format, several frames. What no decoder reads is None, and the detectors report unknown.
Bytes behind a picture (a ZIP, say) are not looked at.
"""

import importlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

PIXELS_MAX: Final = 64_000_000
"""More is refused before anything is decoded."""
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SIDE_MIN: Final = 64  # pixels; of less no detector says anything
_ORIENTATION: Final = 0x0112  # the EXIF tag
_TURNS: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Pillow's transpositions (flips 0 and 1, turns 2 to 4, transpose 5, transverse 6) by EXIF orientation."""
_DEEP_GREY: Final = ("I;16", "I;16B", "I;16L", "I;16N")
_VALUES: Final = ("I", "F")  # what is white in these, nobody says


_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it is looked at: `pixels` are RGB, uint8, (height, width, 3), brought down to the side asked for.

    `width` and `height` are those of the whole picture. Where it is not opaque, what is seen depends on the background,
    and under what is transparent there may be pixels that nobody sees.
    """

    pixels: Any
    width: int
    height: int
    is_opaque: bool


def is_readable() -> bool:
    """Tell whether the libraries that decode are installed: the extra `images`."""
    return all(importlib.util.find_spec(each) for each in ("PIL", "numpy"))


def decode(data: bytes, side: int) -> Picture | None:
    """Decode a picture, upright, its longer side brought down to `side` pixels; None where there is none to look at.

    None: no picture or a torn one, another format than `FORMATS`, less than `SIDE_MIN` or more than `PIXELS_MAX`
    pixels, several frames, and pixels that are measurements (32 bits).
    """
    return _opened(data, lambda image: _decode(image, side) if _is_bounded(image) else None)


def xmp(data: bytes) -> bytes:
    """Return a picture's XMP packet as it stands in its header, empty where there is none."""
    return _opened(data, _xmp) or b""


def _opened(data: bytes, read: Callable[[Any], _Read | None]) -> _Read | None:
    image_module: Any = importlib.import_module("PIL.Image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with image_module.open(io.BytesIO(data), formats=FORMATS) as image:
                return read(image)
    except Exception:  # noqa: BLE001  decoders of hostile bytes raise whatever they like; which it was says nothing
        return None


def _xmp(image: Any) -> bytes:
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return found.encode() if isinstance(found, str) else bytes(found)


def _is_bounded(image: Any) -> bool:
    """Tell, from the header, whether it may be decoded."""
    width, height = image.size
    is_usual = width * height <= PIXELS_MAX and min(width, height) >= SIDE_MIN
    return is_usual and image.mode not in _VALUES and not getattr(image, "is_animated", False)


def _decode(image: Any, side: int) -> Picture:
    width, height = image.size
    is_opaque = _is_opaque(image)
    turn = _TURNS.get(_orientation(image))
    image.draft("RGB", (side, side))
    reduced = _deep_grey(image) if image.mode in _DEEP_GREY else image.convert("RGB")
    reduced.thumbnail((side, side))
    if turn is not None:
        reduced = reduced.transpose(turn)
        width, height = (width, height) if turn in {0, 1, 3} else (height, width)
    pixels = importlib.import_module("numpy").asarray(reduced)
    return Picture(pixels, width, height, is_opaque)


def _is_opaque(image: Any) -> bool:
    if not image.has_transparency_data:
        return True
    alpha = image.convert("RGBA").getchannel("A")
    return bool(alpha.getextrema()[0] == 255)


def _orientation(image: Any) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  EXIF that cannot be read turns nothing; the picture may be fine
        return 1


def _deep_grey(image: Any) -> Any:
    """Return 16 bits of grey as RGB: Pillow's own conversion cuts off what is brighter than 255."""
    values = importlib.import_module("numpy").asarray(image)
    return importlib.import_module("PIL.Image").fromarray((values >> 8).astype("uint8")).convert("RGB")
