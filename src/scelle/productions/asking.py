"""Make a request of what people ask for, in the order's zone and by the names that they know."""

from collections.abc import Iterable, Mapping

from scelle.errors import InputError
from scelle.ledger.events import events
from scelle.ledger.service import OrderLedger
from scelle.orders.days import moment_us
from scelle.orders.service import SealedOrder
from scelle.productions.model import ACCOUNT, SOURCE, Request, Strength
from scelle.sources.registry import check_identifier


def request_of(
    sealed: SealedOrder,
    kind: str,
    name: str,
    *,
    since: str | None,
    until: str | None,
    redact: Mapping[str, str],
    strength: Strength | None,
) -> Request:
    """Return the request for `name`; `kind` is source, custodian, account, or dimension (name: NAME=VALUE).

    Raises InputError, and `RequestWrong` where the parts do not go together.
    """
    if kind in ("account", "custodian") and name.startswith(f"{kind}:"):
        raise InputError(f"--{kind} {name}: give it without its kind: --{kind} {name.partition(':')[2]}")
    zone = sealed.order.tz()
    dimension, value = _asked(sealed, kind, name)
    return Request(
        dimension=dimension,
        value=value,
        from_us=None if since is None else moment_us(since, zone),
        until_us=None if until is None else moment_us(until, zone),
        redact=redact,
        strength=strength,
    )


def _asked(sealed: SealedOrder, kind: str, name: str) -> tuple[str, str]:
    """Return dimension and identifier of what was asked for."""
    if kind == "source":
        return SOURCE, sealed.alias_of(name)
    if kind != "dimension":
        return ACCOUNT, f"{kind}:{check_identifier(name, f'--{kind}')}"
    dimension, separator, value = name.partition("=")
    if not separator or not dimension:
        raise InputError(f"--dimension {name}: write NAME=VALUE, for instance model=imagine-2")
    if dimension == SOURCE:
        return dimension, sealed.aliases.get(value, value)
    return dimension, value


def next_number(ledgers: Iterable[OrderLedger], matter: str) -> int:
    """Return the first production number that the matter has not used, over the logs of all orders."""
    numbers = [1]
    for ledger in ledgers:
        for event in events(ledger, "production"):
            if event.body["matter"] == matter:
                numbers.append(int(event.body["next_number"]))
    return max(numbers)


def last_pass_failures(ledger: OrderLedger) -> list[str]:
    """Say which sources could not give all they offered in the last pass: an answer is of what is sealed alone."""
    last = None
    for event in events(ledger, "pass"):
        last = event
    sources = {} if last is None else last.body["sources"]
    return [
        f"{name}: of {counts['offered']} items that the last pass was offered, {counts['failed'] + counts['lost']} "
        f"were not sealed, and no answer has them: scelle status {ledger.order} --items failed (or lost)"
        for name, counts in sorted(sources.items())
        if counts["failed"] or counts["lost"]
    ]
