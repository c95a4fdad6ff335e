"""Ask the OpenSSL program to verify a token: the second opinion, for tokens that the library cannot read."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 20
MICROSECONDS: Final = 1_000_000
_SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


def find_openssl() -> str | None:
    """Give the path of the program, None where there is none."""
    return shutil.which("openssl")


def refusal(
    program: str, response: bytes, message: bytes, roots_pem: bytes, time_us: int | None
) -> str | None:
    """Run `openssl ts -verify` on a response as it was received; give None if it verifies, else why not.

    Only `roots_pem` is trusted. The chain is judged at the stamped time where we could read it, so that a
    token outlives the certificate of its authority; else at the present time.
    """
    with tempfile.TemporaryDirectory(prefix="scelle-token-") as folder:
        place = Path(folder)
        for name, data in (("response", response), ("message", message), ("roots.pem", roots_pem)):
            # A crash here leaves a folder in the system's temporary directory; nothing in it is secret.
            (place / name).write_bytes(data)
        argv = [program, "ts", "-verify", "-in", "response", "-data", "message", "-CAfile", "roots.pem"]
        if time_us is not None:
            argv += ["-attime", str(time_us // MICROSECONDS)]
        try:
            done = subprocess.run(
                argv,
                cwd=place,
                env={"PATH": _SEARCH_PATH, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"openssl did not run: {type(error).__name__}"
    if done.returncode == 0 and b"Verification: OK" in done.stdout:
        return None
    return _last_reason(done.stderr)


def _last_reason(stderr: bytes) -> str:
    """Give the last error of OpenSSL's stack, without the numbers around it."""
    lines = [line for line in stderr.decode("ascii", "backslashreplace").splitlines() if ":error:" in line]
    if not lines:
        return "openssl gave no reason"
    parts = lines[-1].split(":error:", 1)[1].split(":")
    return "; ".join(part for part in (parts[3:4] or parts[:1]) + parts[6:] if part)
