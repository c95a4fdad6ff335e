"""Write clauses as they are sealed in an order's events, and read them back exactly.

The keys of ``_OPTIONAL`` stand only where a clause uses them: a clause that does not has the bytes it always had.
"""

import re
from collections.abc import Mapping
from typing import Final

from scelle.errors import ClauseWrong, FormatError
from scelle.scope.accounts import AccountsFile
from scelle.scope.hashes import HashesFile
from scelle.scope.model import Clause, Keep, check_clause


def clause_to_json(clause: Clause) -> dict[str, object]:
    """Return the clause as it is sealed in events; ``clause_from_json`` gives it back exactly."""
    value: dict[str, object] = {
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
    if clause.accounts_file is not None:
        value["accounts_file"] = _accounts_file_to_json(clause.accounts_file)
    if clause.dimensions:
        value["dimensions"] = {name: list(identifiers) for name, identifiers in clause.dimensions}
    if clause.match:
        value["match"] = dict(clause.match)
    if clause.where is not None:
        value["where"] = clause.where
    if clause.carve_out:
        value["carve_out"] = True
    if clause.restricted_hashes is not None:
        value["restricted_hashes"] = _hashes_file_to_json(clause.restricted_hashes)
    return value


def _accounts_file_to_json(file: AccountsFile) -> dict[str, object]:
    return {
        "accounts": file.accounts,
        "blanks": file.blanks,
        "duplicates": file.duplicates,
        "name": file.name,
        "sha256": file.digest.hex(),
        "size_bytes": file.size_bytes,
    }


def _hashes_file_to_json(file: HashesFile) -> dict[str, object]:
    return {
        "blanks": file.blanks,
        "duplicates": file.duplicates,
        "hashes": file.hashes,
        "name": file.name,
        "sha256": file.digest.hex(),
        "size_bytes": file.size_bytes,
    }


def clause_from_json(value: Mapping[str, object]) -> Clause:
    """Return the clause that ``clause_to_json`` wrote; raise FormatError for anything else."""
    if set(value) - _OPTIONAL != _JSON_KEYS:
        raise FormatError(f"sealed clause: keys are {sorted(value)}, must be {sorted(_JSON_KEYS)}")
    restricted = value["restricted"]
    if not isinstance(restricted, bool):
        raise FormatError("sealed clause, restricted: must be true or false")
    if value.get("carve_out", True) is not True:
        raise FormatError("sealed clause, carve_out: must be true where it stands")
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
        accounts_file=_json_accounts_file(value),
        dimensions=_json_dimensions(value),
        match=_json_match(value),
        where=_json_text(value, "where") if "where" in value else None,
        carve_out="carve_out" in value,
        restricted_hashes=_json_hashes_file(value),
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


def _json_table(value: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return an optional table; where it stands it is not empty."""
    if key not in value:
        return {}
    table = value[key]
    if not isinstance(table, dict) or not table:
        raise FormatError(f"sealed clause, {key}: must be an object that is not empty")
    return table


def _json_dimensions(value: Mapping[str, object]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    table = _json_table(value, "dimensions")
    return tuple((name, _json_texts(table, name)) for name in sorted(table))


def _json_match(value: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    table = _json_table(value, "match")
    return tuple((name, _json_text(table, name)) for name in sorted(table))


def _json_accounts_file(value: Mapping[str, object]) -> AccountsFile | None:
    found = _json_file(value, "accounts_file", _FILE_KEYS)
    if found is None:
        return None
    name, digest, counts = found
    return AccountsFile(
        name, digest, counts["size_bytes"], counts["accounts"], counts["duplicates"], counts["blanks"]
    )


def _json_hashes_file(value: Mapping[str, object]) -> HashesFile | None:
    found = _json_file(value, "restricted_hashes", _HASHES_KEYS)
    if found is None:
        return None
    name, digest, counts = found
    return HashesFile(
        name, digest, counts["size_bytes"], counts["hashes"], counts["duplicates"], counts["blanks"]
    )


def _json_file(
    value: Mapping[str, object], key: str, keys: frozenset[str]
) -> tuple[str, bytes, dict[str, int]] | None:
    """Return name, SHA-256 and counts of a file that a clause names, if it names one."""
    table = _json_table(value, key)
    if not table:
        return None
    if set(table) != keys:
        raise FormatError(f"sealed clause, {key}: keys must be {sorted(keys)}")
    name, digest = _json_text(table, "name"), _json_text(table, "sha256")
    if not name or _SHA256.fullmatch(digest) is None:
        raise FormatError(f"sealed clause, {key}: must have a name and a SHA-256 in lower-case hex")
    counted = sorted(keys - {"name", "sha256"})
    return name, bytes.fromhex(digest), {each: _json_count(table, f"{key}.", each) for each in counted}


def _json_count(value: Mapping[str, object], where: str, key: str) -> int:
    count = value[key]
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise FormatError(f"sealed clause, {where}{key}: must be a number from 0")
    return count


_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FILE_KEYS: Final = frozenset(_accounts_file_to_json(AccountsFile("", b"", 0, 0, 0, 0)))
_HASHES_KEYS: Final = frozenset(_hashes_file_to_json(HashesFile("", b"", 0, 0, 0, 0)))
_OPTIONAL: Final = frozenset(
    {"accounts_file", "carve_out", "dimensions", "match", "restricted_hashes", "where"}
)
_JSON_KEYS: Final = frozenset(clause_to_json(Clause("", ())))
