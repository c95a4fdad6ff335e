"""Decide by what of a bound query the index is asked, and whether its answer is the query's (pure)."""

from collections.abc import Callable, Sequence

from scelle.find.binding import ALWAYS, All, Any, Cell, Negated, Undecided, Window
from scelle.find.cells import CellTest
from scelle.formats.entries import Segment
from scelle.formats.tokens import UNDATED
from scelle.formats.values import text_value

RowTest = Callable[[Sequence[bytes]], bool]


def window_of(node: Undecided) -> Window:
    """Return times [low, high) outside which no record passes; undated is the lowest of all."""
    match node:
        case Cell():
            return node.window
        case All():
            windows = [window_of(each) for each in node.nodes]
            return max(low for low, _ in windows), min(high for _, high in windows)
        case Any():
            windows = [window_of(each) for each in node.nodes]
            return min(low for low, _ in windows), max(high for _, high in windows)
        case Negated():
            return ALWAYS


def may_match(manifest: Segment, window: Window) -> bool:
    """Say whether a segment may have records in a window, by the bounds that its manifest states."""
    low, high = window
    if manifest.undated and low <= UNDATED < high:
        return True
    return manifest.time is not None and manifest.time[0] < high and manifest.time[1] >= low


def all_within(manifest: Segment, window: Window) -> bool:
    """Say whether all records of a segment are in a window, by the bounds that its manifest states."""
    low, high = window
    if manifest.undated and low > UNDATED:
        return False
    return manifest.time is None or (low <= manifest.time[0] and manifest.time[1] < high)


def index_cells(node: Undecided, count: Callable[[Cell], int]) -> tuple[Cell, ...] | None:
    """Choose cells such that every record that passes is an entry of one of them; None where the index has none.

    `count` says how many entries a cell has: of several choices the smallest is taken.
    """
    match node:
        case Cell():
            return None if node.identifiers is None else (node,)
        case Any():
            parts = [index_cells(each, count) for each in node.nodes]
            found = [part for part in parts if part is not None]
            return tuple(cell for part in found for cell in part) if len(found) == len(parts) else None
        case All():
            choices = [each for each in (index_cells(part, count) for part in node.nodes) if each is not None]
            return min(choices, key=lambda cells: sum(map(count, cells)), default=None)
        case Negated():
            return None


def is_answered(node: Undecided, chosen: Sequence[Cell]) -> bool:
    """Say whether the entries of the chosen cells in the query's window are exactly the records that pass."""
    match node:
        case Cell(is_guard=True):
            return bool(chosen) and all(_keeps(node, cell) for cell in chosen)
        case Cell():
            return node.is_exact and (node.window != ALWAYS or node in chosen)
        case All():
            return all(is_answered(each, chosen) for each in node.nodes)
        case Any():
            return all(isinstance(each, Cell) and each.is_exact and each in chosen for each in node.nodes)
        case Negated():
            return False


def _keeps(guard: Cell, cell: Cell) -> bool:
    """Say whether a guard lets all entries of a cell pass."""
    texts = cell.identifiers or ()
    return cell.number == guard.number and all(guard.test(text_value(text)) for text in texts)


def columns_of(node: Undecided) -> list[int]:
    """List the numbers of the fields that are tested, ascending."""
    return sorted(_numbers(node))


def _numbers(node: Undecided) -> set[int]:
    match node:
        case Cell():
            return {node.number}
        case Negated():
            return _numbers(node.node)
        case _:
            return {number for each in node.nodes for number in _numbers(each)}


def row_test(node: Undecided, columns: Sequence[int]) -> RowTest:
    """Return what tests a record by the encoded values of `columns`."""
    match node:
        case Cell():
            return _cell_test(node.test, columns.index(node.number))
        case Negated():
            inner = row_test(node.node, columns)
            return lambda cells: not inner(cells)
        case All():
            every = [row_test(each, columns) for each in node.nodes]
            return lambda cells: all(test(cells) for test in every)
        case Any():
            some = [row_test(each, columns) for each in node.nodes]
            return lambda cells: any(test(cells) for test in some)


def _cell_test(test: CellTest, slot: int) -> RowTest:
    return lambda cells: test(cells[slot])
