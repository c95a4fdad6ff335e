"""A report made by hand, with every kind of value and with names that try to be more than names."""

from collections.abc import Sequence

from scelle.reports.model import (
    ABSENT,
    Blank,
    Checkpoint,
    Claim,
    Code,
    Day,
    End,
    Evidence,
    Fact,
    Instant,
    Lines,
    Number,
    Report,
    Row,
    Said,
    Section,
    Share,
    Size,
    Span,
    Term,
    Text,
    Value,
    table,
    term,
)

AT_US = 1_767_880_800_000_000  # 2026-01-08T14:00:00Z
END_US = 1_798_758_000_000_000  # 2026-12-31T23:00:00Z, the end of 31 December in Brussels
HOSTILE = (
    '#panic("no")',
    "$x^2$ *bold* _under_ `raw` [link] <label> @ref ~ -- ... // no comment",
    "\\n \\u{41} \\",
    "a\x00b\x07c\x1b[2J\r\nd\te",
    "\u202egpj.exe\u2066",
    "שלום 123 ـعربيـ",
    "中文 😀 \ue000 \ufdd0",
    '"))\n#read("/etc/hostname")',
    "{n} {of} {order}",
    "x" * 400,
    "f3a9" * 32,
)


def sample(texts: Sequence[str] = HOSTILE, *, is_draft: bool = False, rows: int = 3) -> Report:
    """Return a report that has every kind of value, and `texts` in every place where others write."""
    cells = [Row((Text(text), Code(text), Share(number, 9)), (1, 2)) for number, text in enumerate(texts)]
    more = [Row((Number(at), Text(f"line {at}"), Size(10**at % 10**15)), (2,)) for at in range(rows)]
    facts = (
        Fact("order", Code("ec-2026-0108"), (1,)),
        Fact("authority", Lines(tuple(map(Text, texts))), (1, 2)),
        Fact("received", Instant(AT_US)),
        Fact("keep-until", End(END_US)),
        Fact("issued", Day("2026-01-01")),
        Fact("addressee", ABSENT),
        Fact("dpo", Blank("dpo")),
        Fact("state", Term("state.in-force")),
        Fact("kind", term("cause", "some-new-code")),
        Fact("pass-time", Span(AT_US, None)),
    )
    said = Said("say.counts-add-up", {name: Number(1234567) for name in _COUNTED})
    return Report(
        name="order-status",
        order="ec-2026-0108",
        at_us=AT_US,
        zone="Europe/Brussels",
        is_draft=is_draft,
        facts=facts,
        notices=("solo", "seal"),
        sections=(
            Section("state", (Claim(said, (1,)), Claim(Said("say.no-pass-yet", _NONE), ()))),
            Section("counts", (table("counts", ("source", "pass", "sealed"), cells), *facts[:2])),
            Section("acts", (table("timeline", ("time", "event", "bytes"), more),)),
        ),
        evidence=(
            Evidence("received", "platform.example/po/ec-2026-0108", 1, "scelle.events", 0),
            Evidence("record", "platform.example/po/ec-2026-0108", 2, "s0001", 17, "ab" * 32),
        ),
        checkpoints=(Checkpoint("platform.example/po/ec-2026-0108", 3, "cd" * 32),),
    )


_COUNTED = ("sources", "of", "offered", "sealed", "failed", "excluded", "lost")
_NONE: dict[str, Value] = {"n": Share(1, 2), "sources": Lines((Code("s0002"), Code("s0003")))}
