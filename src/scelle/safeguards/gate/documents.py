"""Read a small YAML document strictly, and know the line of everything in it.

Taken: mappings, lists and plain or quoted text, which stays text (`no` is the word, not a truth value). Refused, with
file and line: duplicate keys, anchors and aliases, tags, several documents, whatever is too large or too deep.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from scelle.errors import PolicyWrong

SIZE_MAX_BYTES: Final = 1 << 20
DEPTH_MAX: Final = 16
TEXT_MAX: Final = 5000


@dataclass(frozen=True, slots=True)
class Located:
    """One value of a document, unread, and where it stands."""

    value: "str | list[Located] | dict[str, Located]"
    place: str
    line: int

    def refuse(self, text: str) -> NoReturn:
        """Raise PolicyWrong, naming file and line."""
        raise PolicyWrong(f"{self.place}:{self.line}: {text}")

    def mapping(self, required: Collection[str], optional: Collection[str] = ()) -> "dict[str, Located]":
        """Return a mapping with these keys and no others."""
        found = self.any_mapping()
        for key, value in found.items():
            if key not in required and key not in optional:
                value.refuse(f"{key!r} means nothing here; there may be {', '.join([*required, *optional])}")
        for key in required:
            if key not in found:
                self.refuse(f"{key} is missing; add it")
        return found

    def any_mapping(self) -> "dict[str, Located]":
        """Return a mapping, whatever its keys."""
        return self.value if isinstance(self.value, dict) else self.refuse("must be a mapping (key: value)")

    def items(self) -> "list[Located]":
        """Return a list."""
        return self.value if isinstance(self.value, list) else self.refuse("must be a list (- item)")

    def text(self, most: int = TEXT_MAX) -> str:
        """Return a text that is not empty, of at most so many characters."""
        if not isinstance(self.value, str):
            self.refuse("must be a text")
        if not self.value.strip() or len(self.value) > most:
            self.refuse(f"must have 1 to {most} characters, and not {len(self.value)}")
        return self.value

    def one_of(self, allowed: Collection[str]) -> str:
        """Return one of some words."""
        word = self.text()
        return word if word in allowed else self.refuse(f"{word!r} must be one of {', '.join(allowed)}")

    def count(self) -> int:
        """Return a whole number above 0."""
        digits = self.text(9)
        if not (digits.isascii() and digits.isdigit() and digits[0] != "0"):
            self.refuse(f"{digits!r} must be a whole number from 1 on")
        return int(digits)

    def matching(self, is_right: Callable[[str], object], form: str) -> str:
        """Return a text of some form."""
        text = self.text()
        return text if is_right(text) else self.refuse(f"{text!r} must be {form}")


def read_yaml(data: bytes, place: str) -> Located:
    """Read one document; raise PolicyWrong with file and line where it is not as it must be."""
    try:
        import yaml  # an optional dependency: scelle[gate]
    except ImportError:
        raise PolicyWrong("reading a policy needs PyYAML: pip install 'scelle[gate]'") from None
    if len(data) > SIZE_MAX_BYTES:
        raise PolicyWrong(f"{place}: {len(data)} bytes are no policy; at most {SIZE_MAX_BYTES} are read")
    try:
        text = data.decode("utf-8")
        _refuse_cleverness(yaml, text, place)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except UnicodeDecodeError:
        raise PolicyWrong(f"{place}: not UTF-8; save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
        raise PolicyWrong(f"{place}{line}: not YAML ({problem}); correct this line") from None
    if node is None:
        raise PolicyWrong(f"{place}: empty; write a policy, or take the one that `scelle gate` ships")
    return _located(node, place)


def _refuse_cleverness(yaml: Any, text: str, place: str) -> None:
    """Refuse what makes a document mean more than it shows, before anything is built from it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        where = f"{place}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise PolicyWrong(f"{where}: anchors and aliases are not read; write it out")
        if getattr(event, "tag", None):
            raise PolicyWrong(f"{where}: a tag ({event.tag}) is not read; quote the text")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise PolicyWrong(f"{where}: nested deeper than {DEPTH_MAX}; no policy is")


def _located(node: Any, place: str) -> Located:
    line = node.start_mark.line + 1
    if node.id == "scalar":
        return Located(node.value, place, line)
    if node.id == "sequence":
        return Located([_located(each, place) for each in node.value], place, line)
    found: dict[str, Located] = {}
    for key, value in node.value:
        if key.id != "scalar" or key.value in found:
            where = f"{place}:{key.start_mark.line + 1}"
            name = repr(key.value) if key.id == "scalar" else "a key that is no text"
            raise PolicyWrong(f"{where}: {name} stands twice; every key is a text and stands once")
        read = _located(value, place)
        found[key.value] = Located(read.value, place, key.start_mark.line + 1)
    return Located(found, place, line)
