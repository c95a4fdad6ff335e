"""Encrypt restricted material to a key whose other half the vault does not have (age, X25519).

The identity that opens it exists only while a compartment is made and while shares are combined; it is split k of n,
each share encrypted to the age recipient of one holder. Python cannot wipe memory: whoever reads the memory of the
process that makes a compartment, seals restricted material or reads it, has what is in it.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, NoReturn

from scelle.errors import CompartmentWrong, ShareRefused, SharesWrong
from scelle.formats.canonical_json import canonical_json
from scelle.formats.tokens import shown
from scelle.vault.sharing import combine_shares, split_secret
from scelle.vault.writing import split_start

_SHARE_FORMAT: Final = "scelle/share/v1"
_SHARE_MAX_BYTES: Final = 1 << 16
_WHOLE_BYTES: Final = 8 << 20
"""What is encrypted at once; anything larger streams through, one piece at a time."""


@dataclass(frozen=True, slots=True)
class Holder:
    """One person who holds a share: name, age recipient, the share's number, and the share encrypted to him."""

    name: str
    recipient: str
    number: int
    share: bytes

    def to_json(self) -> dict[str, Any]:
        """Return it as it is sealed."""
        share = b64encode(self.share).decode()
        return {"name": self.name, "recipient": self.recipient, "number": self.number, "share": share}


@dataclass(frozen=True, slots=True)
class Compartment:
    """What the vault keeps of a compartment: its recipient, and the shares of its identity, which it cannot read."""

    recipient: str
    threshold: int
    holders: tuple[Holder, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as the event `compartment` seals it."""
        return {
            "recipient": self.recipient,
            "threshold": self.threshold,
            "holders": [holder.to_json() for holder in self.holders],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Compartment":
        """Read what `to_json` wrote."""
        holders = tuple(
            Holder(each["name"], each["recipient"], each["number"], b64decode(each["share"]))
            for each in body["holders"]
        )
        return cls(body["recipient"], body["threshold"], holders)

    def holder(self, name: str) -> Holder:
        """Return a holder by name; raise `ShareRefused` where nobody of that name holds a share."""
        for each in self.holders:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.holders)
        raise ShareRefused(f"{shown(name)} holds no share of the compartment: its holders are {known}")


@dataclass(frozen=True, slots=True)
class Share:
    """One opened share: which compartment's, its number of how many are needed, and its bytes."""

    recipient: str
    threshold: int
    number: int
    secret: bytes

    def encode(self) -> bytes:
        """Return it as it is encrypted to a person."""
        return canonical_json({
            "compartment": self.recipient,
            "format": _SHARE_FORMAT,
            "number": self.number,
            "share": self.secret.hex(),
            "threshold": self.threshold,
        })  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> "Share":
        """Read an opened share; raise `ShareRefused` for anything else."""
        try:
            document = json.loads(data)
            if document["format"] != _SHARE_FORMAT:
                raise ValueError(document["format"])
            secret = bytes.fromhex(document["share"])
            return cls(document["compartment"], int(document["threshold"]), int(document["number"]), secret)
        except (ValueError, KeyError, TypeError):
            raise ShareRefused(
                "it is no share of a compartment: give what `restricted share` wrote"
            ) from None


def make_compartment(holders: Mapping[str, str], threshold: int) -> Compartment:
    """Make a compartment: its identity exists only in here, and leaves split among `holders` (recipient by name).

    Raises `SharesWrong` for a threshold that cannot be, and `CompartmentWrong` for what is no age recipient, or two
    people with one.
    """
    pyrage = _pyrage()
    parsed = {name: parse_recipient(recipient) for name, recipient in holders.items()}
    if len(set(holders.values())) != len(holders):
        raise CompartmentWrong("two holders have one recipient: each needs a key of his own")
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    shares = split_secret(str(identity).encode(), threshold, len(holders))
    sealed = [
        Holder(
            name,
            holders[name],
            number,
            bytes(
                pyrage.encrypt(Share(recipient, threshold, number, shares[number]).encode(), [parsed[name]])
            ),
        )
        for number, name in enumerate(sorted(holders), 1)
    ]
    return Compartment(recipient, threshold, tuple(sealed))


def parse_recipient(text: str) -> Any:
    """Return age's recipient of a public key; raise `CompartmentWrong` for anything else."""
    pyrage = _pyrage()
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise CompartmentWrong(
            f"{shown(text)} is no age public key (age1..): make one with `age-keygen`"
        ) from None


def parse_identity(text: str) -> Any:
    """Return age's identity of a secret key; raise `ShareRefused`, which never repeats it, for anything else."""
    pyrage = _pyrage()
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise ShareRefused(
            "it is no age identity (AGE-SECRET-KEY-1..): give the file that `age-keygen` wrote"
        ) from None


def open_share(data: bytes, identity: Any) -> Share:
    """Open a share with the identity of the person to whom it was encrypted; raise `ShareRefused` where it does not."""
    pyrage = _pyrage()
    if len(data) > _SHARE_MAX_BYTES:
        raise ShareRefused("it is too long for a share: give what `restricted share` wrote")
    try:
        plain = pyrage.decrypt(data, [identity])
    except pyrage.DecryptError:
        raise ShareRefused("this key does not open the share: it was encrypted to somebody else") from None
    return Share.parse(bytes(plain))


def encrypt_share(share: Share, recipient: str) -> bytes:
    """Encrypt an opened share to another person."""
    return bytes(_pyrage().encrypt(share.encode(), [parse_recipient(recipient)]))


def combined_identity(shares: Sequence[Share], recipient: str) -> Any:
    """Return the identity of the compartment `recipient`, from as many of its shares as are needed.

    Raises `SharesWrong` where there are too few, one twice, of another compartment, or one is not right: what comes
    out is compared with the recipient that the vault sealed.
    """
    if any(share.recipient != recipient for share in shares):
        raise SharesWrong("a share is of another compartment: give shares of this vault's")
    numbers = {share.number: share.secret for share in shares}
    threshold = max((share.threshold for share in shares), default=2)
    if len(numbers) < threshold:
        raise SharesWrong(
            f"{len(numbers)} different shares, and {threshold} are needed: ask another reviewer for his"
        )
    try:
        identity = parse_identity(combine_shares(numbers).decode())
        if str(identity.to_public()) == recipient:
            return identity
    except (UnicodeDecodeError, ShareRefused):
        pass
    raise SharesWrong("the shares do not give the compartment's key: one of them is not as it was made")


# --- in --------------------------------------------------------------------------------------------------


def sealed_bytes(recipient: str, data: bytes) -> bytes:
    """Encrypt at once."""
    return bytes(_pyrage().encrypt(data, [parse_recipient(recipient)]))


def sealed_pieces(recipient: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Encrypt what comes in pieces; what `pieces` raises is raised, and nothing more is given.

    Memory stays flat whatever the size; the pieces are asked for in the caller's thread.
    """
    iterator = iter(pieces)
    start, has_ended = split_start(iterator, _WHOLE_BYTES)
    if has_ended:
        yield sealed_bytes(recipient, start)
        return
    encryption = _Encryption(parse_recipient(recipient))
    try:
        for piece in chain((start,), iterator):
            yield from encryption.feed(piece)
        yield from encryption.finish()
    finally:
        encryption.stop()


class _Encryption:
    """One stream being encrypted: age pulls what it reads, so it runs in a thread that is fed piece by piece."""

    def __init__(self, recipient: Any) -> None:
        self._asked: SimpleQueue[None] = SimpleQueue()
        self._plain: SimpleQueue[bytes | None] = SimpleQueue()
        self._rest = memoryview(b"")
        self._sealed: list[bytes] = []
        self._failure: BaseException | None = None
        self._has_ended = self._is_stopped = self._is_read_out = False
        self._thread = Thread(target=self._run, args=(recipient,), name="scelle-age", daemon=True)
        self._thread.start()
        self._asked.get()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Give age the next bytes; yield what it made of those before."""
        if piece:
            self._plain.put(piece)
            self._asked.get()
            yield from self._taken()

    def finish(self) -> Iterator[bytes]:
        """End the stream; yield the rest."""
        self._plain.put(b"")
        self._thread.join()
        self._has_ended = True
        yield from self._taken()

    def stop(self) -> None:
        """Let go of the thread, also where the stream did not come to its end. Idempotent."""
        if not self._has_ended and not self._is_stopped:
            self._is_stopped = True
            self._plain.put(None)
            self._thread.join()

    def _taken(self) -> Iterator[bytes]:
        sealed, self._sealed = self._sealed, []
        if self._failure is not None:
            raise CompartmentWrong(
                f"age could not encrypt ({type(self._failure).__name__}): nothing was kept"
            )
        return iter(sealed)

    def _run(self, recipient: Any) -> None:
        try:
            _pyrage().encrypt_io(_Reader(self._read), _Writer(self._write), [recipient])
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._failure = error
        finally:
            self._asked.put(None)

    def _read(self, count: int) -> bytes:
        if not self._rest and not self._is_read_out:
            self._asked.put(None)
            piece = self._plain.get()
            if piece is None:
                raise EOFError("stopped")
            self._is_read_out = not piece
            self._rest = memoryview(piece)
        taken, self._rest = bytes(self._rest[:count]), self._rest[count:]
        return taken

    def _write(self, data: bytes) -> None:
        self._sealed.append(bytes(data))


class _Reader:
    """Read as a file does, for age."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def read(self, count: int = -1) -> bytes:
        return self._read(count if count > 0 else _WHOLE_BYTES)


class _Writer:
    """Write as a file does, for age."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def write(self, data: bytes) -> int:
        self._write(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""


# --- out -------------------------------------------------------------------------------------------------


def open_pieces(identity: Any, pieces: Iterator[bytes], take: Callable[[bytes], None]) -> None:
    """Decrypt what comes in pieces and hand it on, piece by piece.

    Each piece is authenticated; that nothing is missing behind it only once this returns. Raises `ShareRefused`
    where the identity does not open it or a byte of it is another; what `pieces` and `take` raise, is raised.
    """
    pyrage, failures, rest = _pyrage(), list[BaseException](), memoryview(b"")

    def guarded(error: BaseException) -> NoReturn:
        failures.append(error)
        raise error

    def read(count: int) -> bytes:
        nonlocal rest
        try:
            while not rest:
                rest = memoryview(next(pieces))
        except StopIteration:
            return b""
        except BaseException as error:  # noqa: BLE001 - age would make a text of it
            guarded(error)
        taken, rest = bytes(rest[:count]), rest[count:]
        return taken

    def write(data: bytes) -> None:
        try:
            take(bytes(data))
        except BaseException as error:  # noqa: BLE001 - age would make a text of it
            guarded(error)

    try:
        pyrage.decrypt_io(_Reader(read), _Writer(write), [identity])
    except BaseException as error:
        if failures:
            raise failures[0] from None
        if isinstance(error, pyrage.DecryptError | OSError):
            raise ShareRefused(
                "the ciphertext does not open with this key, or a byte of it is another"
            ) from None
        raise


def _pyrage() -> Any:
    import pyrage  # slow to load, and few commands need it

    return pyrage
