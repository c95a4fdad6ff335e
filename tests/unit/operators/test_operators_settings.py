import pytest

from scelle.errors import SettingWrong
from scelle.operators.settings import (
    SETTINGS,
    check_setting,
    check_value,
    duration_text,
    is_looser,
    parse_duration,
    setting_us,
)

HOUR_US = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("15m", 900), ("24h", 86_400), ("30d", 2_592_000), ("5y", 157_680_000)],
)
def test_durations_read_and_write(text: str, seconds: int) -> None:
    assert parse_duration(text, "x") == seconds * 1_000_000
    assert parse_duration(duration_text(seconds * 1_000_000), "x") == seconds * 1_000_000


@pytest.mark.parametrize("text", ["", "5", "-1d", "1.5h", "1w", "1 d", "d", "１d", "99999999999s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SettingWrong):
        parse_duration(text, "x")


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_has_a_tight_direction_and_its_bounds(name: str) -> None:
    setting = SETTINGS[name]
    longer, shorter = setting.default_us + HOUR_US, setting.default_us - 60_000_000
    assert is_looser({}, name, longer) is not setting.longer_is_tighter
    assert is_looser({}, name, shorter) is setting.longer_is_tighter
    assert not is_looser({}, name, setting.default_us)
    assert check_value(name, setting.least_us) == setting.least_us
    assert check_value(name, setting.most_us) == setting.most_us
    for value_us in (setting.least_us - 1, setting.most_us + 1):
        with pytest.raises(SettingWrong):
            check_value(name, value_us)
    assert setting_us({name: 7}, name) == 7


def test_the_longer_cooling_off_and_grace_are_tight_and_the_shorter_deadline_is() -> None:
    tight = {name for name, setting in SETTINGS.items() if setting.longer_is_tighter}
    assert tight == {"cooling-off", "grace", "log-retention"}


def test_names_are_written_with_hyphens_or_not() -> None:
    assert check_setting("cooling_off") == check_setting("cooling-off") == "cooling-off"
    with pytest.raises(SettingWrong, match="cooling-off"):
        check_setting("cooling")
