"""Make one production package from the published checkpoint of an order's log (ledger.md §11)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from scelle.errors import FormatError, RequestWrong
from scelle.formats.audits import parse_audit_verdict
from scelle.formats.entries import Entry, Segment
from scelle.formats.entries import Request as RequestEntry
from scelle.formats.notes import NOTE_MAX_BYTES, parse_note
from scelle.formats.packages import Query, is_item_prefix
from scelle.formats.tokens import shown
from scelle.formats.zips import is_member_path
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.merkle.hashing import leaf_hash
from scelle.productions.interfaces import Contents, Progress
from scelle.productions.loadfile import LOAD_FILE
from scelle.productions.model import (
    ACCOUNT,
    NOTHING_WITHHELD,
    SOURCE,
    Delta,
    Notice,
    ProductionReport,
    Quarantine,
    Request,
    Withholding,
    WithholdList,
    query_for,
)
from scelle.productions.package import Members
from scelle.productions.pages import Pages, answer_whole
from scelle.productions.plan import Plan, Task, make_plan, touches
from scelle.productions.previous import Previous, check_previous, delta_to
from scelle.productions.ranges import RangeAnswer
from scelle.productions.readme import readme
from scelle.productions.scratch import Scratch, refuse_place, workspace
from scelle.productions.trust import (
    NO_COSIGNERS,
    VERIFIER,
    Cosigners,
    trust_for,
    trust_letter,
    verifier_bytes,
    write_trust,
)
from scelle.release.quarantine import quarantine_codes

__all__ = ["check_production", "produce", "published_tokens", "trust_for", "trust_letter", "write_trust"]

LAST_NUMBER = 10**18 - 1


def _silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def produce(
    ledger: OrderLedgerWriter,
    contents: Contents,
    request: Request,
    *,
    out: Path,
    prefix: str,
    first_number: int,
    withhold: Withholding | WithholdList = NOTHING_WITHHELD,
    tokens: Mapping[str, bytes] | None = None,
    audit: bytes | None = None,
    cosigners: Cosigners = NO_COSIGNERS,
    source_names: Mapping[str, str] = MappingProxyType({}),
    holders: Collection[str] = (),
    previous: Previous | None = None,
    notices: Sequence[Notice] = (),
    progress: Progress = _silent,
    before_publishing: Callable[[ProductionReport], None] = lambda report: None,
) -> ProductionReport:
    """Answer `request` from the published log in a new package at `out`.

    Items are numbered from `first_number` under `prefix`. `tokens` are time-stamp tokens by file name
    (default: those that the ledger keeps and the package needs); `audit` is an auditor's verdict, without
    which there is no strength B; `source_names` are what people call log sources, by alias, and are shown for those
    of which records are produced, unless accounts are redacted; `holders` are the identifiers, with their kind,
    that sources state as theirs: one of them without a hit is no slip of the pen; `previous` is an earlier package
    of the order, since which the report and README.txt say what came; `notices` are what the caller has to add to
    the report's; `before_publishing` is told the report while the package has no name yet.
    Byte-equal for the same checkpoint, query, first number, prefix, withholdings and options.

    Atomic: the package appears under its name when it is whole and durable. Nothing in the vault or the log
    is changed; the caller has logged the request before, and remembers `next_number` after. Raises
    `RequestWrong`, `PackageNameRefused`, `LogDamaged`, `ContentNotAsSealed`, `RecordNotAsSealed` and StorageError.
    """
    query, plan = _prepared(ledger, request, out, prefix, first_number)
    _check_audit(ledger, query, audit)
    if previous is not None:
        check_previous(ledger, previous)
    shown_tokens = published_tokens(ledger) if tokens is None else dict(tokens)
    found = [*notices, *plan.notices, *_log_notices(ledger.entries, query, shown_tokens)]
    rules = withhold.withholding() if isinstance(withhold, WithholdList) else withhold
    quarantine = Quarantine(quarantine_codes(ledger), rules)
    rules = quarantine.withholding()
    with workspace(out) as work:
        total = sum(task.manifest.records for task in plan.tasks)
        names = {} if ACCOUNT in query.redact else source_names
        pages = Pages(work, contents, prefix, first_number, total, progress, names)
        new_hits = 0
        for task in plan.tasks:
            before = pages.tally.hits
            _answer(ledger, task, query, rules, pages)
            if previous is not None and task.at >= previous.checkpoint.size:
                new_hits += pages.tally.hits - before
        pages.finish()
        delta = None if previous is None else delta_to(ledger, query, previous, new_hits)
        if not pages.tally.hits and query.dimension != SOURCE and query.value not in holders:
            found.append(_nobody(query, holders) if plan.counts.searched else _not_searched(query, plan))
        _check_numbering(prefix, pages.next_number)
        if isinstance(withhold, WithholdList):
            found += _unmet(withhold)
        members = _members(ledger, query, plan, pages, cosigners, delta, quarantine.met)
        members.add_tokens(shown_tokens)
        if audit is not None:
            members.add_bytes("audit/verdict", audit)
        package = work.scratch("package")
        count = members.write(ledger, package, progress)
        report = _report(
            ledger, query, plan, pages, package, count, first_number, found, delta, quarantine.met
        )
        before_publishing(report)  # a crash from here on wastes production numbers, and never uses one twice
        package.publish(out)
        return report


def check_production(
    ledger: OrderLedger,
    request: Request,
    *,
    out: Path,
    prefix: str,
    first_number: int,
    audit: bytes | None = None,
    previous: Previous | None = None,
) -> Query:
    """Return the query of a request that can be answered at `out`; raise as `produce`, changing nothing."""
    query = _prepared(ledger, request, out, prefix, first_number)[0]
    _check_audit(ledger, query, audit)
    if previous is not None:
        check_previous(ledger, previous)
    return query


def _prepared(
    ledger: OrderLedger, request: Request, out: Path, prefix: str, first_number: int
) -> tuple[Query, Plan]:
    query = query_for(request, ledger.order)
    _check_numbering(prefix, first_number)
    refuse_place(out)
    return query, make_plan(ledger.entries, ledger.schema, query)


def _answer(
    ledger: OrderLedgerWriter, task: Task, query: Query, withholding: Withholding, pages: Pages
) -> None:
    reader = ledger.segment(task.manifest)
    try:
        if task.ranges == ("whole",):
            answer_whole(task, reader, query, withholding, pages)
        else:
            RangeAnswer(task, reader, query, withholding, pages, ledger.secrets.tag_key).write()
    finally:
        reader.close()


def _not_searched(query: Query, plan: Plan) -> Notice:
    """Note that an answer is empty because nothing was sealed with the dimension that it asks by."""
    counts = plan.counts
    detail = (
        f"nothing was searched: {counts.not_searchable} segments were sealed without the dimension {query.dimension}, "
        f"{counts.left_out} lie outside the period; ask by source or account"
    )
    return Notice("value.not_searched", query.value, detail)


def _nobody(query: Query, holders: Collection[str]) -> Notice:
    """Note that an answer is empty and nobody knows what it asks for: a slip of the pen finds nothing."""
    if query.dimension != ACCOUNT:
        detail = f"no record of the answer has this {query.dimension}: compare the spelling"
        return Notice("value.unknown", query.value, detail)
    kind, separator, name = query.value.partition(":")
    if not separator:
        detail = "no record of the answer is of it; identifiers carry their kind (custodian:.., account:..)"
        return Notice("holder.unknown", query.value, detail)
    known = sorted(each.partition(":")[2] for each in holders if each.startswith(f"{kind}:"))
    there = f"; there are {', '.join(known[:5])}{' ..' if len(known) > 5 else ''}" if known else ""
    detail = (
        f"no source of the order is of this {kind}{there}, and no record of the answer: compare the spelling"
    )
    return Notice("holder.unknown", name, detail)


def _unmet(withhold: WithholdList) -> list[Notice]:
    detail = "the list withholds it, and it is no hit: compare the spelling"
    return [Notice("withhold.no_hit", name, detail) for name in withhold.unmet()]


def _members(
    ledger: OrderLedgerWriter,
    query: Query,
    plan: Plan,
    pages: Pages,
    cosigners: Cosigners,
    delta: Delta | None,
    quarantined: int,
) -> Members:
    """Collect the members that every package has."""
    policy = trust_for(ledger, cosigners).policy
    text = readme(
        query,
        ledger.checkpoint,
        pages.tally,
        plan.counts,
        policy.verifier_sha256,
        names=pages.named,
        not_searchable=plan.not_searchable,
        delta=delta,
        quarantined=quarantined,
    )
    members = Members()
    members.add_log(ledger)
    members.add_bytes("policy.json", policy.encode())
    members.add_bytes("query.json", query.encode())
    members.add_bytes("README.txt", text)
    members.add_bytes(VERIFIER, verifier_bytes())
    members.add_pages(pages, LOAD_FILE)
    return members


def _report(
    ledger: OrderLedgerWriter,
    query: Query,
    plan: Plan,
    pages: Pages,
    package: Scratch,
    members: int,
    first_number: int,
    notices: Sequence[Notice],
    delta: Delta | None,
    quarantined: int,
) -> ProductionReport:
    tally = pages.tally
    return ProductionReport(
        strength=query.strength,
        size=ledger.log.size,
        members=members,
        hits=tally.hits,
        produced=tally.produced,
        withheld=tally.withheld,
        erased=tally.erased,
        contents=tally.contents,
        contents_withheld=tally.contents_withheld,
        fields_redacted=tally.fields_redacted,
        without_holder=tally.without_holder if query.dimension == ACCOUNT else None,
        bytes=package.size_bytes,
        first_number=first_number,
        next_number=pages.next_number,
        package_sha256=package.sha256().hex(),
        query_sha256=sha256(query.encode()).hexdigest(),
        segments=plan.counts,
        findings=tuple(notices),
        not_searchable=plan.not_searchable,
        delta=delta,
        quarantined=quarantined,
    )


def _check_numbering(prefix: str, number: int) -> None:
    if not is_item_prefix(prefix):
        raise RequestWrong(f"prefix {shown(prefix)}: use 1 to 16 of A-Z and 0-9")
    if not 1 <= number <= LAST_NUMBER:
        raise RequestWrong(f"production number {number} is outside 1 to {LAST_NUMBER}")


def published_tokens(ledger: OrderLedger) -> dict[str, bytes]:
    """Return the tokens that a package shows: those that an anchor names, those over its own checkpoint."""
    anchors = _anchors(ledger.entries)
    found = {}
    for path in sorted((ledger.folder / "log" / "tokens").glob("*.tsr")):
        data = path.read_bytes()
        if sha256(data).digest() in anchors or path.name.partition("-")[0] == str(ledger.log.size):
            found[path.name] = data
    return found


def _anchors(entries: Sequence[Entry]) -> set[bytes]:
    return {entry.anchor for entry in entries if isinstance(entry, Segment) and entry.anchor is not None}


def _log_notices(entries: Sequence[Entry], query: Query, tokens: Mapping[str, bytes]) -> list[Notice]:
    notices = []
    digest = sha256(query.encode()).digest()
    if not any(isinstance(entry, RequestEntry) and entry.request == digest for entry in entries):
        notices.append(Notice("request.not_logged", "query.json", "the log has no entry for this request"))
    for name in tokens:
        if not is_member_path(f"tokens/{name}") or "/" in name:
            raise RequestWrong(f"token {shown(name)}: its name must be of A-Z, a-z, 0-9, '.', '_' and '-'")
    missing = _anchors(entries) - {sha256(data).digest() for data in tokens.values()}
    notices += [
        Notice("segment.anchor", anchor.hex(), "the token with this SHA-256, which the log names, is missing")
        for anchor in sorted(missing)
    ]
    return notices


def read_verdict(path: Path) -> bytes:
    """Read the file of an auditor's verdict; raise `RequestWrong` where it cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > NOTE_MAX_BYTES:
            raise RequestWrong(f"{path}: no such file, or larger than 64 MiB: give the auditor's verdict")
        return path.read_bytes()
    except OSError as error:
        raise RequestWrong(f"{path}: cannot be read: {error.strerror}") from error


def _check_audit(ledger: OrderLedger, query: Query, audit: bytes | None) -> None:
    """Check that a verdict is on these segments; its signature is for the authority to judge."""
    if audit is None:
        if query.strength == "B":
            raise RequestWrong("strength B needs an auditor's verdict: give its file, or ask for C")
        return
    try:
        verdict = parse_audit_verdict(parse_note(audit).text)
    except FormatError as error:
        raise RequestWrong(f"the auditor's verdict cannot be read: {error}") from error
    if verdict.origin != ledger.origin:
        raise RequestWrong(f"the auditor's verdict is on {shown(verdict.origin)}, not on {ledger.origin}")
    for at, leaf in verdict.segments:
        is_segment = at < ledger.log.size and isinstance(ledger.entries[at], Segment)
        if not is_segment or leaf_hash(ledger.log.entries[at]) != leaf:
            raise RequestWrong(f"the auditor's verdict: entry {at} is not the segment that was audited")
    audited = {at for at, _ in verdict.segments}
    for at, manifest in ledger.manifests():
        if (
            query.strength == "B"
            and manifest.records
            and touches(query, manifest.source)
            and at not in audited
        ):
            raise RequestWrong(f"the auditor's verdict leaves out entry {at}: get it audited, or ask for C")
