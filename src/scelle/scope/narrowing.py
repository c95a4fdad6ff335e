"""Say where one clause plainly covers more than another, whatever the items (pure)."""

from collections.abc import Collection

from scelle.scope.globs import matches_every_path
from scelle.scope.hashes import HashesFile
from scelle.scope.model import Clause, Holders, Keep

_EVERY_TYPE = frozenset({"*", "*/*"})


def widened_by(before: Clause, after: Clause) -> str | None:
    """Return the key by which `after` covers more than `before`, or keeps more of it; None where none plainly does.

    Patterns and expressions that differ are not compared: what they let in shows on the items alone. Both have their
    accounts loaded; lists of more accounts than are kept by name are not compared either.
    """
    if not set(after.sources) <= set(before.sources):
        return "sources"
    if before.period_from_us is not None and _less(after.period_from_us, before.period_from_us):
        return "from"
    if before.period_to_us is not None and (
        after.period_to_us is None or after.period_to_us > before.period_to_us
    ):
        return "to"
    if _has_paths(before) and not _has_paths(after):
        return "paths"
    return _holders(before, after) or _kinds(before, after) or _fields(before, after) or _kept(before, after)


def _drops_hashes(was: HashesFile | None, becomes: HashesFile | None) -> bool:
    """Tell whether a hash is listed no longer; of lists too long to be compared, whether they differ."""
    if was is None or was == becomes:
        return False
    if becomes is None:
        return True
    listed, still = (None if each.ids is None else each.ids.exact() for each in (was, becomes))
    return listed is None or still is None or not listed <= still


def _less(bound_us: int | None, than_us: int) -> bool:
    return bound_us is None or bound_us < than_us


def _has_paths(clause: Clause) -> bool:
    return bool(clause.paths) and not any(map(matches_every_path, clause.paths))


def _holders(before: Clause, after: Clause) -> str | None:
    was, becomes = Holders.of(before), Holders.of(after)
    if not was.restrict:
        return None
    if not becomes.restrict:
        return "accounts" if was.names_accounts else "custodians"
    if not becomes.custodians <= was.custodians:
        return "custodians"
    if not all(map(was.has_account, becomes.accounts)):
        return "accounts"
    listed = None if becomes.listed is None else becomes.listed.exact()
    is_same = before.accounts_file == after.accounts_file
    if becomes.listed is not None and not was.names_accounts:
        return "accounts_file"
    if listed is not None and not is_same and not all(was.has_account(name.decode()) for name in listed):
        return "accounts_file"
    return None


def _kinds(before: Clause, after: Clause) -> str | None:
    known = {each.lower() for each in before.media_types}
    if not known or known & _EVERY_TYPE:
        return None
    if not after.media_types:
        return "media_types"
    wider = [each for each in after.media_types if not _has_type(known, each.lower())]
    return "media_types" if wider else None


def _has_type(known: Collection[str], media_type: str) -> bool:
    return media_type in known or f"{media_type.partition('/')[0]}/*" in known


def _fields(before: Clause, after: Clause) -> str | None:
    becomes = dict(after.dimensions)
    for name, identifiers in before.dimensions:
        if name not in becomes or not set(becomes[name]) <= set(identifiers):
            return f"dimensions.{name}"
    for name, _ in before.match:
        if name not in dict(after.match):
            return f"match.{name}"
    return "where" if before.where is not None and after.where is None else None


def _kept(before: Clause, after: Clause) -> str | None:
    if before.restricted and not after.restricted:
        return "restricted"
    if not after.restricted and _drops_hashes(before.restricted_hashes, after.restricted_hashes):
        return "restricted_hashes"
    return "keep" if before.keep is Keep.DIGEST and after.keep is Keep.CONTENT else None
