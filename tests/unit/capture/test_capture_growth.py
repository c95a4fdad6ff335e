"""What a preview says of growth and money is near what a pass then takes."""

from pathlib import Path

import pytest

from scelle.capture.growth import GrowthSample, Prices, read_prices
from scelle.errors import InputError
from tests.unit.capture.record_world import POSTS, RecordWorld, Table


def test_the_estimate_is_near_what_a_pass_takes(tmp_path: Path) -> None:
    world = RecordWorld(tmp_path / "vault")
    world.tables["a"] = Table(
        [(f"p{n}", f"u{n % 97}", f"a red boat on a lake, take {n}") for n in range(6000)]
    )
    sample = GrowthSample(POSTS)
    for unit in world.records_source.units():
        for batch in world.records_source.read(unit, b""):  # type: ignore[arg-type]
            for record in batch.records:
                sample.add(record)  # type: ignore[arg-type]
    world.run()
    taken = sum(
        path.stat().st_size for path in (world.root / "po/o1/seg/s0001~1").rglob("*") if path.is_file()
    )
    assert 0.8 < sample.growth_bytes / taken < 1.25


def test_nothing_covered_grows_nothing() -> None:
    assert GrowthSample(POSTS).growth_bytes == 0


def test_prices_are_read_and_applied(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[prices]\ncurrency = "EUR"\ngib_month = 0.02\nmonths = 12\n')
    prices = read_prices(file)
    assert prices == Prices("EUR", 0.02, 12.0)
    assert prices.of(10 << 30) == pytest.approx(2.4)
    assert prices.to_json(10 << 30)["amount"] == 2.4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "prices = 1",
        '[prices]\ncurrency = "EUR"\ngib_month = 1\n',
        '[prices]\ncurrency = "EUR"\ngib_month = -1\nmonths = 1\n',
        '[prices]\ncurrency = "EUR"\ngib_month = true\nmonths = 1\n',
        "[prices]\ncurrency = 5\ngib_month = 1\nmonths = 1\n",
        '[prices]\ncurrency = "EUR"\ngib_month = nan\nmonths = 1\n',
        '[prices]\ncurrency = "EUR"\ngib_month = 1\nmonths = 1\nmore = 1\n',
        "not toml",
    ],
)
def test_a_wrong_price_list_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(InputError, match="prices"):
        read_prices(file)
    with pytest.raises(InputError):
        read_prices(tmp_path / "none.toml")
