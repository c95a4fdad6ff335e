"""Tell the media type of content from its first bytes and its name, cheaply.

Bytes that are certain win over the name; where a container's bytes are certain and the name says which of its
kind it is (a .docx is a zip), the name refines. No library: this runs for every file of a pass.
"""

from typing import Final

TEXT: Final = "text/plain"
UNKNOWN: Final = "application/octet-stream"

_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."

_BY_EXTENSION: Final[dict[bytes, str]] = {
    b"7z": "application/x-7z-compressed",
    b"aac": "audio/aac",
    b"avi": "video/x-msvideo",
    b"avif": "image/avif",
    b"bin": UNKNOWN,
    b"bmp": "image/bmp",
    b"bz2": "application/x-bzip2",
    b"c": "text/x-c",
    b"conf": TEXT,
    b"css": "text/css",
    b"csv": "text/csv",
    b"deb": "application/vnd.debian.binary-package",
    b"dng": "image/x-adobe-dng",
    b"doc": "application/msword",
    b"docm": "application/vnd.ms-word.document.macroenabled.12",
    b"docx": _OOXML + "wordprocessingml.document",
    b"dotx": _OOXML + "wordprocessingml.template",
    b"eml": "message/rfc822",
    b"epub": "application/epub+zip",
    b"exe": "application/vnd.microsoft.portable-executable",
    b"flac": "audio/flac",
    b"gif": "image/gif",
    b"gz": "application/gzip",
    b"h": "text/x-c",
    b"heic": "image/heic",
    b"heif": "image/heif",
    b"htm": "text/html",
    b"html": "text/html",
    b"ico": "image/vnd.microsoft.icon",
    b"ics": "text/calendar",
    b"ini": TEXT,
    b"jar": "application/java-archive",
    b"java": "text/x-java",
    b"jp2": "image/jp2",
    b"jpeg": "image/jpeg",
    b"jpg": "image/jpeg",
    b"js": "text/javascript",
    b"json": "application/json",
    b"jsonl": "application/jsonl",
    b"log": TEXT,
    b"m4a": "audio/mp4",
    b"m4v": "video/x-m4v",
    b"mbox": "application/mbox",
    b"md": "text/markdown",
    b"mid": "audio/midi",
    b"mkv": "video/x-matroska",
    b"mov": "video/quicktime",
    b"mp3": "audio/mpeg",
    b"mp4": "video/mp4",
    b"mpeg": "video/mpeg",
    b"mpg": "video/mpeg",
    b"msg": "application/vnd.ms-outlook",
    b"ndjson": "application/jsonl",
    b"odg": _ODF + "graphics",
    b"odp": _ODF + "presentation",
    b"ods": _ODF + "spreadsheet",
    b"odt": _ODF + "text",
    b"oga": "audio/ogg",
    b"ogg": "audio/ogg",
    b"ogv": "video/ogg",
    b"opus": "audio/ogg",
    b"p7m": "application/pkcs7-mime",
    b"p7s": "application/pkcs7-signature",
    b"parquet": "application/vnd.apache.parquet",
    b"pdf": "application/pdf",
    b"pem": "application/x-pem-file",
    b"png": "image/png",
    b"potx": _OOXML + "presentationml.template",
    b"pps": "application/vnd.ms-powerpoint",
    b"ppsx": _OOXML + "presentationml.slideshow",
    b"ppt": "application/vnd.ms-powerpoint",
    b"pptm": "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    b"pptx": _OOXML + "presentationml.presentation",
    b"ps": "application/postscript",
    b"psd": "image/vnd.adobe.photoshop",
    b"pst": "application/vnd.ms-outlook-pst",
    b"py": "text/x-python",
    b"rar": "application/vnd.rar",
    b"rst": "text/x-rst",
    b"rtf": "application/rtf",
    b"sh": "text/x-shellscript",
    b"sql": "application/sql",
    b"sqlite": "application/vnd.sqlite3",
    b"svg": "image/svg+xml",
    b"svgz": "image/svg+xml-compressed",
    b"tar": "application/x-tar",
    b"tgz": "application/gzip",
    b"tif": "image/tiff",
    b"tiff": "image/tiff",
    b"toml": "application/toml",
    b"ts": "text/typescript",
    b"tsv": "text/tab-separated-values",
    b"ttf": "font/ttf",
    b"txt": TEXT,
    b"vcf": "text/vcard",
    b"vsd": "application/vnd.visio",
    b"wasm": "application/wasm",
    b"wav": "audio/vnd.wave",
    b"webm": "video/webm",
    b"webp": "image/webp",
    b"wmv": "video/x-ms-wmv",
    b"woff": "font/woff",
    b"woff2": "font/woff2",
    b"xhtml": "application/xhtml+xml",
    b"xls": "application/vnd.ms-excel",
    b"xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    b"xlsx": _OOXML + "spreadsheetml.sheet",
    b"xml": "text/xml",
    b"xz": "application/x-xz",
    b"yaml": "application/yaml",
    b"yml": "application/yaml",
    b"zip": "application/zip",
    b"zst": "application/zstd",
}
_LONGEST_EXTENSION: Final = 8

_ZIP, _OLE, _TIFF, _GZIP, _EBML, _OGG = (
    "application/zip",
    "application/x-ole-storage",
    "image/tiff",
    "application/gzip",
    "video/x-matroska",
    "audio/ogg",
)
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF-", "application/pdf"),
    (b"%!PS-", "application/postscript"),
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06\0", _ZIP),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\0", _TIFF),
    (b"MM\0*", _TIFF),
    (b"8BPS\0\x01", "image/vnd.adobe.photoshop"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\x1f\x8b\x08", _GZIP),
    (b"BZh91AY&SY", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package"),
    (b"\x7fELF", "application/x-elf"),
    (b"\0asm\x01\0\0\0", "application/wasm"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"PAR1", "application/vnd.apache.parquet"),
    (b"!BDN", "application/vnd.ms-outlook-pst"),
    (b"{\\rtf1", "application/rtf"),
    (b"OggS\0", _OGG),
    (b"fLaC\0", "audio/flac"),
    (b"ID3\x02", "audio/mpeg"),
    (b"ID3\x03", "audio/mpeg"),
    (b"ID3\x04", "audio/mpeg"),
    (b"MThd\0\0\0\x06", "audio/midi"),
    (b"\x1aE\xdf\xa3", _EBML),
    (b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\0\xaa\0b\xcel", "video/x-ms-wmv"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
)
_MAGIC_BY_FIRST: Final[dict[bytes, list[tuple[bytes, str]]]] = {}
for _start, _type in _MAGIC:
    _MAGIC_BY_FIRST.setdefault(_start[:1], []).append((_start, _type))

_RIFF: Final = {b"WAVE": "audio/vnd.wave", b"AVI ": "video/x-msvideo", b"WEBP": "image/webp"}
_BRANDS: Final = {  # ISO base media: the major brand, at 8
    b"avif": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"M4V ": "video/x-m4v",
}
_REFINED_BY_NAME: Final[dict[str, frozenset[str]]] = {
    _ZIP: frozenset(
        _BY_EXTENSION[name]
        for name in b"docx docm dotx epub jar odg odp ods odt potx pptm pptx ppsx xlsm xlsx".split()
    ),
    _OLE: frozenset(_BY_EXTENSION[name] for name in b"doc msg pps ppt vsd xls".split()),
    _TIFF: frozenset({"image/x-adobe-dng"}),
    _GZIP: frozenset({"image/svg+xml-compressed"}),
    _OGG: frozenset({"video/ogg"}),
}
_TEXT_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def media_type(path: bytes, head: bytes) -> str:
    """Give the media type of what is named `path` and starts with `head` (512 bytes are enough)."""
    certain = media_type_of_bytes(head)
    named = _BY_EXTENSION.get(_extension(path))
    if certain is not None:
        return named if named is not None and named in _REFINED_BY_NAME.get(certain, ()) else certain
    if named is not None:
        return named
    if head.startswith(b"<?xml"):
        return "text/xml"
    return TEXT if _is_text(head) else UNKNOWN


def media_type_of_bytes(head: bytes) -> str | None:
    """Give the media type where the first bytes alone leave no doubt, else None."""
    for start, name in _MAGIC_BY_FIRST.get(head[:1], ()):
        if head.startswith(start):
            return _closer_look(name, head)
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[257:262] == b"ustar":
        return "application/x-tar"
    return None


def _closer_look(name: str, head: bytes) -> str:
    if name == _ZIP and head[30:50] == b"mimetypeapplication/":  # OpenDocument and EPUB name themselves first
        kind = head[38:100].partition(b"PK")[0].decode("ascii", "replace")
        return kind if kind in _REFINED_BY_NAME[_ZIP] else name
    if name == _EBML and b"webm" in head[:64]:
        return "video/webm"
    return name


def _extension(path: bytes) -> bytes:
    dot = path.rfind(b".", -_LONGEST_EXTENSION - 1)
    return path[dot + 1 :].lower() if dot > 0 and path[dot - 1] != 0x2F else b""


def _is_text(head: bytes) -> bool:
    """Say whether bytes are UTF-8 without NULs, forgiving a character cut at the end; or UTF-16 with its
    mark.
    """
    if b"\0" in head:
        return head.startswith(_TEXT_MARKS)
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True
