"""Kill a production at every durable step, as not persisted and as persisted.

Afterwards the package is there and valid, or not there; no production number is used twice; the next run cleans up;
`verify` finds nothing.
"""

from hashlib import sha256
from pathlib import Path

import pytest

from scelle.bootstrap import opened
from scelle.errors import PackageNameRefused
from scelle.fsck.service import verify
from scelle.ledger.events import events
from scelle.productions.trust import write_trust
from scelle.verify.scelle_verify import main as verify_package

from .disk import Mode
from .test_kill_points import (
    ORDER,
    Place,
    copy_of,
    crash_at,
    hand_over,
    prepared,
    steps_of,
    take_in_and_preserve,
)

__all__ = ["prepared"]
SHARES = 8
EVERY = 4
"""`make test` kills at every fourth step, `make test-long` at all of them."""


@pytest.fixture(scope="module")
def preserved(prepared: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = copy_of(prepared, tmp_path_factory.mktemp("preserved"), "place")
    take_in_and_preserve(place)
    with opened(place.vault, place.keys, writing=False) as session:
        write_trust(session.order_ledger(ORDER), place.root / "trust.json")
    return place


def productions(place: Place) -> list[tuple[int, int, str]]:
    with opened(place.vault, place.keys, writing=False) as session:
        return [
            (event.body["first_number"], event.body["next_number"], event.body["package_sha256"])
            for event in events(session.ledger(ORDER), "production")
        ]


def check_package(path: Path, trust: Path) -> None:
    assert verify_package([str(path), "--trust", str(trust), "--json"]) == 0, path


def check_recovers(place: Place, trust: Path) -> None:
    package = place.out / "p.scelle"
    logged = productions(place)
    if package.exists():
        check_package(package, trust)
        assert sha256(package.read_bytes()).hexdigest() in {digest for _, _, digest in logged}
        before = package.read_bytes()
        with pytest.raises(PackageNameRefused):
            hand_over(place)
        assert package.read_bytes() == before
    else:
        hand_over(place)
        check_package(package, trust)
    assert [path.name for path in place.out.iterdir()] == ["p.scelle"], "a killed run left plain text behind"
    second = hand_over(place, "q.scelle")
    assert second.first_number == max([1, *(following for _, following, _ in productions(place)[:-1])])
    ranges = [range(first, following) for first, following, _ in productions(place)]
    assert len({number for each in ranges for number in each}) == sum(map(len, ranges)), (
        "a number is used twice"
    )
    with opened(place.vault, place.keys, writing=False) as session:
        result = verify(place.vault, session.key, sample=None, order=None, workers=1)
    assert [finding for finding in result.findings if finding.code != "catalog.stale"] == []


def crash_and_check(preserved: Place, tmp_path: Path, mode: Mode, start: int, step: int) -> None:
    count = len(steps_of(copy_of(preserved, tmp_path, "count"), hand_over))
    for number in range(start, count, step):
        after = crash_at(copy_of(preserved, tmp_path, f"step-{number}"), number, mode, hand_over)
        check_recovers(after, preserved.root / "trust.json")


@pytest.mark.parametrize("mode", ["lost", "kept"])
@pytest.mark.parametrize("share", range(2))
def test_a_crash_in_a_production_leaves_a_whole_package_or_none(
    preserved: Place, tmp_path: Path, mode: Mode, share: int
) -> None:
    crash_and_check(preserved, tmp_path, mode, share * EVERY, 2 * EVERY)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["lost", "kept"])
@pytest.mark.parametrize("share", range(SHARES))
def test_a_crash_at_every_step_of_a_production(
    preserved: Place, tmp_path: Path, mode: Mode, share: int
) -> None:
    crash_and_check(preserved, tmp_path, mode, share, SHARES)
