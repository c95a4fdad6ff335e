"""Write the pages of an answer in the order of the package: records, withholdings, items and load file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scelle.errors import RecordNotAsSealed
from scelle.formats.packages import ManifestFile, Query, WholeLine, WithheldLine, item_name
from scelle.formats.zips import Member
from scelle.ledger.segments import SegmentReader
from scelle.merkle.hashing import HASH_BYTES, tree_root
from scelle.productions.interfaces import Contents, Progress
from scelle.productions.items import Shelf
from scelle.productions.loadfile import header, row
from scelle.productions.model import Withholding
from scelle.productions.plan import Task
from scelle.productions.records import Draft, Drafter, Item, record_line
from scelle.productions.scratch import Workspace

PROGRESS_EVERY: Final = 500


@dataclass(slots=True)
class Tally:
    """Count what was answered."""

    produced: int = 0
    withheld: int = 0
    erased: int = 0
    contents: int = 0
    contents_withheld: int = 0
    fields_redacted: int = 0
    without_holder: int = 0

    @property
    def hits(self) -> int:
        """Count the hits: the sum of their three states."""
        return self.produced + self.withheld + self.erased


class Pages:
    """Hold the three jsonl members, the load file and the items of one package while they grow."""

    def __init__(
        self,
        work: Workspace,
        contents: Contents,
        prefix: str,
        first_number: int,
        total: int,
        progress: Progress,
        source_names: Mapping[str, str],
    ) -> None:
        self.proofs = work.scratch("proofs")
        self.records = work.scratch("records")
        self.withheld = work.scratch("withheld")
        self.loadfile = work.scratch("loadfile")
        self.drafts = work.scratch("drafts", hashed=False)
        self.waiting = work.scratch("items", hashed=False)
        self.shelf = Shelf(contents, self.waiting)
        self.members: list[Member] = []
        self.files: list[ManifestFile] = []
        self.tally = Tally()
        self.named: dict[str, str] = {}
        self._source_names = source_names
        self.next_number = first_number
        self._prefix, self._total, self._progress, self._done = prefix, total, progress, 0
        self.loadfile.write(header())

    def source_name(self, alias: str) -> str:
        """Return what people call a log source, its family included; nothing where the package does not say it."""
        return self._source_names.get(alias.partition("/")[0], "")

    def advance(self) -> None:
        """Note that one more record was read."""
        self._done += 1
        if self._done % PROGRESS_EVERY == 0:
            self._progress("records", self._done, self._total)

    def finish(self) -> None:
        """Say that all records were read."""
        self._progress("records", self._done, self._done)

    def record(self, task: Task, position: int, draft: Draft, whole_rc: bytes | None) -> None:
        """Write all that is shown of one hit; `whole_rc` is given where a segment is answered whole."""
        if draft.code is not None:
            self.withheld.write(WithheldLine(task.at, position, draft.code, None, whole_rc).encode())
            self.tally.withheld += 1
            return
        self.tally.produced += 1
        self.named[task.manifest.source] = self.source_name(task.manifest.source)
        self.tally.fields_redacted += len(draft.redacted)
        paths = [(item.field, self._deliver(item)) for item in draft.items if item.code is None]
        self.records.write(record_line(task.at, position, task.manifest.profile, draft.shown, paths))
        left_out = [(item.field, item.code) for item in draft.items if item.code is not None]
        for name, code in sorted([*draft.redacted, *left_out]):
            self.withheld.write(WithheldLine(task.at, position, code, name, whole_rc).encode())
        self._load(draft, dict(paths))

    def _deliver(self, item: Item) -> str:
        path = item_name(self._prefix, self.next_number, item.extension)
        self.next_number += 1
        self.members.append(self.shelf.member(path, item.digest, item.size_bytes, item.crc32, item.offset))
        self.files.append(ManifestFile(item.digest, item.size_bytes, path))
        return path

    def _load(self, draft: Draft, paths: dict[str, str]) -> None:
        """Write a line of the load file for each content, one without an item where a record has none."""
        for item in draft.items:
            path = paths.get(item.field, "")
            control = path.removeprefix("items/").partition(".")[0]
            self.tally.contents += 1
            self.tally.contents_withheld += item.code is not None
            size = str(item.size_bytes)
            self.loadfile.write(row(control, path, draft.cells, size, item.digest.hex(), item.code or ""))
        if not draft.items:
            self.loadfile.write(row("", "", draft.cells, "", "", ""))


def answer_whole(
    task: Task, reader: SegmentReader, query: Query, withholding: Withholding, pages: Pages
) -> None:
    """Answer a segment by all its records (strength A).

    Raises `RecordNotAsSealed` where they do not lead to the record root, and `ContentNotAsSealed`.
    """
    drafter = Drafter(task, query, withholding, pages.shelf, pages.source_name(task.manifest.source))
    manifest, erased = task.manifest, task.erased.records
    commitments = bytearray(HASH_BYTES * manifest.records)
    for position, rc in erased.items():
        commitments[HASH_BYTES * position : HASH_BYTES * (position + 1)] = rc
    pages.proofs.write(WholeLine(task.at).encode())
    for each in reader.rows():
        position = each.seq - manifest.seq[0]
        if position not in erased:
            draft = drafter.draft(each, position)
            commitments[HASH_BYTES * position : HASH_BYTES * (position + 1)] = draft.rc
            pages.record(task, position, draft, draft.rc)
        pages.advance()
    pages.tally.erased += len(erased)
    if tree_root(bytes(commitments)) != manifest.record_root:
        raise RecordNotAsSealed(
            f"{reader.folder}: its rows do not lead to the record root of the manifest: nothing was "
            "produced; run `scelle verify`"
        )
