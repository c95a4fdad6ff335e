"""Name everything that can go wrong, by who must act on it.

The tree, from the base down::

    ScelleError
    ├── InputError       the caller must give something else        (exit code 2)
    ├── AuthorityError   a person with the right to decide must act  (exit code 2)
    ├── HeldError        an order holds the thing                    (exit code 3)
    ├── IntegrityError   evidence does not agree with itself         (exit code 1)
    ├── SourceError      a live system could not be read             (exit code 4)
    └── StorageError     the vault's own store could not be used     (exit code 4)

Only the edges map families to exit codes and sentences. Every class has a stable ``code``; a code is never
reused for another meaning. The message is one line: what, where, what to do.
"""

from typing import ClassVar


class ScelleError(Exception):
    """Base of all errors that Scellé raises on purpose."""

    code: ClassVar[str] = "scelle"


class InputError(ScelleError):
    """Say that an argument, a file or a format is not what it must be; nothing was changed."""

    code = "input"


class AuthorityError(ScelleError):
    """Say that a person with the right to decide must act first."""

    code = "authority"


class HeldError(ScelleError):
    """Say that an order holds the thing."""

    code = "held"


class IntegrityError(ScelleError):
    """Say that stored evidence does not agree with itself."""

    code = "integrity"


class SourceError(ScelleError):
    """Say that a live system could not be read."""

    code = "source"


class StorageError(ScelleError):
    """Say that the vault's own store could not be used."""

    code = "storage"


# --- formats ---------------------------------------------------------------------------------------------


class FormatError(InputError):
    """Say that bytes are not the canonical form of what they claim to be."""

    code = "formats.not_canonical"


class ProofError(IntegrityError):
    """Say that a proof has the wrong shape or leads to another root."""

    code = "merkle.proof"


# --- vault: durable writes ---------------------------------------------------------------------------------


class StorageFull(StorageError):
    """Say that the disk has no room; what was durable before stays so."""

    code = "storage.full"


class StorageFailed(StorageError):
    """Say that the operating system refused a write; what was durable before stays so."""

    code = "storage.failed"


class StorageStopped(StorageError):
    """Say that an fsync failed: what the kernel still holds is unknown, so nothing more is written."""

    code = "storage.stopped"
