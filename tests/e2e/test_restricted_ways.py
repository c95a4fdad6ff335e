"""The other ways into the compartment: a source, a list of hashes, by hand; and nowhere else what is in it."""

import hashlib
import json
import os
from pathlib import Path
from zipfile import ZipFile

import pytest

from scelle.bootstrap import marking
from scelle.capture import listing
from scelle.ledger.events import events
from scelle.ledger.service import OrderLedger
from scelle.orders.model import RESERVED_ORDER_ID

from . import test_restricted as first
from .conftest import Answer, Platform

clock = first.clock
shut = first.shut
OPEN_CLAUSE = first.CLAUSES[0]
DIGEST = hashlib.sha256(first.SECRET).hexdigest()
SHUT = "(restricted)"
OTHER = hashlib.sha256(b"listed, and nowhere there").hexdigest()
LISTING = (
    '[[clause]]\nid = "listed"\nsources = ["docs"]\npaths = ["**/*"]\nrestricted_hashes = "hashes.txt"\n'
)


def hashes(platform: Platform, *lines: str) -> Path:
    path = platform.root / "hashes.txt"
    path.write_text("# known material\n\n" + "\n".join(lines) + "\n", encoding="ascii")
    return path


def add_order(platform: Platform, order: str, *clauses: str, **terms: str) -> None:
    platform.clauses = list(clauses)
    file = platform.order_file(
        f"{order}.toml", id=f'"{order}"', matter=f'"m-{order}"', reference=f'"R-{order}"'
    )
    platform("order", "add", file)


def listed(platform: Platform, *more: str) -> None:
    """An order `hunt` whose one clause has a list with the picture's hash."""
    first.holders(platform)
    hashes(platform, DIGEST.upper(), OTHER, *more)
    add_order(platform, "hunt", LISTING)


def settle(platform: Platform) -> None:
    """Let the documents be old: a restricted one that was written just now is put in again by the next pass."""
    for path in platform.docs.rglob("*"):
        os.utime(path, (first.OLD, first.OLD))


def natives(platform: Platform, order: str) -> list[str]:
    """What `find` gives, by name; a restricted one is that, whatever its keyed id."""
    found = []
    for name in ("a.txt", "page.txt", first.NAME, "sub/b.txt"):
        found += [name] * matches(platform, order, f'native_id = "{name}"')
    return found + [SHUT] * matches(platform, order, 'native_id starts with "restricted:r"')


def matches(platform: Platform, order: str, query: str) -> int:
    return len(platform("find", order, query, "--json").json["items"])


def ledger_of(platform: Platform, order: str) -> OrderLedger:
    return OrderLedger(platform.vault, order, f"platform.example/po/{order}", first.vault_key(platform))


def search(platform: Platform, said: list[Answer], *, but: bytes = b"") -> list[bytes]:
    """Search everything that was written and said; return what the vault's key opens, `but` left out."""
    needles = first.pieces_of(first.SECRET, first.NAME)
    places = [platform.vault, platform.root / "keys", platform.root / "temporary"]
    files = [each for place in places for each in place.rglob("*") if each.is_file()]
    files += list(platform.root.glob("*.scelle"))
    assert len(files) > 20
    for path in files:
        data = path.read_bytes()
        assert not [needle for needle in needles if needle in data], path
    for package in platform.root.glob("*.scelle"):
        with ZipFile(package) as file:
            inside = b"".join(file.read(name) for name in file.namelist())
        assert not [needle for needle in needles if needle in inside], package
    plain = [each for each in first.peeled(platform, first.vault_key(platform)) if each != but]
    assert any(b"a red boat" in each for each in plain), "what is open was peeled"
    assert any(b"restricted:r" in each for each in plain), "rows were peeled"
    assert any(each.startswith(b"age-encryption.org/v1") for each in plain), "the ciphertext was peeled"
    for each in plain:
        assert not [needle for needle in needles if needle in each]
    for answer in said:
        assert first.NAME not in answer.out + answer.err
        assert DIGEST not in (answer.out + answer.err).lower()
    return plain


# --- a source --------------------------------------------------------------------------------------------


@pytest.fixture
def case(shut: Platform) -> Platform:
    """A restricted source `case` beside the open one, with the same picture, and an open clause over both."""
    folder = shut.root / "case"
    folder.mkdir()
    (shut.docs / first.NAME).rename(folder / first.NAME)
    added = shut("source", "add", "case", f"files://{folder}", "--restricted")
    assert "no compartment" in added.err
    add_order(shut, "both", OPEN_CLAUSE.replace('["docs"]', '["docs", "case"]'))
    return shut


def test_whatever_a_clause_covers_in_a_restricted_source_goes_in(case: Platform) -> None:
    said = [case("source", "list"), case("preview", "both")]
    assert "restricted: what a clause covers" in said[0].out
    assert case("source", "list", "--json").json["sources"][0]["restricted"] is True
    assert "case: there is restricted material" in said[1].err
    refused = case("preserve", "both", code=2)
    assert "scelle restricted init" in refused.err
    first.holders(case)
    said.append(case("preview", "both", "--json"))
    assert said[-1].json["sources"]["case"]["restricted"] == 1
    assert (said[-1].json["sources"]["case"]["sample"], said[-1].json["sources"]["docs"]["restricted"]) == (
        [],
        0,
    )
    said += [case("preserve", "both", "--json"), case("preserve", "both")]
    assert "differences" not in said[-1].out
    assert said[-2].json["reconciliation"]["count"] == 0
    said += [case("find", "both", 'source = "case"', "--json")]
    assert len(said[-1].json["items"]) == 1
    assert natives(case, "both") == ["a.txt", "sub/b.txt", SHUT]
    said += [case("produce", "both", "--source", "case", "--to", case.root / "a.scelle")]
    said += [case("verify", "--json"), case("order", "show", "both", "--json"), case("status")]
    assert said[-3].json["valid"]
    case("rebuild-catalog")
    assert case("preserve", "both", "--json").json["unchanged"] == 3
    search(case, [*said, refused])


def test_what_cannot_be_listed_in_a_restricted_source_is_not_named(case: Platform) -> None:
    first.holders(case)
    add_order(case, "texts", '[[clause]]\nid = "t"\nsources = ["case"]\npaths = ["*.txt"]\n')
    os.mkfifo(case.root / "case" / "telling-pipe")
    said = [case("preserve", "texts", "--json"), case("preview", "texts", "--json")]
    for each in events(ledger_of(case, "texts")):
        assert "telling" not in json.dumps(each.body)
    assert "telling" not in "".join(each.out + each.err for each in said)


def test_a_refusal_to_delete_does_not_name_what_a_restricted_source_gives(case: Platform) -> None:
    case("may-delete", "case", first.NAME, code=3)
    case("source", "list")
    first.holders(case)
    spool = b"".join(each for each in first.peeled(case, first.vault_key(case)))
    assert b"restricted:r" in spool
    assert first.NAME.encode() not in spool


def test_a_restricted_source_is_never_open_again(shut: Platform) -> None:
    folder, other = shut.root / "case", shut.root / "other"
    for each in (folder, other):
        each.mkdir()
    link = shut.root / "link"
    link.symlink_to(folder)
    shut("source", "add", "case", f"files://{folder}")
    assert "restricted" not in shut("source", "list", "--json").json["sources"][0]
    taken = shut("source", "add", "case", f"files://{other}", "--restricted", code=2)
    assert "there already" in taken.err
    closed = shut("source", "add", "case", f"files://{folder}", "--restricted")
    assert "is restricted from now on" in closed.out
    assert shut("source", "list", "--json").json["sources"][0]["restricted"] is True
    assert "there already" in shut("source", "add", "case", f"files://{folder}", "--restricted", code=2).err
    for name, url in (
        ("case", f"files://{folder}"),
        ("else", f"files://{folder}/"),
        ("else", f"mbox://{folder}"),
        ("else", f"files://{link}"),
    ):
        assert "stays so" in shut("source", "add", name, url, code=2).err
    shut("source", "remove", "case")
    for url in (f"files://{folder}", f"files://{other}"):
        assert "stays so" in shut("source", "add", "case", url, code=2).err
    shut("source", "add", "case", f"files://{other}", "--restricted")
    assert shut("source", "list", "--json").json["sources"][0]["restricted"] is True


def test_a_restricted_source_of_records_goes_in_too(shut: Platform) -> None:
    first.holders(shut)
    rows, schema = shut.root / "rows", shut.root / "rows.toml"
    rows.mkdir()
    (rows / "a.jsonl").write_text('{"id": 1, "text": "telling words of a row"}\n')
    shut("source", "schema", f"records://{rows}", "--infer", "--to", schema)
    shut("source", "add", "rows", f"records://{rows}", "--schema", schema, "--restricted")
    add_order(shut, "rows", '[[clause]]\nid = "r"\nsources = ["rows"]\n')
    assert shut("preview", "rows", "--json").json["sources"]["rows"]["restricted"] == 1
    assert shut("preserve", "rows", "--json").json["sealed"] == 1
    assert not any(b"telling words" in each for each in first.peeled(shut, first.vault_key(shut)))
    assert shut("verify", "--json").json["valid"]


def test_a_source_that_closes_puts_in_what_was_sealed_openly(shut: Platform) -> None:
    first.holders(shut)
    settle(shut)
    add_order(shut, "open", OPEN_CLAUSE)
    shut("preserve", "open")
    assert first.NAME in natives(shut, "open")
    shut("source", "add", "docs", f"files://{shut.docs}", "--restricted")
    answer = shut("preserve", "open", "--json").json
    assert answer["new"] == 3
    assert "3 went into the compartment" in answer["sources"]["docs"]["notes"][0]
    assert shut("preserve", "open", "--json").json["unchanged"] == 3
    assert shut("verify", "--json").json["valid"]


# --- a list of hashes ------------------------------------------------------------------------------------


def test_listed_contents_go_in_and_the_others_stay_open(shut: Platform) -> None:
    listed(shut)
    said = [shut("preview", "hunt"), shut("preview", "hunt", "--json")]
    assert "may be restricted: 3 of 3, by content" in said[0].out
    seen = said[1].json["sources"]["docs"]
    assert (seen["may_be_restricted"], seen["restricted"], seen["sample"]) == (3, 0, [])
    said += [shut("preserve", "hunt", "--json"), shut("preserve", "hunt", "--json")]
    assert (said[2].json["new"], said[3].json["unchanged"]) == (3, 3)
    assert natives(shut, "hunt") == ["a.txt", "sub/b.txt", SHUT]
    (shut.docs / first.NAME).unlink()
    said += [shut("preserve", "hunt"), shut("verify", "--json"), shut("order", "show", "hunt", "--json")]
    said += [shut("produce", "hunt", "--source", "docs", "--to", shut.root / "a.scelle")]
    assert said[-3].json["valid"]
    assert "restricted_hashes" in json.dumps(said[-2].json)
    shut("rebuild-catalog")
    said += [shut("preserve", "hunt", "--json"), shut("report", "processing", "hunt", "--json")]
    search(shut, said, but=(shut.root / "hashes.txt").read_bytes())


def test_the_list_is_the_sealed_one_whatever_became_of_the_file(shut: Platform) -> None:
    listed(shut)
    (shut.root / "hashes.txt").unlink()
    shut("preserve", "hunt")
    assert first.NAME not in natives(shut, "hunt")


def test_without_a_compartment_a_list_is_refused_before_anything_is_read(shut: Platform) -> None:
    hashes(shut, OTHER)
    add_order(shut, "hunt", LISTING)
    assert "docs: there is restricted material" in shut("preview", "hunt").err
    assert "nothing was read" in shut("preserve", "hunt", code=2).err


def test_a_longer_list_takes_what_was_sealed_openly_and_a_shorter_one_lets_nothing_out(
    shut: Platform,
) -> None:
    first.holders(shut)
    hashes(shut, OTHER)
    add_order(shut, "hunt", LISTING)
    shut("preserve", "hunt")
    assert first.NAME in natives(shut, "hunt")
    hashes(shut, OTHER, DIGEST)
    more = shut.root / "more.toml"
    more.write_text(LISTING.replace('"listed"', '"more"'))
    shut("order", "add-clause", "hunt", "--file", more)
    answer = shut("preserve", "hunt", "--json").json
    assert (answer["new"], answer["unchanged"]) == (1, 2)
    assert "1 went into the compartment" in answer["sources"]["docs"]["notes"][0]
    assert shut("preserve", "hunt", "--json").json["unchanged"] == 3
    hashes(shut, OTHER)
    for text in (LISTING.replace('"listed"', '"more"'), OPEN_CLAUSE.replace('"all"', '"more"')):
        more.write_text(text)
        wider = shut("order", "narrow", "hunt", "--file", more, code=2)
        assert "restricted_hashes: covers more than before" in wider.err
    assert shut("verify", "--json").json["valid"]


@pytest.mark.parametrize("size_bytes", [1 << 10, 9 << 20])
def test_large_contents_are_read_twice_and_small_ones_once(
    shut: Platform, size_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bound at 1 MiB, so that the large one need not be."""
    monkeypatch.setattr(listing, "IN_MEMORY_BYTES", 1 << 20)
    first.holders(shut)
    unit = b"a plain page that nobody looks for. "
    page, secret = ((each * (size_bytes // len(each) + 1))[:size_bytes] for each in (unit, first.SECRET))
    for name, data in (("page.txt", page), (first.NAME, secret)):
        (shut.docs / name).write_bytes(data)
        os.utime(shut.docs / name, (first.OLD, first.OLD))
    hashes(shut, hashlib.sha256(secret).hexdigest())
    add_order(shut, "hunt", LISTING)
    assert shut("preserve", "hunt", "--json").json["sealed"] == 4
    assert natives(shut, "hunt") == ["a.txt", "page.txt", "sub/b.txt", SHUT]
    plain = list(first.peeled(shut, first.vault_key(shut)))
    assert any(unit in each for each in plain)
    assert not any(first.SECRET[:64] in each for each in plain)


def test_what_cannot_be_read_under_a_list_is_not_named(
    shut: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether it is listed. An attribute larger than a record takes fails it, whoever runs this."""
    monkeypatch.setattr("scelle.capture.sealing.META_MAX_BYTES", 1)
    listed(shut)
    answer = shut("preserve", "hunt", "--json", code=1)
    assert answer.json["failed"] == 3
    assert first.NAME not in answer.out + answer.err
    for each in events(ledger_of(shut, "hunt")):
        assert first.NAME not in json.dumps(each.body)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["abc"], "line 3: 3 hex digits; a SHA-256 has 64"),
        ([OTHER, DIGEST + "  a.png"], "line 4: something behind the hash"),
        ([OTHER, "z" * 64], "line 4: no SHA-256 in hex"),
        (["# nothing else"], "lists no hash"),
    ],
)
def test_a_bad_list_is_refused_with_its_line_and_not_repeated(
    shut: Platform, lines: list[str], words: str
) -> None:
    hashes(shut, *lines)
    shut.clauses = [LISTING]
    answer = shut("order", "add", shut.order_file("hunt.toml", id='"hunt"'), code=2)
    assert words in answer.err
    assert 'clause "' in answer.err or "clause 'listed'" in answer.err
    assert '"hashes.txt"' in answer.err
    assert answer.err.count("\n") == 1
    assert DIGEST not in answer.err


def test_a_list_is_for_documents_and_never_beside_restricted(shut: Platform) -> None:
    hashes(shut, OTHER)
    rows = shut.root / "rows"
    rows.mkdir()
    (rows / "a.jsonl").write_text('{"id": "1", "text": "a boat"}\n')
    shut("source", "add", "rows", f"records://{rows}")
    for clause, words in (
        (LISTING.replace('"docs"', '"rows"'), "a source of records"),
        (LISTING + "restricted = true\n", "beside `restricted = true`"),
        (LISTING.replace("hashes.txt", "none.txt"), "cannot be read"),
    ):
        shut.clauses = [clause]
        assert words in shut("order", "add", shut.order_file("hunt.toml", id='"hunt"'), code=2).err
    listed(shut)
    more = shut.root / "more.toml"
    more.write_text(LISTING.replace('"docs"', '"rows"').replace('"listed"', '"more"'))
    assert "a source of records" in shut("order", "add-clause", "hunt", "--file", more, code=2).err
    more.write_text(LISTING.replace('"listed"', '"more"'))
    assert "takes nothing in" in shut("order", "carve-out", "hunt", "--file", more, code=2).err


# --- by hand ---------------------------------------------------------------------------------------------


def marked(platform: Platform, *orders: str) -> str:
    """The id of the picture, sealed openly under these orders."""
    first.holders(platform)
    for order in orders:
        add_order(platform, order, OPEN_CLAUSE)
        platform("preserve", order)
    found = platform("find", orders[0], f'native_id = "{first.NAME}"', "--json").json["items"]
    return str(found[0]["id"])


def test_every_reader_leaves_the_open_record_of_a_marked_item_out(shut: Platform) -> None:
    item = marked(shut, "open")
    before = shut("disclose", "open", item, "--to", shut.root / "before.proof")
    assert before.code == 0
    answer = shut("restricted", "mark", item)
    assert "is quarantined" in answer.out
    assert "its bytes stay in the vault" in answer.out
    assert "erase-records" in answer.out
    assert first.NAME not in natives(shut, "open")
    assert shut("find", "open", f'native_id = "{first.NAME}"', "--json").json["items"] == []
    refused = shut("disclose", "open", item, "--to", shut.root / "one.proof", code=2)
    assert "quarantined" in refused.err
    quarantine = shut("quarantine", "--list", "open", "--json").json["items"]
    assert [(each["item"], each["ground"], each["request"]) for each in quarantine] == [
        (item, "restricted", None)
    ]
    assert "by hand" in shut("quarantine", "--list", "open").out
    trust, package = shut.root / "trust.json", shut.root / "a.scelle"
    shut("order", "trust", "open", "--to", trust)
    report = shut("produce", "open", "--source", "docs", "--to", package, "--json").json
    assert (report["hits"], report["produced"]) == (4, 3)
    with ZipFile(package) as file:
        inside = b"".join(file.read(name) for name in file.namelist())
    for needle in first.pieces_of(first.SECRET, first.NAME)[3:]:
        assert needle not in inside
    code, verdict = first.verified(package, trust)
    assert code == 0, verdict
    custody = shut("report", "custody", "open", "--item", item, "--json")
    why = shut("why", item, "--json")
    assert why.json["held"]
    for answer in (custody, why, shut("why", why.json["ref"], "--json")):
        assert first.NAME not in answer.out
        assert DIGEST not in answer.out
    shut("preserve", "open")
    assert first.NAME not in natives(shut, "open")
    assert shut("verify", "--json").json["valid"]


def test_a_mark_holds_in_every_order_that_has_the_item(shut: Platform) -> None:
    item = marked(shut, "open", "more")
    done = shut("restricted", "mark", item, "--json").json
    assert sorted(each["order"] for each in done["marked"]) == ["more", "open"]
    for order in ("open", "more"):
        assert first.NAME not in natives(shut, order)
    again = shut("restricted", "mark", item, "--json").json
    assert again == done
    for order in ("open", "more"):
        assert natives(shut, order) == ["a.txt", "sub/b.txt", SHUT]


@pytest.mark.parametrize("fails", ["lock_record", "_is_quarantined", "record_event", "_say"])
def test_a_mark_that_a_crash_cut_short_is_mended_by_marking_again(
    shut: Platform, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = marked(shut, "open")
    real = getattr(marking, fails)

    def crash(*arguments: object, **named: object) -> object:
        if fails != "_say":
            real(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(marking, fails, crash)
        shut("restricted", "mark", item, code=130)
    done = shut("restricted", "mark", item, "--json").json
    assert done == shut("restricted", "mark", item, "--json").json
    assert natives(shut, "open") == ["a.txt", "sub/b.txt", SHUT]
    said = [event.body for event in events(ledger_of(shut, RESERVED_ORDER_ID), "restricted.marked")]
    assert [each["item"] for each in said] == [item]
    assert shut("verify", "--json").json["valid"]


def test_two_people_may_let_a_marked_record_out_and_one_marks_it_again(
    shut: Platform, clock: first.Clock
) -> None:
    item = marked(shut, "open")
    done = shut("restricted", "mark", item, "--json").json
    request = shut("quarantine", item, "--lift", "--json").json["request"]
    clock.move(25 * first.HOUR_S)
    shut("request", "approve", request)
    assert first.NAME in natives(shut, "open")
    assert shut("restricted", "mark", item, "--json").json == done
    assert first.NAME not in natives(shut, "open")


def test_passes_after_marks_are_passes_of_their_own(shut: Platform) -> None:
    """A record made by hand is of no pass that the next one would go on with."""
    item = marked(shut, "open")
    shut("restricted", "mark", item)
    shut("preserve", "open")
    other = shut("find", "open", 'native_id = "a.txt"', "--json").json["items"][0]["id"]
    shut("restricted", "mark", other)
    shut("preserve", "open")
    passes = [str(event.body["pass"]) for event in events(ledger_of(shut, "open"), "pass")]
    assert len(set(passes)) == 3
    assert f"{0:016x}" not in passes


def test_marking_takes_somebody_who_may(shut: Platform) -> None:
    item = marked(shut, "open")
    for name, role in (("carla", "counsel"), ("cleo", "counsel"), ("erik", "engineer")):
        shut("operator", "add", name, "--role", role)
    assert "may not" in shut("--as", "erik", "restricted", "mark", item, code=2).err
    shut("--as", "carla", "restricted", "mark", item)
    assert shut("--as", "carla", "find", "open", f'native_id = "{first.NAME}"', "--json").json["items"] == []
