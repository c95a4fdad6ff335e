"""Read arguments that several commands take, and that are more than a word or a path."""

import re

from scelle.errors import InputError
from scelle.formats.tokens import is_code


def code(text: str, where: str) -> str:
    """Return a code: what is no code goes to `scelle note`, and never into an order's log."""
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text) is None:
        raise InputError(f"{where}: {text!a} is no code of a-z 0-9 -: free text goes to `scelle note`")
    return text


_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_SIZE_MAX = 1 << 53


def size(text: str, where: str) -> int:
    """Return how many bytes `50GB`, `512MiB` or `1048576` are; raise InputError for anything else, and for none."""
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        unit = 1024 if match[3] else 1000
        found = int(float(match[1]) * unit ** " KMGT".index(match[2].upper() or " "))
        if 0 < found <= _SIZE_MAX:
            return found
    raise InputError(f"{where} {text!a}: give a size above nothing, for instance 50GB or 512MiB")


def free_text(text: str | None, where: str) -> str | None:
    """Return a text that is going to be sealed; raise InputError for one that an order file could not have either."""
    from scelle.orders.tables import checked_text  # start-up time of --help

    return None if text is None else checked_text(text, where)


def _redaction(text: str) -> tuple[str, str]:
    """Cut at the last colon, or equals sign: a code has neither, a field's name may have both."""
    at = max(text.rfind(":"), text.rfind("="))
    field, code = text[: max(at, 0)], text[at + 1 :]
    if not field or not code:
        raise InputError(f"--redact {text}: write FIELD:CODE, for instance meta:personal-data")
    if not is_code(code):
        raise InputError(f"--redact {text}: a code is made of a-z, 0-9 and -, for instance personal-data")
    return field, code


def redactions(texts: list[str]) -> dict[str, str]:
    """Return the codes of fields to be redacted, by field."""
    found: dict[str, str] = {}
    for field, code in map(_redaction, texts):
        if field in found:
            raise InputError(f"--redact {field} is given twice: leave one")
        found[field] = code
    return found
