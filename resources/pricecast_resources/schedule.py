"""Cron expressions that Kubernetes, the local runtime and the API server's rules all understand alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from pricecast_resources.base import rule, rules

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def _field(*spellings: str) -> str:
    values = "|".join(f"{each}(-{each})?" for each in spellings)
    item = rf"(\*|{values})(/[1-9][0-9]?)?"
    return f"{item}(,{item})*"


_FIELDS: dict[str, tuple[str, str]] = {
    "minute": (_field("[0-5]?[0-9]"), "0 to 59, such as 30, 0,30 or */15"),
    "hour": (_field("([01]?[0-9]|2[0-3])"), "0 to 23, such as 6, 9-17 or */6"),
    "day of the month": (_field("(0?[1-9]|[12][0-9]|3[01])"), "1 to 31, such as 1, 1,15 or *"),
    "month": (_field("(0?[1-9]|1[0-2])", f"({'|'.join(_MONTHS)})"), "1 to 12 or JAN to DEC, such as 1-3 or *"),
    "day of the week": (_field("[0-6]", f"({'|'.join(_WEEKDAYS)})"), "0 to 6 or SUN to SAT, such as MON-FRI or *"),
}
"""The five fields, in their order: pattern, and what to write."""
_PATTERN = f"^{' '.join(pattern for pattern, _ in _FIELDS.values())}$"
_CEL_FIELDS = [(name, (pattern.replace("\\", "\\\\"), remedy)) for name, (pattern, remedy) in _FIELDS.items()]
_CEL_PATTERN = _PATTERN.replace("\\", "\\\\")
_FIVE = f"needs five fields, one space between: {', '.join(_FIELDS)}; write for example 0 */6 * * *"


def _only(day: str, months: str) -> str:
    day = f"{day}(-3[01])?(/[0-9]+)?"
    return rf"^[^ ]+ [^ ]+ {day}(,{day})* ({months})(,({months}))* \*$"


_NEVER = f"{_only('3[01]', '0?2|FEB')}|{_only('31', '0?[2469]|11|FEB|APR|JUN|SEP|NOV')}"
_NAMES = "".join((*_MONTHS, *_WEEKDAYS))
_BACKWARDS = "has a range that doesn't go up; write the earlier end first"
_NO_SUCH_DAY = "names a day that its months don't have; write for example 0 0 28 2 *"


def _checked(value: str) -> str:
    fields = value.split(" ")
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{value!r} {_FIVE}")
    for text, (name, (pattern, remedy)) in zip(fields, _FIELDS.items(), strict=True):
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"{text!r} is no {name}; write {remedy}")
    numbers = re.findall(r"(\d+)-(\d+)", value)
    names = re.findall("([A-Z]{3})-([A-Z]{3})", value)
    if any(int(a) >= int(b) for a, b in numbers) or any(_NAMES.index(a) >= _NAMES.index(b) for a, b in names):
        raise ValueError(f"{value!r} {_BACKWARDS}")
    if re.search(_NEVER, value):
        raise ValueError(f"{value!r} {_NO_SUCH_DAY}")
    try:
        CronSim(value, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{value!r} is not a cron expression ({error}); write for example 0 */6 * * *") from None
    return value


Schedule = Annotated[
    str,
    Field(
        max_length=100,
        examples=["0 */6 * * *", "30 4 * * MON-FRI"],
        json_schema_extra=rules(
            rule(f"self.split(' ').size() == {len(_FIELDS)}", _FIVE),
            *(
                rule(
                    f"self.split(' ').size() != {len(_FIELDS)} || self.split(' ')[{number}].matches('^({pattern})$')",
                    f"has no {name} as its field {number + 1}; write {remedy}",
                    telling=f"\"'\" + self.split(' ')[{number}] + \"' is no {name}; write {remedy}\"",
                )
                for number, (name, (pattern, remedy)) in enumerate(_CEL_FIELDS)
            ),
            rule(
                f"!self.matches('{_CEL_PATTERN}') || "
                "self.replace(',', ' ').split(' ').all(item, !item.contains('-') || (item.matches('^[0-9]')"
                " ? int(item.split('-')[0]) < int(item.split('-')[1].split('/')[0])"
                f" : '{_NAMES}'.indexOf(item.substring(0, 3)) < '{_NAMES}'.indexOf(item.substring(4, 7))))",
                _BACKWARDS,
            ),
            rule(f"!self.matches('{_NEVER}')".replace("\\", "\\\\"), _NO_SUCH_DAY),
        ),
    ),
    AfterValidator(_checked),
]
