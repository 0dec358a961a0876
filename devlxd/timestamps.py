# -*- test-case-name: tests.test_timestamps -*-
"""Times as RFC 3339 writes them, to the nanosecond."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

_NANOSECONDS = 10**9

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?"
    r"(?:([Zz])|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def timestamp_text(nanoseconds: int) -> str:
    """Write a time with the offset of this host, as spec/lxd.md does.

    :param nanoseconds: since 1970.
    """
    seconds, fraction = divmod(nanoseconds, _NANOSECONDS)
    time, offset = local_time(seconds)
    return f"{time}.{fraction:09d}{offset}"


# Many events have the same second, and the zone is that of the process's start.
@lru_cache(maxsize=16)
def local_time(seconds: int) -> tuple[str, str]:
    """Return the time and the offset of a second since 1970, on this host."""
    local = datetime.fromtimestamp(seconds, timezone.utc).astimezone()
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%dT%H:%M:%S}", f"{offset[:3]}:{offset[3:5]}"


def timestamp_of(text: str) -> int:
    """Read a time.

    :return: in nanoseconds since 1970.
    :raises ValueError: when it is none.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {text!a}")
    date, time, fraction, _utc, sign, hours, minutes = match.groups()
    at = datetime.fromisoformat(f"{date}T{time}+00:00")
    nanoseconds = int(at.timestamp()) * _NANOSECONDS + int(
        (fraction or "0").ljust(9, "0")
    )
    if sign is None:
        return nanoseconds
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError(f"not an offset: {text!a}")
    offset = timedelta(hours=int(hours), minutes=int(minutes)).seconds * _NANOSECONDS
    return nanoseconds - offset if sign == "+" else nanoseconds + offset
