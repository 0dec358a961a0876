# -*- test-case-name: tests.test_timestamps -*-
"""Times as texts: timestamps in the format of RFC 3339, and durations."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

_NANOSECONDS = 10**9

#: RFC 3339, section 5.6; digits after the ninth of a fraction are ignored.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?"
    r"(?:([Zz])|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def timestamp_text(nanoseconds: int) -> str:
    """Format a timestamp with the UTC offset of this host, as LXD does.

    :param nanoseconds: since 1970-01-01T00:00:00Z.
    """
    seconds, fraction = divmod(nanoseconds, _NANOSECONDS)
    time, offset = local_time(seconds)
    return f"{time}.{fraction:09d}{offset}"


# Many events happen in the same second. The time zone is fixed when Python starts.
@lru_cache(maxsize=16)
def local_time(seconds: int) -> tuple[str, str]:
    """Return the local time and the UTC offset of a second, as texts.

    :param seconds: since 1970-01-01T00:00:00Z.
    """
    local = datetime.fromtimestamp(seconds, timezone.utc).astimezone()
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%dT%H:%M:%S}", f"{offset[:3]}:{offset[3:5]}"


def timestamp_of(text: str) -> int:
    """Parse a timestamp.

    :return: nanoseconds since 1970-01-01T00:00:00Z.
    :raises ValueError: if ``text`` is not a timestamp.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 timestamp: {text!a}")
    date, time, fraction, _utc, sign, hours, minutes = match.groups()
    at = datetime.fromisoformat(f"{date}T{time}+00:00")
    nanoseconds = int(at.timestamp()) * _NANOSECONDS + int(
        (fraction or "0").ljust(9, "0")
    )
    if sign is None:
        return nanoseconds
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError(f"not a UTC offset: {text!a}")
    offset = timedelta(hours=int(hours), minutes=int(minutes)).seconds * _NANOSECONDS
    return nanoseconds - offset if sign == "+" else nanoseconds + offset


def utc_text(nanoseconds: int) -> str:
    """Format a timestamp in UTC, with microseconds.

    :param nanoseconds: since 1970-01-01T00:00:00Z.
    """
    seconds, fraction = divmod(nanoseconds, _NANOSECONDS)
    utc = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{fraction // 1000:06d}Z"


def duration_text(seconds: float) -> str:
    """Return a duration as its two largest units, such as ``3 d 4 h``."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
