"""What a clause covers, in which order its predicates are looked at, and what it says about it."""

from dataclasses import replace

import pytest

from scelle.errors import ClauseWrong, FormatError
from scelle.formats.canonical_json import canonical_json, parse_json_strict
from scelle.scope import (
    UNDATED,
    AccountsFile,
    Clause,
    ItemView,
    Keep,
    Match,
    Reason,
    check_clause,
    clause_from_json,
    clause_to_json,
    compile_clauses,
    covers,
    explain,
    match_clauses,
    shown_path,
)
from scelle.scope.compiled import _SEEN_MAX, _remembering

NARROW = Clause(
    "narrow",
    ("docs",),
    period_from_us=1000,
    period_to_us=2000,
    paths=("weather/**",),
    custodians=("ann",),
    accounts=("4711",),
    media_types=("text/*", "image/png"),
)
ACCOUNTS = {
    "accounts": 1,
    "blanks": 0,
    "duplicates": 0,
    "name": "x",
    "sha256": "0f" * 32,
    "size_bytes": 9,
}
ITEM = ItemView("docs", b"weather/a.txt", 1500, "text/plain", "ann", None)


def reason(clause: Clause, item: ItemView) -> Reason:
    verdict = covers(clause, item)
    assert verdict.covered == verdict.reason.covers
    return verdict.reason


def test_covers_what_every_predicate_matches() -> None:
    assert reason(NARROW, ITEM) is Reason.MATCH


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"source": "mail"}, Reason.SOURCE),
        ({"time_us": 999}, Reason.PERIOD),
        ({"time_us": 1000}, Reason.MATCH),
        ({"time_us": 1999}, Reason.MATCH),
        ({"time_us": 2000}, Reason.PERIOD),
        ({"time_us": -5}, Reason.PERIOD),
        ({"time_us": UNDATED}, Reason.UNDATED),
        ({"path": b"sport/a.txt"}, Reason.PATH),
        ({"path": b"weather/\xff"}, Reason.MATCH),
        ({"path": b""}, Reason.PATH),
        ({"custodian": "bob"}, Reason.CUSTODIAN),
        ({"custodian": "Ann"}, Reason.CUSTODIAN),
        ({"custodian": "4711"}, Reason.CUSTODIAN),
        ({"custodian": None, "account": "4711"}, Reason.MATCH),
        ({"custodian": None, "account": "4712"}, Reason.ACCOUNT),
        ({"custodian": None, "account": "ann"}, Reason.ACCOUNT),
        ({"custodian": None, "account": None}, Reason.HOLDER_UNKNOWN),
        ({"custodian": "bob", "account": "4711"}, Reason.MATCH),
        ({"media_type": "IMAGE/PNG"}, Reason.MATCH),
        ({"media_type": "text/html; charset=utf-8"}, Reason.MATCH),
        ({"media_type": "image/jpeg"}, Reason.MEDIA_TYPE),
        ({"media_type": "textile/plain"}, Reason.MEDIA_TYPE),
        ({"media_type": ""}, Reason.MEDIA_TYPE_UNKNOWN),
        ({"media_type": " ;charset=x"}, Reason.MEDIA_TYPE_UNKNOWN),
        ({"time_us": 0, "path": b"x", "custodian": "bob", "media_type": "a/b"}, Reason.PERIOD),
        ({"path": b"x", "custodian": "bob", "media_type": "a/b"}, Reason.PATH),
        ({"custodian": "bob", "media_type": "a/b"}, Reason.CUSTODIAN),
        ({"time_us": UNDATED, "media_type": "a/b"}, Reason.MEDIA_TYPE),
        ({"time_us": UNDATED, "custodian": None, "media_type": ""}, Reason.UNDATED),
    ],
)
def test_each_predicate_in_its_place(change: dict[str, object], expected: Reason) -> None:
    item = ITEM._replace(**change)  # type: ignore[arg-type]
    assert reason(NARROW, item) is expected
    assert compile_clauses([NARROW])(item) == match_clauses([NARROW], item)


@pytest.mark.parametrize(
    ("custodians", "accounts", "custodian", "account", "expected"),
    [
        (("ann",), (), "ann", None, Reason.MATCH),
        (("ann",), (), None, "4711", Reason.CUSTODIAN),
        ((), ("4711",), "ann", None, Reason.ACCOUNT),
        ((), ("4711",), None, "4711", Reason.MATCH),
        (("ann",), (), None, None, Reason.HOLDER_UNKNOWN),
        ((), (), "anybody", None, Reason.MATCH),
        ((), (), None, "any", Reason.MATCH),
    ],
)
def test_a_custodian_is_never_compared_with_an_account(
    custodians: tuple[str, ...],
    accounts: tuple[str, ...],
    custodian: str | None,
    account: str | None,
    expected: Reason,
) -> None:
    clause = Clause("c", ("docs",), custodians=custodians, accounts=accounts)
    assert reason(clause, ItemView("docs", b"a", 0, "a/b", custodian, account)) is expected


def test_media_types_are_compared_without_case() -> None:
    clause = Clause("c", ("docs",), media_types=("IMAGE/*", "Text/Plain"))
    assert reason(clause, ITEM._replace(media_type="image/PNG")) is Reason.MATCH
    assert reason(clause, ITEM._replace(media_type="text/plain")) is Reason.MATCH
    assert reason(clause, ITEM._replace(media_type="text/html")) is Reason.MEDIA_TYPE


def test_half_open_periods() -> None:
    since = Clause("since", ("docs",), period_from_us=10)
    before = Clause("before", ("docs",), period_to_us=10)
    item = ITEM._replace(time_us=10)
    assert reason(since, item) is Reason.MATCH
    assert reason(before, item) is Reason.PERIOD
    assert reason(before, item._replace(time_us=UNDATED + 1)) is Reason.MATCH
    assert reason(since, item._replace(time_us=2**63 - 1)) is Reason.MATCH


def test_all_covering_clauses_are_told_and_the_stricter_wins() -> None:
    digest = Clause("digest", ("docs",), keep=Keep.DIGEST)
    shut = Clause("shut", ("docs",), restricted=True, keep=Keep.DIGEST)
    other = Clause("other", ("mail",))
    decide = compile_clauses([digest, other, shut])
    assert decide(ITEM) == Match(True, ("digest", "shut"), None, None, True, Keep.DIGEST, None)
    both = compile_clauses([digest, NARROW])(ITEM)
    assert (both.keep, both.restricted) == (Keep.CONTENT, False)


def test_a_doubt_is_told_only_where_no_clause_is_sure() -> None:
    undated = ITEM._replace(time_us=UNDATED)
    assert compile_clauses([NARROW])(undated).doubt is Reason.UNDATED
    assert compile_clauses([NARROW, Clause("all", ("docs",))])(undated).doubt is None


def test_the_closest_clause_gives_the_reason() -> None:
    by_path = Clause("by-path", ("docs",), paths=("sport/**",))
    by_type = Clause("by-type", ("docs",), media_types=("image/*",))
    again = replace(by_type, id="again")
    match = compile_clauses([by_path, by_type, again])(ITEM)
    assert (match.covered, match.excluded_by, match.closest) == (False, Reason.MEDIA_TYPE, "by-type")
    assert compile_clauses([by_path])(ITEM).excluded_by is Reason.PATH
    nowhere = compile_clauses([by_path])(ITEM._replace(source="mail"))
    assert (nowhere.excluded_by, nowhere.closest) == (Reason.SOURCE, None)


def test_without_clauses_nothing_is_covered() -> None:
    assert compile_clauses([])(ITEM).excluded_by is Reason.SOURCE
    assert match_clauses([], ITEM).excluded_by is Reason.SOURCE


def test_a_pass_shares_its_matches() -> None:
    decide = compile_clauses([NARROW])
    assert decide(ITEM) is decide(ITEM._replace(path=b"weather/b.txt"))


def test_what_is_remembered_is_bounded_and_still_right() -> None:
    decide = compile_clauses([NARROW])
    for i in range(3000):
        item = ITEM._replace(media_type=f"text/x{i}", custodian="ann" if i % 2 else f"bob{i}")
        assert decide(item) == match_clauses([NARROW], item)


def test_no_more_is_remembered_than_the_bound() -> None:
    asked: list[str] = []

    def decide(item: ItemView) -> int:
        asked.append(item.media_type)
        return 0

    test = _remembering(lambda item: item.media_type, decide)
    for name in [*map(str, range(_SEEN_MAX + 1)), "0", str(_SEEN_MAX)]:
        test(ITEM._replace(media_type=name))
    assert len(asked) == _SEEN_MAX + 2
    assert asked[-1] == str(_SEEN_MAX)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, 'Covered by clause "narrow".'),
        ({"source": "mail"}, 'Not covered: clause "narrow" does not name the source "mail".'),
        (
            {"time_us": 2000},
            'Not covered: its time 1970-01-01T00:00:00.002000Z is outside clause "narrow", '
            "from 1970-01-01T00:00:00.001000Z before 1970-01-01T00:00:00.002000Z.",
        ),
        ({"time_us": 2**62}, "microseconds from 1970"),
        ({"path": b"a\n\xff"}, r'Not covered: its path "a\n\xff" matches no pattern of clause "narrow".'),
        ({"custodian": "bob"}, 'the item is held by the custodian "bob", whom clause "narrow" does not name'),
        ({"custodian": None, "account": "1"}, 'the item is of the account "1", whom'),
        ({"media_type": "a/\nb"}, "does not name the media type 'a/\\nb'."),
        ({"time_us": UNDATED}, 'Covered by clause "narrow", in doubt: the item has no time'),
        ({"custodian": None}, "in doubt: the item's source names no custodian and no account"),
        ({"media_type": ""}, "in doubt: the item's media type is not known"),
    ],
)
def test_explains_itself_in_one_sentence(change: dict[str, object], said: str) -> None:
    sentence = explain(NARROW, ITEM._replace(**change))  # type: ignore[arg-type]
    assert said in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_every_reason_has_a_sentence() -> None:
    assert all(reason.sentence.endswith(".") for reason in Reason)


def test_shown_paths_are_one_printable_line() -> None:
    assert shown_path("é/\u202e\x00".encode() + b"\xe9") == '"é/\\u202e\\x00\\xe9"'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sources": ()}, "sources: empty"),
        ({"sources": ("docs", "")}, "sources: an empty name"),
        ({"custodians": ("",)}, "custodians: an empty name"),
        ({"accounts": ("",)}, "accounts: an empty name"),
        ({"period_from_us": 2000}, "from: not before"),
        ({"period_from_us": 2001}, "from: not before"),
        ({"period_to_us": 2**53 + 1}, "to: 9007199254740993 is no time"),
        ({"period_from_us": -(2**53) - 1}, "from: -9007199254740993 is no time"),
        ({"paths": ("**/*", "/x")}, "relative"),
        ({"media_types": ("png",)}, "is no type"),
        ({"media_types": ("*/png",)}, "is no type"),
        ({"media_types": ("image/",)}, "is no type"),
        ({"media_types": ("",)}, "is no type"),
        ({"media_types": ("text/plain; charset=utf-8",)}, "is no type"),
        ({"media_types": ("tëxt/plain",)}, "is no type"),
    ],
)
def test_refuses_a_clause_that_means_nothing(change: dict[str, object], said: str) -> None:
    with pytest.raises(ClauseWrong, match=said):
        check_clause(replace(NARROW, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("media_type", ["*", "*/*", "image/*", "application/vnd.ms-excel", "image/svg+xml"])
def test_accepts_media_types(media_type: str) -> None:
    check_clause(replace(NARROW, media_types=(media_type,)))


def test_sealed_form_round_trips() -> None:
    for clause in (NARROW, Clause("plain", ("docs", "mail"), restricted=True, keep=Keep.DIGEST)):
        assert clause_from_json(clause_to_json(clause)) == clause


FULL = replace(
    NARROW,
    accounts_file=AccountsFile("ids.txt", bytes(32), 10, 2, 1, 0),
    dimensions=(("model", ("imagine-2",)),),
    match=(("prompt", "fox"),),
    where="r.score > 5",
)


def test_a_clause_has_the_sealed_bytes_that_it_always_had() -> None:
    sealed = canonical_json(clause_to_json(Clause("plain", ("docs",), accounts=("4711",))))
    assert sealed == (
        b'{"accounts":["4711"],"custodians":[],"from_us":null,"id":"plain","keep":"content","media_types":[],'
        b'"paths":[],"restricted":false,"sources":["docs"],"to_us":null}'
    )


def test_sealed_form_of_clauses_on_records_round_trips() -> None:
    sealed = canonical_json(clause_to_json(FULL))
    assert clause_from_json(parse_json_strict(sealed)) == FULL
    assert (
        b'"accounts_file":{"accounts":2,"blanks":0,"duplicates":1,"name":"ids.txt","sha256":"'
        + b"00" * 32
        + b'","size_bytes":10}'
    ) in sealed
    assert b'"dimensions":{"model":["imagine-2"]}' in sealed
    assert b'"match":{"prompt":"fox"}' in sealed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dimensions", {}),
        ("dimensions", []),
        ("dimensions", {"model": "x"}),
        ("dimensions", {"model": []}),
        ("match", {}),
        ("match", {"prompt": ["x"]}),
        ("match", {"prompt": "("}),
        ("where", None),
        ("where", ""),
        ("accounts_file", None),
        ("accounts_file", {}),
        ("accounts_file", {"name": "x"}),
        ("accounts_file", {**ACCOUNTS, "name": ""}),
        ("accounts_file", {**ACCOUNTS, "sha256": "AA" * 32}),
        ("accounts_file", {**ACCOUNTS, "sha256": "00" * 31}),
        ("accounts_file", {**ACCOUNTS, "accounts": True}),
        ("accounts_file", {**ACCOUNTS, "blanks": -1}),
        ("accounts_file", {**ACCOUNTS, "size_bytes": "9"}),
    ],
)
def test_refuses_sealed_values_of_clauses_on_records(key: str, value: object) -> None:
    clause_from_json({**clause_to_json(NARROW), "accounts_file": ACCOUNTS})
    with pytest.raises(FormatError):
        clause_from_json({**clause_to_json(NARROW), key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", 7),
        ("id", None),
        ("sources", "docs"),
        ("sources", [7]),
        ("sources", []),
        ("from_us", "0"),
        ("from_us", True),
        ("from_us", 1.5),
        ("to_us", 1000),
        ("paths", None),
        ("paths", ["/x"]),
        ("restricted", 0),
        ("restricted", None),
        ("keep", "all"),
        ("keep", None),
        ("media_types", ["x"]),
    ],
)
def test_refuses_sealed_values(key: str, value: object) -> None:
    with pytest.raises(FormatError):
        clause_from_json({**clause_to_json(NARROW), key: value})


def test_refuses_sealed_keys() -> None:
    sealed = clause_to_json(NARROW)
    with pytest.raises(FormatError, match="keys"):
        clause_from_json({**sealed, "more": 1})
    del sealed["keep"]
    with pytest.raises(FormatError, match="keys"):
        clause_from_json(sealed)
