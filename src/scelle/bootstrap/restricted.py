"""Restricted material: make the compartment, put things in, and let two people open one item for a quarter of an hour.

Every step is an event of the vault's own log, sealed before anything is handed out. No event, error or file of Scellé
says what an item contains, or is called.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from scelle.bootstrap.readable import readable_orders, refuse_disposed
from scelle.bootstrap.requests import ask
from scelle.bootstrap.session import Session, refuse_in_vault
from scelle.capture.interfaces import PassTools
from scelle.errors import (
    CompartmentMissing,
    CompartmentWrong,
    FormatError,
    GrantRefused,
    HashesOverRecords,
    ItemUnknown,
    RestrictedDamaged,
    RestrictedWrong,
    ShareRefused,
)
from scelle.find.items import ItemRows, SealedRow
from scelle.formats.compartments import (
    CONTENT_FIELD,
    META_FIELD,
    CompartmentHead,
    CompartmentReader,
    CompartmentTail,
    ciphertext_of,
)
from scelle.formats.records import ChunkRoot
from scelle.formats.tokens import is_code, shown
from scelle.formats.values import Content
from scelle.ledger.events import events
from scelle.ledger.rows import Row
from scelle.operators.compartments import (
    COMPARTMENT,
    FETCHED,
    GRANTED,
    READ,
    SHARED,
    Grant,
    compartment_of,
    grants_of,
)
from scelle.operators.model import Power, Role
from scelle.operators.requests import Act, Request
from scelle.orders.days import utc_text
from scelle.orders.model import RESERVED_ORDER_ID
from scelle.orders.service import sealed_order
from scelle.release.quarantine import refuse_quarantined
from scelle.scope.model import Clause, with_restricted_sources
from scelle.sources.interfaces import RecordSource
from scelle.sources.model import SourceSpec
from scelle.sources.registry import check_identifier
from scelle.sources.urls import needs_schema, open_source
from scelle.vault import durable
from scelle.vault.compartment import (
    Compartment,
    Holder,
    combined_identity,
    encrypt_share,
    make_compartment,
    open_pieces,
    open_share,
    parse_identity,
    parse_recipient,
)

NO_COMPARTMENT: Final = (
    "{names}: there is restricted material, and the vault has no compartment: `preserve` refuses until there is one "
    "(scelle restricted init)"
)
_FILE_MAX_BYTES: Final = 1 << 16
_PARTIAL: Final = ".partial"
_PIECE_BYTES: Final = 1 << 20


# --- the compartment -------------------------------------------------------------------------------------


def compartment(session: Session) -> Compartment | None:
    """Return the vault's compartment; None where none was made."""
    return compartment_of(events(session.ledger(RESERVED_ORDER_ID), COMPARTMENT))


def known_compartment(session: Session) -> Compartment:
    """Return the vault's compartment; raise `CompartmentMissing`."""
    found = compartment(session)
    if found is None:
        raise CompartmentMissing("the vault has no compartment: make one with `scelle restricted init`")
    return found


def init_compartment(
    session: Session, reviewers: Sequence[str], recipients: Mapping[str, str], threshold: int
) -> Compartment:
    """Make the compartment and seal it: its recipient, and a share of its identity for each holder.

    `reviewers` are operators with role restricted-reviewer, `recipients` age recipients of other holders by name.
    Raises `CompartmentWrong` where there is one already, and `SharesWrong`.
    """
    session.require(Power.OPERATORS)
    if compartment(session) is not None:
        raise CompartmentWrong("the vault has a compartment already: what went into it opens with no other")
    holders = {name: _recipient_of(session, name) for name in reviewers}
    for name, recipient in recipients.items():
        if name in holders:
            raise CompartmentWrong(f"{shown(name)} is named twice: name each holder once")
        holders[check_identifier(name, "a holder's name")] = recipient
    if len(holders) < len(reviewers) + len(recipients):
        raise CompartmentWrong("a holder is named twice: name each once")
    made = make_compartment(holders, threshold)
    session.record(COMPARTMENT, made.to_json())
    return made


def _recipient_of(session: Session, name: str) -> str:
    operator = session.people.operators.get(name)
    if operator is None:
        raise CompartmentWrong(f"{shown(name)} is no operator: add one, or give --recipient NAME=AGE")
    if operator.role is not Role.RESTRICTED_REVIEWER:
        raise CompartmentWrong(f"{name} is {operator.role.value}: holders are restricted reviewers")
    return operator.recipient


def with_compartment(session: Session, tools: PassTools) -> PassTools:
    """Give a pass the vault's compartment, if there is one."""
    found = compartment(session)
    tools.compartment = None if found is None else found.recipient
    return tools


def restricted_warnings(session: Session, clauses: Sequence[Clause]) -> list[str]:
    """Say what a pass would refuse: restricted material without a compartment."""
    clauses = with_restricted_sources(clauses, restricted_sources(session.sources()))
    names = sorted({name for clause in clauses if clause.may_restrict for name in clause.sources})
    if not names:
        return []
    warnings = []
    if compartment(session) is None:
        warnings.append(NO_COMPARTMENT.format(names=", ".join(names)))
    return warnings


def restricted_sources(sources: Mapping[str, SourceSpec]) -> set[str]:
    """Return the names of the sources of which everything that is covered is restricted."""
    return {name for name, spec in sources.items() if spec.restricted}


def refuse_hashes_over_records(clauses: Iterable[Clause], sources: Mapping[str, SourceSpec]) -> None:
    """Raise `HashesOverRecords` where a clause with a list of hashes names a source of records."""
    for clause in clauses:
        for name in () if clause.restricted_hashes is None else clause.sources:
            if name in sources and _gives_records(sources[name]):
                raise HashesOverRecords(
                    f"clause {clause.id} lists hashes and names {name}, a source of records: only contents of "
                    "documents are compared; give these records a clause of their own"
                )


def _gives_records(spec: SourceSpec) -> bool:
    return needs_schema(spec) or isinstance(open_source(spec), RecordSource)


# --- asking ----------------------------------------------------------------------------------------------


def ask_open(session: Session, item: str, purpose: str, case: str, reader: str | None) -> Request:
    """Ask that one item may be read for a quarter of an hour, by `reader` (age recipient; default: who asks)."""
    return _ask(session, Act.OPEN_RESTRICTED, item, purpose, case, reader)


def ask_export(session: Session, item: str, purpose: str, case: str, authority: str) -> Request:
    """Ask that one item be handed over to an authority, who opens it with shares encrypted to it."""
    return _ask(session, Act.EXPORT_RESTRICTED, item, purpose, case, authority)


def _ask(session: Session, act: Act, item: str, purpose: str, case: str, reader: str | None) -> Request:
    session.require(Power.OPEN_RESTRICTED)
    known_compartment(session)
    if not is_code(purpose):
        raise RestrictedWrong(f"purpose {shown(purpose)} is no code: use a-z, 0-9 and -")
    if reader is None:
        if session.operator is None:
            raise RestrictedWrong("who is to read it? give --reader AGE, an age public key")
        reader = session.operator.recipient
    parse_recipient(reader)
    order, sealed = _find_restricted(session, item)
    body = {
        "item": item,
        "alias": sealed.alias,
        "seq": sealed.row.seq,
        "purpose": purpose,
        "case": check_identifier(case, "--case"),
        "reader": reader,
    }
    return ask(session, act, order, body, purpose)


def execute_open(session: Session, request: Request) -> dict[str, Any]:
    """Seal the grant of an approved request to open; idempotent by request id."""
    return _grant(session, request, is_export=False)


def execute_export(session: Session, request: Request) -> dict[str, Any]:
    """Seal the grant of an approved request to hand over; idempotent by request id."""
    return _grant(session, request, is_export=True)


def _grant(session: Session, request: Request, *, is_export: bool) -> dict[str, Any]:
    grant = _grants(session).get(request.id)
    if grant is None:
        body = request.body
        approvers = [each.operator for each in request.approvals if each.operator is not None]
        grant = Grant(
            request=request.id,
            item=str(body["item"]),
            order=str(request.order),
            alias=str(body["alias"]),
            seq=int(body["seq"]),
            reader=str(body["reader"]),
            purpose=str(body["purpose"]),
            case=str(body["case"]),
            people=tuple(dict.fromkeys([request.requester, *approvers])) if request.requester else (),
            until_us=session.now_us() + session.setting_us("open-for"),
            is_export=is_export,
        )
        session.record(GRANTED, grant.to_json())
    return {"item": grant.item, "until": utc_text(grant.until_us)}


def _grants(session: Session) -> dict[str, Grant]:
    return grants_of(events(session.ledger(RESERVED_ORDER_ID), GRANTED))


def _open_grant(session: Session, request_id: str, *, item: str | None = None) -> Grant:
    """Return a grant under which something may be done now; raise `GrantRefused`, and seal that it was asked."""
    grant = _grants(session).get(request_id)
    if grant is None or not session.sees(grant.order) or (item is not None and grant.item != item):
        raise _refused(
            session,
            request_id,
            f"no grant of request {shown(request_id)} for this: see `scelle request show`",
        )
    if session.latest_us(grant.event_seq) >= grant.until_us:
        raise _refused(
            session,
            request_id,
            f"the grant of request {request_id} ended {utc_text(grant.until_us)}: ask again",
        )
    return grant


def _refused(session: Session, request_id: str, why: str) -> GrantRefused:
    session.note_refusal(f"restricted, request {request_id}"[:100], why)
    return GrantRefused(why)


# --- shares ----------------------------------------------------------------------------------------------


def share_for(session: Session, request_id: str, identity: str | None, to: Path) -> Grant:
    """Open the holder's own share and write it encrypted to the reader of a grant; sealed before it is written.

    `identity` is an age secret key; without one the operator's own is taken. Raises `GrantRefused`, `ShareRefused`.
    """
    session.require(Power.OPEN_RESTRICTED)
    _refuse_place(session, to)
    grant = _open_grant(session, request_id)
    holder, own = _own_holder(session, identity)
    share = open_share(holder.share, own)
    data = encrypt_share(share, grant.reader)
    session.record(SHARED, {"request": grant.request, "by": holder.name})
    durable.write_file(to, data)
    return grant


def _own_holder(session: Session, identity: str | None) -> tuple[Holder, Any]:
    """Return the holder whose identity is at hand, and that identity."""
    own = _identity(session, identity)
    recipient = str(own.to_public())
    for holder in known_compartment(session).holders:
        if holder.recipient == recipient:
            return holder, own
    raise ShareRefused(
        "this key holds no share of the compartment: its holders are in `scelle restricted status`"
    )


def _identity(session: Session, identity: str | None) -> Any:
    if identity is not None:
        return parse_identity(identity)
    if session.operator_key is None:
        raise ShareRefused("whose key opens the share? give --as NAME, or --identity FILE")
    return parse_identity(session.operator_key.identity)


# --- reading ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """What was read: the bytes written; `keeps_content` is false where the clause kept a digest only."""

    item: str
    size_bytes: int
    keeps_content: bool
    until_us: int


def read_item(
    session: Session, item: str, request_id: str, shares: Sequence[Path], identity: str | None, to: Path
) -> Opened:
    """Combine the shares in memory, decrypt one item to `to` (mode 0600), compared with what was sealed.

    The reader's own share, where he holds one, is taken by itself. Sealed before the file gets its name; a crash
    leaves at most `<to>.partial`, which is plaintext: remove it. Raises `GrantRefused`, `ShareRefused`, `SharesWrong`.
    """
    session.require(Power.OPEN_RESTRICTED)
    _refuse_place(session, to)
    grant = _open_grant(session, request_id, item=item)
    if grant.is_export:
        raise _refused(session, request_id, "it was granted for handing over, not for reading here")
    if session.operator is not None and session.operator.name not in grant.people:
        raise _refused(session, request_id, "this was granted to other people")
    own = _identity(session, identity)
    if str(own.to_public()) != grant.reader:
        raise _refused(session, request_id, "the grant names another reader's key")
    found = known_compartment(session)
    opened = [open_share(_read_small(path), own) for path in shares]
    with suppress(ShareRefused):
        opened.append(open_share(_own_holder(session, identity)[0].share, own))
    key = combined_identity(opened, found.recipient)
    row = _granted_row(session, grant)
    named = _ciphertext(row)

    def seal() -> None:
        session.record(READ, {"request": grant.request, "item": item, "by": session.actor})

    tail, head = _decrypt(key, session.packs.read(named.digest), to, row, seal)
    return Opened(item, tail.size_bytes, head.is_kept, grant.until_us)


def fetch_ciphertext(session: Session, item: str, request_id: str, to: Path) -> Grant:
    """Write the ciphertext of an item that is to be handed over; sealed before it is written."""
    session.require(Power.OPEN_RESTRICTED)
    _refuse_place(session, to)
    grant = _open_grant(session, request_id, item=item)
    if not grant.is_export:
        raise _refused(session, request_id, "it was granted for reading here, not for handing over")
    named = _ciphertext(_granted_row(session, grant))
    session.record(FETCHED, {"request": grant.request, "item": item, "sha256": named.digest.hex()})
    with _Partial(to) as file:
        for piece in session.packs.read(named.digest):
            file.write(piece)
        file.publish()
    return grant


def unlock(
    ciphertext: Path, shares: Sequence[Path], identity: str, to: Path
) -> tuple[CompartmentTail, CompartmentHead]:
    """Open a ciphertext that was handed over, with shares encrypted to `identity`; needs no vault.

    Established: the content is the one whose digest was put in beside it. That this is the sealed record's, the package
    says: its `meta` names the ciphertext's SHA-256.
    """
    _refuse_taken(to)
    own = parse_identity(identity)
    opened = [open_share(_read_small(path), own) for path in shares]
    if not opened:
        raise RestrictedWrong("no share was given: give --share FILE, as often as there are shares")
    key = combined_identity(opened, opened[0].recipient)
    with ciphertext.open("rb") as file:
        return _decrypt(key, iter(lambda: file.read(_PIECE_BYTES), b""), to, None, lambda: None)


def _decrypt(
    key: Any,
    pieces: Iterator[bytes],
    to: Path,
    row: Row | None,
    seal: Callable[[], None],
) -> tuple[CompartmentTail, CompartmentHead]:
    """Decrypt to `to`, and give it its name once everything was compared: with itself, and with the row."""
    reader, state, size_bytes = CompartmentReader(), sha256(), 0
    chunks = None if row is None else ChunkRoot(row.record_key[:16])
    with _Partial(to) as file:

        def take(piece: bytes) -> None:
            nonlocal size_bytes
            content = reader.feed(piece)
            state.update(content)
            size_bytes += len(content)
            if chunks is not None:
                chunks.update(content)
            file.write(content)

        open_pieces(key, pieces, take)
        try:
            tail, head = reader.finish(), reader.head
        except FormatError as error:
            raise RestrictedDamaged(
                f"the ciphertext holds something else than Scellé put in: {error}"
            ) from error
        if head is None:
            raise RestrictedDamaged("the ciphertext holds something else than Scellé put in")
        if head.is_kept:
            is_same = (tail.digest, tail.size_bytes) == (state.digest(), size_bytes)
            is_same = is_same and (chunks is None or chunks.digest() == tail.chunks)
        else:
            is_same = size_bytes == 0
        if row is not None:
            is_same = (
                is_same and tuple(row.split_values()[CONTENT_FIELD:META_FIELD][:2]) == tail.closed_values()
            )
        if not is_same:
            raise RestrictedDamaged("what the compartment gives is not what was sealed: nothing was written")
        seal()
        file.publish()
    return tail, head


class _Partial:
    """A file that has its name only once it is whole: until then `<name>.partial`, removed on any failure."""

    def __init__(self, to: Path) -> None:
        self._to, self._partial = to, to.with_name(to.name + _PARTIAL)
        self._is_published = False

    def __enter__(self) -> "_Partial":
        self._file = durable.AppendFile(self._partial, mode=0o600, exclusive=True)
        self.write = self._file.write
        return self

    def publish(self) -> None:
        """Make it durable and give it its name."""
        self._file.sync()
        self._file.close()
        durable.replace(self._partial, self._to)
        self._is_published = True

    def __exit__(self, *_: object) -> None:
        if not self._is_published:
            self._file.close()
            durable.remove(self._partial)


# --- finding ---------------------------------------------------------------------------------------------


def _find(session: Session, item: str) -> tuple[str, SealedRow]:
    """Return the order and the row of an item that the session sees; raise `ItemUnknown`."""
    for order in readable_orders(session):
        ledger = session.order_ledger(order)
        rows = ItemRows(ledger, sealed_order(ledger).source_names, session.key)
        found = rows.of_id(item, lambda done, total: None)
        if found is not None:
            return order, found
    raise ItemUnknown(f"no sealed item has the id {shown(item)}: compare it with `scelle find`")


def _find_restricted(session: Session, item: str) -> tuple[str, SealedRow]:
    order, sealed = _find(session, item)
    _ciphertext(sealed.row)
    return order, sealed


def _granted_row(session: Session, grant: Grant) -> Row:
    """Return the row of a grant; raise where it was erased or quarantined since, or its order let go of."""
    refuse_disposed(session, grant.order)
    ledger = session.order_ledger(grant.order)
    found = ItemRows(ledger, sealed_order(ledger).source_names, session.key).at(grant.alias, grant.seq)
    if found is None:
        raise GrantRefused(f"item {grant.item} was erased: nothing of it can be read")
    for at, manifest in ledger.manifests():
        if manifest.source == grant.alias and manifest.seq[0] <= grant.seq < manifest.seq[1]:
            refuse_quarantined(ledger, (at, grant.seq), f"item {grant.item}")
    return found.row


def _ciphertext(row: Row) -> Content:
    named = ciphertext_of(row.split_values())
    if named is None:
        raise RestrictedWrong("this item is not restricted: it lies in the vault as others do")
    return named


# --- files -----------------------------------------------------------------------------------------------


def _refuse_place(session: Session, to: Path) -> None:
    refuse_in_vault(session, to)
    if session.key_folder is not None and to.resolve().is_relative_to(session.key_folder.resolve()):
        raise RestrictedWrong(f"{to} lies in the folder of keys: choose another place")
    _refuse_taken(to)


def _refuse_taken(to: Path) -> None:
    for path in (to, to.with_name(to.name + _PARTIAL)):
        if path.exists() or path.is_symlink():
            raise RestrictedWrong(f"{path} is there already and stays as it is: choose another name")
    if not to.parent.is_dir():
        raise RestrictedWrong(f"{to.parent}: no such folder: make it first")


def _read_small(path: Path) -> bytes:
    if not path.is_file() or path.stat().st_size > _FILE_MAX_BYTES:
        raise RestrictedWrong(f"{path}: no such file, or too long: give what `restricted share` wrote")
    return path.read_bytes()


def read_identity(path: Path | None) -> str | None:
    """Return the age secret key in a file as `age-keygen` writes it; None without a file."""
    if path is None:
        return None
    for line in _read_small(path).decode("utf-8", "replace").splitlines():
        if line.startswith("AGE-SECRET-KEY-1"):
            return line.strip()
    raise RestrictedWrong(
        f"{path}: no age identity in it (AGE-SECRET-KEY-1..): give the file of `age-keygen`"
    )
