"""Compare a log with what was shown to others: tokens, notes of deposits, and what its signer remembers."""

import json
import re
from hashlib import sha256
from typing import Final

from scelle.errors import FormatError
from scelle.formats.checkpoints import Checkpoint, parse_checkpoint_text
from scelle.fsck.chains import Anchor, anchor_faults
from scelle.fsck.files import names_in
from scelle.fsck.folders import LogFolder
from scelle.fsck.published import PublishedLog

FOLDERS: Final = ("escrow", "tokens")
_MAX_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,18})-([0-9a-f]{64})\.(json|tsr)")


class ShownCheck:
    """Check everything in `escrow/` and `tokens/` of one log."""

    def __init__(self, folder: LogFolder, published: PublishedLog, origin: str) -> None:
        self._folder, self._published, self._origin = folder, published, origin

    def run(self, anchors: list[Anchor], remembered: tuple[int, bytes] | None) -> None:
        """Make every check; `anchors` are the tokens that manifests name."""
        self._check_statements()
        self._check_tokens(anchors)
        self._check_pending()
        if remembered is not None:
            self._compare("", *remembered)

    def _compare(self, name: str, size: int, root: bytes) -> None:
        """Compare one (size, root) that left the vault with the log's own."""
        subject = self._folder.subject(name) if name else f"order {self._folder.order}, log"
        who = "it" if name else "the signer's memory, outside the vault,"
        own = len(self._published.leaves)
        if size > own:
            detail = f"{who} speaks of size {size}, the log has {own}: an older state was put back"
            self._folder.notes.find("log.behind", subject, detail)
        elif self._published.prefix_root(size) not in (None, root):
            detail = f"{who} has another root for size {size}: the log was rewritten, or this was"
            self._folder.notes.find("log.escrow" if name else "log.behind", subject, detail)

    def _check_statements(self) -> None:
        for folder in FOLDERS:
            for name, size, root in self._named(folder, "json"):
                self._compare(name, size, root)
                self._check_statement(name)

    def _named(self, folder: str, kind: str) -> list[tuple[str, int, bytes]]:
        """List the files `<size>-<root>.<kind>` of a folder, by size: name, size and root."""
        matches = ((name, _NAME.fullmatch(name)) for name in names_in(self._folder.path / folder))
        found = [
            (f"{folder}/{name}", int(match[1]), bytes.fromhex(match[2]))
            for name, match in matches
            if match is not None and match[3] == kind
        ]
        return sorted(found, key=lambda each: each[1])

    def _check_statement(self, name: str) -> None:
        """Read when and how a checkpoint was shown; nothing proves what it says."""
        data = self._folder.read(name, _MAX_BYTES)
        if data is None:
            return
        try:
            said = json.loads(data)
            is_right = len(said) == 2 and type(said["at_us"]) is int and type(said["how"]) is str
        except (ValueError, TypeError, KeyError, RecursionError):
            is_right = False
        if not is_right:
            self._folder.find("log.escrow", name, "it does not say when and how the checkpoint was shown")

    def _check_tokens(self, anchors: list[Anchor]) -> None:
        """Compare each token's digest with the checkpoint that its name gives, and each anchor with the
        tokens."""
        tokens: dict[bytes, int] = {}
        for name, size, root in self._named("tokens", "tsr"):
            data = self._folder.read(name, _MAX_BYTES)
            if data is None:
                continue
            tokens[sha256(data).digest()] = size
            self._compare(name, size, root)
            self._check_token(name, data, Checkpoint(self._origin, size, root))
        if tokens:
            self._folder.notes.remark("log.token", f"order {self._folder.order}", f"tokens: {len(tokens)}")
        for index, detail in anchor_faults(anchors, tokens):
            self._folder.find_entry("log.anchor", index, detail)

    def _check_token(self, name: str, data: bytes, point: Checkpoint) -> None:
        from scelle.timestamps.tokens import verify_token  # start-up time: most logs have no token

        try:
            problems = verify_token(data, point.text(), None).problems
        except FormatError as error:
            self._folder.find("log.token", name, f"its name gives no checkpoint ({error})")
            return
        for problem in problems:
            self._folder.find("log.token", name, f"{problem.detail} ({problem.code})")

    def _check_pending(self) -> None:
        names = [
            name for name in names_in(self._folder.path / "tokens" / "pending") if not name.endswith(".tmp")
        ]
        for name in names:
            data = self._folder.read(f"tokens/pending/{name}", _MAX_BYTES)
            if data is not None:
                self._check_waiting(name, data)

    def _check_waiting(self, name: str, data: bytes) -> None:
        from scelle.timestamps.queue import parse_pending  # start-up time, as above

        place = f"tokens/pending/{name}"
        try:
            pending = parse_pending(data)
            point = parse_checkpoint_text(pending.text)
            if pending.file_name != name:
                raise FormatError("it stands under another name than its text's digest")
        except FormatError as error:
            self._folder.find("log.token", place, str(error))
            return
        self._compare(place, point.size, point.root)
