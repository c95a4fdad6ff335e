"""Tell the order types apart: what each makes the platform do, by which clock, on whose law.

The rows restate a fact base of public sources; they are not legal advice. Each fact has a mark of certainty:
[V] read in the text of the law or an official page; [S] read in a secondary source; [M] from memory, to be
confirmed by counsel; [D] our own inference. ``mark`` is the mark of the row's clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from scelle.orders.calendars import (
    EU_1182_71,
    FR_CPP_801,
    NOT_SETTLED,
    UK_AFTER,
    UK_BEGINNING_WITH,
    CalendarRule,
    Period,
    Unit,
)


class OrderType(StrEnum):
    """The names of the order types, as order files and sealed events write them."""

    DSA_RETENTION = "dsa-retention"
    DSA_RFI_SIMPLE = "dsa-rfi-simple"
    DSA_RFI_DECISION = "dsa-rfi-decision"
    DSA_INTERIM = "dsa-interim"
    DSA_ART9 = "dsa-art9"
    DSA_ART10 = "dsa-art10"
    EPOC_PR = "epoc-pr"
    EPOC = "epoc"
    BUDAPEST_DOMESTIC = "budapest-domestic"
    BUDAPEST_MLA = "budapest-mla"
    US_2703F = "us-2703f"
    US_2258A_H = "us-2258a-h"
    US_CIVIL_HOLD = "us-civil-hold"
    FR_60_2 = "fr-60-2"
    FR_L34_1 = "fr-l34-1"
    FR_REQUISITION = "fr-requisition"
    UK_DPN = "uk-dpn"
    UK_S100 = "uk-s100"
    UK_CIN = "uk-cin"
    UK_CSEA_RETENTION = "uk-csea-retention"
    EU_TCO_ART6 = "eu-tco-art6"
    IE_2011_7A = "ie-2011-7a"
    GDPR_58_1 = "gdpr-58-1"
    AI_ACT_91 = "ai-act-91"
    INTERNAL = "internal"


class Kind(StrEnum):
    """Whether content must be kept, or only an answer is due."""

    HOLD = "hold"
    DEADLINE_ONLY = "deadline only"


class Bound(StrEnum):
    """What the law says of the length of a hold."""

    FIXED = "fixed by law"
    AT_MOST = "set in the order, at most"
    AT_LEAST = "at least"
    IN_ORDER = "set in the order"
    UNTIL_EVENT = "until an event"
    NONE = "no hold"


class Start(StrEnum):
    """Which day of an order starts the clock of its law."""

    ISSUE = "issue"
    RECEIPT = "receipt"
    EFFECTIVE = "effective"
    NOTICE = "notice"
    FILING = "filing"


class Temporal(StrEnum):
    """Whether an order reaches what is there, what is produced from now on, or both."""

    SNAPSHOT = "snapshot"
    PROSPECTIVE = "prospective"
    BOTH = "both"


class Notify(StrEnum):
    """Whether the persons concerned may be told."""

    FORBIDDEN = "forbidden"
    PERMITTED = "permitted"
    REQUIRED_LATER = "required-later"
    AUTHORITY_DECIDES = "authority-decides"


class ErasureBasis(StrEnum):
    """On which ground a request for erasure can be deferred while the order is in force."""

    UNION_LAW = "17(3)(b)"
    UK_LAW = "17(3)(b) UK GDPR"
    CLAIMS = "17(3)(e)"
    ASSESS = "assess"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StatutoryClock:
    """The clock of a type's law; several starts where the law leaves open which day starts it.

    ``answer``: a period in which something is due although the hold itself has no end.
    """

    bound: Bound
    period: Period | None = None
    starts: tuple[Start, ...] = ()
    answer: Period | None = None


@dataclass(frozen=True, slots=True)
class Prolongation:
    """How long an extension of a type's hold is, counted from its end; ``times``: how many the law knows, None: any.

    ``before_end``: it must come inside the first period. What differs is warned of and never refused.
    """

    period: Period
    times: int | None = None
    before_end: bool = False


@dataclass(frozen=True, slots=True)
class TypeRule:
    """One row of the table: what an order of this type means.

    ``open_on_production``: once a production, or a request for assistance, is announced its clock has no end.
    """

    title: str
    kind: Kind
    clock: StatutoryClock
    calendar: CalendarRule
    extension: str
    ends: str
    acknowledgement: str
    notify: Notify
    notify_source: str
    erasure: ErasureBasis
    reach: Temporal
    usual_zone: str | None
    source: str
    mark: str
    prolongation: Prolongation | None = None
    open_on_production: bool = False


_DAYS_60: Final = Period(60, Unit.DAYS)
_DAYS_90: Final = Period(90, Unit.DAYS)
_YEAR: Final = Period(1, Unit.YEARS)
_ORDER_MAY_SET_ONE: Final = "the order may set one [M]"


def _answer_due(
    title: str,
    source: str,
    mark: str,
    zone: str | None,
    *,
    acknowledgement: str = _ORDER_MAY_SET_ONE,
    notify: Notify = Notify.PERMITTED,
    notify_source: str = "no rule found [D]",
) -> TypeRule:
    """Return the row of a type that asks for an answer and holds nothing."""
    return TypeRule(
        title=title,
        kind=Kind.DEADLINE_ONLY,
        clock=StatutoryClock(Bound.NONE),
        calendar=NOT_SETTLED,
        extension="by the authority",
        ends="the answer",
        acknowledgement=acknowledgement,
        notify=notify,
        notify_source=notify_source,
        erasure=ErasureBasis.NONE,
        reach=Temporal.SNAPSHOT,
        usual_zone=zone,
        source=source,
        mark=mark,
    )


_BRUSSELS: Final = "Europe/Brussels"
_PARIS: Final = "Europe/Paris"
_LONDON: Final = "Europe/London"
_DSA: Final = "Regulation (EU) 2022/2065"
_ART_9_10_ACK: Final = "receipt and effect given, without undue delay [M]"
_ART_9_10_NOTIFY: Final = "recipient told when effect is given, unless the authority delays it [M]"

TYPES: Final[Mapping[OrderType, TypeRule]] = MappingProxyType(
    {
        OrderType.DSA_RETENTION: TypeRule(
            title="Retention order of the European Commission",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.IN_ORDER),
            calendar=EU_1182_71,
            extension="by a new decision, which may widen the subject [S]",
            ends="its date, or the earlier close of the investigation [S]",
            acknowledgement="none in the Regulation; the order may set one [M]",
            notify=Notify.PERMITTED,
            notify_source="no express rule [M]",
            erasure=ErasureBasis.UNION_LAW,
            reach=Temporal.BOTH,
            usual_zone=_BRUSSELS,
            source=f"{_DSA}, Article 72",
            mark="M",
        ),
        OrderType.DSA_RFI_SIMPLE: _answer_due(
            "Simple request for information", f"{_DSA}, Article 67", "M", _BRUSSELS
        ),
        OrderType.DSA_RFI_DECISION: _answer_due(
            "Request for information by decision", f"{_DSA}, Article 67", "M", _BRUSSELS
        ),
        OrderType.DSA_INTERIM: _answer_due("Interim measures", f"{_DSA}, Article 70", "M", _BRUSSELS),
        OrderType.DSA_ART9: _answer_due(
            "Order to act against illegal content",
            f"{_DSA}, Article 9",
            "M",
            None,
            acknowledgement=_ART_9_10_ACK,
            notify=Notify.REQUIRED_LATER,
            notify_source=_ART_9_10_NOTIFY,
        ),
        OrderType.DSA_ART10: _answer_due(
            "Order to provide information",
            f"{_DSA}, Article 10",
            "M",
            None,
            acknowledgement=_ART_9_10_ACK,
            notify=Notify.REQUIRED_LATER,
            notify_source=_ART_9_10_NOTIFY,
        ),
        OrderType.EPOC_PR: TypeRule(
            title="European Preservation Order",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.FIXED, _DAYS_60, (Start.RECEIPT,)),
            calendar=EU_1182_71,
            extension="once, +30 days, by the Annex VI form inside the first 60 [V]",
            ends="lapse; the authority no longer needs it; once Annex V confirms a production request it has "
            "no end: ask every month [V]",
            acknowledgement="none; the decentralised system gives automatic receipt [M]",
            notify=Notify.FORBIDDEN,
            notify_source="the addressee must not tell [M]",
            erasure=ErasureBasis.UNION_LAW,
            reach=Temporal.SNAPSHOT,
            usual_zone=None,
            source="Regulation (EU) 2023/1543, Article 11",
            mark="V",
            prolongation=Prolongation(Period(30, Unit.DAYS), times=1, before_end=True),
            open_on_production=True,
        ),
        OrderType.EPOC: TypeRule(
            title="European Production Order",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.UNTIL_EVENT, None, (Start.RECEIPT,), answer=Period(10, Unit.DAYS)),
            calendar=EU_1182_71,
            extension="none",
            ends="the production, or word from the authority [V]",
            acknowledgement="answer in 10 days; in emergencies 8 hours, written as `acknowledge_by` [S]",
            notify=Notify.FORBIDDEN,
            notify_source="the issuing authority informs, and may delay it [M]",
            erasure=ErasureBasis.UNION_LAW,
            reach=Temporal.SNAPSHOT,
            usual_zone=None,
            source="Regulation (EU) 2023/1543, Article 10 and Annex I",
            mark="S",
        ),
        OrderType.BUDAPEST_DOMESTIC: TypeRule(
            title="Expedited preservation under domestic law",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.AT_MOST, _DAYS_90, (Start.ISSUE, Start.RECEIPT)),
            calendar=NOT_SETTLED,
            extension="where domestic law allows renewal [V]",
            ends="lapse, or the order to disclose [V]",
            acknowledgement=_ORDER_MAY_SET_ONE,
            notify=Notify.AUTHORITY_DECIDES,
            notify_source="domestic law may bind to secrecy [V]",
            erasure=ErasureBasis.ASSESS,
            reach=Temporal.SNAPSHOT,
            usual_zone=None,
            source="Convention on Cybercrime (CETS 185), Article 16",
            mark="V",
            prolongation=Prolongation(_DAYS_90),
        ),
        OrderType.BUDAPEST_MLA: TypeRule(
            title="Preservation pending mutual assistance",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.AT_LEAST, _DAYS_60, (Start.ISSUE, Start.RECEIPT)),
            calendar=NOT_SETTLED,
            extension="goes on while the request for assistance is pending [M]",
            ends="the decision on the request for assistance [M]",
            acknowledgement=_ORDER_MAY_SET_ONE,
            notify=Notify.AUTHORITY_DECIDES,
            notify_source="domestic law may bind to secrecy [V]",
            erasure=ErasureBasis.ASSESS,
            reach=Temporal.SNAPSHOT,
            usual_zone=None,
            source="Convention on Cybercrime (CETS 185), Article 29",
            mark="S",
            open_on_production=True,
        ),
        OrderType.US_2703F: TypeRule(
            title="Preservation request to a provider",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.FIXED, _DAYS_90, (Start.ISSUE, Start.RECEIPT)),
            calendar=NOT_SETTLED,
            extension="+90 days on a renewed request [S]; further ones are sent in practice [M]",
            ends="lapse, or process served [S]",
            acknowledgement="no form [M]",
            notify=Notify.PERMITTED,
            notify_source="no statutory secrecy; an order under 2705(b) may forbid it [M]",
            erasure=ErasureBasis.ASSESS,
            reach=Temporal.SNAPSHOT,
            usual_zone=None,
            source="18 U.S.C. 2703(f)",
            mark="S",
            prolongation=Prolongation(_DAYS_90, times=1),
        ),
        OrderType.US_2258A_H: TypeRule(
            title="Preservation of a CyberTipline report",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.FIXED, _YEAR, (Start.FILING,)),
            calendar=NOT_SETTLED,
            extension="voluntary, for stated child-protection purposes [V]",
            ends="lapse; destruction on request of law enforcement, 2258B(c) [V]",
            acknowledgement="none",
            notify=Notify.AUTHORITY_DECIDES,
            notify_source="no rule found [D]",
            erasure=ErasureBasis.ASSESS,
            reach=Temporal.SNAPSHOT,
            usual_zone=None,
            source="18 U.S.C. 2258A(h)",
            mark="V",
        ),
        OrderType.US_CIVIL_HOLD: TypeRule(
            title="Civil litigation hold",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.UNTIL_EVENT),
            calendar=NOT_SETTLED,
            extension="none: it lasts as long as the matter [M]",
            ends="written release by counsel [M]",
            acknowledgement="by each custodian [M]",
            notify=Notify.PERMITTED,
            notify_source="custodians get a notice [M]",
            erasure=ErasureBasis.CLAIMS,
            reach=Temporal.BOTH,
            usual_zone=None,
            source="Federal Rules of Civil Procedure, Rule 37(e)",
            mark="M",
        ),
        OrderType.FR_60_2: TypeRule(
            title="Requisition to preserve content",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.AT_MOST, _YEAR, (Start.ISSUE, Start.RECEIPT)),
            calendar=FR_CPP_801,
            extension="new requisition [M]",
            ends="lapse [V]",
            acknowledgement="answer as soon as possible, by electronic means [V]",
            notify=Notify.FORBIDDEN,
            notify_source="the inquiry is secret, CPP 11 [M]",
            erasure=ErasureBasis.UNION_LAW,
            reach=Temporal.BOTH,
            usual_zone=_PARIS,
            source="Code de procédure pénale, Article 60-2, second paragraph (also 77-1-2, 99-4)",
            mark="V",
            prolongation=Prolongation(_YEAR),
        ),
        OrderType.FR_L34_1: TypeRule(
            title="Injonction de conservation rapide",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.IN_ORDER),
            calendar=FR_CPP_801,
            extension="by the authority [M]",
            ends="the term that the authority set; no statutory one found [M]",
            acknowledgement=_ORDER_MAY_SET_ONE,
            notify=Notify.FORBIDDEN,
            notify_source="the inquiry is secret, CPP 11 [M]",
            erasure=ErasureBasis.UNION_LAW,
            reach=Temporal.SNAPSHOT,
            usual_zone=_PARIS,
            source="Code des postes et des communications électroniques, Article L34-1, III bis",
            mark="M",
        ),
        OrderType.FR_REQUISITION: _answer_due(
            "Requisition to hand over information",
            "Code de procédure pénale, Articles 60-1 [M], 60-2, 77-1-1, 99-3",
            "V",
            _PARIS,
            acknowledgement="answer as soon as possible, by electronic means [V]",
            notify=Notify.FORBIDDEN,
            notify_source="the inquiry is secret, CPP 11 [M]",
        ),
        OrderType.UK_DPN: TypeRule(
            title="Data preservation notice of Ofcom",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.FIXED, _YEAR, (Start.NOTICE,)),
            calendar=UK_BEGINNING_WITH,
            extension="by Ofcom, 6 months at a time [M]",
            ends="lapse, or cancellation by notice [M]",
            acknowledgement="report the steps taken to Ofcom [M]",
            notify=Notify.AUTHORITY_DECIDES,
            notify_source="no rule found [D]",
            erasure=ErasureBasis.UK_LAW,
            reach=Temporal.BOTH,
            usual_zone=_LONDON,
            source="Online Safety Act 2023, sections 101(C1) and 102(5A)",
            mark="V",
            prolongation=Prolongation(Period(6, Unit.MONTHS)),
        ),
        OrderType.UK_S100: _answer_due(
            "Information notice of Ofcom",
            "Online Safety Act 2023, section 100",
            "V",
            _LONDON,
            notify=Notify.AUTHORITY_DECIDES,
        ),
        OrderType.UK_CIN: _answer_due(
            "Coroner information notice",
            "Online Safety Act 2023, section 101",
            "S",
            _LONDON,
            notify=Notify.AUTHORITY_DECIDES,
        ),
        OrderType.UK_CSEA_RETENTION: TypeRule(
            title="Retention after a report to the NCA",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.FIXED, _YEAR, (Start.FILING,)),
            calendar=UK_AFTER,
            extension="none",
            ends="lapse [S]",
            acknowledgement="none",
            notify=Notify.AUTHORITY_DECIDES,
            notify_source="no rule found [D]",
            erasure=ErasureBasis.UK_LAW,
            reach=Temporal.SNAPSHOT,
            usual_zone=_LONDON,
            source="Online Safety Act 2023, section 66, and SI 2026/268",
            mark="S",
        ),
        OrderType.EU_TCO_ART6: TypeRule(
            title="Preservation of removed terrorist content",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.FIXED, Period(6, Unit.MONTHS), (Start.EFFECTIVE,)),
            calendar=EU_1182_71,
            extension="longer where review proceedings or an authority ask for it [M]",
            ends="lapse [M]",
            acknowledgement="none",
            notify=Notify.AUTHORITY_DECIDES,
            notify_source="no rule found [D]",
            erasure=ErasureBasis.UNION_LAW,
            reach=Temporal.SNAPSHOT,
            usual_zone=None,
            source="Regulation (EU) 2021/784, Article 6",
            mark="M",
        ),
        OrderType.IE_2011_7A: TypeRule(
            title="Irish preservation order",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.FIXED, _DAYS_90, (Start.ISSUE, Start.RECEIPT)),
            calendar=NOT_SETTLED,
            extension="not known",
            ends="lapse [M]",
            acknowledgement=_ORDER_MAY_SET_ONE,
            notify=Notify.AUTHORITY_DECIDES,
            notify_source="no rule found [D]",
            erasure=ErasureBasis.UNION_LAW,
            reach=Temporal.SNAPSHOT,
            usual_zone="Europe/Dublin",
            source="Criminal Justice Act 2011, section 7A, as amended 2022",
            mark="M",
        ),
        OrderType.GDPR_58_1: _answer_due(
            "Order of a data protection authority to provide information",
            "Regulation (EU) 2016/679, Article 58(1)",
            "M",
            None,
        ),
        OrderType.AI_ACT_91: _answer_due(
            "Request for documentation on a general-purpose AI model",
            "Regulation (EU) 2024/1689, Article 91",
            "M",
            _BRUSSELS,
        ),
        OrderType.INTERNAL: TypeRule(
            title="The platform's own hold",
            kind=Kind.HOLD,
            clock=StatutoryClock(Bound.UNTIL_EVENT),
            calendar=NOT_SETTLED,
            extension="by the platform, with its ground [D]",
            ends="the platform's own decision [D]",
            acknowledgement="none",
            notify=Notify.PERMITTED,
            notify_source="own decision [D]",
            erasure=ErasureBasis.ASSESS,
            reach=Temporal.BOTH,
            usual_zone=None,
            source="the platform's own ground",
            mark="D",
        ),
    }
)


def types_table() -> str:
    """Return the table of types as Markdown, in two halves: clocks, then duties."""
    clocks = (
        (
            f"`{name}`",
            rule.title,
            rule.kind.value,
            _clock_text(rule),
            _starts(rule),
            _calendar(rule),
            rule.extension,
            rule.ends,
            "no end" if rule.open_on_production else "-",
            f"{rule.source} [{rule.mark}]",
        )
        for name, rule in TYPES.items()
    )
    duties = (
        (
            f"`{name}`",
            rule.acknowledgement,
            f"`{rule.notify}`: {rule.notify_source}",
            rule.erasure.value,
            f"`{rule.reach}`",
            rule.usual_zone or "-",
        )
        for name, rule in TYPES.items()
    )
    clock_heads = (
        "type",
        "what",
        "kind",
        "clock",
        "starts on",
        "counted",
        "extension",
        "ends with",
        "once *production announced*",
        "source",
    )
    duty_heads = (
        "type",
        "acknowledgement",
        "default of `notify`",
        "erasure refused by",
        "default of `temporal`",
        "usual zone",
    )
    return _markdown(clock_heads, clocks) + "\n" + _markdown(duty_heads, duties)


def _clock_text(rule: TypeRule) -> str:
    clock = rule.clock
    text = clock.bound.value if clock.period is None else f"{clock.bound.value}: {clock.period}"
    return text if clock.answer is None else f"{text}; answer in {clock.answer}"


def _starts(rule: TypeRule) -> str:
    return " or ".join(start.value for start in rule.clock.starts) or "-"


def _calendar(rule: TypeRule) -> str:
    """Return how the type counts, or nothing where it counts nothing."""
    if rule.clock.period is None and rule.clock.answer is None:
        return "-"
    ways, moved = rule.calendar.counts_first_day, rule.calendar.shifts_to
    first = "first day both ways" if len(ways) > 1 else f"first day {'' if ways[0] else 'not '}counted"
    shift = "" if moved is None else f", moved over holidays of: {moved.name}"
    return f"{first}{shift}; {rule.calendar.source}"


def _markdown(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
