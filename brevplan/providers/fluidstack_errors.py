"""What FluidStack's API refuses, as errors of the contract.

Every body is `{"message": …}`, and there is no code: most errors are known by their words alone, and no words are
documented. Every pattern is bounded, so that a text of any length takes linear time.
"""

from __future__ import annotations

import re
from typing import Final

from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    ImageNotFound,
    InstanceNotFound,
    NotFound,
    NotImplemented_,
    NotReady,
    OutOfQuota,
    OutOfStock,
    Rejected,
    Sent,
    Unavailable,
)
from brevplan.providers.http import Answer, by_status

LAUNCH: Final = "create_instance"
START: Final = "start_instance"
STOP: Final = "stop_instance"
TERMINATE: Final = "terminate_instance"
_OF_ONE_MACHINE: Final = frozenset({"get_instance", START, STOP, TERMINATE})

_NAMED: Final = (
    r"(?<![\w/.-])(instance type|instance|project|image|file ?system|endpoint|page|path|route|url)s?(?![\w/-])"
)
_THING: Final = re.compile(rf"(\b(?:in|of|for|within|under) (?:the |this |your )?)?{_NAMED}")
"""What an error may be about, and a word before it where it only says of what else that is.

A part of a path or of a name is none: `/instances/5`, `my-image`.
"""
_PLACES: Final = frozenset({"endpoint", "page", "path", "route", "url"})
"""What is missing where something else than the API answers, or where the API has no such call."""
_NOT_THERE: Final = re.compile(r"\b(?:not found|not be found|does not exist|doesn't exist|no longer exists)\b")
_NO_SUCH: Final = re.compile(rf"\b(?:no|no such|unknown|could not find|cannot find|can't find) {_NAMED}")

_APART: Final = re.compile(r"[-_]")
_WORDS: Final = r"(?:\S{1,40} )"
_NONE: Final = (
    "no(?! such)|out of|without|insufficient|lack of|lacks?|(?:not|don't|doesn't)(?: have)? (?:any|enough|sufficient)"
)
_GONE: Final = "not available|unavailable|exhausted|exceeded|depleted|reached|used up|full"
_WANT_OF_STOCK: Final = re.compile(
    rf"\b(?:(?:{_NONE}) {_WORDS}{{0,3}}(?:stock|capacity)\b(?! (?:class|id|name|type))"
    rf"|(?:stock|capacity) {_WORDS}{{0,3}}(?:{_GONE})\b"
    r"|sold out\b)"
)
_QUOTA: Final = re.compile(r"\bquotas?\b")
_AT_THE_LIMIT: Final = re.compile(
    rf"\b(?:limits? {_WORDS}{{0,6}}(?:reached|exceeded|hit)"
    rf"|(?:reach|reached|reaches|exceed|exceeded|exceeds|hit|over) {_WORDS}{{0,6}}limits?"
    r"|maximum number of (?:instances|machines|gpus))\b"
)
_OF_A_REQUEST: Final = re.compile(
    r"\b(?:bytes?|[kmg]i?b|chars?|characters?|length|long|size|names?|tags?|keys?|user ?data|descriptions?"
    r"|rate limit|requests? (?:limit|rate|per))\b"
)
"""What has a limit too that no quota is: what a request may hold, and how often one may ask."""


def explained(answer: Answer) -> CloudError:
    """Read a failure.

    Of a launch the documented refusals say that nothing was made, and those that name stock or quota; 409, 429 and the
    like are not documented, and prove nothing.
    """
    text = answer.field("message") or answer.excerpt or "no reason given"
    status, operation = answer.status, answer.operation
    lowered = text.lower()
    if status == 501:
        return NotImplemented_(
            f"FluidStack does not offer this here: {text}", http_status=status,
            sent=Sent.MAYBE if operation == LAUNCH else Sent.NO,
        )  # fmt: skip
    if operation in (LAUNCH, START) and status in (400, 402, 403, 404, 409, 422):
        shortage = _shortage(lowered)
        if shortage is not None:
            return shortage(text, http_status=status)
    if status in (401, 403):
        return AuthFailed(f"{text}: check api_key and project", http_status=status)
    if status == 404:
        return _missing(answer, text, lowered)
    if status == 409 and operation in (START, STOP, TERMINATE):
        return NotReady(text, http_status=status)
    error = by_status(answer, text)
    if status != 400:
        error.sent = Sent.MAYBE
    return error


def _shortage(text: str) -> type[CloudError] | None:
    """Tell want of stock from want of quota, by words: `{"message": "no capacity left for h100-hgx-80gb.8x"}`."""
    plain = " ".join(_APART.sub(" ", text).split())
    if _WANT_OF_STOCK.search(plain):
        return OutOfStock
    if _QUOTA.search(plain):
        return OutOfQuota
    return OutOfQuota if _AT_THE_LIMIT.search(plain) and not _OF_A_REQUEST.search(plain) else None


def _missing(answer: Answer, text: str, lowered: str) -> CloudError:
    """Read a 404: a machine or what a launch needs is believed to be missing only when the API itself says so."""
    lacks = _lacking(lowered)
    if not answer.field("message") or not lacks.isdisjoint(_PLACES):
        return Unavailable(f"the endpoint does not lead to FluidStack's API: {text}", http_status=404)
    if "project" in lacks:
        return AuthFailed(f"{text}: check project, and that api_key is one of it", http_status=404)
    if answer.operation in _OF_ONE_MACHINE:
        # what else a machine may lack is no sign that it is gone
        return (InstanceNotFound if lacks <= {"instance"} else Rejected)(text, http_status=404)
    if answer.operation == LAUNCH:
        return (ImageNotFound if "image" in lacks else NotFound)(text, http_status=404)
    # a list is never missing: it says nothing about machines
    return Unavailable(text, http_status=404)


def _lacking(text: str) -> set[str]:
    """Give what a text says is not there: "instance 5 not found in project 7" lacks an instance alone.

    It is the last thing named before the words "not found", or the one behind "no such"; a text with neither lacks
    everything that it names.
    """
    said = _NOT_THERE.search(text)
    named = _THING.findall(text[: said.start()]) if said is not None else []
    if named:
        return {([thing for of, thing in named if not of] or [thing for _, thing in named])[-1]}
    said = _NO_SUCH.search(text)
    return {said[1]} if said is not None else {thing for _, thing in _THING.findall(text)}
