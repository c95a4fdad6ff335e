"""List what passes said of single items: which failed, were lost or wait, and why."""

from typing import TYPE_CHECKING, Any

from scelle.cli.output import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def items_command(order: str, bucket: str) -> str:
    """Return the command that lists every item of a bucket, as people type it."""
    return f"scelle status {order} --items {bucket}"


def item_lines(order: str, bucket: str, items: "Iterable[Mapping[str, Any]]") -> list[str]:
    """Return listed items for people, one a line below the time of their pass."""
    lines, last = list[str](), (None, None)
    for item in items:
        if (item["pass"], item["pass_us"]) != last:
            last = item["pass"], item["pass_us"]
            at = utc(int(item["pass_us"]))
            lines.append(f"watch, at {at}:" if item["pass"] is None else f"pass of {at}:")
        lines.append(f"  {bucket}: {item['source']}: {problem_text(item)}")
    return lines or [f"order {order}: no item is sealed as {bucket}"]


def problem_text(item: "Mapping[str, Any]") -> str:
    """Return an item, its cause and detail in one line; a detail that names the item's file names it once."""
    native, cause, detail = item["native"], item["cause"], item["detail"]
    return f"{native}: {cause} {detail.removeprefix(f'file {native}: ')}".rstrip()
