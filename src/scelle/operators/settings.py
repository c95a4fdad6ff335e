"""Keep the vault's settings as a ratchet: one person tightens, two loosen (pure)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scelle.errors import SettingWrong

CHANGED: Final = "setting"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "y": 365 * 86_400}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdy])")
_US: Final = 1_000_000
_HOUR_US: Final = 3600 * _US
_DAY_US: Final = 24 * _HOUR_US
_YEAR_US: Final = 365 * _DAY_US


@dataclass(frozen=True, slots=True)
class Setting:
    """A length of time, its default in microseconds, and whether a longer one is the tighter one.

    The bounds, both allowed, keep one person from tightening so far that nothing could be asked for any more.
    """

    meaning: str
    default_us: int
    longer_is_tighter: bool
    least_us: int
    most_us: int


SETTINGS: Final[Mapping[str, Setting]] = {
    "cooling-off": Setting("from a request to its execution, at least", _DAY_US, True, 0, 30 * _DAY_US),
    "request-expiry": Setting(
        "from the end of the cooling-off time until a request expires",
        14 * _DAY_US, False, _HOUR_US, 365 * _DAY_US,
    ),
    "decide-within": Setting(
        "for counsel to decide over a lapsed order", 14 * _DAY_US, False, _DAY_US, 365 * _DAY_US
    ),
    "review-every": Setting(
        "between two reviews of a hold's necessity", 90 * _DAY_US, False, _DAY_US, 365 * _DAY_US
    ),
    "grace": Setting(
        "from a release to the disposal, in which it can be undone", 30 * _DAY_US, True, 0, 10 * _YEAR_US
    ),
    "log-retention": Setting(
        "the log and certificates of a disposed order stay, at least", 5 * _YEAR_US, True, 0, 100 * _YEAR_US
    ),
    "open-for": Setting(
        "for which two restricted reviewers open an item", 900 * _US, False, 60 * _US, _DAY_US
    ),
    "merge-deadline": Setting(
        "for what was promised to be sealed and shown to others", 2 * _DAY_US, False, _HOUR_US, 30 * _DAY_US
    ),
}  # fmt: skip


def setting_us(settings: Mapping[str, int], name: str) -> int:
    """Return a setting in microseconds, its default where it was never set."""
    return settings.get(name, SETTINGS[name].default_us)


def is_looser(settings: Mapping[str, int], name: str, value_us: int) -> bool:
    """Tell whether a new value loosens."""
    now_us = setting_us(settings, name)
    return value_us < now_us if SETTINGS[name].longer_is_tighter else value_us > now_us


def check_setting(name: str) -> str:
    """Return the name of a setting, written with hyphens; raise SettingWrong where there is none of it."""
    known = name.replace("_", "-")
    if known not in SETTINGS:
        raise SettingWrong(f"no setting {name!a}: there are {', '.join(SETTINGS)}")
    return known


def check_value(name: str, value_us: int) -> int:
    """Return the value of a setting; raise SettingWrong where it lies outside of what the setting can be."""
    setting = SETTINGS[name]
    if not setting.least_us <= value_us <= setting.most_us:
        raise SettingWrong(
            f"{name} cannot be {duration_text(value_us)}: it lies between {duration_text(setting.least_us)} and "
            f"{duration_text(setting.most_us)}"
        )
    return value_us


def parse_duration(text: str, where: str) -> int:
    """Read `30d`, `24h`, `15m`, `0s`, `5y` (of 365 days) as microseconds; raise SettingWrong."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise SettingWrong(f"{where}: {text!a} is no duration: write 0s, 15m, 24h, 30d or 5y")
    return int(match[1]) * _UNITS[match[2]] * _US


def duration_text(value_us: int) -> str:
    """Write microseconds as the largest unit that says them exactly."""
    seconds = value_us // _US
    unit = next(unit for unit in ("y", "d", "h", "m", "s") if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit if seconds else 's'}"
