"""Contents move where they belong once they are decided; none is lost that somebody else still needs."""

from hashlib import sha256
from pathlib import Path

import pytest

from scelle.errors import RecorderUnavailable, StorageError
from scelle.safeguards.gate import Lane
from scelle.safeguards.recorder import Spool
from scelle.safeguards.recorder.contents import ContentStore
from scelle.safeguards.recorder.events import Told
from scelle.safeguards.recorder.lanes import Lanes, UndecidedStore, check_one_file_system

DATA = b"a drawn square"
DIGEST = sha256(DATA).hexdigest()


class Place:
    """Two sources and a spool in each."""

    def __init__(self, folder: Path) -> None:
        for name in ("open", "shut"):
            (folder / name).mkdir()
        self.undecided = UndecidedStore(folder / "shut", "web")
        self.opened = Spool(folder / "open", "web", contents=self.undecided).open()
        self.open_contents = ContentStore(folder / "open" / "recorded" / "contents")
        self.open_contents.prepare()
        self.restricted = Spool(folder / "shut", "web").open()
        self.lanes = Lanes(self.opened, self.open_contents, self.restricted)

    def stores(self) -> set[str]:
        named = {"undecided": self.undecided, "open": self.open_contents, "shut": self.restricted.contents}
        return {name for name, each in named.items() if (each.folder / DIGEST[:2] / DIGEST).is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("lane", "where"), [(Lane.NONE, "open"), (Lane.RESTRICTED, "shut"), (Lane.REPORTING, "shut")]
)
def test_a_content_moves_by_its_lane(place: Place, lane: Lane, where: str) -> None:
    place.undecided.keep(DATA)
    assert (place.stores(), place.lanes.find(DIGEST)) == ({"undecided"}, DATA)
    place.lanes.settle(lane, [DIGEST], [])
    assert (place.stores(), place.lanes.find(DIGEST)) == ({where}, DATA)


def test_one_that_another_attempt_holds_stays_until_that_is_decided(place: Place) -> None:
    place.undecided.keep(DATA)
    place.undecided.keep(DATA)
    place.lanes.settle(Lane.NONE, [DIGEST], [])
    assert place.stores() == {"undecided", "open"}
    place.lanes.settle(Lane.RESTRICTED, [DIGEST], [])
    assert place.stores() == {"open", "shut"}


def test_one_that_is_gone_is_no_success(place: Place) -> None:
    with pytest.raises(StorageError):
        place.lanes.settle(Lane.NONE, [DIGEST], [])
    with pytest.raises(FileNotFoundError):
        place.lanes.find(DIGEST)


def test_details_are_durable_in_the_restricted_source_alone(place: Place) -> None:
    place.undecided.keep(DATA)
    place.lanes.settle(
        Lane.RESTRICTED, [DIGEST], [{"event": "requested", "attempt_id": "r1", "prompt": "in swimwear"}]
    )
    written = b"".join(path.read_bytes() for path in place.restricted.folder.glob("*.jsonl"))
    assert b"in swimwear" in written
    assert b"in swimwear" not in b"".join(path.read_bytes() for path in place.opened.folder.glob("*.jsonl"))


def test_an_open_request_has_no_word_of_a_user(place: Place) -> None:
    words = "put the person in a winter coat"
    event = {
        "event": "requested", "attempt_id": "r1", "op": "edit", "prompt": words, "prompt_sha256": DIGEST,
        "model": words, "account": "u-1", "tier": "paid", "problem": words, "query": words, "consents": [words],
        "params": {"n": 2, "size": "1024x1024", "style": words},
        "references": [{"field": "image", "name": words, "said_type": words, "sha256": DIGEST, "bytes": 5}],
        "request": {"sha256": DIGEST, "bytes": 9, "content_type": words, "text": words},
    }  # fmt: skip
    bare = place.lanes.bare(Told(event))
    assert words not in str(bare.event)
    assert {name: bare.event[name] for name in ("account", "tier", "prompt_sha256")} == {
        "account": "u-1", "tier": "paid", "prompt_sha256": DIGEST,
    }  # fmt: skip
    assert bare.event["problem"] == "undecided"  # so that nobody takes it for understood
    assert bare.event["params"] == {"n": 2, "size": "1024x1024"}
    assert bare.event["references"] == [{"field": "image", "sha256": DIGEST, "bytes": 5}]
    assert [each.digest for each in bare.contents] == [sha256(words.encode()).hexdigest()]


def test_two_file_systems_are_refused(tmp_path: Path) -> None:
    other = Path("/proc")  # a file system that is another one everywhere
    with pytest.raises(RecorderUnavailable, match="file system"):
        check_one_file_system(tmp_path, other)
