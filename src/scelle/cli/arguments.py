"""Read arguments that several commands take, and that are more than a word or a path."""

from scelle.errors import InputError
from scelle.formats.tokens import is_code


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
