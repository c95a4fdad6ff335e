"""What this room needs from outside: somebody who stamps digests."""

from typing import Protocol


class TimestampAuthority(Protocol):
    """A time-stamp authority (RFC 3161), or what stands in for one."""

    def request(self, digest: bytes) -> bytes:
        """Have a SHA-256 digest stamped and return the answer exactly as it was received.

        The caller may rely on this much: the answer grants a token, and the token is over `digest`. Its
        signature and chain are not checked here (`tokens.verify_token` does). Asking again is harmless, it
        gives another token. Raises TimestampUnavailable, or one of its kinds, when there is none.
        """
        ...
