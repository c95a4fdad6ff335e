"""Put the members of a package together, sign MANIFEST, and write the canonical zip."""

from collections.abc import Mapping
from hashlib import sha256
from typing import BinaryIO, Final, cast

from scelle.formats.entries import Segment
from scelle.formats.packages import Manifest, ManifestFile, entries_member, schema_member
from scelle.formats.tiles import bundles_for, encode_bundle, entries_path
from scelle.formats.zips import Member, bytes_member, write_canonical_zip
from scelle.ledger.service import OrderLedger, OrderLedgerWriter
from scelle.productions.interfaces import Progress
from scelle.productions.pages import Pages
from scelle.productions.scratch import Scratch

_BUNDLE: Final = 256


class Members:
    """Collect the members of a package and what MANIFEST says of each."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.files: list[ManifestFile] = []

    def add_bytes(self, path: str, data: bytes) -> None:
        """Add a small member."""
        self.members.append(bytes_member(path, data))
        self.files.append(ManifestFile(sha256(data).digest(), len(data), path))

    def add_scratch(self, path: str, scratch: Scratch) -> None:
        """Add a member that waits in a file."""
        member, file = scratch.member(path)
        self.members.append(member)
        self.files.append(file)

    def add_log(self, ledger: OrderLedger) -> None:
        """Add the published checkpoint, exactly the bundles that cover it, and every schema in use."""
        log = ledger.log
        self.add_bytes("checkpoint", log.note)
        for index, width in bundles_for(log.size):
            entries = log.entries[index * _BUNDLE : index * _BUNDLE + width]
            self.add_bytes(entries_member(entries_path(index, width)), encode_bundle(entries))
        manifests = (entry for entry in ledger.entries if isinstance(entry, Segment))
        for digest in sorted({manifest.schema for manifest in manifests if manifest.records}):
            self.add_bytes(schema_member(digest), ledger.schema(digest).encode())

    def add_tokens(self, tokens: Mapping[str, bytes]) -> None:
        """Add time-stamp tokens by file name."""
        for name, data in tokens.items():
            self.add_bytes(f"tokens/{name}", data)

    def add_pages(self, pages: Pages, loadfile: str) -> None:
        """Add the answer itself."""
        self.add_scratch("proofs.jsonl", pages.proofs)
        self.add_scratch("records.jsonl", pages.records)
        self.add_scratch("withheld.jsonl", pages.withheld)
        self.add_scratch(loadfile, pages.loadfile)
        pages.waiting.drain()
        self.members += pages.members
        self.files += pages.files

    def write(self, ledger: OrderLedgerWriter, package: Scratch, progress: Progress) -> int:
        """Sign MANIFEST, write the archive to `package`, and return the number of members."""
        text = Manifest(ledger.origin, ledger.log.size, tuple(self.files)).text()
        self.members.append(bytes_member("MANIFEST", ledger.signer.sign_text(text)))
        total = sum(member.size_bytes for member in self.members)
        out = _Told(package, total, progress)
        write_canonical_zip(cast("BinaryIO", out), self.members)  # it appends, and does nothing else
        progress("package", total, total)
        return len(self.members)


class _Told:
    """Tell how much of the package was written."""

    def __init__(self, package: Scratch, total: int, progress: Progress) -> None:
        self._package, self._total, self._progress = package, total, progress
        self._told = 0

    def write(self, data: bytes) -> int:
        count = self._package.write(data)
        if self._package.size_bytes - self._told >= 1 << 23:
            self._told = self._package.size_bytes
            self._progress("package", min(self._told, self._total), self._total)
        return count
