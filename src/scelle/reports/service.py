"""Name the reports that there are, and make one of them."""

from collections.abc import Callable, Mapping
from typing import Final

from scelle.errors import InputError
from scelle.formats.tokens import shown
from scelle.reports import acknowledgement, custody, disposal, dpia, erasures, gaps, order_status, processing
from scelle.reports.case import Case
from scelle.reports.model import Report

REPORTS: Final[Mapping[str, Callable[[Case], Report]]] = {
    acknowledgement.NAME: acknowledgement.acknowledgement,
    order_status.NAME: order_status.order_status,
    gaps.NAME: gaps.gaps,
    erasures.NAME: erasures.erasures,
    custody.NAME: custody.custody,
    disposal.NAME: disposal.disposal,
    processing.NAME: processing.processing,
    dpia.NAME: dpia.dpia,
}


def check_report(name: str) -> str:
    """Return the name of a report; raise InputError for one that there is not."""
    if name not in REPORTS:
        raise InputError(f"no report is called {shown(name)}: known are {', '.join(REPORTS)}")
    return name


def make_report(name: str, case: Case) -> Report:
    """Make the report of that name; raise InputError where the order has nothing to report under it yet."""
    return REPORTS[check_report(name)](case)
