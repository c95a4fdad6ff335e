"""Whatever is asked of whatever was sealed: the answer verifies, and no change to what it proves is accepted.

That an answer equals a naive filter is shown in tests/integration/test_productions.py, for the same ledgers.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from demo import forge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.productions.ledgers import Small, verify

from scelle.productions.model import Request

PROVEN = ("proofs.jsonl", "records.jsonl")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["s0002/1", "s0003"]),
        st.integers(-3, 3),
        st.sampled_from([None, "account:1", "account:2"]),
    ),
    min_size=1,
    max_size=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where every part of a JSON value stands, the whole of it first."""
    yield path
    if isinstance(value, dict):
        for key in sorted(value):
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from places(each, (*path, number))


def changed(value: Any, drawn: random.Random) -> Any:
    """Return something else in the place of a JSON value, of the same kind where that is possible."""
    if isinstance(value, bool) or value is None:
        return 0
    if isinstance(value, int):
        return value + drawn.choice([-1, 1, 1 << 20])
    if isinstance(value, str) and value:
        at = drawn.randrange(len(value))
        letter = "1" if value[at] != "1" else "2"
        return value[:at] + letter + value[at + 1 :]
    if isinstance(value, list) and value:
        kind = drawn.choice(["drop", "double", "reverse"])
        if kind == "drop":
            return value[:-1]
        return [*value, value[-1]] if kind == "double" else value[::-1]
    if isinstance(value, dict) and value:
        return dict(sorted(value.items())[1:])
    return [value]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS,
    profile=st.sampled_from([0, 1]),
    since=st.sampled_from([None, -1, 0]),
    seed=st.integers(0, 1 << 32),
)
def test_no_change_to_what_an_answer_proves_is_accepted(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int, str | None]],
    profile: int,
    since: int | None,
    seed: int,
) -> None:
    """The forger has the log's keys: MANIFEST is made again and signed.

    What is changed is chosen by a seed: a package has other bytes each time, which the search must not see.
    """
    drawn = random.Random(seed)
    small = Small(tmp_path_factory.mktemp("answer"))
    for alias, time, account in rows:
        if alias == "s0002/1":
            small.login(alias, time, account)
        else:
            small.chat(alias, time, account, pictures=(None, None), profile=profile)
    small.seal()
    small.seal()
    request = Request("account", "account:1", since, None)
    small.produce(request)
    assert verify(small, request).exit_code == 0
    package = small.folder / "p.scelle"
    members = forge.unpack(package)
    name = drawn.choice([each for each in PROVEN if members[each]])
    lines = [json.loads(line) for line in members[name].splitlines()]
    place = drawn.choice([each for each in places(lines) if each])
    parent: Any = lines
    for step in place[:-1]:
        parent = parent[step]
    before = parent[place[-1]]
    now = changed(before, drawn)
    parent[place[-1]] = [before] if now == before else now

    def edit(found: forge.Members) -> None:
        found[name] = b"".join(
            json.dumps(line, sort_keys=True, separators=(",", ":")).encode() + b"\n" for line in lines
        )

    forge.forge(package, small.folder / "forged.scelle", small.ledger.signer, edit)
    verdict = verify(small, request, "forged.scelle")
    small.ledger.close()
    assert verdict.exit_code == 1, (name, place, before, parent[place[-1]])
