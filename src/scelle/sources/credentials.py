"""Fetch a secret from where it is kept: it never stands in a URL, an argument, an event, a log or a report."""

import os
import subprocess
from pathlib import Path
from typing import Final

from scelle.errors import InputError

SECRET_MAX_BYTES: Final = 64 << 10


def secret_from(where: str, option: str) -> str:
    """Return the secret that `env:NAME`, `file:PATH` or `exec:CMD` leads to, without its last line end.

    `option` names, in errors, what was given. Raises InputError, which never repeats what could be a secret.
    """
    kind, _, rest = where.partition(":")
    if kind == "env" and rest:
        if rest not in os.environ:
            raise InputError(f"{option} env:{rest}: no such environment variable: set it")
        return os.environ[rest]
    if kind == "file" and rest:
        try:
            with Path(rest).open("rb") as file:  # a pipe, too; but never without an end
                data = file.read(SECRET_MAX_BYTES + 1)
            if len(data) > SECRET_MAX_BYTES:
                raise InputError(
                    f"{option} file:{rest}: over {SECRET_MAX_BYTES} bytes are no secret: name its file"
                )
            return data.decode("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise InputError(f"{option} file:{rest}: cannot be read ({type(error).__name__})") from error
    if kind == "exec" and rest:
        try:
            done = subprocess.run(rest, shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - the operator's own command
        except ValueError as error:
            raise InputError(f"{option} exec: what the command says is no text in UTF-8") from error
        if done.returncode != 0:
            raise InputError(f"{option} exec: the command ended with {done.returncode}: try it by hand")
        return done.stdout.rstrip("\r\n")
    raise InputError(f"{option} takes env:NAME, file:PATH or exec:CMD, never the secret itself")


def check_credential(where: str, option: str) -> str:
    """Return `where`; raise InputError where it is of none of the three forms. Fetches nothing."""
    kind, _, rest = where.partition(":")
    if kind not in ("env", "file", "exec") or not rest:
        raise InputError(f"{option} takes env:NAME, file:PATH or exec:CMD, never the secret itself")
    return where
