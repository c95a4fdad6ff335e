"""Stand in for a time-stamp authority in tests: answers written beforehand, one for each request."""

from collections.abc import Iterable

from scelle.errors import TimestampUnavailable


class ScriptedAuthority:
    """Give the answers of a script in turn, raising those that are errors; implements TimestampAuthority."""

    def __init__(self, answers: Iterable[bytes | TimestampUnavailable]) -> None:
        self._answers = iter(answers)
        self.asked: list[bytes] = []

    def request(self, digest: bytes) -> bytes:
        """Note the digest and give the next answer; an exhausted script is an authority that is gone."""
        self.asked.append(digest)
        answer = next(self._answers, None)
        if answer is None:
            raise TimestampUnavailable("the script has no more answers")
        if isinstance(answer, TimestampUnavailable):
            raise answer
        return answer
