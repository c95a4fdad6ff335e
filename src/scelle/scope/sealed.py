"""Write clauses as they are sealed in an order's events, and read them back exactly."""

from collections.abc import Mapping
from typing import Final

from scelle.errors import ClauseWrong, FormatError
from scelle.scope.model import Clause, Keep, check_clause


def clause_to_json(clause: Clause) -> dict[str, object]:
    """Return the clause as it is sealed in events; ``clause_from_json`` gives it back exactly."""
    return {
        "accounts": list(clause.accounts),
        "custodians": list(clause.custodians),
        "from_us": clause.period_from_us,
        "id": clause.id,
        "keep": clause.keep.value,
        "media_types": list(clause.media_types),
        "paths": list(clause.paths),
        "restricted": clause.restricted,
        "sources": list(clause.sources),
        "to_us": clause.period_to_us,
    }


def clause_from_json(value: Mapping[str, object]) -> Clause:
    """Return the clause that ``clause_to_json`` wrote; raise FormatError for anything else."""
    if set(value) != _JSON_KEYS:
        raise FormatError(f"sealed clause: keys are {sorted(value)}, must be {sorted(_JSON_KEYS)}")
    restricted = value["restricted"]
    if not isinstance(restricted, bool):
        raise FormatError("sealed clause, restricted: must be true or false")
    clause = Clause(
        id=_json_text(value, "id"),
        sources=_json_texts(value, "sources"),
        period_from_us=_json_time(value, "from_us"),
        period_to_us=_json_time(value, "to_us"),
        paths=_json_texts(value, "paths"),
        custodians=_json_texts(value, "custodians"),
        accounts=_json_texts(value, "accounts"),
        media_types=_json_texts(value, "media_types"),
        restricted=restricted,
        keep=_json_keep(value),
    )
    try:
        check_clause(clause)
    except ClauseWrong as error:
        raise FormatError(f'sealed clause "{clause.id}", {error}') from error
    return clause


def _json_text(value: Mapping[str, object], key: str) -> str:
    text = value[key]
    if not isinstance(text, str):
        raise FormatError(f"sealed clause, {key}: must be a string")
    return text


def _json_texts(value: Mapping[str, object], key: str) -> tuple[str, ...]:
    texts = value[key]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise FormatError(f"sealed clause, {key}: must be a list of strings")
    return tuple(texts)


def _json_time(value: Mapping[str, object], key: str) -> int | None:
    time_us = value[key]
    if time_us is not None and (isinstance(time_us, bool) or not isinstance(time_us, int)):
        raise FormatError(f"sealed clause, {key}: must be microseconds or null")
    return time_us


def _json_keep(value: Mapping[str, object]) -> Keep:
    try:
        return Keep(_json_text(value, "keep"))
    except ValueError as error:
        raise FormatError("sealed clause, keep: must be content or digest") from error


_JSON_KEYS: Final = frozenset(clause_to_json(Clause("", ())))
