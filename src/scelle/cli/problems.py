"""List what passes said of single items: which failed, were lost or wait, and why."""

from typing import TYPE_CHECKING, Any

from scelle.cli.output import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scelle.ledger.service import OrderLedger


def items_command(order: str, bucket: str) -> str:
    """Return the command that lists every item of a bucket, as people type it."""
    return f"scelle status {order} --items {bucket}"


def listed_items(ledger: "OrderLedger", names: "Mapping[str, str]", bucket: str) -> list[dict[str, Any]]:
    """Return each sealed item of a bucket with its source, cause, detail and pass, the newest pass first.

    A pass may have been interrupted and gone on: what its runs said is taken together, and said once.
    """
    from scelle.ledger.events import events  # start-up time of --help

    passes: dict[int, int] = {}
    said: dict[int, dict[tuple[str, str, str], dict[str, Any]]] = {}
    for event in events(ledger, "pass", f"items.{bucket}"):
        body = event.body
        if event.kind == "pass":
            passes[body["pass"]] = event.time_us
            continue
        source = names.get(body["source"], body["source"])
        found = said.setdefault(body["pass"], {})
        for item in body["items"]:
            found[source, item["native"], item["cause"]] = {"source": source, **item}
    newest_first = sorted(passes, key=lambda each: passes[each], reverse=True)
    return [
        {"pass": utc(passes[each]), **item} for each in newest_first for item in said.get(each, {}).values()
    ]


def item_lines(order: str, bucket: str, items: "Iterable[Mapping[str, Any]]") -> list[str]:
    """Return listed items for people, one a line below the time of their pass."""
    lines, last = list[str](), None
    for item in items:
        if item["pass"] != last:
            last = item["pass"]
            lines.append(f"pass of {last}:")
        lines.append(f"  {bucket}: {item['source']}: {problem_text(item)}")
    return lines or [f"order {order}: no item is sealed as {bucket}"]


def problem_text(item: "Mapping[str, Any]") -> str:
    """Return an item, its cause and detail in one line; a detail that names the item's file names it once."""
    native, cause, detail = item["native"], item["cause"], item["detail"]
    return f"{native}: {cause} {detail.removeprefix(f'file {native}: ')}".rstrip()
