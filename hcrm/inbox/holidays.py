"""Days off: `config/holidays.yaml`, which a hospital completes each year."""

from datetime import date, timedelta
from functools import cache
from pathlib import Path

import yaml

from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path


@cache
def load_holidays(path: Path | None = None) -> frozenset[date]:
    """Every day off; no file means none. A mistake is said with its line's text."""
    path = path or config_path("holidays.yaml")
    if not path.exists():
        return frozenset()
    days: set[date] = set()
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or ()
    except (yaml.YAMLError, ValueError) as error:
        raise HcrmError("holidays.invalid", f"config/holidays.yaml 有误：{error}") from error
    for entry in entries:
        try:
            first, _, last = str(entry).partition("/")
            begin, end = date.fromisoformat(first), date.fromisoformat(last or first)
        except ValueError as error:
            raise HcrmError("holidays.invalid", f"config/holidays.yaml 有误：{entry}") from error
        days.update(begin + timedelta(days=n) for n in range((end - begin).days + 1))
    return frozenset(days)
