"""Append records to the log sources of one source: contents first, then the row; openly, or into the compartment."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from scelle.capture.content import keep_content, lock_content
from scelle.capture.families import Family
from scelle.capture.interfaces import NamedSource, PassTools
from scelle.capture.problems import RecordEvent
from scelle.capture.restricted_records import RESTRICTED_MEMBER, record_document
from scelle.capture.store import ItemKeys
from scelle.errors import CompartmentMissing
from scelle.formats.tokens import TIME_MAX, TIME_MIN
from scelle.formats.values import NULL, UNDATED, content_value, text_value
from scelle.ledger.segments import SegmentWriter
from scelle.ledger.service import Looked
from scelle.scope.compiled import compile_record_clauses
from scelle.scope.model import Clause, Match
from scelle.scope.records import RecordView
from scelle.sources.interfaces import Member, Record

_KEYS_AT_ONCE: Final = 8192


@dataclass(frozen=True, slots=True)
class RecordShape:
    """What is known of one member: its log source and the decision of its records."""

    member: Member
    alias: str
    decide: Callable[[RecordView], Match]


class RecordSealer:
    """Append the records of one source. `make_room` makes durable what was appended, and seals what is full.

    What is appended is durable once `PassTools.packs` and the ledger were flushed; `group_bytes` counts it.
    """

    def __init__(
        self,
        tools: PassTools,
        named: NamedSource,
        clauses: Sequence[Clause],
        record_event: RecordEvent,
        make_room: Callable[[int], object],
    ) -> None:
        self._tools, self._named, self._clauses = tools, named, clauses
        self._record, self._make_room = record_event, make_room
        self._item_keys = ItemKeys(tools.vault_key, named.name)
        self._record_keys: Iterator[bytes] = iter(())
        self.family = Family(tools.ledger, named.alias)
        self.shapes: dict[str, RecordShape] = {}
        """The members that were named, by name."""
        self.is_restricted = any(each.restricted for each in clauses if named.name in each.sources)
        """Whether some of the source's records are restricted."""
        self.restricted_alias = self.family.find(RESTRICTED_MEMBER)
        """The log source of restricted records, once there is one: what lies there stays restricted."""
        self.group_bytes = 0
        self.has_appended = False
        """Whether a row was appended since whoever asks set it back."""

    @property
    def restricted_number(self) -> int | None:
        """Return the family number under which restricted records are sealed; None where there are none."""
        alias = self.restricted_alias
        return None if alias is None else int(alias.rpartition("/")[2])

    def looked(self) -> list[Looked]:
        """List the log sources of the members that were named."""
        found = [(shape.alias, shape.member) for shape in self.shapes.values()]
        if self.restricted_alias is not None:
            found.append((self.restricted_alias, RESTRICTED_MEMBER))
        return [Looked(alias, member.schema, member.profile) for alias, member in found]

    def name_members(self, members: Iterable[Member]) -> None:
        """Give every member its log source and say, once, which is whose."""
        for member in members:
            is_new = self.family.find(member) is None
            alias = self.family.assign(member)
            decide = compile_record_clauses(
                self._clauses, self._named.name, member.schema, self._named.custodian, self._named.account
            )
            self.shapes[member.name] = RecordShape(member, alias, decide)
            if is_new:
                self._say_member(member, alias)
        if self.is_restricted and self.restricted_alias is None:
            self.restricted_alias = self.family.assign(RESTRICTED_MEMBER)
            self._say_member(RESTRICTED_MEMBER, self.restricted_alias)

    def _say_member(self, member: Member, alias: str) -> None:
        self._record(
            "source.member",
            {
                "log_source": alias,
                "member": member.name,
                "schema": member.schema.digest.hex(),
                "profile": member.profile,
                "notes": list(member.notes),
            },
        )

    def seal(self, writer: SegmentWriter, record: Record, side: bytes) -> int:
        """Append one record, its contents first; return its sequence number. An ItemError of a content leaves none."""
        key, values = self._record_key(), record.values
        for content in record.contents:
            kept = keep_content(self._tools.packs, content.document, key[:16])
            values[content.field - 2] = content_value(kept.digest, kept.size_bytes)
            self.group_bytes += kept.size_bytes
        time_us = record.time_us
        if not TIME_MIN <= time_us <= TIME_MAX:
            time_us = UNDATED
        self.has_appended = True
        return writer.append(key, time_us, values, side)

    def seal_restricted(self, record: Record, side: bytes) -> None:
        """Put one record into the compartment, with its contents; its row says whose it is and when, and no more.

        What a content's stream raises leaves no record, and nothing in the vault.
        """
        tools, alias = self._tools, self.restricted_alias
        if tools.compartment is None or alias is None:
            raise CompartmentMissing("the vault has no compartment: make one with `scelle restricted init`")
        key, document = self._record_key(), record_document(self.shapes[record.member].member, record)
        locked = lock_content(tools.packs, tools.compartment, document, record.native, key[:16], is_kept=True)
        holder = NULL if record.account is None else text_value(record.account)
        shadow = self._item_keys.shadow(record.native)
        values = locked.row_values(holder, shadow, document.time_basis, is_kept=True)
        self.group_bytes += locked.ciphertext.size_bytes
        self.has_appended = True
        self.writer(alias, RESTRICTED_MEMBER).append(key, document.time_us, values, side)

    def writer(self, alias: str, member: Member) -> SegmentWriter:
        """Return the open segment of a log source, after making room where the last one is full."""
        ledger, now_us = self._tools.ledger, self._tools.now_us()
        if ledger.is_full(alias, now_us):
            self._make_room(now_us)
        writer = ledger.writer(alias, member.schema, now_us, member.profile)
        writer.before_frame = self._tools.packs.sync  # else a kill could leave rows whose contents never came
        return writer

    def _record_key(self) -> bytes:
        for key in self._record_keys:
            return key
        drawn = secrets.token_bytes(32 * _KEYS_AT_ONCE)
        self._record_keys = iter([drawn[at : at + 32] for at in range(0, len(drawn), 32)])
        return self._record_key()
