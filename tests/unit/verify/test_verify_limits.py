"""Every limit at its exact boundary: the last that is allowed, the first that is not, and the code that says so."""

import calendar
import datetime
import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.verify.builder import (
    HOUR,
    LOG1,
    LOG6,
    ORDER,
    T0,
    UNDATED,
    WITNESS,
    Draft,
    Log,
    b64,
    canonical,
    chat,
    leaf_hash,
    query_of,
    sha,
    value,
    world,
    zip_of,
)
from tests.unit.verify.harness import judge, run
from tests.unit.verify.test_verify_command import judge_promise, opening, promise

from scelle.verify import scelle_verify as v


def fault_of(call: Callable[[], object]) -> tuple[str, str]:
    """Return code and detail of the Fault that a call must raise."""
    with pytest.raises(v.Fault) as fault:
        call()
    return fault.value.code, fault.value.detail


# -- forms ------------------------------------------------------------------------------------------------


def test_base64_of_another_kind_has_one_code() -> None:
    for text in (5, None, b"AA==", ["AA=="]):
        assert fault_of(lambda t=text: v.parse_base64(t, None, "it")) == (  # type: ignore[misc]
            "format.base64",
            "it: base64 expected",
        )
    for spelling in ("AB==", "AA", " AA==", "AA==\n", "A"):
        assert fault_of(lambda t=spelling: v.parse_base64(t, 1, "it"))[0] == "format.base64"  # type: ignore[misc]


def test_a_fault_is_its_code_and_what_was_wrong() -> None:
    fault = v.Fault("a.code", "what")
    assert fault.args == (fault.code, fault.detail) == ("a.code", "what")


def test_json_that_says_two_things_has_its_own_code() -> None:
    assert fault_of(lambda: v.parse_json(b'{"a":1,"a":1}')) == ("json.duplicate", "duplicate key")
    assert fault_of(lambda: v.parse_json(b'{"b":1,"a":1}'))[0] == "json.canonical"
    for text in (b"1.0", b"1e2", b"NaN", b"-Infinity"):
        assert fault_of(lambda t=text: v.parse_json(t))[0] == "json.number"  # type: ignore[misc]


def test_numbers_in_a_structure_are_exact() -> None:
    for text in (b"12345678901234567890", b"[1.50]", b"-0", b"NaN", b"[Infinity]"):
        assert fault_of(lambda t=text: v.need_canonical_structure(t))[0] == "value.canonical"  # type: ignore[misc]


# -- entries ----------------------------------------------------------------------------------------------


def count_entry(size: int) -> bytes:
    """Return an entry of kind count that has exactly this many bytes."""
    text = f"scelle/count/v1\norder {ORDER}\nsource s0002\ninterval 1 1\noffered 0\nsealed 0\nfailed 0\nexcluded 0\n"
    text += "lost 0\nsystem "
    return (text + "x" * (size - len(text) - 1) + "\n").encode()


def test_an_entry_has_65535_bytes_at_most() -> None:
    entry = v.parse_entry(7, count_entry(65_535))
    assert (entry.at, entry.kind, entry.leaf) == (7, "scelle/count/v1", leaf_hash(count_entry(65_535)))
    assert entry.unsigned == count_entry(65_535)
    assert fault_of(lambda: v.parse_entry(7, count_entry(65_536))) == (
        "entry.format",
        "longer than 65,535 bytes",
    )


def test_what_an_authority_signs_is_the_entry_without_its_last_line() -> None:
    log = world(more=lambda log: log.release("release"))
    entry = v.parse_entry(12, log.entries[12])
    assert entry.unsigned + log.entries[12].split(b"\n")[-2] + b"\n" == log.entries[12]
    assert entry.unsigned.endswith(b"=\n")


def test_hashes_and_signatures_of_an_entry_have_their_width() -> None:
    for kind, size in (("b64", 32), ("b64?", 32), ("sig", 68), ("sig?", 68)):
        assert v.parse_token(kind, b64(bytes(size)), "it") == bytes(size)
        for other in (size - 1, size + 1):
            text = b64(bytes(other))
            assert fault_of(lambda k=kind, t=text: v.parse_token(k, t, "it"))[0] == "format.width"  # type: ignore[misc]
    assert v.parse_token("b64?", "-", "it") is None


def genesis(prev_log: str) -> bytes:
    return world().entries[0].replace(b"prev-log -", b"prev-log " + prev_log.encode())


def test_an_earlier_log_is_named_by_origin_size_and_root() -> None:
    root = b64(bytes(32))
    assert v.parse_entry(0, genesis("-")).fields["prev-log"] is None
    assert v.parse_entry(0, genesis(f"x/po/y 5 {root}")).fields["prev-log"] == f"x/po/y 5 {root}"
    for text, code in (
        (f"x/po/y 5 {b64(bytes(31))}", "format.width"),
        (f"x/po/y 05 {root}", "format.number"),
        (f"x/po/y 5 {root} more", "entry.token"),
        ("x/po/y 5", "entry.token"),
        ("x/po/y", "entry.token"),
    ):
        assert fault_of(lambda t=text: v.parse_entry(0, genesis(t)))[0] == code  # type: ignore[misc]


def manifest(time: str) -> v.Segment:
    log = world({"chat0": lambda text: text.replace(text.split("\n")[6], f"time {time}")})
    return v.Segment(v.parse_entry(3, log.entries[3]))


@pytest.mark.parametrize(
    ("time", "covered", "not_covered"),
    [
        ("5 9", [5, 7, 9], [4, 10]),
        ("5 5", [5], [4, 6]),
        ("-9223372036854775807 9223372036854775807", [v.MIN_TIME, 0, v.MAX_TIME], []),
        ("- -", [], [0, 5]),
        ("5 -", [], [4, 5, 6]),
        ("- 5", [], [4, 5, 6]),
    ],
)
def test_bounds_of_a_manifest_are_both_inclusive(
    time: str, covered: list[int], not_covered: list[int]
) -> None:
    segment = manifest(time)
    assert [t for t in covered + not_covered if segment.covers(t)] == covered


# -- schemas, values, records -----------------------------------------------------------------------------


def schema(dimensions: int, kinds: str) -> bytes:
    fields = [{"name": "time", "type": "t"}, {"name": "seq", "type": "i"}]
    fields += [{"name": f"f{i}", "type": kind} for i, kind in enumerate(kinds)]
    names = ["source", "account", *(f"d{i}" for i in range(dimensions - 2))]
    base = {"dimensions": names, "fields": fields, "format": "scelle/schema/v1", "name": "chat", "version": 1}
    return canonical(base)


def test_a_schema_has_2_to_32_dimensions_of_text_or_nothing() -> None:
    for count, kinds in ((2, "s"), (2, "n"), (3, "sn"), (3, "nn"), (32, "s" * 31)):
        read = v.parse_schema(schema(count, kinds + "x"))
        assert read.name == "chat"
        assert len(read.dimensions) == count
    for count, kinds in ((33, "s" * 32), (2, "x"), (3, "s")):
        assert fault_of(lambda c=count, k=kinds: v.parse_schema(schema(c, k)))[0] == "schema.format"  # type: ignore[misc]


def test_a_schema_has_65535_fields_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read whole in test_verify_tools.py; here the forms of single fields are left alone, which takes long."""
    fields = [{"name": name, "type": kind} for name, kind in (("time", "t"), ("seq", "i"), ("account", "s"))]
    value = v.parse_json(schema(2, "s"))
    monkeypatch.setattr(v, "parse_json", lambda _: value)
    monkeypatch.setattr(v, "need_keys", lambda *_: None)
    monkeypatch.setattr(v, "need_text", lambda text, *_: text)
    value["fields"] = fields + [{"name": f"{i}", "type": "x"} for i in range(65_532)]
    assert len(v.parse_schema(b"").fields) == 65_535
    value["fields"].append({"name": "more", "type": "x"})
    assert fault_of(lambda: v.parse_schema(b"")) == ("schema.format", "field names must differ")


def test_a_record_has_65535_fields_at_most() -> None:
    for count, said in (
        (65_535, "field: [salt, value] is expected"),
        (65_536, "v: a list of fields is expected"),
    ):
        line = {"p": 1, "v": [5] * count}
        assert fault_of(lambda n=line: v.open_record(n)) == ("json.shape", said)  # type: ignore[misc]


def test_a_record_may_have_more_than_32767_fields() -> None:
    """The number of fields, and the number of a field, is one of 16 bits without a sign."""
    leaf = bytes(32)
    opened = v.open_record({"p": 1, "v": [leaf.hex()] * 32_768})
    assert opened.rc == leaf_hash(b"R1\x80\0" + v.tree_root([leaf] * 32_768))
    assert v.field_salt(bytes(16), 65_535) == sha(b"S" + bytes(16) + b"\xff\xff")[:16]


@pytest.mark.parametrize("letter", ["X", "q", "S", "N", "\0", "\xff"])
def test_no_other_type_of_value_is_known(letter: str) -> None:
    data = letter.encode("latin-1") + struct.pack(">I", 0)
    code, said = fault_of(lambda: v.parse_value(data, 0))
    assert (code, said) == ("value.canonical", f"value not canonical: unknown type {letter!r}")


def test_values_in_another_form_have_one_code() -> None:
    for data, said in (
        (value("D", "1."), "a number as text has another form"),
        (b"h\0\0\0\x28" + bytes(32) + b"\x80" + bytes(7), "size of content below zero"),
        (value("h", (bytes(32), -1)), "size of content below zero"),
        (b"d\0\0\0\x08\x7f\xf8" + bytes(5) + b"\1", "NaN not canonical"),
        (value("b", 2), "a boolean is 00 or 01"),
        (value("s", b"\xff"), "text is not UTF-8"),
    ):
        assert fault_of(lambda d=data: v.parse_value(d, 0)) == (  # type: ignore[misc]
            "value.canonical",
            f"value not canonical: {said}",
        )
    assert v.parse_value(value("h", (bytes(32), 2**63 - 1)), 0)[1] == 45


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (value("n"), ""),
        (value("b", 0), "false"),
        (value("b", 1), "true"),
        (value("i", -(2**63)), "-9223372036854775808"),
        (value("i", -1), "-1"),
        (value("i", 2**63 - 1), "9223372036854775807"),
        (value("t", UNDATED), ""),
        (value("t", -1), "1969-12-31T23:59:59.999999Z"),
        (value("d", -0.0), "-0.0"),
        (value("D", "1E+5"), "1E+5"),
        (value("s", "\u20ac"), "\u20ac"),
        (value("j", "{}"), "{}"),
        (value("x", b"\xff"), "base64:/w=="),
        (value("h", (bytes(32), 2**56 + 1)), f"sha256:{'0' * 64} size:72057594037927937"),
    ],
)
def test_a_value_as_text(data: bytes, text: str) -> None:
    assert v.show_value(v.parse_value(data, 0)[0]) == text


@pytest.mark.parametrize("year", [1, 4, 100, 101, 400, 1600, 1900, 1970, 2000, 2001, 2024, 2100, 9999])
def test_each_day_of_a_year(year: int) -> None:
    first = datetime.date(year, 1, 1)
    for day in range(365 + calendar.isleap(year)):
        date = first + datetime.timedelta(day)
        time = (date.toordinal() - 719_163) * 86_400_000_000
        assert v.show_time(time) == f"{date.isoformat()}T00:00:00Z"


def test_each_minute_of_a_day() -> None:
    for minute in range(1440):
        clock = f"{minute // 60:02d}:{minute % 60:02d}"
        assert v.show_time(minute * 60_000_000) == f"1970-01-01T{clock}:00Z"
        assert v.show_time(minute * 60_000_000 + 59_999_999) == f"1970-01-01T{clock}:59.999999Z"


@pytest.mark.parametrize("text", ["X", "Xylophone", "XX", "XXXX", "x=1", " =1", "\n=1"])
def test_plain_cells_stay_as_they_are(text: str) -> None:
    assert v.csv_cell(text) == text


def test_behind_the_last_line_there_is_none() -> None:
    lines = v.Ahead(iter([(1, {"at": 5, "pos": 7})]))
    assert (lines.at(), lines.pos()) == (5, 7)
    assert lines.take() == (1, {"at": 5, "pos": 7})
    assert (lines.at(), lines.pos()) == (-1, -1)
    assert fault_of(lines.take) == ("verifier.exception", "no line is left")


# -- archives ---------------------------------------------------------------------------------------------


def package_of(data: bytes) -> v.Package:
    return v.Package(io.BytesIO(data), v.Findings())


def codes_of(data: bytes) -> list[str]:
    return [finding["code"] for finding in package_of(data).findings.listed]


def archive(members: list[tuple[bytes, int, int]], directory_tail: bytes = b"") -> bytes:
    """Return the canonical archive of members of zeros: (name, size, CRC-32 as claimed)."""
    out, directory = b"", b""
    for name, size, crc in members:
        directory += v.directory_entry(name, size, crc, len(out))
        out += v.local_header(name, size, crc) + bytes(size)
    directory += directory_tail
    return out + directory + v.end_records(len(members), len(directory), len(out))


def test_an_archive_has_members_and_a_directory_up_to_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive([(b"MANIFEST", 1, 0), (b"a", 1, 0), (b"b", 1, 0)])
    directory = 3 * 46 + len("MANIFESTab")
    monkeypatch.setattr(v, "MAX_MEMBERS", 3)
    monkeypatch.setattr(v, "MAX_DIRECTORY", directory)
    assert codes_of(data) == []
    monkeypatch.setattr(v, "MAX_MEMBERS", 2)
    with pytest.raises(v.Unreadable, match="more than 2 members"):
        package_of(data)
    monkeypatch.setattr(v, "MAX_DIRECTORY", directory - 1)
    with pytest.raises(v.Unreadable, match="does not lie in the file"):
        package_of(data)


def test_long_names_of_long_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 64-bit size of a member stands behind its name, however long that is."""
    monkeypatch.setattr(v, "U32", 300)
    members = [(b"MANIFEST", 0, 1), (b"items/T-0000001.bin", 301, 2), (b"items/T-0000002.bin", 300, 3)]
    data = archive(members)
    package = package_of(data)
    assert package.findings.listed == []
    assert [(m.name.encode(), m.size, m.crc) for m in package.members.values()] == members


def test_what_only_looks_like_a_zip64_record_is_none() -> None:
    """76 bytes before the end stands the CRC-32 of the last member, which may be any number."""
    name = b"n" * 46
    data = archive([(b"MANIFEST", 0, 0), (name, 0, 0x06064B50)])
    assert data[-98:-94] == b"PK\6\6"
    assert codes_of(data) == []


def test_a_zip64_record_at_the_very_start() -> None:
    record = struct.pack("<QHHIIQQQQ", 44, 0x0314, 45, 0, 0, 0, 0, 0, 0)
    data = b"PK\6\6" + record + b"PK\6\7" + struct.pack("<IQI", 0, 0, 1) + b"PK\5\6" + bytes(18)
    assert codes_of(data) == ["zip.end", "zip.gap"]


def test_sizes_of_an_archive_have_no_sign() -> None:
    """A package of 2 to 4 GiB has offsets whose highest bit is set."""
    for size, claimed in ((1 << 31, 0), (0xFFFFFFFE, 0)):
        with pytest.raises(v.Unreadable, match="does not lie in the file"):
            package_of(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0, 0, size, claimed, 0))
    record = struct.pack("<QHHIIQQQQ", 44, 0x0314, 45, 0, 0, 0, 0, 1 << 63, 0)
    with pytest.raises(v.Unreadable, match="does not lie in the file"):
        package_of(b"PK\6\6" + record + b"PK\6\7" + struct.pack("<IQI", 0, 0, 1) + b"PK\5\6" + bytes(18))
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0, 0, 0, 3 << 30, 0)
    place = io.BytesIO(end)
    package = v.Package.__new__(v.Package)
    package.file, package.length = place, len(end)
    assert package.find_directory() == (0, b"", 3 << 30)


def test_a_directory_that_is_no_directory_is_unreadable() -> None:
    for tail in (b"PK\1\2", b"PK\1\2" + bytes(41), b"PK\1\3" + bytes(60), b"x"):
        with pytest.raises(v.Unreadable, match="directory is damaged"):
            package_of(archive([(b"MANIFEST", 0, 0)], tail))


def test_a_member_that_reaches_into_the_directory() -> None:
    """A comment of the same length makes up for it: only where the directory begins gives it away."""
    data = archive([(b"MANIFEST", 0, 0), (b"a", 5, 0)])
    at = data.index(bytes(5) + b"PK\1\2")
    data = data[:at] + data[at + 5 : -6] + struct.pack("<IH", at, 5) + b"hello"
    assert codes_of(data) == ["zip.end", "zip.gap"]


def test_names_are_sorted_behind_the_manifest() -> None:
    for names, codes in (
        ([b"MANIFEST", b"A", b"B"], []),
        ([b"MANIFEST", b"B", b"A"], ["zip.order"]),
        ([b"MANIFEST", b"B", b"B"], ["zip.twin_name", "zip.order"]),
        ([b"A", b"MANIFEST"], ["zip.order"]),
    ):
        assert codes_of(zip_of([(name.decode(), b"") for name in names])) == codes


def test_a_comment_of_a_member_is_not_canonical_and_the_rest_is_still_read() -> None:
    data = bytearray(archive([(b"MANIFEST", 0, 0), (b"a", 0, 0), (b"b", 0, 0)]))
    at = bytes(data).index(b"PK\1\2", bytes(data).index(b"PK\1\2") + 1)
    data[at + 32 : at + 34] = struct.pack("<H", 5)
    data[at + 47 : at + 47] = b"hello"
    data[-10:-6] = struct.pack("<I", 5 + int.from_bytes(data[-10:-6], "little"))
    package = package_of(bytes(data))
    assert [(f["code"], f["subject"]) for f in package.findings.listed] == [("zip.directory", "a")]
    assert list(package.members) == ["MANIFEST", "a", "b"]


def test_members_behind_other_bytes_are_read_where_they_are() -> None:
    data = b"junk" + zip_of([("MANIFEST", b"head"), ("a", b"body")])
    package = package_of(data)
    assert [f["code"] for f in package.findings.listed] == ["zip.gap"]
    assert (package.read("MANIFEST", 9), package.read("a", 9)) == (b"head", b"body")


# -- bundles of 256 entries -------------------------------------------------------------------------------


def log_of(size: int, width: int = 0) -> Log:
    """Return a log of so many entries; all but genesis are counts, of `width` bytes if one is given."""
    log = Log()
    for number in range(1, size):
        log.add(f"count{number}", count_entry(width or 200).decode())
    return log


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 512, 513])
def test_bundles_hold_256_entries_and_the_last_the_rest(size: int, tmp_path: Path) -> None:
    draft = Draft(log_of(size), query_of())
    document = judge(draft, tmp_path).document
    assert document["findings"] == []
    assert document["size"] == size


@pytest.mark.parametrize("size", [256, 512])
def test_an_empty_bundle_does_not_exist(size: int, tmp_path: Path) -> None:
    draft = Draft(log_of(size), query_of())
    draft.members[f"entries/{size // 256:03d}.p/0"] = b""
    assert judge(draft, tmp_path).codes == {"member.unknown"}


def test_a_bundle_of_the_longest_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 entries of the greatest length make the longest bundle; it is not read beyond that."""
    longest = len(Log().entries[0])
    monkeypatch.setattr(v, "MAX_ENTRY", longest)
    draft = Draft(log_of(256, longest), query_of())
    assert judge(draft, tmp_path).codes == set()
    (name,) = [name for name in draft.all_members() if name.startswith("entries/")]
    draft.members[name] = draft.all_members()[name] + b"\0"
    assert "member.too_long" in judge(draft, tmp_path).codes


def test_nothing_is_believed_behind_a_bundle_that_is_missing_or_broken(tmp_path: Path) -> None:
    for broken in (False, True):
        draft = Draft(log_of(300), query_of())
        if broken:
            draft.members["entries/000"] = b"\0"
        else:
            draft.removed.add("entries/000")
        findings = judge(draft, tmp_path).document["findings"]
        found = [(f["code"], f["subject"]) for f in findings if f["subject"].startswith("entries/")]
        first = "entries.bundle" if broken else "entries.missing"
        assert found == [(first, "entries/000"), ("member.unknown", "entries/001.p/44")]


def test_a_held_state_whose_entries_are_missing(tmp_path: Path) -> None:
    log = log_of(5)
    draft = Draft(log, query_of())
    draft.removed.add("entries/000.p/5")
    draft.trust |= {"held": {"root": b64(log.root(3)), "size": 3}}
    held = [f for f in judge(draft, tmp_path).findings if f.startswith("held")]
    assert held == ["held.not_prefix | held checkpoint of the trust file | entries are missing"]


# -- the log ----------------------------------------------------------------------------------------------


def test_a_segment_of_the_greatest_number_of_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v, "MAX_RECORDS", 7)
    assert judge(Draft(world(), query_of()), tmp_path).codes == set()
    monkeypatch.setattr(v, "MAX_RECORDS", 6)
    assert "segment.seq" in judge(Draft(world(), query_of()), tmp_path).codes


def test_a_promise_of_the_greatest_number_of_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v, "MAX_RECORDS", 7)
    draft = Draft(world(), query_of())
    assert judge_promise(draft, tmp_path, promise(draft.log, 0, 7)).codes == set()
    assert judge_promise(draft, tmp_path, promise(draft.log, 0, 8)).codes == {"promise.format"}


def test_times_that_are_one_moment(tmp_path: Path) -> None:
    """A gap, a count and the bounds of a segment may begin and end at the same time."""
    hour = T0 // HOUR * HOUR
    log = world(
        {
            "gap": lambda text: text.replace(f"interval {T0} -", f"interval {T0} {T0}"),
            "count": lambda text: text.replace(f"interval {T0} {T0 + HOUR}", f"interval {T0} {T0}"),
        },
        records=[chat(0, hour, "account:1", "on the hour")],
    )
    document = judge(Draft(log, query_of()), tmp_path).document
    assert document["findings"] == []
    assert document["gaps"][0]["to"] == T0
    assert document["counts"][0]["interval"] == [T0, T0]


def test_entries_of_a_source_without_segments(tmp_path: Path) -> None:
    gap = f"scelle/gap/v1\norder {ORDER}\nsource s0099\ninterval 1 2\ncause lag\nlost-at-most -\ncloses -\n"
    end = f"scelle/end/v1\norder {ORDER}\nsource s0099\nafter -\n"
    for texts, codes in (([gap], set()), ([end], set()), ([gap, end], set()), ([end, gap], {"source.ended"})):
        log = world(extra={"count": texts})
        assert judge(Draft(log, query_of(value="s0099")), tmp_path).codes == codes
    late = world(extra={"count": [end.replace("after -", "after 0")]})
    assert judge(Draft(late, query_of()), tmp_path).codes == {"source.end"}


def test_a_source_is_open_two_hours_after_its_last_watermark(tmp_path: Path) -> None:
    log = world()  # the last watermark of s0001 ends at T0 + 6 h
    draft = Draft(log, query_of())
    draft.trust |= {"cosigners": [WITNESS.vkey]}
    for seconds, codes in ((8 * 3600, set()), (8 * 3600 + 1, {"source.open"})):
        draft.checkpoint = log.checkpoint(keys=[LOG1, LOG6, WITNESS], time=T0 // 10**6 + seconds)
        assert judge(draft, tmp_path).codes == codes


def test_a_source_is_open_before_the_end_of_the_question(tmp_path: Path) -> None:
    for until, codes in ((T0 + 6 * HOUR, set()), (T0 + 6 * HOUR + 1, {"source.open"})):
        assert judge(Draft(world(), query_of(until=until)), tmp_path).codes == codes
    ended = query_of(value="s0004/1", until=T0 + 100 * HOUR)
    assert judge(Draft(world(), ended), tmp_path).codes == set()


def test_a_question_that_ends_where_a_segment_begins(tmp_path: Path) -> None:
    """The window is from <= time < until: the segment's first hour is not asked for, its undated records are."""
    earliest = (T0 - 5 * HOUR) // HOUR * HOUR
    for until, kind in ((earliest, "undated_only"), (earliest + 1, "searched")):
        document = judge(Draft(world(), query_of(until=until)), tmp_path).document
        assert document["findings"] == []
        assert document["segments"][kind] == 1
    latest = (T0 + 6) // HOUR * HOUR + HOUR
    for start, left_out in ((latest, 0), (latest + 1, 1)):
        document = judge(Draft(world(), query_of(**{"from": start})), tmp_path).document
        assert document["findings"] == []
        assert document["segments"]["left_out"] == left_out


def test_a_source_without_a_name_is_no_family(tmp_path: Path) -> None:
    document = judge(Draft(world(), query_of(value="")), tmp_path).document
    assert document["findings"] == []
    assert document["segments"]["all"] == 0


# -- an opening -------------------------------------------------------------------------------------------


def test_an_opening_is_read_up_to_two_lines_of_the_greatest_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = world()
    data = opening(log)
    data += b" " * (len(data) % 2)  # blanks behind the last line are a fault, and that is read far enough
    (tmp_path / "record").write_bytes(data)
    (tmp_path / "trust.json").write_bytes(canonical(log.trust()) + b"\n")
    arguments = ["--opening", tmp_path / "record", "--trust", tmp_path / "trust.json"]
    monkeypatch.setattr(v, "MAX_LINE", len(data) // 2)
    assert run(arguments).exit_code in (0, 1)
    monkeypatch.setattr(v, "MAX_LINE", len(data) // 2 - 1)
    verdict = run(arguments)
    assert verdict.exit_code == 2
    assert verdict.error.endswith(f"longer than {len(data) - 2} bytes\n")


def test_a_path_of_an_opening_has_hashes_of_32_bytes(tmp_path: Path) -> None:
    log = world()
    (tmp_path / "record").write_bytes(opening(log, path=[bytes(31)] * 4))
    (tmp_path / "trust.json").write_bytes(canonical(log.trust()) + b"\n")
    verdict = run(["--opening", tmp_path / "record", "--trust", tmp_path / "trust.json"])
    assert verdict.codes == {"format.width"}
