"""An answer that leaves out, adds, moves, misstates or disguises; proofs are rebuilt where possible."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.verify.builder import (
    CHAT,
    HOUR,
    PICTURE,
    T0,
    UNDATED,
    Draft,
    Log,
    Segment,
    b64,
    canonical,
    chat,
    query_of,
    sha,
    tag_of,
    value,
    world,
)
from tests.unit.verify.harness import judge

from scelle.verify import scelle_verify

ACCOUNT = {"dimension": "account", "value": "account:1"}
THIRD = {"dimension": "account", "value": "account:3"}  # has neighbours on both sides
PERIOD = ACCOUNT | {"from": T0 - 4 * HOUR, "until": T0}
WHOLE = {"strength": "A"}
REDACT = {"redact": {"text": "privacy"}}
Edit = Callable[[Draft], None]


def line_of(draft: Draft, label: str = "chat0", name: str = "dated") -> dict[str, Any]:
    at = draft.log.segments[label].at
    return next(line for line in draft.proofs if line["at"] == at and line.get("range") == name)


def record_of(draft: Draft, label: str = "chat0", number: int = 0) -> dict[str, Any]:
    at = draft.log.segments[label].at
    return [line for line in draft.records if line["at"] == at][number]


def reprove(
    draft: Draft, name: str, first: int, last: int, left: bool, right: bool, query: str = "account:1"
) -> None:
    """Replace a line by one over other positions, with its proof made again."""
    segment, line = draft.log.segments["chat0"], line_of(draft, name=name)
    dimension = draft.query["dimension"]
    tag = tag_of(dimension, "s0001" if dimension == "source" else query)
    line |= segment.line(name, first, last, tag, left, right)
    places = {first + i for i in range(last - first)}
    at = segment.at
    draft.records = [r for r in draft.records if r["at"] != at or r["pos"] in places or name == "undated"]


def in_line(key: str, change: Callable[[Any], Any], name: str = "dated") -> Edit:
    def edit(draft: Draft) -> None:
        line = line_of(draft, name=name)
        line[key] = change(line[key])

    return edit


def in_hit(index: int, change: Callable[[Any], Any], number: int = 0) -> Edit:
    def edit(draft: Draft) -> None:
        hit = line_of(draft)["hits"][number]
        hit[index] = change(hit[index])

    return edit


def in_record(key: str, change: Callable[[Any], Any], label: str = "chat0", number: int = 0) -> Edit:
    def edit(draft: Draft) -> None:
        line = record_of(draft, label, number)
        line[key] = change(line[key])

    return edit


def in_field(j: int, change: Callable[[Any], Any], number: int = 0) -> Edit:
    def edit(draft: Draft) -> None:
        fields = record_of(draft, number=number)["v"]
        fields[j] = change(fields[j])

    return edit


def flip(text: str) -> str:
    return ("1" if text[0] == "0" else "0") + text[1:]


# -- range proofs -----------------------------------------------------------------------------------------


def drop_line(draft: Draft) -> None:
    draft.proofs.remove(line_of(draft))


def drop_undated(draft: Draft) -> None:
    draft.proofs.remove(line_of(draft, name="undated"))


def drop_segment(draft: Draft) -> None:
    at = draft.log.segments["chat0"].at
    draft.proofs = [line for line in draft.proofs if line["at"] != at]
    draft.records = [line for line in draft.records if line["at"] != at]


def stop_early(draft: Draft) -> None:
    """The last hit is left out, and no right neighbour is shown."""
    line = line_of(draft)
    reprove(draft, "dated", line["lo"], line["lo"] + len(line["hits"]) - 1, False, False)


def start_late(draft: Draft) -> None:
    line = line_of(draft)
    reprove(draft, "dated", line["lo"] + 1, line["lo"] + len(line["hits"]), False, False)


def hit_as_right_neighbour(draft: Draft) -> None:
    line = line_of(draft)
    first = line["lo"] + (line["left"] is not None)
    reprove(draft, "dated", first, first + len(line["hits"]) - 1, line["left"] is not None, True)


def hit_as_left_neighbour(draft: Draft) -> None:
    line = line_of(draft)
    first = line["lo"] + (line["left"] is not None)
    last = first + len(line["hits"])
    reprove(draft, "dated", first + 1, last, True, line["right"] is not None)


def over_the_right_edge(draft: Draft) -> None:
    line = line_of(draft)
    reprove(draft, "dated", line["lo"], line["lo"] + len(line["hits"]), False, True)


def over_the_left_edge(draft: Draft) -> None:
    line = line_of(draft)
    first = line["lo"] + (line["left"] is not None)
    reprove(draft, "dated", first, first + len(line["hits"]), True, line["right"] is not None)


def nothing_shown(draft: Draft) -> None:
    line_of(draft).update(hits=[], left=None, right=None)


def twice(draft: Draft) -> None:
    draft.proofs.insert(1, line_of(draft))


def unsorted(draft: Draft) -> None:
    draft.proofs.reverse()


def unasked_segment(draft: Draft) -> None:
    segment = draft.log.segments["login0"]
    draft.proofs.append(segment.line("dated", 0, 5, tag_of("source", "s0002"), False, False))
    draft.proofs.sort(key=lambda line: int(line["at"]))


def unasked_undated(draft: Draft) -> None:
    segment = draft.log.segments["chat0"]
    draft.proofs.insert(1, segment.line("undated", 0, 1, tag_of("source", "s0001"), False, True))


def line_for_a_gap(draft: Draft) -> None:
    draft.proofs.append({"at": draft.log.labels["gap"], "whole": True})
    draft.proofs.sort(key=lambda line: int(line["at"]))


def split(gap: int = 0, left: bool = False, right: bool = False, swap: bool = False) -> Edit:
    """Answer by two lines, with something wrong between them."""

    def edit(draft: Draft) -> None:
        segment, line = draft.log.segments["chat0"], line_of(draft)
        tag = tag_of("source", "s0001")
        lines = [
            segment.line("dated", 0, 3, tag, False, right),
            segment.line("dated", 3 + gap, 7, tag, left, False),
        ]
        index = draft.proofs.index(line)
        draft.proofs[index : index + 1] = lines[::-1] if swap else lines

    return edit


def neighbour_prefix(side: str, length: int) -> Edit:
    """Show a neighbour by more or fewer tag bytes than it takes."""

    def edit(draft: Draft) -> None:
        segment, line = draft.log.segments["chat0"], line_of(draft)
        place = line["lo"] if side == "left" else line["lo"] + len(line["hits"]) + (line["left"] is not None)
        slot = segment.slots[place]
        below = {1: slot.u2, 2: slot.u3, 16: slot.inner}.get(length, slot.u3)
        line[side] = [slot.tag[:length].hex(), below.hex()]

    return edit


def neighbour_opened(side: str) -> Edit:
    """Open a neighbour of another tag, which gives away more than it may."""

    def edit(draft: Draft) -> None:
        segment, line = draft.log.segments["chat0"], line_of(draft)
        place = line["lo"] if side == "left" else line["lo"] + len(line["hits"]) + (line["left"] is not None)
        line[side] = [segment.slots[place].tag.hex(), segment.opened(place)]

    return edit


def same_tag_hidden(draft: Draft) -> None:
    segment, line = draft.log.segments["chat0"], line_of(draft)
    slot = segment.slots[line["lo"]]
    line["left"] = [slot.tag.hex(), slot.inner.hex()]


def neighbour_of(value: Any) -> Edit:
    return in_line("right", lambda _: value)


H32 = sha(b"x").hex()
RANGES: list[tuple[str, dict[str, Any], Edit, str]] = [
    ("a line missing", {}, drop_line, "range.missing"),
    ("the undated range missing", PERIOD, drop_undated, "range.missing"),
    ("the dated range missing", PERIOD, drop_line, "range.missing"),
    ("a segment left out with its records", {}, drop_segment, "range.missing"),
    ("stops early", {}, stop_early, "range.no_right"),
    ("starts late", {}, start_late, "range.no_left"),
    ("a hit as right neighbour", {}, hit_as_right_neighbour, "neighbour.inside"),
    ("a hit as left neighbour", {}, hit_as_left_neighbour, "neighbour.inside"),
    ("a hit as right neighbour of an account", ACCOUNT, hit_as_right_neighbour, "neighbour.inside"),
    ("a hit as left neighbour of an account", ACCOUNT, hit_as_left_neighbour, "neighbour.inside"),
    ("a hit as right neighbour in a period", PERIOD, hit_as_right_neighbour, "neighbour.inside"),
    ("over the right edge", {}, over_the_right_edge, "range.edge"),
    ("over the left edge", ACCOUNT, over_the_left_edge, "range.edge"),
    ("nothing shown", {}, nothing_shown, "range.empty"),
    ("a line twice", {}, twice, "lines.twice"),
    ("lines unsorted", {}, unsorted, "lines.order"),
    ("a segment that was not asked for", {}, unasked_segment, "range.not_asked"),
    ("a range that was not asked for", {}, unasked_undated, "range.not_asked"),
    ("a line for a gap entry", {}, line_for_a_gap, "range.not_asked"),
    (
        "whole where a range is asked",
        {},
        lambda d: d.proofs.__setitem__(0, {"at": d.proofs[0]["at"], "whole": True}),
        "range.not_asked",
    ),
    (
        "a range where whole is asked",
        WHOLE,
        lambda d: d.proofs.__setitem__(0, Draft(d.log, query_of()).proofs[0]),
        "range.not_asked",
    ),
    ("two lines with a gap", {}, split(gap=1), "range.line_gap"),
    ("two lines that overlap", {}, split(gap=-1), "range.line_gap"),
    ("a left neighbour in the second line", {}, split(left=True), "range.left_again"),
    ("a right neighbour in the first line", {}, split(right=True), "range.right_early"),
    ("two lines in the wrong order", {}, split(swap=True), "lines.order"),
    ("a proof with a hash too many", ACCOUNT, in_line("proof", lambda p: [*p, H32]), "range.root"),
    ("a proof with a hash too few", ACCOUNT, in_line("proof", lambda p: p[:-1]), "range.root"),
    ("a proof with a changed hash", ACCOUNT, in_line("proof", lambda p: [flip(p[0]), *p[1:]]), "range.root"),
    (
        "a proof with a hash of 31 bytes",
        ACCOUNT,
        in_line("proof", lambda p: [p[0][2:], *p[1:]]),
        "format.width",
    ),
    ("a proof with a number", ACCOUNT, in_line("proof", lambda p: [1, *p[1:]]), "format.hex"),
    ("another first position", THIRD, in_line("lo", lambda lo: lo - 1), "lines.no_hit"),
    ("a negative position", ACCOUNT, in_line("lo", lambda lo: -1), "format.number"),
    ("a position beyond the index", ACCOUNT, in_line("lo", lambda lo: 2**40), "range.edge"),
    ("another range name", {}, in_line("range", lambda r: "all"), "json.shape"),
    ("one tag byte where two differ", {}, neighbour_of(["66", H32]), "neighbour.source_tag"),
    ("no tag byte", THIRD, in_line("left", lambda b: ["", H32]), "neighbour.prefix"),
    ("three tag bytes", THIRD, in_line("left", lambda b: ["a1b2c3", H32]), "neighbour.prefix"),
    ("two tag bytes where one differs", THIRD, neighbour_prefix("left", 2), "neighbour.prefix"),
    ("sixteen tag bytes where one differs", THIRD, neighbour_prefix("left", 16), "neighbour.prefix"),
    ("a neighbour of another tag opened", THIRD, neighbour_opened("left"), "neighbour.opened"),
    ("a same-tag neighbour hidden", PERIOD, same_tag_hidden, "neighbour.same_tag"),
    (
        "a same-tag neighbour with a prefix",
        PERIOD,
        in_line("left", lambda b: [b[0][:4], b[1]]),
        "neighbour.prefix",
    ),
    ("a neighbour that is no pair", THIRD, in_line("left", lambda b: [*b, "x"]), "json.shape"),
    ("a neighbour that is a text", THIRD, in_line("left", lambda b: "x"), "json.shape"),
    ("a neighbour's hash of 31 bytes", THIRD, in_line("left", lambda b: [b[0], b[1][2:]]), "format.width"),
    ("a neighbour's hash changed", THIRD, in_line("left", lambda b: [b[0], flip(b[1])]), "range.root"),
    ("a left neighbour that sorts right", THIRD, in_line("left", lambda b: ["ff", b[1]]), "neighbour.order"),
    ("a tag in capitals", THIRD, in_line("left", lambda b: ["AF", b[1]]), "format.hex"),
    ("hits not a list", {}, in_line("hits", lambda h: {}), "json.shape"),
    ("a hit of four", {}, in_hit(0, lambda s: s), "none"),
    ("a salt of 24 bytes", {}, in_hit(0, lambda s: s + "00" * 8), "format.width"),
    ("a salt changed", {}, in_hit(0, flip), "range.root"),
    ("a time changed", {}, in_hit(1, lambda t: t + 1, 3), "range.root"),
    ("a time as text", {}, in_hit(1, str), "json.shape"),
    ("a time as true", {}, in_hit(1, lambda t: True), "json.shape"),
    ("a time below the range", {}, in_hit(1, lambda t: -(2**63) - 1), "json.number"),
    ("a sequence number changed", {}, in_hit(2, lambda s: s - 1, 5), "range.root"),
    ("a sequence number of another segment", {}, in_hit(2, lambda s: 8), "hit.seq"),
    ("an rc changed", {}, in_hit(3, flip), "hit.record_root"),
    ("an rc of 33 bytes", {}, in_hit(3, lambda r: r + "00"), "format.width"),
    ("a path changed", {}, in_hit(4, lambda p: [flip(p[0]), *p[1:]]), "hit.record_root"),
    ("a path too long", {}, in_hit(4, lambda p: [*p, H32]), "hit.record_root"),
    ("a path too short", {}, in_hit(4, lambda p: p[:-1]), "hit.record_root"),
    ("an empty path among full ones", {}, in_hit(4, lambda p: []), "hit.record_root"),
    ("a path that is a text", {}, in_hit(4, lambda p: "x"), "json.shape"),
    ("hits in another order", {}, in_line("hits", lambda h: [h[1], h[0], *h[2:]]), "range.order"),
    ("a hit twice", {}, in_line("hits", lambda h: [h[0], h[0], *h[2:]]), "range.order"),
    ("a hit shown as its leaf hash", {}, in_line("hits", lambda h: [H32, *h[1:]]), "tombstone.missing"),
    ("a hit that is a number", {}, in_line("hits", lambda h: [5, *h[1:]]), "json.shape"),
]
RANGES = [row for row in RANGES if row[3] != "none"]


@pytest.mark.parametrize(
    ("query", "edit", "code"), [row[1:] for row in RANGES], ids=[row[0] for row in RANGES]
)
def test_a_forged_range(query: dict[str, Any], edit: Edit, code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of(**query))
    edit(draft)
    verdict = judge(draft, tmp_path)
    assert verdict.exit_code == 1
    assert code in verdict.codes, verdict.findings


def near_tags() -> tuple[str, str, str]:
    """Return three accounts: the first two tags share their first byte, the third sorts apart."""
    tags = {f"account:{i}": tag_of("account", f"account:{i}") for i in range(4000)}
    for name, tag in tags.items():
        close = [other for other, t in tags.items() if other != name and t[0] == tag[0] and t[1] > tag[1]]
        if close:
            return name, close[0], next(other for other, t in tags.items() if t[0] != tag[0])
    raise AssertionError


@pytest.mark.parametrize(("length", "code"), [(1, "neighbour.prefix"), (2, None), (16, "neighbour.prefix")])
def test_a_neighbour_that_shares_a_byte_takes_two(length: int, code: str | None, tmp_path: Path) -> None:
    name, close, far = near_tags()
    records = [chat(0, T0, name, "a"), chat(1, T0, close, "b"), chat(2, T0, far, "c")]
    draft = Draft(world(records=records), query_of(dimension="account", value=name))
    line = line_of(draft)
    segment = draft.log.segments["chat0"]
    place = line["lo"] + len(line["hits"]) + (line["left"] is not None)
    slot = segment.slots[place]
    assert line["right"] == [slot.tag[:2].hex(), slot.u3.hex()]
    line["right"] = [slot.tag[:length].hex(), {1: slot.u2, 2: slot.u3, 16: slot.inner}[length].hex()]
    codes = judge(draft, tmp_path).codes
    assert codes == (
        set() if code is None else {"neighbour.prefix", "neighbour.order"} if length == 1 else {code}
    )


def test_a_record_taken_out_of_the_undated_range(tmp_path: Path) -> None:
    records = [
        chat(0, UNDATED, "account:1", "a"),
        chat(1, UNDATED, "account:1", "b"),
        chat(2, T0, "account:1", "c"),
    ]
    draft = Draft(world(records=records), query_of(until=T0 + HOUR))
    segment = draft.log.segments["chat0"]
    line_of(draft, name="undated").update(
        segment.line("undated", 0, 1, tag_of("source", "s0001"), False, True)
    )
    draft.records = [r for r in draft.records if (r["at"], r["pos"]) != (segment.at, 1)]
    assert "neighbour.inside" in judge(draft, tmp_path).codes


def test_a_hit_outside_the_window(tmp_path: Path) -> None:
    draft = Draft(world(), query_of(until=T0 - 3 * HOUR))
    segment, line = draft.log.segments["chat0"], line_of(draft)
    tag = tag_of("source", "s0001")
    line |= segment.line("dated", line["lo"] + 1, line["lo"] + len(line["hits"]) + 3, tag, True, True)
    assert "range.outside" in judge(draft, tmp_path).codes


def test_an_undated_hit_in_the_dated_range(tmp_path: Path) -> None:
    draft = Draft(world(), query_of(until=T0))
    segment, line = draft.log.segments["chat0"], line_of(draft)
    line |= segment.line(
        "dated", 0, line["lo"] + 1 + len(line["hits"]), tag_of("source", "s0001"), False, True
    )
    assert {"range.outside", "range.twice"} <= judge(draft, tmp_path).codes


def erased(log: Log) -> None:
    log.erase("erase", log.segments["chat0"], 3)


def open_the_erased(draft: Draft) -> None:
    segment, line = draft.log.segments["chat0"], line_of(draft)
    for i, hit in enumerate(line["hits"]):
        if isinstance(hit, str):
            line["hits"][i] = segment.opened(line["lo"] + (line["left"] is not None) + i)


def opaque_outside_blocks(draft: Draft) -> None:
    line = line_of(draft)
    line["hits"][0] = draft.log.segments["chat0"].leaves[line["lo"]].hex()


def record_for_the_erased(draft: Draft) -> None:
    segment, line = draft.log.segments["chat0"], line_of(draft)
    place = next(line["lo"] + i for i, hit in enumerate(line["hits"]) if isinstance(hit, str))
    draft.deliver("chat0", segment, segment.records[3], place, 1)
    draft.records.sort(key=lambda r: (r["at"], r["pos"]))


def withheld_for_the_erased(draft: Draft) -> None:
    segment, line = draft.log.segments["chat0"], line_of(draft)
    place = next(line["lo"] + i for i, hit in enumerate(line["hits"]) if isinstance(hit, str))
    draft.withheld.append({"at": segment.at, "code": "x", "field": None, "pos": place})


def erased_as_neighbour(draft: Draft) -> None:
    """A tombstoned entry at the edge is shown as the right neighbour instead of among the hits."""
    segment, line = draft.log.segments["chat0"], line_of(draft)
    first = line["lo"] + (line["left"] is not None)
    last = next(first + i for i, hit in enumerate(line["hits"]) if isinstance(hit, str))
    line |= segment.line("dated", first, last, tag_of("account", "account:1"), line["left"] is not None, True)


def whole_with_the_erased(draft: Draft) -> None:
    segment = draft.log.segments["chat0"]
    draft.deliver("chat0", segment, segment.records[3], 3, 1)
    draft.records.sort(key=lambda r: (r["at"], r["pos"]))


ERASED: list[tuple[str, dict[str, Any], Edit, str]] = [
    ("a tombstoned entry is opened", {}, open_the_erased, "tombstone.opened"),
    ("a record of a tombstoned entry", {}, record_for_the_erased, "tombstone.opened"),
    ("a withholding of a tombstoned entry", {}, withheld_for_the_erased, "withheld.erased"),
    ("another entry is opaque too", {}, opaque_outside_blocks, "tombstone.missing"),
    (
        "an erased entry as neighbour",
        ACCOUNT | {"until": T0 - 3 * HOUR},
        erased_as_neighbour,
        "tombstone.opened",
    ),
    ("a tombstoned record at strength A", WHOLE, whole_with_the_erased, "tombstone.opened"),
]


@pytest.mark.parametrize(
    ("query", "edit", "code"), [row[1:] for row in ERASED], ids=[row[0] for row in ERASED]
)
def test_a_forged_answer_about_the_erased(
    query: dict[str, Any], edit: Edit, code: str, tmp_path: Path
) -> None:
    draft = Draft(world(more=erased), query_of(**query))
    assert judge(draft, tmp_path).findings == []
    edit(draft)
    verdict = judge(draft, tmp_path)
    assert code in verdict.codes, verdict.findings


def falsely_erased(position: int, places_of: int) -> Callable[[Log], None]:
    """A tombstone of one record that names the index positions of another, and is then forgotten."""

    def more(log: Log) -> None:
        segment = log.segments["chat0"]
        log.erase("erase", segment, position, places=segment.places(places_of))
        segment.erased.clear()

    return more


@pytest.mark.parametrize(
    ("query", "position", "places_of"),
    [
        ({}, 3, 4),  # a hit at a tombstoned position, and one whose record is under a tombstone
        (THIRD, 3, 4),  # a hit at a tombstoned position
        (ACCOUNT, 3, 4),  # a hit whose record is under a tombstone
        (THIRD, 0, 1),  # the right neighbour of another tag at a tombstoned position
        (THIRD, 0, 6),  # the left one
    ],
    ids=str,
)
def test_an_erased_place_is_shown_in_no_way(
    query: dict[str, Any], position: int, places_of: int, tmp_path: Path
) -> None:
    draft = Draft(world(more=falsely_erased(position, places_of)), query_of(**query))
    assert judge(draft, tmp_path).codes == {"tombstone.opened"}


def test_an_entry_that_is_opened_in_one_range_and_opaque_in_the_other(tmp_path: Path) -> None:
    log = world(more=lambda log: log.erase("e", log.segments["chat0"], 0))
    draft = Draft(log, query_of(**ACCOUNT, until=T0))
    assert judge(draft, tmp_path).findings == []
    open_the_erased(draft)
    assert "range.twice" in judge(draft, tmp_path).codes


# -- records ----------------------------------------------------------------------------------------------


def drop_record(draft: Draft) -> None:
    draft.records.remove(record_of(draft))


def record_twice(draft: Draft) -> None:
    draft.records.insert(0, record_of(draft))


def unsorted_records(draft: Draft) -> None:
    draft.records.reverse()


def swap_records(draft: Draft) -> None:
    one, two = record_of(draft), record_of(draft, number=1)
    one["v"], two["v"] = two["v"], one["v"]


def withhold_too(draft: Draft) -> None:
    line = record_of(draft)
    draft.withheld.append({"at": line["at"], "code": "x", "field": None, "pos": line["pos"]})


def withhold_nothing(draft: Draft) -> None:
    draft.withheld.append({"at": record_of(draft)["at"], "code": "x", "field": None, "pos": 20})


def withhold_elsewhere(draft: Draft) -> None:
    draft.withheld.append({"at": 1, "code": "x", "field": None, "pos": 0})


def withhold_later(draft: Draft) -> None:
    draft.withheld.append({"at": 999, "code": "x", "field": None, "pos": 0})


def part_of_no_record(draft: Draft) -> None:
    line = record_of(draft)
    draft.records.remove(line)
    draft.withheld.append({"at": line["at"], "code": "x", "field": None, "pos": line["pos"]})
    draft.withheld.append({"at": line["at"], "code": "x", "field": "text", "pos": line["pos"]})


def part_that_is_open(draft: Draft) -> None:
    line = record_of(draft)
    draft.withheld.append({"at": line["at"], "code": "x", "field": "text", "pos": line["pos"]})


def part_unknown(draft: Draft) -> None:
    line = record_of(draft)
    draft.withheld.append({"at": line["at"], "code": "x", "field": "nonsense", "pos": line["pos"]})


def rc_in_a_range(draft: Draft) -> None:
    line = record_of(draft)
    draft.records.remove(line)
    draft.withheld.append({"at": line["at"], "code": "x", "field": None, "pos": line["pos"], "rc": H32})


def no_line_for_a_redaction(draft: Draft) -> None:
    draft.withheld = [w for w in draft.withheld if w["field"] != "text"]


def redact(j: int, with_line: bool = False) -> Edit:
    def edit(draft: Draft) -> None:
        segment, line = draft.log.segments["chat0"], record_of(draft)
        entry = segment.slots[line["pos"]].record if "rc" not in line else segment.records[line["pos"]]
        line["v"][j] = entry.field_leaf(j).hex()
        if with_line:
            name = segment.schema.fields[j][0]
            draft.withheld.append({"at": line["at"], "code": "x", "field": name, "pos": line["pos"]})

    return edit


def reopen(j: int) -> Edit:
    def edit(draft: Draft) -> None:
        segment, line = draft.log.segments["chat0"], record_of(draft)
        entry = segment.slots[line["pos"]].record
        line["v"][j] = [entry.field_salt(j).hex(), b64(entry.values[j])]
        name = segment.schema.fields[j][0]
        draft.withheld = [
            w for w in draft.withheld if (w["at"], w["pos"], w["field"]) != (line["at"], line["pos"], name)
        ]

    return edit


def code_of(field: str, code: str) -> Edit:
    def edit(draft: Draft) -> None:
        for line in draft.withheld:
            if line["field"] == field:
                line["code"] = code

    return edit


def withhold_content(draft: Draft) -> None:
    line = next(line for line in draft.records if line["item"])
    draft.withheld.append({"at": line["at"], "code": "x", "field": "picture", "pos": line["pos"]})


def drop_content(draft: Draft) -> None:
    for line in draft.records:
        line["item"] = {}
    draft.items.clear()


def other_field_item(draft: Draft) -> None:
    record_of(draft)["item"] = {"text": "items/T-0000001.bin"}


def missing_item(draft: Draft) -> None:
    draft.items.clear()


def changed_item(draft: Draft) -> None:
    draft.items = dict.fromkeys(draft.items, b"a small picturE")


def longer_item(draft: Draft) -> None:
    draft.items = dict.fromkeys(draft.items, PICTURE + b"!")


def extra_item(draft: Draft) -> None:
    draft.items["items/T-0000009.bin"] = b"surprise"


def path_out_of_items(draft: Draft) -> None:
    next(line for line in draft.records if line["item"])["item"]["picture"] = "README.txt"


def two_prefixes(draft: Draft) -> None:
    lines = [line for line in draft.records if line["item"]]
    lines[1]["item"]["picture"] = "items/U-0000002.bin"
    draft.items["items/U-0000002.bin"] = PICTURE


def falling_numbers(draft: Draft) -> None:
    lines = [line for line in draft.records if line["item"]]
    lines[0]["item"]["picture"] = "items/T-0000007.bin"
    draft.items["items/T-0000007.bin"] = PICTURE


def one_number_twice(draft: Draft) -> None:
    lines = [line for line in draft.records if line["item"]]
    lines[1]["item"]["picture"] = "items/T-0000001.png"
    draft.items["items/T-0000001.png"] = PICTURE


def in_value(j: int, data: bytes, number: int = 0) -> Edit:
    return in_field(j, lambda pair: [pair[0], b64(data)], number)


def drop_whole(draft: Draft) -> None:
    draft.proofs.pop(0)


def fields_fewer(draft: Draft) -> None:
    record_of(draft)["v"].pop()


def unknown_key(draft: Draft) -> None:
    record_of(draft)["why"] = 1


RECORDS: list[tuple[str, dict[str, Any], Edit, str]] = [
    ("a record missing", {}, drop_record, "hit.no_state"),
    ("a sum of hits that does not close", {}, drop_record, "sum.hits"),
    ("a sum of contents that does not close", {}, drop_content, "sum.contents"),
    ("a sum of fields that a record leaves open", {}, fields_fewer, "sum.fields"),
    ("a sum of fields with a closed key", {}, redact(0, True), "sum.fields"),
    ("a sum of fields at strength A", WHOLE, fields_fewer, "sum.fields"),
    ("a record twice", {}, record_twice, "lines.twice"),
    ("records unsorted", {}, unsorted_records, "lines.order"),
    ("two records exchanged", {}, swap_records, "record.rc"),
    ("a record of another position", {}, in_record("pos", lambda p: 19), "lines.no_hit"),
    ("a record of another entry", {}, in_record("at", lambda a: 2), "lines.no_hit"),
    ("a record beyond the log", {}, in_record("at", lambda a: 999, "chat2", 1), "lines.no_hit"),
    ("produced and withheld", {}, withhold_too, "hit.two_states"),
    ("withheld where nothing is", {}, withhold_nothing, "lines.no_hit"),
    ("withheld of an entry without proof", {}, withhold_elsewhere, "lines.no_hit"),
    ("withheld beyond the log", {}, withhold_later, "lines.no_hit"),
    ("a part of a withheld record", {}, part_of_no_record, "withheld.part"),
    ("a part that is open", {}, part_that_is_open, "withheld.part"),
    ("a part that does not exist", {}, part_unknown, "withheld.part"),
    ("rc where it does not belong", {}, rc_in_a_range, "json.keys"),
    ("another profile", {}, in_record("p", lambda p: 2), "format.number"),
    (
        "profile 0 of a record of profile 1",
        {},
        lambda d: record_of(d).update(p=0, k="0" * 32, v="AAA="),
        "record.profile",
    ),
    ("v of a wrong shape", {}, in_record("v", lambda v: "x"), "json.shape"),
    ("a field of a wrong shape", {}, in_field(2, lambda f: [*f, "x"]), "json.shape"),
    ("a field less", {}, fields_fewer, "record.fields"),
    ("an unknown key", {}, unknown_key, "json.keys"),
    ("a key missing", {}, lambda d: record_of(d).pop("item"), "json.keys"),
    ("k in profile 1", {}, in_record("item", lambda i: i), "none"),
    ("a text changed", {}, in_value(4, value("s", "other")), "record.rc"),
    ("a text handed over as bytes", {}, in_value(4, b"x" + value("s", "three")[1:]), "record.type"),
    ("a sequence number as text", {}, in_value(1, value("n")), "record.type"),
    ("a field salt changed", {}, in_field(4, lambda f: [flip(f[0]), f[1]]), "record.rc"),
    ("a field salt of 21 bytes", {}, in_field(4, lambda f: [f[0] + "00" * 5, f[1]]), "format.width"),
    ("a leaf of 31 bytes", {}, in_field(4, lambda f: "00" * 31), "format.width"),
    ("n with a payload", {}, in_value(5, b"n\0\0\0\1\0"), "value.canonical"),
    ("bytes after a value", {}, in_value(5, value("n") + b"\0"), "value.canonical"),
    ("a value cut short", {}, in_value(4, value("s", "three")[:-1]), "value.canonical"),
    ("a value without a head", {}, in_value(4, b"s\0"), "value.canonical"),
    ("an unknown type", {}, in_value(4, b"q\0\0\0\0"), "value.canonical"),
    ("a text that is not UTF-8", {}, in_value(4, value("s", b"\xff")), "value.canonical"),
    ("a value of 4 GiB", {}, in_value(4, b"s\xff\xff\xff\xff"), "value.too_long"),
    ("a time of seven bytes", {}, in_value(0, b"t\0\0\0\7" + bytes(7)), "value.canonical"),
    ("base64 with a line break", {}, in_field(4, lambda f: [f[0], f[1] + "\n"]), "format.base64"),
    ("base64 as a number", {}, in_field(4, lambda f: [f[0], 5]), "format.base64"),
    ("base64 beyond ASCII", {}, in_field(4, lambda f: [f[0], "é" + f[1]]), "format.base64"),
    ("time redacted", {}, redact(0, True), "record.key_redacted"),
    ("sequence number redacted", {}, redact(1, True), "record.key_redacted"),
    ("the queried account redacted", ACCOUNT, redact(2, True), "record.key_redacted"),
    ("another dimension redacted without a line", {}, redact(3), "record.key_redacted"),
    ("a text redacted without a line", {}, redact(4), "withheld.no_line"),
    ("raw open beside a redacted text", {}, redact(4, True), "record.raw_open"),
    ("not redacted as asked", REDACT, reopen(4), "record.not_redacted"),
    ("raw not redacted", REDACT, reopen(6), "record.raw_open"),
    ("a redaction without its line", REDACT, no_line_for_a_redaction, "withheld.no_line"),
    ("a redaction with another code", REDACT, code_of("text", "other"), "withheld.code"),
    ("raw with another code", REDACT, code_of("raw", "other"), "withheld.code"),
    ("a code in capitals", REDACT, code_of("text", "Privacy"), "json.shape"),
    ("a withheld line twice", REDACT, lambda d: d.withheld.append(d.withheld[0]), "lines.twice"),
    ("a content in two states", {}, withhold_content, "content.two_states"),
    ("a content in none", {}, drop_content, "content.missing"),
    ("an item of a text", {}, other_field_item, "item.field"),
    ("an item missing", {}, missing_item, "item.missing"),
    ("an item changed", {}, changed_item, "item.differs"),
    ("an item longer", {}, longer_item, "item.differs"),
    ("an item that no record names", {}, extra_item, "item.unnamed"),
    ("an item outside items/", {}, path_out_of_items, "json.shape"),
    ("two prefixes", {}, two_prefixes, "item.order"),
    ("numbers that fall", {}, falling_numbers, "item.order"),
    ("one number for two", {}, one_number_twice, "item.order"),
    ("a record missing at strength A", WHOLE, drop_record, "hit.no_state"),
    ("a record changed at strength A", WHOLE, in_value(4, value("s", "other")), "record.root"),
    ("two records exchanged at strength A", WHOLE, swap_records, "record.seq"),
    ("no whole line", WHOLE, drop_whole, "range.missing"),
    ("whole is false", WHOLE, lambda d: d.proofs[0].update(whole=False), "json.shape"),
    ("whole and more", WHOLE, lambda d: d.proofs[0].update(lo=0), "json.keys"),
    ("a record beyond at strength A", WHOLE, in_record("pos", lambda p: 9, number=6), "lines.no_hit"),
]
RECORDS = [row for row in RECORDS if row[3] != "none"]


@pytest.mark.parametrize(
    ("query", "edit", "code"), [row[1:] for row in RECORDS], ids=[row[0] for row in RECORDS]
)
def test_a_forged_record(query: dict[str, Any], edit: Edit, code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of(**query))
    edit(draft)
    verdict = judge(draft, tmp_path)
    assert verdict.exit_code == 1
    assert code in verdict.codes, verdict.findings


def test_a_withheld_record_at_strength_a_shows_its_rc(tmp_path: Path) -> None:
    for change, code in (({}, "json.keys"), ({"rc": H32}, "record.root"), ({"rc": "00"}, "format.width")):
        draft = Draft(world(), query_of(strength="A"), withhold={("chat0", 1): "privilege"})
        line = draft.withheld[0]
        del line["rc"]
        line |= change
        assert code in judge(draft, tmp_path).codes


def test_a_redacted_field_at_strength_a_may_repeat_the_rc(tmp_path: Path) -> None:
    for edit, codes in (
        (lambda line: None, set()),
        (lambda line: line.pop("rc"), set()),
        (lambda line: line.update(rc=H32), {"withheld.rc"}),
    ):
        draft = Draft(world(), query_of(strength="A", **REDACT))
        edit(draft.withheld[0])
        assert judge(draft, tmp_path).codes == codes


def test_rc_of_a_part_has_no_place_in_a_range(tmp_path: Path) -> None:
    draft = Draft(world(), query_of(**REDACT))
    draft.withheld[0]["rc"] = H32
    assert "withheld.rc" in judge(draft, tmp_path).codes


def test_profile_0_is_withheld_whole_where_a_field_is_to_be_redacted(tmp_path: Path) -> None:
    honest = Draft(world(), query_of(value="s0002"))
    honest.query = query_of(value="s0002", redact={"tries": "security"})
    assert "record.not_redacted" in judge(honest, tmp_path).codes


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda line: line.update(k=line["k"][:-2]), "format.width"),
        (lambda line: line.update(k=flip(line["k"])), "record.rc"),
        (lambda line: line.pop("k"), "json.keys"),
        (lambda line: line.update(v=""), "value.canonical"),
        (lambda line: line.update(v="AAA="), "record.rc"),
        (lambda line: line.update(v=b64(base64.b64decode(line["v"]) + b"\0")), "value.canonical"),
        (lambda line: line.update(v=5), "format.base64"),
    ],
)
def test_a_forged_record_of_profile_0(change: Callable[[Any], None], code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of(value="s0002"))
    change(draft.records[0])
    assert code in judge(draft, tmp_path).codes


def test_the_published_form_of_redactions_is_accepted_and_no_other_short_form(tmp_path: Path) -> None:
    """One line `raw` with the code asked for stands for raw and that field, as in honest/redact.scelle."""
    draft = Draft(world(), query_of(**REDACT))
    draft.withheld = [w | {"code": "privacy"} for w in draft.withheld if w["field"] == "raw"]
    assert judge(draft, tmp_path).findings == []
    draft.withheld = [w | {"code": "raw"} for w in draft.withheld]
    assert judge(draft, tmp_path).codes == {"withheld.no_line"}


def test_redactions_that_were_not_asked_for_are_counted(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    redact(4, True)(draft)
    segment, line = draft.log.segments["chat0"], record_of(draft)
    entry = segment.slots[line["pos"]].record
    line["v"][6] = entry.field_leaf(6).hex()
    draft.withheld.append({"at": line["at"], "code": "raw", "field": "raw", "pos": line["pos"]})
    document = judge(draft, tmp_path).document
    assert document["findings"] == []
    assert document["fields"]["redacted_not_asked"] == 1


# -- JSON -------------------------------------------------------------------------------------------------


def text_edit(member: str, old: bytes, new: bytes) -> Edit:
    def edit(draft: Draft) -> None:
        def change(data: bytes) -> bytes:
            assert old in data
            return data.replace(old, new, 1)

        draft.edit_lines[member] = change

    return edit


JSON_FORGERIES: list[tuple[str, Edit, str]] = [
    ("a blank", text_edit("proofs", b'{"at":', b'{"at": '), "json.canonical"),
    ("keys in another order", text_edit("records", b'"p":1,"pos":0', b'"pos":0,"p":1'), "json.canonical"),
    ("a duplicate key", text_edit("proofs", b'"lo":0', b'"lo":0,"lo":0'), "json.duplicate"),
    ("an exponent", text_edit("proofs", b'"lo":0', b'"lo":0e0'), "json.number"),
    ("a fraction", text_edit("proofs", b'"lo":0', b'"lo":0.0'), "json.number"),
    ("minus zero", text_edit("proofs", b'"lo":0', b'"lo":-0'), "json.number"),
    ("NaN", text_edit("proofs", b'"lo":0', b'"lo":NaN'), "json.number"),
    ("a leading zero", text_edit("proofs", b'"lo":0', b'"lo":007'), "json.syntax"),
    ("a million digits", text_edit("proofs", b'"lo":0', b'"lo":' + b"9" * 1_000_000), "json.number"),
    ("65 bits", text_edit("proofs", b'"lo":0', b'"lo":18446744073709551616'), "json.number"),
    ("an escape for a letter", text_edit("records", b'"item"', b'"\\u0069tem"'), "json.canonical"),
    ("a lone surrogate", text_edit("records", b'"item"', b'"\\ud800"'), "json.canonical"),
    ("not UTF-8", text_edit("records", b'"item"', b'"\xff"'), "json.syntax"),
    ("a byte order mark", text_edit("records", b'{"at"', b'\xef\xbb\xbf{"at"'), "json.syntax"),
    ("not JSON", text_edit("records", b'{"at"', b"{at"), "json.syntax"),
    ("an empty line", text_edit("records", b'{"at"', b'\n{"at"'), "json.syntax"),
    ("a list", text_edit("records", b'{"at"', b'[]\n{"at"'), "json.shape"),
    ("CR LF", text_edit("records", b"\n", b"\r\n"), "json.canonical"),
    (
        "a hundred thousand brackets",
        text_edit("records", b'{"at"', b"[" * 100_000 + b'\n{"at"'),
        "json.depth",
    ),
    ("at as text", text_edit("records", b'"at":3', b'"at":"3"'), "json.shape"),
    ("at negative", text_edit("records", b'"at":', b'"at":-'), "format.number"),
    ("item as a list", text_edit("records", b'"item":{}', b'"item":[]'), "json.shape"),
    ("no LF at the end", lambda d: d.edit_lines.update(records=lambda data: data[:-1]), "line.end"),
]


@pytest.mark.parametrize(
    ("edit", "code"), [row[1:] for row in JSON_FORGERIES], ids=[row[0] for row in JSON_FORGERIES]
)
def test_json_that_is_not_canonical(edit: Edit, code: str, tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    edit(draft)
    verdict = judge(draft, tmp_path)
    assert code in verdict.codes, verdict.findings


def test_a_line_over_64_mib_is_refused_without_being_parsed(tmp_path: Path) -> None:
    for tail in (b"\n", b""):
        draft = Draft(world(), query_of())
        draft.edit_lines["records"] = lambda data, tail=tail: b"[" * (65 << 20) + tail  # type: ignore[misc]
        assert "line.too_long" in judge(draft, tmp_path).codes


def test_a_line_over_the_limit_that_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Draft(world(), query_of())
    longest = max(len(line) for line in draft.lines("records", draft.records).split(b"\n"))
    monkeypatch.setattr(scelle_verify, "MAX_LINE", longest)
    codes = judge(draft, tmp_path).codes
    assert "records.jsonl" not in str(codes)
    monkeypatch.setattr(scelle_verify, "MAX_LINE", longest - 1)
    findings = judge(draft, tmp_path).document["findings"]
    assert ("line.too_long", "records.jsonl") in {(f["code"], f["subject"]) for f in findings}


def test_every_rule_of_a_range_is_tried_on_each_segment_of_an_account(tmp_path: Path) -> None:
    """Drop each hit of each line in turn, with the records; no way of closing the range again is accepted."""
    log = world()
    for query in (ACCOUNT, PERIOD, {}):
        draft = Draft(log, query_of(**query))
        for number, line in enumerate(draft.proofs):
            for drop in range(len(line["hits"])):
                draft = Draft(log, query_of(**query))
                segment: Segment = next(s for s in log.segments.values() if s.at == line["at"])
                target = draft.proofs[number]
                first = target["lo"] + (target["left"] is not None)
                del target["hits"][drop]
                draft.records = [
                    r for r in draft.records if (r["at"], r["pos"]) != (segment.at, first + drop)
                ]
                assert judge(draft, tmp_path).exit_code == 1


def test_documents_have_their_own_json_rules(tmp_path: Path) -> None:
    draft = Draft(world(), query_of())
    policy = {key: val for key, val in draft.trust.items() if key not in ("tagkey", "held")}
    for name, data, code in (
        ("policy.json", canonical(policy), "json.canonical"),
        ("policy.json", canonical(policy | {"held": None}) + b"\n", "json.keys"),
        ("policy.json", canonical(policy | {"format": "x"}) + b"\n", "trust.format"),
        ("query.json", json.dumps(draft.query).encode() + b"\n", "query.differs"),
    ):
        draft.members = {"README.txt": b"", "scelle_verify.py": b"", name: data}
        assert code in judge(draft, tmp_path).codes


def test_schemas(tmp_path: Path) -> None:
    name = f"schemas/{CHAT.digest.hex()}.json"
    for edit, code in (
        (lambda d: d.removed.add(name), "schema.missing"),
        (lambda d: d.members.update({name: CHAT.data + b" "}), "schema.digest"),
        (lambda d: d.members.update({f"schemas/{'0' * 64}.json": b"{}"}), "schema.extra"),
        (lambda d: d.members.update({"schemas/x": b"{}"}), "schema.extra"),
        (lambda d: d.members.update({name[:-5] + ".html": CHAT.data}), "schema.extra"),
        (lambda d: d.members.update({name[:-5] + "-evil": b"{}"}), "schema.extra"),
        (lambda d: d.members.update({name: b"x" * 70_000}), "member.too_long"),
    ):
        draft = Draft(world(), query_of())
        edit(draft)  # type: ignore[no-untyped-call]
        assert code in judge(draft, tmp_path).codes
