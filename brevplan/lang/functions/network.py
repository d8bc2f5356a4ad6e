"""Functions over network prefixes in CIDR notation, IPv4 and IPv6."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import BOOL, NUMBER, STRING, ListType
from brevplan.lang.values import List, Number, Value

from .arguments import whole
from .text import quoted

_OCTETS = re.compile(r"\d{1,10}(\.\d{1,10}){3}\Z", re.ASCII)
_LENGTH = re.compile(r"\d{1,6}\Z", re.ASCII)
_MAX_STEP = 32


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network: its first address as a number, its length, and 32 or 128 bits of address."""

    start: int
    length: int
    bits: int

    @property
    def size(self) -> int:
        return 1 << (self.bits - self.length)

    @property
    def end(self) -> int:
        return self.start + self.size

    def __str__(self) -> str:
        return f"{show_address(self.start, self.bits)}/{self.length}"


def show_address(number: int, bits: int) -> str:
    return str(ipaddress.IPv4Address(number) if bits == 32 else ipaddress.IPv6Address(number))


def _address(text: str) -> tuple[int, int] | None:
    """Give an address as a number with its bits. IPv4 parts may have leading zeros and are decimal nevertheless."""
    if _OCTETS.match(text):
        text = ".".join(str(int(part)) for part in text.split("."))
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else (int(address), address.max_prefixlen)


def _prefix(text: str, position: int = 0) -> Prefix:
    host, slash, length = text.partition("/")
    found = _address(host)
    if found is None or not slash or not _LENGTH.match(length) or int(length) > found[1]:
        raise FunctionError(f'{quoted(text)} is not a CIDR prefix such as "10.1.0.0/16" or "fd00::/48"', position)
    number, bits = found
    free = bits - int(length)
    return Prefix(number >> free << free, int(length), bits)


def _cidrhost(_: Environment, prefix: str, host: Number) -> Value:
    network, number = _prefix(prefix), whole(host, "host", 1)
    if not -network.size <= number < network.size:
        raise FunctionError(f"{network} has {network.size} addresses; there is no number {number}", 1)
    return show_address((network.start if number >= 0 else network.end) + number, network.bits)


def _cidrnetmask(_: Environment, prefix: str) -> Value:
    network = _prefix(prefix)
    if network.bits != 32:
        raise FunctionError(f"{quoted(prefix)} is IPv6, and only IPv4 has netmasks", 0)
    return show_address((1 << 32) - network.size, 32)


def _cidrsubnet(_: Environment, prefix: str, newbits: Number, netnum: Number) -> Value:
    network, bits, number = _prefix(prefix), whole(newbits, "newbits", 1), whole(netnum, "netnum", 2)
    length = network.length + bits
    if bits < 0 or length > network.bits:
        left = network.bits - network.length
        raise FunctionError(f"the prefix {network} can be extended by 0 to {left} bits, not by {bits}", 1)
    if not 0 <= number < 1 << bits:
        raise FunctionError(f"{bits} more bits make {1 << bits} subnets; there is no number {number}", 2)
    return str(Prefix(network.start + (number << (network.bits - length)), length, network.bits))


def _cidrsubnets(_: Environment, prefix: str, *newbits: Number) -> Value:
    network = _prefix(prefix)
    subnets: list[Value] = []
    free = network.start
    for position, given in enumerate(newbits, 1):
        bits = whole(given, "newbits", position)
        length = network.length + bits
        if not 1 <= bits <= _MAX_STEP or length > network.bits:
            most = min(_MAX_STEP, network.bits - network.length)
            reason = f"the prefix {network} can be extended by 1 to {most} bits at once, not by {bits}"
            raise FunctionError(reason, position)
        size = 1 << (network.bits - length)
        start = -(-free // size) * size
        if start + size > network.end:
            raise FunctionError(f"{network} has no room left for a subnet /{length}", position)
        subnets.append(str(Prefix(start, length, network.bits)))
        free = start + size
    return List(subnets, STRING)


def _cidrcontains(_: Environment, prefix: str, inner: str) -> Value:
    network = _prefix(prefix)
    address = _address(inner)
    part = Prefix(address[0], address[1], address[1]) if address else _prefix(inner, 1)
    if part.bits != network.bits:
        raise FunctionError("one is IPv4 and the other IPv6; both must be the same", 1)
    return network.start <= part.start and part.end <= network.end


_PREFIX = Parameter("prefix", STRING)
_NEWBITS = Parameter("newbits", NUMBER)

FUNCTIONS: tuple[Function, ...] = (
    Function("cidrhost", (_PREFIX, Parameter("host", NUMBER)), _cidrhost, STRING, summary="an address of a network"),
    Function("cidrnetmask", (_PREFIX,), _cidrnetmask, STRING, summary="the netmask of an IPv4 network"),
    Function(
        "cidrsubnet",
        (_PREFIX, _NEWBITS, Parameter("netnum", NUMBER)),
        _cidrsubnet,
        STRING,
        summary="one subnet of a network",
    ),
    Function(
        "cidrsubnets", (_PREFIX,), _cidrsubnets, ListType(STRING), _NEWBITS, summary="consecutive subnets of a network"
    ),
    Function(
        "cidrcontains",
        (_PREFIX, Parameter("inner", STRING)),
        _cidrcontains,
        BOOL,
        summary="whether an address or a network is within a network",
    ),
)
