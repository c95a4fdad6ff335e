"""Compare a production with an earlier package of the same order: what its log has that the earlier one lacks.

Nothing new is claimed by it: the authority proves the same with the earlier package's checkpoint, which it gives to the
verifier with `--held`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scelle.errors import FormatError, LogDamaged, MemberError, RequestWrong
from scelle.formats.checkpoints import Checkpoint, parse_checkpoint_text
from scelle.formats.entries import Erase
from scelle.formats.notes import parse_note
from scelle.formats.packages import Query
from scelle.formats.tokens import shown
from scelle.formats.zips import read_canonical_zip, read_member
from scelle.ledger.service import OrderLedger
from scelle.merkle.hashing import HASH_BYTES, tree_root
from scelle.productions.model import Delta
from scelle.productions.plan import touches

CHECKPOINT: Final = "checkpoint"
QUERY: Final = "query.json"
_SMALL_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Previous:
    """Hold what an earlier package shows of the log, and the bytes of the question that it answers."""

    path: Path
    checkpoint: Checkpoint
    query: bytes


def read_previous(path: Path) -> Previous:
    """Read checkpoint and question of a package; raise `RequestWrong` where it is none. No proof is checked."""
    if path.exists() and not path.is_file():  # a pipe would make us wait
        raise RequestWrong(f"{path}: no regular file: give the earlier package")
    try:
        with path.open("rb") as file:
            members = {member.path: member for member in read_canonical_zip(file)}
            note, query = (read_member(file, members[name], _SMALL_BYTES) for name in (CHECKPOINT, QUERY))
        return Previous(path, parse_checkpoint_text(parse_note(note).text), query)
    except KeyError as error:
        raise RequestWrong(f"{path}: no package: it has no {error.args[0]}: give the earlier one") from error
    except (OSError, FormatError, MemberError) as error:
        raise RequestWrong(f"{path}: cannot be read as an earlier package ({error})") from error


def check_previous(ledger: OrderLedger, previous: Previous) -> None:
    """Establish that the log which the earlier package shows is the beginning of this one's.

    Raises `RequestWrong` where it is another order's or a later one, and `LogDamaged` where it is no beginning.
    """
    then, name = previous.checkpoint, previous.path
    if then.origin != ledger.origin:
        raise RequestWrong(f"{name}: a package of {shown(then.origin)}, not of {ledger.origin}")
    if then.size > ledger.log.size:
        raise RequestWrong(
            f"{name}: its log has {then.size} entries, this one {ledger.log.size}: it is no earlier one"
        )
    if tree_root(bytes(ledger.log.leaves[: HASH_BYTES * then.size])) != then.root:
        raise LogDamaged(
            f"{name}: its checkpoint of size {then.size} is no beginning of this log: one of them was rewritten; run "
            "`scelle verify`"
        )


def delta_to(ledger: OrderLedger, query: Query, previous: Previous, new_hits: int) -> Delta:
    """Describe what came after an earlier package that was checked; `new_hits` are those of its new segments."""
    size = previous.checkpoint.size
    new = tuple(
        at
        for at, manifest in ledger.manifests()
        if at >= size and manifest.records and touches(query, manifest.source)
    )
    later = ledger.entries[size:]
    return Delta(
        size=size,
        root=previous.checkpoint.root.hex(),
        same_query=previous.query == query.encode(),
        new_segments=new,
        new_hits=new_hits,
        erased_since=sum(isinstance(entry, Erase) and entry.segment[0] < size for entry in later),
    )
