"""Durations and times of WAIT tasks. The results are those of 3.32.1."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest

from conductor_grpc.server.embedded.engine.wait_time import parse_duration, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("5 seconds", 5),
        ("1h 2m 3s", 3723),
        ("1d1h1m1s", 90061),
        ("1 DAYS", 86400),
        ("2mins", 120),
        ("3 secs", 3),
        ("1 hr", 3600),
        ("\t1s\n", 1),
        ("90s", 90),
        (" ", 0),
    ],
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["abc", "10", "1.5s", "-1s", "2s 1m", "1 hour 2", "1h30", "1 days 2 days", "1 week", "\uff11s", "99999999999s"],
)
def test_a_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Not valid duration"):
        parse_duration(text)


def utc(*parts: int) -> int:
    year, month, day, *time = parts
    return int(datetime(year, month, day, *time, tzinfo=timezone.utc).timestamp() * 1000)


def test_a_long_text_is_refused_as_soon_as_a_short_one() -> None:
    began = time.thread_time()
    with pytest.raises(ValueError, match="Not valid duration"):
        parse_duration(" " * 400 + "x")
    assert time.thread_time() - began < 1, "with a choice of what takes the blanks it is minutes"


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2030-01-01 10:00 UTC", utc(2030, 1, 1, 10)),
        ("2030-01-01 10:00 utc", utc(2030, 1, 1, 10)),
        ("2030-01-01 10:00 +0200", utc(2030, 1, 1, 8)),
        ("2030-01-01 10:00 -0230", utc(2030, 1, 1, 12, 30)),
        ("2030-01-01 10:00 GMT+02:00", utc(2030, 1, 1, 8)),
        ("2030-01-01 10:00 CEST", utc(2030, 1, 1, 8)),
        ("2030-07-01 10:00 CET", utc(2030, 7, 1, 9)),
        ("2030-01-01 10:00 PST", utc(2030, 1, 1, 18)),
        ("2030-13-01 00:00 UTC", utc(2031, 1, 1)),
        ("2030-02-30 00:00 UTC", utc(2030, 3, 2)),
        ("2030-01-01 25:61 UTC", utc(2030, 1, 2, 2, 1)),
        ("2030-1-1 1:2 UTC", utc(2030, 1, 1, 1, 2)),
        (" 2030-01-01  10:00 UTC", utc(2030, 1, 1, 10)),
    ],
)
def test_a_time_is_read(text: str, milliseconds: int) -> None:
    assert parse_time(text) == milliseconds


@pytest.mark.parametrize("text", ["2030-01-31", "2030-01-31 18:30"])
def test_a_time_without_a_zone_is_local_time(text: str) -> None:
    assert parse_time(text) == datetime.fromisoformat(text).timestamp() * 1000


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "20300101",
        "2030/01/01",
        "2030-01-01T10:00:00Z",
        "2030-01-01 10",
        "2030-01-01 10:00:05",
        "2030-01-01 ",
        "2030-01-01 10:00+0200",
        "2030-01-01 10:00 +02:00",
        "2030-01-01 10:00 GMT+2",
        "2030-01-01 10:00 Z",
        "2030-01-01 10:00 XYZ",
        "-5-01-01",
        "99999999999-01-01",
    ],
)
def test_a_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Unable to parse date"):
        parse_time(text)
