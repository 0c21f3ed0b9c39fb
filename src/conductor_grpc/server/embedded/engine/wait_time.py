"""The two times that a WAIT task can name, read as the released server reads them.

The server is lenient with times: a month, day, hour or minute that is too large runs over into the next unit, and an
abbreviation of a zone is a fixed offset all the year round. Seen on 3.32.1.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_DURATION = re.compile(
    r"\s*(?:(\d+)\s*(?:days?|d)\s*)?(?:(\d+)\s*(?:hours?|hrs?|h)\s*)?"
    r"(?:(\d+)\s*(?:minutes?|mins?|m)\s*)?(?:(\d+)\s*(?:seconds?|secs?|s)\s*)?",
    re.IGNORECASE | re.ASCII,
)
_LARGEST_COUNT = 2**31 - 1
_TIME = re.compile(
    r"\s*(\d+)-\s*(\d+)-\s*(\d+)(?:\s+(\d+):\s*(\d+)(?:\s+(?P<zone>\S+))?)?",
    re.ASCII,
)
_OFFSET = re.compile(r"(?:GMT(?=[+-]\d\d:)|(?=[+-]\d{4}))([+-]\d\d):?(\d\d)", re.IGNORECASE | re.ASCII)
_HOURS_BY_ZONE = {
    name: hours
    for hours, names in {
        -10: "HST",
        -9: "AKST",
        -8: "PST AKDT",
        -7: "MST PDT",
        -6: "CST MDT",
        -5: "EST CDT",
        -4: "EDT",
        0: "UTC GMT WET",
        1: "CET BST WEST",
        2: "EET CEST",
        3: "MSK EEST",
        9: "JST KST",
        10: "AEST",
        11: "AEDT",
    }.items()
    for name in names.split()
}


def parse_duration(text: str) -> int:
    """Seconds of `2 days 3h 10 minutes 5s`, any part of it left out, in this order. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"Not valid duration: {text}")
    days, hours, minutes, seconds = counts = [int(part or 0) for part in match.groups()]
    if max(counts) > _LARGEST_COUNT:
        raise ValueError(f"Not valid duration: {text}")
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def parse_time(text: str) -> int:
    """Milliseconds since 1970 of `2026-01-31`, `2026-01-31 18:00` or `2026-01-31 18:00 CET`. Raises ValueError.

    Without a zone it is local time. The zone may be `UTC`, an offset (`+0200`, `GMT+02:00`) or one of the usual
    abbreviations; the released server knows more of those, in the words of its machine's language.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"Unable to parse date: {text}")
    year, month, day, hour, minute = (int(part or 0) for part in match.groups()[:5])
    try:
        start_of_month = datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)
        moment = start_of_month + timedelta(days=day - 1, hours=hour, minutes=minute)
        if match["zone"]:
            moment = moment.replace(tzinfo=_zone(match["zone"]))
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"Unable to parse date: {text}: {error}") from error


def _zone(text: str) -> timezone:
    offset = _OFFSET.fullmatch(text)
    if offset is not None:
        hours, minutes = int(offset[1]), int(offset[2])
        return timezone(timedelta(hours=hours, minutes=-minutes if offset[1].startswith("-") else minutes))
    if text.upper() in _HOURS_BY_ZONE:
        return timezone(timedelta(hours=_HOURS_BY_ZONE[text.upper()]))
    raise ValueError(f"unknown time zone {text}, known are {', '.join(_HOURS_BY_ZONE)} and offsets such as +0200")
