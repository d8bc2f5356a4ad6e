"""Functions over time stamps: RFC 3339 text in, RFC 3339 text out, reckoned in whole nanoseconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import NUMBER, STRING
from brevplan.lang.values import Unknown, Value

from .text import quoted

_SECOND = 1_000_000_000
_DAY = 86_400
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:Z|([+-])(\d{2}):(\d{2}))\Z", re.ASCII
)
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}  # fmt: skip
_LONGEST = 1 << 63
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment: nanoseconds since the start of the year 1 in UTC, and the offset in minutes that it is shown in."""

    nanoseconds: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Moment | str:
        """Read RFC 3339 text; give what is wrong with it instead if it is none."""
        match = _TIMESTAMP.match(text)
        if match is None:
            return 'it must look like "2006-01-02T15:04:05Z", with "Z" or an offset such as "+02:00" at the end'
        year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
        try:
            days = date(year, month, day).toordinal() - 1
        except ValueError:
            return f"there is no day {match[1]}-{match[2]}-{match[3]}"
        offset = (int(match[9]) * 60 + int(match[10])) * (-1 if match[8] == "-" else 1) if match[8] else 0
        if hour > 23 or minute > 59 or second > 59 or int(match[9] or 0) > 23 or int(match[10] or 0) > 59:
            return "hours go up to 23, minutes and seconds up to 59"
        seconds = days * _DAY + hour * 3600 + minute * 60 + second - offset * 60
        return cls(seconds * _SECOND + int((match[7] or "").ljust(9, "0")[:9]), offset)

    @property
    def local(self) -> datetime:
        """The local date and time, without its fraction; `OverflowError` outside the years 1 to 9999."""
        return datetime.min + timedelta(seconds=self.nanoseconds // _SECOND + self.offset * 60)

    def __str__(self) -> str:
        return self.local.isoformat() + self.zone(":", "Z")

    def zone(self, colon: str, utc: str) -> str:
        if not self.offset:
            return utc
        hours, minutes = divmod(abs(self.offset), 60)
        return f"{'-' if self.offset < 0 else '+'}{hours:02d}{colon}{minutes:02d}"


def _moment(text: str, position: int) -> Moment:
    moment = Moment.parse(text)
    if isinstance(moment, str):
        raise FunctionError(f"{quoted(text)} is not an RFC 3339 time stamp: {moment}", position)
    return moment


def _timestamp(environment: Environment) -> Value:
    if not environment.applying:
        return Unknown(STRING, because="timestamp() is known at apply", not_null=True)
    return _shown(environment.clock() if environment.clock else datetime.now(UTC))


def _plantimestamp(environment: Environment) -> Value:
    return _shown(environment.now)


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _timeadd(_: Environment, timestamp: str, duration: str) -> Value:
    moment = _moment(timestamp, 0)
    try:
        return str(Moment(moment.nanoseconds + _duration(duration), moment.offset))
    except OverflowError:
        raise FunctionError("the result is outside the years 1 to 9999", 1) from None


def _duration(text: str) -> int:
    """Read `1h30m`, `-1.5h`, `10ms` as nanoseconds."""
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return 0
    position, total = 0, 0
    while match := _DURATION_PART.match(unsigned, position):
        number = Fraction(match[1].rstrip(".") if match[1][0] != "." else "0" + match[1])
        total += int(number * _UNITS[match[2]])
        position = match.end()
    if position < len(unsigned) or not unsigned:
        raise FunctionError(
            f'{quoted(text)} is not a duration; write "1h30m", with the units ns, us, ms, s, m and h', 1
        )
    if total >= _LONGEST:
        raise FunctionError(f"the duration {quoted(text)} is longer than 292 years", 1)
    return -total if text.startswith("-") else total


def _timecmp(_: Environment, left: str, right: str) -> Value:
    first, second = _moment(left, 0).nanoseconds, _moment(right, 1).nanoseconds
    return (first > second) - (first < second)


_SHOW: dict[str, Callable[[datetime, Moment], str]] = {
    "YYYY": lambda t, _: f"{t.year:04d}",
    "YY": lambda t, _: f"{t.year % 100:02d}",
    "MMMM": lambda t, _: _MONTHS[t.month - 1],
    "MMM": lambda t, _: _MONTHS[t.month - 1][:3],
    "MM": lambda t, _: f"{t.month:02d}",
    "M": lambda t, _: str(t.month),
    "DD": lambda t, _: f"{t.day:02d}",
    "D": lambda t, _: str(t.day),
    "EEEE": lambda t, _: _DAYS[t.weekday()],
    "EEE": lambda t, _: _DAYS[t.weekday()][:3],
    "hh": lambda t, _: f"{t.hour:02d}",
    "h": lambda t, _: str(t.hour),
    "HH": lambda t, _: f"{(t.hour - 1) % 12 + 1:02d}",
    "H": lambda t, _: str((t.hour - 1) % 12 + 1),
    "AA": lambda t, _: "AM" if t.hour < 12 else "PM",
    "aa": lambda t, _: "am" if t.hour < 12 else "pm",
    "mm": lambda t, _: f"{t.minute:02d}",
    "m": lambda t, _: str(t.minute),
    "ss": lambda t, _: f"{t.second:02d}",
    "s": lambda t, _: str(t.second),
    "ZZZZZ": lambda _, m: m.zone(":", "+00:00"),
    "ZZZZ": lambda _, m: m.zone("", "+0000"),
    "ZZZ": lambda _, m: m.zone("", "UTC"),
    "Z": lambda _, m: m.zone(":", "Z"),
}


def _formatdate(_: Environment, pattern: str, timestamp: str) -> Value:
    moment = _moment(timestamp, 1)
    try:
        local = moment.local
    except OverflowError:
        raise FunctionError("the time stamp is outside the years 1 to 9999", 1) from None
    return "".join(_SHOW[text](local, moment) if is_verb else text for text, is_verb in _pieces(pattern))


_PIECE = re.compile(r"([A-Za-z])\1*|'((?:[^']|'')*)'|[^A-Za-z']+")


def _pieces(pattern: str) -> Iterator[tuple[str, bool]]:
    """Give the pieces of a date format, and whether each is a verb."""
    position = 0
    while position < len(pattern):
        match = _PIECE.match(pattern, position)
        if match is None:
            raise FunctionError(f"the text quoted at offset {position} never ends; a ' is missing", 0)
        position = match.end()
        if match[1] and match[0] not in _SHOW:
            known = ", ".join(verb for verb in _SHOW if verb[0].lower() == match[1].lower())
            advice = f"known: {known}" if known else "quote plain text with '...'"
            raise FunctionError(f"{quoted(match[0])} is not a part of a date; {advice}", 0)
        plain = match[0] if match[2] is None else match[2].replace("''", "'") or "'"
        yield plain, bool(match[1])


FUNCTIONS: tuple[Function, ...] = (
    Function("timestamp", (), _timestamp, STRING, summary="the time now; known when the plan is applied"),
    Function("plantimestamp", (), _plantimestamp, STRING, summary="the time at which the plan was started"),
    Function(
        "timeadd",
        (Parameter("timestamp", STRING), Parameter("duration", STRING)),
        _timeadd,
        STRING,
        summary="the time stamp moved by a duration",
    ),
    Function(
        "timecmp",
        (Parameter("left", STRING), Parameter("right", STRING)),
        _timecmp,
        NUMBER,
        summary="-1, 0 or 1, as the first moment is before, at or after the second",
    ),
    Function(
        "formatdate",
        (Parameter("format", STRING), Parameter("timestamp", STRING)),
        _formatdate,
        STRING,
        summary="the time stamp in a format of its own",
    ),
)
