"""Promises of an order are for those who may know of it."""

from scelle.bootstrap import now_us
from scelle.ledger.promising import Batch, promise
from scelle.ledger.service import EVENTS_SOURCE

from .conftest import ORDER, Platform
from .test_operators import at, staff


def test_a_walled_order_has_no_promises_for_who_may_not_know_of_it(ordered: Platform) -> None:
    staff(ordered, alice="counsel", bob="counsel", erik="engineer")
    with at(ordered, now_us(), "alice") as session:
        ledger = session.order_writer(ORDER)
        promise(ledger, [Batch(b"1" * 16, EVENTS_SOURCE, 0, 1)], now_us())
    assert ordered("--as", "alice", "promise", "list", ORDER, "--json").json["promises"]
    ordered("--as", "alice", "order", "wall", ORDER, "--only", "alice", "--yes")
    ordered("--as", "alice", "promise", "check", ORDER)
    unknown = ordered("--as", "erik", "promise", "list", "no-such-order", code=2)
    for verb in ("check", "list"):
        refused = ordered("--as", "erik", "promise", verb, ORDER, code=2)
        assert refused.out == ""
        assert refused.err.replace(ORDER, "no-such-order") == unknown.err
