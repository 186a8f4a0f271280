"""The Date field of HTTP (RFC 9110, section 5.6.7), formatted once a second."""

from __future__ import annotations

from time import gmtime, time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


class HTTPDate:
    """Tells the time to any thread."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        """The value of the field."""
        second = int(time())
        if second != self._second:
            self._text = http_date(second)
            self._second = second
        return self._text


def http_date(second: int) -> str:
    """A second since 1970 as HTTP writes it, whatever the locale; email.utils costs 1 MiB."""
    year, month, day, hour, minute, seconds, weekday, *_ = gmtime(second)
    name, of = _DAYS[weekday], _MONTHS[month - 1]
    return f"{name}, {day:02} {of} {year:04} {hour:02}:{minute:02}:{seconds:02} GMT"
