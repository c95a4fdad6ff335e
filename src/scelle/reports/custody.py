"""Tell one item's chain of custody: offered, sealed, committed, witnessed, handed over."""

from collections.abc import Iterator, Mapping
from typing import Any

from scelle.capture.record_rows import pass_of
from scelle.capture.store import parse_side
from scelle.errors import InputError, ItemUnknown
from scelle.find.items import ItemRows, SealedRow
from scelle.formats.compartments import is_closed, is_restricted_row
from scelle.formats.entries import Erase, Segment
from scelle.formats.schema import DOCUMENT_V1
from scelle.formats.tokens import UNDATED
from scelle.formats.trust import Query, parse_query
from scelle.formats.values import Content, decode_value
from scelle.ledger.events import Event
from scelle.ledger.witness import Shown
from scelle.release.quarantine import Place, quarantine_codes
from scelle.reports.case import Case, Register, entries_of, made
from scelle.reports.model import (
    ABSENT,
    Claim,
    Code,
    Fact,
    Instant,
    Number,
    Part,
    Report,
    Row,
    Said,
    Section,
    Size,
    Span,
    Term,
    Text,
    Value,
    lines,
    table,
    term,
)
from scelle.reports.terms import header, source_name

NAME = "custody"
_TIME, _ACCOUNT = 0, 2


def custody(case: Case) -> Report:
    """Return one item's chain of custody; raise `ItemUnknown` where no living record of the order has its id."""
    if case.item is None:
        raise InputError("a custody report is about one item: give --item ITEM (`scelle find` prints ids)")
    rows = ItemRows(case.ledger, case.sealed.source_names, case.vault_key)
    found = rows.of_id(case.item, case.progress)
    if found is None:
        raise ItemUnknown(
            f"order {case.order.id} has sealed no item {case.item}: compare its id, or it was erased"
        )
    register = Register(case.log)
    at, manifest = _manifest_of(case, found)
    facts = header(case, register)
    hidden = quarantine_codes(case.ledger)
    is_hidden = (at, found.row.seq) in hidden
    record = register.record(at, found.alias, found.row.seq, None if is_hidden else _sha256(found))
    versions = [] if found.native is None else list(rows.of_native(found.source, found.native))
    sections = [
        Section("item", tuple(_item(case, found, record, is_hidden=is_hidden))),
        Section("sealing", tuple(_sealing(case, register, found, at, manifest, record, hidden))),
        Section("versions", (_versions(case, register, versions or [found], hidden),)),
        Section("custody-of-log", tuple(_witnesses(case, register, at))),
        Section("handed-over", tuple(_handed_over(case, register, found, at))),
    ]
    return made(case, register, NAME, facts, sections)


def _manifest_of(case: Case, found: SealedRow) -> tuple[int, Segment]:
    return next(
        (at, each)
        for at, each in case.ledger.manifests()
        if each.source == found.alias and each.seq[0] <= found.row.seq < each.seq[1]
    )


def _content(found: SealedRow) -> Content | None:
    """Return the content of a document's record; None of a record without one, and of a restricted document."""
    if found.schema.digest != DOCUMENT_V1.digest:
        return None
    value = found.row.split_values()[5]
    content = None if is_closed(value) else decode_value(value)[1]
    return content if isinstance(content, Content) else None


def _sha256(found: SealedRow) -> str | None:
    content = _content(found)
    return None if content is None else content.digest.hex()


def _item(case: Case, found: SealedRow, record: int, *, is_hidden: bool) -> Iterator[Part]:
    """Say what an item is; of a quarantined one, which is shown to nobody, neither its name nor its content's hash."""
    values, content = found.row.split_values(), _content(found)
    is_restricted = found.schema.digest == DOCUMENT_V1.digest and is_restricted_row(values)
    time_us = decode_value(values[_TIME])[1]
    own: Value = Term("time.undated")
    if isinstance(time_us, int) and time_us != UNDATED:
        own = Instant(time_us)
    native: Value = ABSENT if found.native is None else Text(found.native)
    yield Fact("item", Code(case.item or ""), (record,))
    yield Fact("source", source_name(case, found.source), (record,))
    if is_hidden:
        native = Term("names.quarantined")
    yield Fact("native-id", native if case.may_name or is_hidden else Term("names.hidden"), (record,))
    yield Fact("item-time", own, (record,))
    if is_hidden:
        yield Fact("content", Term("names.quarantined"), (record,))
    elif is_restricted:
        yield Fact("content", Term("content.restricted"), (record,))
    elif content is not None:
        yield Fact("size", Size(content.size_bytes), (record,))
        yield Fact("content-sha256", Code(content.digest.hex()), (record,))
    else:
        yield Fact("content", Term("content.record"), (record,))


def _sealing(
    case: Case,
    register: Register,
    found: SealedRow,
    at: int,
    manifest: Segment,
    record: int,
    hidden: Mapping[Place, str],
) -> Iterator[Part]:
    side = parse_side(found.row)
    pass_number = pass_of(found.row) if side is None else side[1].pass_id
    by = None
    if pass_number is not None:
        name = f"{pass_number:016x}"
        by = next((event for event in case.log.of_kind("pass") if event.body["pass"] == name), None)
    if by is not None:
        shown = (register.event(by),)
        counts = _counts_of(by, found.source)
        yield Claim(Said("say.offered-in-pass", {"pass": Code(str(by.body["pass"])), **counts}), shown)
        times = Span(int(by.body["started_us"]), int(by.body["finished_us"]))
        yield Fact("pass-time", times, shown)
        yield Fact("actor", Code(by.actor), shown)
    segment = register.entry(at, manifest)
    yield Fact("log-source", Code(found.alias), (record,))
    yield Fact("record-number", Number(found.row.seq), (record,))
    yield Fact("segment", Number(manifest.number), (segment,))
    yield Fact("position", Number(found.row.seq - manifest.seq[0]), (segment,))
    yield Fact("log-index", Number(at), (segment,))
    yield Fact("watermark", Span(*manifest.watermark), (segment,))
    yield Fact("record-root", Code(manifest.record_root.hex()), (segment,))
    params: dict[str, Value] = {
        "at": Number(at),
        "size": Number(case.ledger.log.size),
        "root": Code(case.ledger.log.root.hex()),
    }
    yield Claim(Said("say.committed", params), (segment,))
    ground = hidden.get((at, found.row.seq))
    if ground is not None:
        yield Claim(Said("say.quarantined", {"ground": term("quarantine", ground)}), (segment,))


def _counts_of(by: Event, source: str) -> dict[str, Value]:
    said: Mapping[str, Any] = by.body["sources"].get(source, {})
    return {name: Number(int(said.get(name, 0))) for name in ("offered", "sealed")}


def _versions(case: Case, register: Register, versions: list[SealedRow], hidden: Mapping[Place, str]) -> Part:
    rows = []
    for each in versions:
        at, manifest = _manifest_of(case, each)
        digest = None if (at, each.row.seq) in hidden else _sha256(each)
        cells = (
            Code(each.item_id or ""),
            Number(each.row.seq),
            Instant(manifest.watermark[1]),
            ABSENT if digest is None else Code(digest),
        )
        rows.append(Row(cells, (register.record(at, each.alias, each.row.seq, digest),)))
    return table("versions", ("item", "record-number", "committed", "sha256"), rows)


def _witnesses(case: Case, register: Register, at: int) -> Iterator[Part]:
    """Return what others hold that covers this item: of deposits and of time-stamps the oldest and the newest."""
    covering = sorted(
        (each for each in case.witnessed.shown if each.size > at), key=lambda each: (each.at_us, each.size)
    )
    if not covering:
        yield Claim(Said("say.seen-by-nobody"))
        return
    params = {"time": Instant(covering[0].at_us)}
    yield Claim(Said("say.existed-before", params), (register.shown(covering[0]),))
    yield Claim(Said("say.covering", {"n": Number(len(covering))}))
    rows = [
        Row(
            (
                Term("witness.time-stamp" if each.is_token else "witness.escrow"),
                Number(each.size),
                Instant(each.at_us),
                Code(each.root.hex()),
            ),
            (register.shown(each),),
        )
        for each in _ends(covering)
    ]
    yield table("witnesses", ("witness", "entries-seen", "time", "root"), rows)


def _ends(covering: list[Shown]) -> list[Shown]:
    """Return the oldest and the newest deposit and time-stamp, each once, the oldest first."""
    kinds = [[each for each in covering if each.is_token is is_token] for is_token in (False, True)]
    ends = [found[at] for found in kinds if found for at in (0, -1)]
    return sorted(dict.fromkeys(ends), key=lambda each: each.at_us)


def _handed_over(case: Case, register: Register, found: SealedRow, at: int) -> Iterator[Part]:
    rows = [
        Row(
            (Instant(event.time_us), term("event", event.kind), Code(event.actor), how),
            (register.event(event),),
        )
        for event, how in _touching(case, found, at)
    ]
    erased = [
        index
        for index, entry in entries_of(case.ledger, Erase)
        if entry.segment[0] == at and entry.record[0] == found.row.seq - _manifest_of(case, found)[1].seq[0]
    ]
    yield Claim(Said("say.handed-over", {"n": Number(len(rows)), "erased": Number(len(erased))}))
    yield table("handed-over", ("time", "event", "actor", "how"), rows)


def _touching(case: Case, found: SealedRow, at: int) -> Iterator[tuple[Event, Value]]:
    """Yield the events that name this item, and the productions whose question it answers."""
    queries = {
        str(event.body["query_sha256"]): parse_query(str(event.body["query"]).encode())
        for event in case.log.of_kind("production.requested")
    }
    for event in case.log.history:
        body = event.body
        if event.kind == "production":
            query = queries.get(str(body.get("query_sha256")))
            if query is not None and int(body.get("size", 0)) > at and _answers(query, found):
                yield event, lines([Said("say.answers-question"), Text(str(body["file"]))])
        elif event.kind == "disclosure":
            if body["source"] == found.alias and int(body["seq"]) == found.row.seq:
                yield (
                    event,
                    lines([Said("say.disclosed"), Text(str(body["file"])), Code(str(body["sha256"]))]),
                )
        elif _names(body, case.item or ""):
            yield event, Said("say.names-item")


def _answers(query: Query, found: SealedRow) -> bool:
    """Tell whether a record is of those that a query asks for: by source or account, and by its time."""
    values = found.row.split_values()
    time_us, account = decode_value(values[_TIME])[1], decode_value(values[_ACCOUNT])[1]
    has = {"source": found.alias, "account": account}.get(query.dimension)
    is_of_family = query.dimension == "source" and found.alias.startswith(f"{query.value}/")
    if has != query.value and not is_of_family:
        return False
    if not isinstance(time_us, int) or time_us == UNDATED:
        return True
    is_after = query.from_us is None or query.from_us <= time_us
    return is_after and (query.until_us is None or time_us < query.until_us)


def _names(value: Any, item: str) -> bool:
    """Tell whether the body of an event has an item's id anywhere."""
    if isinstance(value, str):
        return value == item
    if isinstance(value, Mapping):
        return item in value or any(_names(each, item) for each in value.values())
    return isinstance(value, list) and any(_names(each, item) for each in value)
