import os

import pytest

from scelle.formats.flat import Part, column_of, interleaved, items_of


@pytest.mark.parametrize("count", [0, 1, 5, 1023, 1024, 1025, 2050])
@pytest.mark.parametrize("width", [1, 16, 47])
def test_items_are_cut_in_order(count: int, width: int) -> None:
    flat = os.urandom(count * width)
    expected = [flat[at : at + width] for at in range(0, len(flat), width)]
    assert items_of(flat, width) == items_of(bytearray(flat), width) == expected
    assert all(type(item) is bytes for item in items_of(bytearray(flat), width))


def test_a_rest_narrower_than_an_item_is_not_dropped() -> None:
    assert items_of(b"abcde", 2) == [b"ab", b"cd", b"e"]


def test_parts_are_joined_item_by_item() -> None:
    numbers, letters = b"112233", b"abcdefghi"
    assert interleaved(3, column_of(numbers, 2), Part(letters, 3, 1, 3)) == b"11bc22ef33hi"
    assert interleaved(3, Part(letters, 3, 0, 1)) == b"adg"
    assert interleaved(0, column_of(b"", 2)) == b""


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="extended slice"):
        interleaved(3, column_of(b"1122", 2))
