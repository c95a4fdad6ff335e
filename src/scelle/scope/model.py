"""State what a clause covers and why, one item at a time.

The rules, in the order in which they are looked at:

1. *source*: the clause names the item's source.
2. *period*: the item's own time lies in [from, to). An item without a time is covered.
3. *path*: one of the clause's patterns matches the whole path (``globs``).
4. *custodian*, *account*: the item's holder is one of those that the clause names. A custodian is never
   compared with an account: a clause with both lists covers what one of these custodians holds and what
   belongs to one of these accounts; a clause with custodians alone does not cover what is known to belong
   to an account, and the other way round. An item whose source knows neither is covered.
5. *media-type*: one of the clause's types matches, without regard to case or parameters. An item whose type
   is not known is covered. A record has no type, and none restricts it.
6. *dimension*, *field*, *where*: what a clause asks of the fields of a record (``records``). A document has
   none, so that a clause which asks for them covers it in doubt.

A *carve-out* is a clause that takes out what it covers: where one matches an item beyond doubt, nothing covers it.

An empty list restricts nothing. What is not known is never a reason to lose evidence: such an item is covered
and the verdict says which doubt it profits from. An item is covered when any clause covers it; otherwise the
reason given is that of the clause that came furthest down this list, the first of them where two came as far.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from scelle.errors import AccountsNotLoaded, ClauseWrong
from scelle.formats.tokens import UNDATED
from scelle.scope.accounts import AccountSet, AccountsFile, ReadContent, reread_accounts
from scelle.scope.expressions import EXPRESSION_MAX_CHARACTERS
from scelle.scope.globs import compile_glob, matches_every_path, path_text
from scelle.scope.hashes import HashesFile, reread_hashes
from scelle.scope.patterns import compile_pattern

PERIOD_MAX_US: Final = 2**53
"""The largest bound of a period, either way: what RFC 8785 writes exactly."""


class Keep(StrEnum):
    """What of an item is sealed: its bytes, or only their digest while the file stays in place."""

    CONTENT = "content"
    DIGEST = "digest"


class Reason(StrEnum):
    """Stable codes: why an item is not covered, or in spite of which doubt it is."""

    MATCH = "match"
    UNDATED = "undated"
    HOLDER_UNKNOWN = "holder-unknown"
    MEDIA_TYPE_UNKNOWN = "media-type-unknown"
    DIMENSION_UNKNOWN = "dimension-unknown"
    FIELD_UNKNOWN = "field-unknown"
    WHERE_UNDECIDED = "where-undecided"
    SOURCE = "source"
    PERIOD = "period"
    PATH = "path"
    CUSTODIAN = "custodian"
    ACCOUNT = "account"
    MEDIA_TYPE = "media-type"
    DIMENSION = "dimension"
    FIELD = "field"
    WHERE = "where"
    CARVED_OUT = "carved-out"

    @property
    def covers(self) -> bool:
        """Tell whether an item with this reason is covered."""
        return self not in _DISTANCE

    @property
    def distance(self) -> int:
        """Say how far an item came in a clause before it failed: the larger, the closer."""
        return _DISTANCE[self]

    @property
    def sentence(self) -> str:
        """Say in one sentence what the code means."""
        return _SENTENCES[self]


_DISTANCE: Final[Mapping[Reason, int]] = {
    Reason.SOURCE: 0,
    Reason.PERIOD: 1,
    Reason.PATH: 2,
    Reason.CUSTODIAN: 3,
    Reason.ACCOUNT: 3,
    Reason.MEDIA_TYPE: 4,
    Reason.DIMENSION: 5,
    Reason.FIELD: 6,
    Reason.WHERE: 7,
    Reason.CARVED_OUT: 8,
}
"""How far an item came in a clause before it failed: the larger, the closer."""

_SENTENCES: Final[Mapping[Reason, str]] = {
    Reason.MATCH: "Every predicate of the clause matches.",
    Reason.UNDATED: "The item has no time; the period cannot exclude it, so it is covered.",
    Reason.HOLDER_UNKNOWN: "The item's source names no custodian and no account; it is covered.",
    Reason.MEDIA_TYPE_UNKNOWN: "The item's media type is not known; it is covered.",
    Reason.DIMENSION_UNKNOWN: "The item has no such dimension as the clause names; it is covered.",
    Reason.FIELD_UNKNOWN: "The item has no text in a field that the clause searches; it is covered.",
    Reason.WHERE_UNDECIDED: "The clause's expression has no truth value for the item; it is covered.",
    Reason.SOURCE: "No clause names the item's source.",
    Reason.PERIOD: "The item's time lies outside the clause's period.",
    Reason.PATH: "The item's path matches none of the clause's patterns.",
    Reason.CUSTODIAN: "The item is not held by a custodian that the clause names.",
    Reason.ACCOUNT: "The item does not belong to an account that the clause names.",
    Reason.MEDIA_TYPE: "The item's media type is none that the clause names.",
    Reason.DIMENSION: "The record's identifier of a dimension is none that the clause names.",
    Reason.FIELD: "A field of the record does not match the clause's regular expression, or is empty.",
    Reason.WHERE: "The clause's expression is false for the record.",
    Reason.CARVED_OUT: "A carve-out of the order covers the item beyond doubt.",
}


@dataclass(frozen=True, slots=True)
class Clause:
    """One part of an order's scope; the period in microseconds since 1970 UTC, start included, end not.

    ``dimensions``: the identifiers that are named for each dimension; ``match``: a regular expression for each
    field (``patterns``); ``where``: a CEL expression (``expressions``). The first two are sorted by name. A
    ``carve_out`` takes out of the order's other clauses what it covers beyond doubt. What a clause covers is restricted
    where ``restricted`` is set, and where ``restricted_hashes`` lists the SHA-256 of its content.
    """

    id: str
    sources: tuple[str, ...]
    period_from_us: int | None = None
    period_to_us: int | None = None
    paths: tuple[str, ...] = ()
    custodians: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ()
    restricted: bool = False
    keep: Keep = Keep.CONTENT
    accounts_file: AccountsFile | None = None
    dimensions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    match: tuple[tuple[str, str], ...] = ()
    where: str | None = None
    carve_out: bool = False
    restricted_hashes: HashesFile | None = None

    @property
    def may_restrict(self) -> bool:
        """Tell whether what the clause covers is restricted, or some of it by its content."""
        return self.restricted or self.restricted_hashes is not None


class ItemView(NamedTuple):
    """What clauses look at in an item; a tuple because a pass makes one for each of its items.

    ``path`` is relative to the source, in its native bytes; ``time_us`` is UNDATED where there is none;
    ``media_type`` is empty where it is not known; an item has a custodian, an account, or neither.
    """

    source: str
    path: bytes
    time_us: int
    media_type: str
    custodian: str | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one clause says of one item."""

    covered: bool
    reason: Reason


@dataclass(frozen=True, slots=True)
class Match:
    """What all clauses of an order say of one item.

    ``clause_ids``: the clauses that cover it, in the order's order. ``excluded_by`` and ``closest``: where
    none does, the reason and the id of the clause that came closest (None where none names the source).
    ``restricted`` where any covering clause is; ``keep`` is content where any covering clause keeps content.
    ``doubt``: set where every covering clause covers only because something is not known. ``hashes``: the lists of the
    covering clauses, where the item is not restricted anyway; it is, once its content is found in one of them.
    """

    covered: bool
    clause_ids: tuple[str, ...]
    excluded_by: Reason | None
    closest: str | None
    restricted: bool
    keep: Keep | None
    doubt: Reason | None
    hashes: tuple[HashesFile, ...] = ()

    @property
    def may_be_restricted(self) -> bool:
        """Tell whether the item is restricted, or may turn out to be once its content is read."""
        return self.restricted or bool(self.hashes)


NO_CLAUSE_NAMES_THE_SOURCE: Final = Match(False, (), Reason.SOURCE, None, False, None, None)


def covers(clause: Clause, item: ItemView) -> Verdict:
    """Decide whether the clause covers the item."""
    if item.source not in clause.sources:
        return Verdict(False, Reason.SOURCE)
    doubt = Reason.MATCH
    for decide in (decide_period, decide_path, decide_holder, decide_media_type, decide_fields):
        reason = decide(clause, item)
        if not reason.covers:
            return Verdict(False, reason)
        if doubt is Reason.MATCH:
            doubt = reason
    return Verdict(True, doubt)


def match_clauses(clauses: Sequence[Clause], item: ItemView) -> Match:
    """Decide what all clauses say of the item; ``compile_clauses`` gives the same, faster."""
    return combine([(clause, covers(clause, item).reason) for clause in clauses])


def explain(clause: Clause, item: ItemView) -> str:
    """Say in one sentence why the clause covers the item, or why it does not."""
    reason = covers(clause, item).reason
    name = f'clause "{clause.id}"'
    match reason:
        case Reason.SOURCE:
            return f'Not covered: {name} does not name the source "{item.source}".'
        case Reason.PERIOD:
            return f"Not covered: its time {_time(item.time_us)} is outside {name}, {_period_text(clause)}."
        case Reason.PATH:
            return f"Not covered: its path {shown_path(item.path)} matches no pattern of {name}."
        case Reason.CUSTODIAN | Reason.ACCOUNT:
            return f"Not covered: {_holder_text(item)}, whom {name} does not name."
        case Reason.MEDIA_TYPE:
            return f"Not covered: {name} does not name the media type {item.media_type!a}."
        case Reason.MATCH:
            return f"Covered by {name}."
        case Reason.DIMENSION | Reason.FIELD | Reason.WHERE | Reason.CARVED_OUT:
            return f"Not covered by {name}: {reason.sentence[0].lower()}{reason.sentence[1:]}"
        case _:
            return f"Covered by {name}, in doubt: {reason.sentence[0].lower()}{reason.sentence[1:]}"


def check_clause(clause: Clause) -> None:
    """Refuse a clause that cannot mean anything; raise ClauseWrong (GlobWrong for a pattern)."""
    if not clause.sources:
        raise ClauseWrong("sources: empty; name at least one source")
    for key, names in (
        ("sources", clause.sources),
        ("custodians", clause.custodians),
        ("accounts", clause.accounts),
    ):
        if "" in names:
            raise ClauseWrong(f"{key}: an empty name; take it out")
    start, end = clause.period_from_us, clause.period_to_us
    for key, bound_us in (("from", start), ("to", end)):
        if bound_us is not None and abs(bound_us) > PERIOD_MAX_US:
            raise ClauseWrong(
                f"{key}: {bound_us} is no time between 1684 and 2255; leave it out for no bound"
            )
    if start is not None and end is not None and start >= end:
        raise ClauseWrong("from: not before `to`, which is exclusive, so nothing lies between; correct one")
    for pattern in clause.paths:
        compile_glob(pattern)
    for media_type in clause.media_types:
        _check_media_type(media_type)
    if clause.restricted and clause.restricted_hashes is not None:
        raise ClauseWrong(
            "restricted_hashes: beside `restricted = true`, which puts everything into the compartment; take one out"
        )
    _check_dimensions(clause)
    _check_match(clause)
    if clause.where is not None and not 0 < len(clause.where.strip()) <= EXPRESSION_MAX_CHARACTERS:
        raise ClauseWrong(f"where: empty, or longer than {EXPRESSION_MAX_CHARACTERS} characters; correct it")


def load_accounts(clauses: Sequence[Clause], read: ReadContent) -> tuple[Clause, ...]:
    """Return the clauses with what their files list, accounts and hashes, as a pass needs them; each is read once.

    ``read`` gives the pieces of a content by its SHA-256. Raises ClauseWrong where the bytes are not those
    that were sealed.
    """
    known: dict[bytes, AccountsFile] = {}
    known_hashes: dict[bytes, HashesFile] = {}

    def with_hashes(clause: Clause) -> Clause:
        file = clause.restricted_hashes
        if file is None or file.ids is not None:
            return clause
        if file.digest not in known_hashes:
            known_hashes[file.digest] = reread_hashes(file, read)
        return replace(clause, restricted_hashes=replace(file, ids=known_hashes[file.digest].ids))

    def loaded(clause: Clause) -> Clause:
        file = clause.accounts_file
        if file is None or file.ids is not None:
            return clause
        if file.digest not in known:
            known[file.digest] = reread_accounts(file, read)
        return replace(clause, accounts_file=replace(file, ids=known[file.digest].ids))

    return tuple(with_hashes(loaded(clause)) for clause in clauses)


def with_restricted_sources(clauses: Sequence[Clause], restricted: Collection[str]) -> tuple[Clause, ...]:
    """Return the clauses as they are where everything in some sources is restricted.

    A clause that names others, too, becomes two of the same id, one of them restricted. Carve-outs stay as they are.
    """
    return tuple(part for clause in clauses for part in _parts(clause, restricted))


def _parts(clause: Clause, restricted: Collection[str]) -> Iterator[Clause]:
    shut = tuple(name for name in clause.sources if name in restricted)
    if not shut or clause.restricted or clause.carve_out:
        yield clause
        return
    rest = tuple(name for name in clause.sources if name not in restricted)
    if rest:
        yield replace(clause, sources=rest)
    yield replace(clause, sources=shut, restricted=True, restricted_hashes=None)


def shown_path(path: bytes) -> str:
    """Return the path in quotes on one line: what is not printable UTF-8 as escapes."""
    return '"' + "".join(map(_shown, path_text(path))) + '"'


def _shown(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that is not UTF-8, as a surrogate escape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else ascii(character)[1:-1]


# --- one predicate each: the reason, which says whether it covers ----------------------------------------


def decide_period(clause: Clause, item: ItemView) -> Reason:
    """Decide whether the item's own time lies in the clause's period."""
    start, end = clause.period_from_us, clause.period_to_us
    if start is None and end is None:
        return Reason.MATCH
    if item.time_us == UNDATED:
        return Reason.UNDATED
    inside = (start is None or start <= item.time_us) and (end is None or item.time_us < end)
    return Reason.MATCH if inside else Reason.PERIOD


def decide_path(clause: Clause, item: ItemView) -> Reason:
    """Decide whether one of the clause's patterns matches the item's path."""
    if not clause.paths or any(map(matches_every_path, clause.paths)):
        return Reason.MATCH
    text = path_text(item.path)
    return Reason.MATCH if any(compile_glob(p).fullmatch(text) for p in clause.paths) else Reason.PATH


def decide_holder(clause: Clause, item: ItemView) -> Reason:
    """Decide whether the item's holder is one of those that the clause names."""
    return Holders.of(clause).decide(item.custodian, item.account)


@dataclass(frozen=True, slots=True)
class Holders:
    """The custodians and accounts that a clause names, ready to be asked."""

    custodians: frozenset[str]
    accounts: frozenset[str]
    listed: AccountSet | None

    @classmethod
    def of(cls, clause: Clause) -> "Holders":
        """Return the holders that a clause names; raise AccountsNotLoaded."""
        file = clause.accounts_file
        if file is not None and file.ids is None:
            raise AccountsNotLoaded(
                f'clause "{clause.id}", accounts_file: the accounts of {file.name!a} were not read from the vault'
            )
        listed = None if file is None else file.ids
        return cls(frozenset(clause.custodians), frozenset(clause.accounts), listed)

    @property
    def names_accounts(self) -> bool:
        """Tell whether accounts are named, one by one or by a file."""
        return bool(self.accounts) or self.listed is not None

    @property
    def restrict(self) -> bool:
        """Tell whether anybody is named at all."""
        return bool(self.custodians) or self.names_accounts

    def has_account(self, account: str) -> bool:
        """Tell whether the account is named."""
        return account in self.accounts or (self.listed is not None and account in self.listed)

    def decide(self, custodian: str | None, account: str | None) -> Reason:
        """Decide over a holder; at most one of the two is set, as a rule."""
        if not self.restrict:
            return Reason.MATCH
        if custodian is None and account is None:
            return Reason.HOLDER_UNKNOWN
        if custodian in self.custodians or (account is not None and self.has_account(account)):
            return Reason.MATCH
        if not self.names_accounts:
            return Reason.CUSTODIAN
        return Reason.CUSTODIAN if self.custodians and custodian is not None else Reason.ACCOUNT


def decide_media_type(clause: Clause, item: ItemView) -> Reason:
    """Decide whether one of the clause's types matches the item's."""
    if not clause.media_types or any(t in ("*", "*/*") for t in clause.media_types):
        return Reason.MATCH
    bare = item.media_type.partition(";")[0].strip().lower()
    if not bare:
        return Reason.MEDIA_TYPE_UNKNOWN
    wanted = {t.lower() for t in clause.media_types}
    return Reason.MATCH if bare in wanted or f"{bare.partition('/')[0]}/*" in wanted else Reason.MEDIA_TYPE


def decide_fields(clause: Clause, item: ItemView) -> Reason:
    """Return the doubt in which a document is covered by a clause that asks for fields of records."""
    if clause.dimensions:
        return Reason.DIMENSION_UNKNOWN
    if clause.match:
        return Reason.FIELD_UNKNOWN
    return Reason.MATCH if clause.where is None else Reason.WHERE_UNDECIDED


# --- from verdicts to a match ----------------------------------------------------------------------------


def combine(verdicts: Sequence[tuple[Clause, Reason]]) -> Match:
    """Return what the verdicts of all clauses, in the order's order, say together."""
    kept = [(clause, reason) for clause, reason in verdicts if not clause.carve_out]
    covering = [(clause, reason) for clause, reason in kept if reason.covers]
    if not covering:
        closest, reason = max(kept, key=lambda v: _DISTANCE[v[1]], default=(None, Reason.SOURCE))
        if closest is None or reason is Reason.SOURCE:
            return NO_CLAUSE_NAMES_THE_SOURCE
        return Match(False, (), reason, closest.id, False, None, None)
    for clause, reason in verdicts:
        if clause.carve_out and reason is Reason.MATCH:
            return Match(False, (), Reason.CARVED_OUT, clause.id, False, None, None)
    restricted = any(clause.restricted for clause, _ in covering)
    lists = () if restricted else [clause.restricted_hashes for clause, _ in covering]
    return Match(
        covered=True,
        clause_ids=tuple(clause.id for clause, _ in covering),
        excluded_by=None,
        closest=None,
        restricted=restricted,
        keep=Keep.CONTENT if any(clause.keep is Keep.CONTENT for clause, _ in covering) else Keep.DIGEST,
        doubt=None if any(reason is Reason.MATCH for _, reason in covering) else covering[0][1],
        hashes=tuple(file for file in lists if file is not None),
    )


# --- for sentences and for sealed clauses ----------------------------------------------------------------


def _time(time_us: int) -> str:
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    except OverflowError:
        return f"{time_us} microseconds from 1970"
    return moment.isoformat().replace("+00:00", "Z")


def _period_text(clause: Clause) -> str:
    start, end = clause.period_from_us, clause.period_to_us
    parts = ["" if start is None else f"from {_time(start)}", "" if end is None else f"before {_time(end)}"]
    return " ".join(part for part in parts if part)


def _holder_text(item: ItemView) -> str:
    held = [] if item.custodian is None else [f'held by the custodian "{item.custodian}"']
    held += [] if item.account is None else [f'of the account "{item.account}"']
    return "the item is " + " and ".join(held)


def _check_dimensions(clause: Clause) -> None:
    _check_names("dimensions", [name for name, _ in clause.dimensions])
    for name, identifiers in clause.dimensions:
        if name in ("source", "account"):
            raise ClauseWrong(f"dimensions.{name}: is named by `{name}s`; move it there")
        if not identifiers or "" in identifiers:
            raise ClauseWrong(f"dimensions.{name}: needs identifiers that are not empty; name at least one")


def _check_match(clause: Clause) -> None:
    _check_names("match", [name for name, _ in clause.match])
    for name, pattern in clause.match:
        try:
            compile_pattern(pattern)
        except ClauseWrong as error:
            raise ClauseWrong(f"match.{name}: {error}") from error


def _check_names(key: str, names: list[str]) -> None:
    if "" in names or names != sorted(set(names)):
        raise ClauseWrong(f"{key}: names must not be empty and stand once each, in order; correct them")


def _check_media_type(media_type: str) -> None:
    main, _, sub = media_type.partition("/")
    if media_type not in ("*", "*/*") and not (_is_token(main) and (sub == "*" or _is_token(sub))):
        raise ClauseWrong(f'media_types: "{media_type}" is no type; write "image/png", "image/*" or "*"')


def _is_token(text: str) -> bool:
    """Tell whether the text is one half of a media type (RFC 6838 §4.2)."""
    return bool(text) and text.isascii() and all(c.isalnum() or c in "!#$&-^_.+" for c in text)
