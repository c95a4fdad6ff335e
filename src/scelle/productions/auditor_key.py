"""Keep an auditor's signing key in a file, and sign verdicts with it.

The key is a cosigner's, type 0x04: the authority puts its public half among the cosigners of trust.json.
"""

import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scelle.errors import FormatError, KeyFileRefused
from scelle.formats.checkpoints import cosignature_v1_message, timed_payload
from scelle.formats.notes import COSIGNATURE_V1, Note, Signature, VerifierKey, make_vkey
from scelle.formats.tokens import base64_text, parse_base64
from scelle.productions.scratch import refuse_taken
from scelle.vault import durable

_FILE: Final = re.compile(rb"# scelle auditor key v1: keep it secret\n([^\n]+)\n([A-Za-z0-9+/=]+)\n")
_FILE_MAX_BYTES: Final = 4096
_NAME_MAX_BYTES: Final = 255
"""A signature over a subtree gives the length of the key's name in one byte (C2SP tlog-cosignature)."""
_SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class AuditorKey:
    """Hold an auditor's name and the seed of its Ed25519 key."""

    name: str
    seed: bytes = field(repr=False)

    @property
    def vkey(self) -> VerifierKey:
        """Return the public half."""
        return make_vkey(self.name, COSIGNATURE_V1, self._private().public_key().public_bytes_raw())

    def sign(self, text: bytes, time_s: int) -> bytes:
        """Return `text` as a note that this key signed at `time_s` seconds since 1970."""
        key = self.vkey
        signature = self._private().sign(cosignature_v1_message(text, time_s))
        return Note(text, (Signature(key.name, key.key_id, timed_payload(time_s, signature)),)).encode()

    def file_text(self) -> bytes:
        """Write the key file."""
        return f"# scelle auditor key v1: keep it secret\n{self.name}\n{base64_text(self.seed)}\n".encode()

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def make_auditor_key(name: str, out: Path) -> AuditorKey:
    """Draw a key and write it to `out`, for its owner only.

    Raises FormatError where the name cannot name a key, and `PackageNameRefused` where something is there.
    """
    if len(name.encode()) > _NAME_MAX_BYTES:
        raise FormatError(f"key name of {len(name.encode())} bytes, must be at most 255 bytes: shorten it")
    key = AuditorKey(name, secrets.token_bytes(_SEED_BYTES))
    _ = key.vkey
    refuse_taken(out)
    durable.write_file(out, key.file_text(), mode=0o600)
    return key


def read_auditor_key(path: Path) -> AuditorKey:
    """Read a key file; raise `KeyFileRefused` for one that others may read, and for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileRefused(f"{path}: cannot be opened as a key file: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _FILE_MAX_BYTES:
            raise KeyFileRefused(f"{path}: no auditor's key file: give the file that audit-key wrote")
        if status.st_mode & 0o077:
            raise KeyFileRefused(
                f"{path}: mode {status.st_mode & 0o777:04o} lets others use the key: chmod 600 it"
            )
        return _parse(os.read(descriptor, _FILE_MAX_BYTES), path)
    finally:
        os.close(descriptor)


def _parse(data: bytes, path: Path) -> AuditorKey:
    match = _FILE.fullmatch(data)
    try:
        if match is None:
            raise FormatError("it has a comment line, a name and a seed")
        key = AuditorKey(match[1].decode("utf-8"), parse_base64(match[2].decode(), _SEED_BYTES))
        _ = key.vkey
    except (FormatError, UnicodeDecodeError) as error:
        raise KeyFileRefused(
            f"{path}: no auditor's key file ({error}): give the file that audit-key wrote"
        ) from error
    return key
