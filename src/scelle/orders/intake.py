"""Take an order in from its TOML file, and refuse whatever could be read in two ways.

Nothing is guessed and nothing is passed over: an unknown key is refused, because a misspelt `until` that is
ignored is an order without an end. Each refusal says what, where (file, table, key) and what to do.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Final

from scelle.errors import (
    AuthorityKeyWrong,
    ClauseWrong,
    FormatError,
    OrderClauseWrong,
    OrderDatesWrong,
    OrderFileUnreadable,
    OrderKeyMissing,
    OrderKeyUnknown,
    OrderSourceUnknown,
    OrderTypeUnknown,
    OrderValueWrong,
    ZoneUnknown,
)
from scelle.formats.notes import COSIGNATURE_V1, parse_vkey
from scelle.formats.tokens import is_order_id
from scelle.orders.clocks import hold_end
from scelle.orders.days import load_zone
from scelle.orders.model import ENTROPY_BYTES, RESERVED_ORDER_ID, Order, random_order_id
from scelle.orders.papers import (
    FILE_MAX_BYTES,
    ListPaper,
    Papers,
    named_document,
    parse_toml,
    read_regular,
)
from scelle.orders.tables import Table, nearest, read_choice
from scelle.orders.types import TYPES, Kind, OrderType, Temporal
from scelle.scope.expressions import check_expression
from scelle.scope.model import Clause, Keep, check_clause, shown_path

_ORDER_REQUIRED: Final = ("matter", "type", "authority", "legal_basis", "reference", "issued", "received")
_ORDER_OPTIONAL: Final = (
    "id",
    "addressee",
    "effective",
    "until",
    "zone",
    "temporal",
    "notify",
    "secrecy_until",
    "validating_authority",
    "acknowledge_by",
    "authority_key",
    "document",
)
_CLAUSE_REQUIRED: Final = ("id", "sources")
_CLAUSE_OPTIONAL: Final = (
    "from",
    "to",
    "paths",
    "custodians",
    "accounts",
    "media_types",
    "restricted",
    "keep",
    "accounts_file",
    "dimensions",
    "match",
    "where",
    "restricted_hashes",
)
_KINDS: Final = ("account:", "custodian:", "handle:", "operator:")
_ORDER_KEYS: Final = _ORDER_REQUIRED + _ORDER_OPTIONAL
CLAUSE_KEYS: Final = _CLAUSE_REQUIRED + _CLAUSE_OPTIONAL


@dataclass(frozen=True, slots=True)
class OrderFile:
    """An order as its file describes it, with the bytes that become its item zero.

    ``toml_bytes``: the file as given. ``document``: the bytes of the order's document, where one is named.
    Both are sealed as they are, and so are the files that clauses name (``accounts``: of accounts, and of hashes), once
    each. ``warnings``: what is odd but not refused, one sentence each.
    """

    order: Order
    clauses: tuple[Clause, ...]
    toml_bytes: bytes
    document: bytes | None
    document_name: str | None
    warnings: tuple[str, ...]
    accounts: tuple[ListPaper, ...] = ()


def read_order_file(path: Path, *, entropy: Callable[[int], bytes] = os.urandom) -> OrderFile:
    """Read an order's file and the document that it names; raise an InputError of the orders family.

    ``entropy`` makes the id where the file gives none. The paths of a document and of files that clauses name are
    relative to the file's folder.
    """
    file = shown_path(os.fsencode(path))
    data = read_regular(path, FILE_MAX_BYTES, file, OrderFileUnreadable)
    root = parse_toml(data, file)
    elsewhere = (CLAUSE_KEYS, "[[clause]]")
    table = Table(f"{file}, [order]", _order_table(root, file), _ORDER_KEYS, elsewhere)
    table.check_keys(_ORDER_REQUIRED)
    order = _order(table, entropy)
    papers = Papers(path.parent)
    clauses = _clauses(root, file, order, papers)
    warnings = _check_dates(order, table) + _oddities(order, clauses, table)
    document, document_name = named_document(table, path.parent)
    return OrderFile(order, clauses, data, document, document_name, warnings, papers.found())


def check_sources(clauses: Iterable[Clause], known: Collection[str]) -> None:
    """Refuse clauses that name a source which is not among the known ones."""
    for clause in clauses:
        for source in clause.sources:
            if source not in known:
                hint = nearest(source, known) or "add it with `scelle source add`, or correct the clause"
                raise OrderSourceUnknown(f'clause "{clause.id}", sources: no source "{source}"; {hint}')


def _order_table(root: Mapping[str, object], file: str) -> Mapping[str, object]:
    for key in root:
        if key not in ("order", "clause"):
            hint = nearest(key, ("order", "clause")) or "known are [order] and [[clause]]"
            if key in _ORDER_KEYS:
                hint = "it belongs below [order]"
            raise OrderKeyUnknown(f"{file}, {key}: unknown table or key; {hint}")
    table = root.get("order")
    if table is None:
        raise OrderKeyMissing(f"{file}, [order]: missing; describe the order in a table of this name")
    if not isinstance(table, dict):
        raise OrderValueWrong(f"{file}, order: must be one table; write [order]")
    return table


# --- the order --------------------------------------------------------------------------------------------


def _order(table: Table, entropy: Callable[[int], bytes]) -> Order:
    order_type = read_choice(table.text("type"), OrderType, table.at("type"), OrderTypeUnknown)
    zone_name, zone = _zone(table)
    return Order(
        id=_order_id(table) if "id" in table.values else random_order_id(entropy(ENTROPY_BYTES)),
        matter=table.text("matter"),
        type=order_type,
        authority=table.text("authority"),
        legal_basis=table.text("legal_basis"),
        reference=table.text("reference"),
        issued=table.moment("issued", zone),
        received=table.moment("received", zone),
        zone=zone_name,
        temporal=table.choice("temporal", TYPES[order_type].reach),
        notify=table.choice("notify", TYPES[order_type].notify),
        addressee=table.optional_text("addressee"),
        effective=table.optional_moment("effective", zone),
        until=table.optional_moment("until", zone, ends=True),
        secrecy_until=table.optional_moment("secrecy_until", zone, ends=True),
        acknowledge_by=table.optional_moment("acknowledge_by", zone, ends=True),
        validating_authority=table.optional_text("validating_authority"),
        authority_key=_authority_key(table),
        document=Path(table.text("document")).name if "document" in table.values else None,
    )


def _order_id(table: Table) -> str:
    text = table.text("id")
    if not is_order_id(text):
        raise OrderValueWrong(
            f"{table.at('id')}: {text!a} must be 1 to 63 of a-z 0-9 . - without a sign first; choose another"
        )
    if text == RESERVED_ORDER_ID:
        raise OrderValueWrong(f"{table.at('id')}: {text!a} is the vault's own; choose another")
    return text


def _zone(table: Table) -> tuple[str, tzinfo]:
    name = table.optional_text("zone") or "UTC"
    try:
        return name, load_zone(name)
    except ZoneUnknown as error:
        raise ZoneUnknown(f"{table.at('zone')}: {error}") from error


def _authority_key(table: Table) -> str | None:
    text = table.optional_text("authority_key")
    if text is None:
        return None
    try:
        key = parse_vkey(text)
    except FormatError as error:
        raise AuthorityKeyWrong(
            f"{table.at('authority_key')}: not a vkey ({error}); copy it whole"
        ) from error
    if key.type != COSIGNATURE_V1:
        raise AuthorityKeyWrong(
            f"{table.at('authority_key')}: of type 0x{key.type:02x}; give one of type 0x04 (cosignature/v1)"
        )
    return text


# --- its clauses ------------------------------------------------------------------------------------------


def _clauses(root: Mapping[str, object], file: str, order: Order, papers: Papers) -> tuple[Clause, ...]:
    tables = root.get("clause", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise OrderValueWrong(f"{file}, clause: must be a list of tables; write [[clause]]")
    if not tables and order.rule.kind is Kind.HOLD:
        raise OrderKeyMissing(f"{file}, [[clause]]: missing; an order without a clause would hold nothing")
    return clause_list(root, file, order.tz(), papers)


def clause_list(root: Mapping[str, object], file: str, zone: tzinfo, papers: Papers) -> tuple[Clause, ...]:
    """Read the tables `[[clause]]` of a file; raise an InputError of the orders family."""
    tables = root.get("clause", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise OrderValueWrong(f"{file}, clause: must be a list of tables; write [[clause]]")
    clauses: dict[str, Clause] = {}
    for number, values in enumerate(tables, start=1):
        name = ascii(values["id"]) if isinstance(values.get("id"), str) else f"number {number}"
        where = f"{file}, clause {name},"
        clause = _clause(Table(where, values, CLAUSE_KEYS, (_ORDER_KEYS, "[order]")), zone, papers)
        if clause.id in clauses:
            raise OrderClauseWrong(f"{file}, clause {name}, id: used twice; give each clause its own")
        clauses[clause.id] = clause
    return tuple(clauses.values())


def _clause(table: Table, zone: tzinfo, papers: Papers) -> Clause:
    table.check_keys(_CLAUSE_REQUIRED)
    clause = Clause(
        id=table.text("id"),
        sources=table.texts("sources"),
        period_from_us=table.period_bound_us("from", zone, exclusive=False),
        period_to_us=table.period_bound_us("to", zone, exclusive=True),
        paths=table.texts("paths"),
        custodians=table.texts("custodians"),
        accounts=table.texts("accounts"),
        media_types=table.texts("media_types"),
        restricted=table.flag("restricted"),
        keep=table.choice("keep", Keep.CONTENT),
        accounts_file=papers.read(table),
        dimensions=tuple(table.texts_by_name("dimensions").items()),
        match=tuple(table.text_by_name("match").items()),
        where=table.optional_text("where"),
        restricted_hashes=papers.read_hashes(table),
    )
    if not is_order_id(clause.id):
        raise OrderClauseWrong(f"{table.at('id')}: must be 1 to 63 of a-z 0-9 . - ; choose a plain name")
    try:
        check_clause(clause)
    except ClauseWrong as error:
        raise OrderClauseWrong(f"{table.where} {error}") from error
    _check_where(clause, table)
    return clause


def _check_where(clause: Clause, table: Table) -> None:
    if clause.where is None:
        return
    try:
        check_expression(clause.where)
    except ClauseWrong as error:
        raise OrderClauseWrong(f"{table.at('where')}: {error}") from error


# --- what contradicts, and what is odd --------------------------------------------------------------------


def _check_dates(order: Order, table: Table) -> tuple[str, ...]:
    """Refuse an end before its start; return warnings for dates that are merely odd."""
    until = order.until
    if until is not None and until.at_us <= order.issued.at_us:
        raise OrderDatesWrong(f"{table.at('until')}: {until.text} is before `issued`; correct one")
    if until is not None and until.at_us <= order.starts_us:
        start = "effective" if order.effective else "received"
        raise OrderDatesWrong(
            f"{table.at('until')}: {until.text} is before `{start}`; correct one"
            + ("" if order.effective else ", or say in `effective` from when the order bound")
        )
    odd = []
    if order.issued.at_us > order.received.at_us:
        odd.append(f"issued: {order.issued.text} is after `received`")
    if order.effective is not None and order.effective.at_us < order.issued.at_us:
        odd.append(f"effective: {order.effective.text} is before `issued`")
    for key, moment in (("secrecy_until", order.secrecy_until), ("acknowledge_by", order.acknowledge_by)):
        if moment is not None and moment.at_us <= order.received.at_us:
            odd.append(f"{key}: {moment.text} is before `received`")
    if until is not None and until.at_us <= order.received.at_us:
        odd.append(f"until: {until.text} is before `received`: the order had ended when it arrived")
    return tuple(odd)


def _oddities(order: Order, clauses: tuple[Clause, ...], table: Table) -> tuple[str, ...]:
    rule = order.rule
    odd = []
    if "zone" not in table.values and rule.usual_zone is not None:
        odd.append(f"zone: not given, so days are read in UTC; this authority's are mostly {rule.usual_zone}")
    if rule.kind is Kind.HOLD and rule.reach is Temporal.SNAPSHOT and order.temporal is not Temporal.SNAPSHOT:
        odd.append(f"temporal: an order of type {order.type} mostly reaches only what is there: ask counsel")
    if rule.kind is Kind.DEADLINE_ONLY and clauses:
        odd.append(f"type: {order.type} makes no hold; put these clauses under an internal hold beside it")
    if order.until is not None and not order.until.is_day and "T00:00:00" in order.until.text:
        odd.append(
            f"until: {order.until.text} ends when that day begins; for the whole day give the date alone"
        )
    return (*odd, *_odd_accounts(clauses), *hold_end(order).warnings)


def _odd_accounts(clauses: tuple[Clause, ...]) -> list[str]:
    """Ask about identifiers that carry a kind, as they do in packages and not in clauses."""
    return [
        f'clause "{clause.id}", {key}: {name!a} is compared without its kind; leave out what is before the colon'
        for clause in clauses
        for key, names in (("accounts", clause.accounts), ("custodians", clause.custodians))
        for name in names
        if name.startswith(_KINDS)
    ]
