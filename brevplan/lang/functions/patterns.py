"""Functions with regular expressions: RE2, so that no pattern takes more than linear time."""

from __future__ import annotations

import re as syntax
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from brevplan.lang.gate import Environment, Function, FunctionError, Parameter
from brevplan.lang.types import ANY, STRING, ListType, ObjectType, TupleType, Type
from brevplan.lang.values import MAX_TEXT, List, Object, Tuple, Unknown, Value

from .partial import pending
from .text import normal, quoted

_REFERENCE = syntax.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})", syntax.ASCII)
# RE2 itself knows these two, the dialect of the language does not
_FOREIGN = syntax.compile(r"(?:[^\\]|\A)(?:\\\\)*(\\[CZ])")


@lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    import re2  # type: ignore[import-untyped]  # only configurations that use patterns pay for it

    foreign = _FOREIGN.search(pattern)
    if foreign:
        raise FunctionError(f"the pattern is not valid: {foreign[1]} is not supported", 0)
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as problem:
        text = problem.args[0] if problem.args else problem
        detail = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise FunctionError(f"the pattern is not valid: {detail}{_advice(pattern)}", 0) from None


def _advice(pattern: str) -> str:
    if syntax.search(r"\(\?<?[=!]", pattern) or syntax.search(r"\\[1-9]", pattern):
        return "; patterns are RE2: there is no look-around and there are no back-references"
    return ""


def _shape(pattern: Any) -> Type:
    """The type of one match: a string, a tuple of unnamed groups, or an object of named ones."""
    if not pattern.groups:
        return STRING
    if not pattern.groupindex:
        return TupleType((STRING,) * pattern.groups)
    if len(pattern.groupindex) != pattern.groups:
        raise FunctionError("the pattern mixes named and unnamed groups; name all, or write (?:...) for the others", 0)
    return ObjectType(dict.fromkeys(pattern.groupindex, STRING))


def _captured(match: Any, shape: Type) -> Value:
    if shape is STRING:
        return normal(match.group())
    if isinstance(shape, TupleType):
        return Tuple(map(_group, match.groups()))
    return Object({name: _group(text) for name, text in match.groupdict().items()})


def _group(text: str | None) -> Value:
    return None if text is None else normal(text)


def _regex(_: Environment, pattern: str, text: Value) -> Value:
    compiled = _compile(pattern)
    shape = _shape(compiled)
    if isinstance(text, Unknown):
        return pending(shape, text)
    match = compiled.search(text)
    if match is None:
        raise FunctionError(f"the pattern {quoted(pattern)} does not match any part of the text", 1)
    return _captured(match, shape)


def _regexall(_: Environment, pattern: str, text: Value) -> Value:
    compiled = _compile(pattern)
    shape = _shape(compiled)
    if isinstance(text, Unknown):
        return pending(ListType(shape), text)
    assert isinstance(text, str)
    return List((_captured(match, shape) for match in _matches(compiled, text)), shape)


def _matches(pattern: Any, text: str) -> Iterator[Any]:
    """Find every match. An empty one right behind another match does not count."""
    end = -1
    for match in pattern.finditer(text):
        if match.start() != match.end() or match.start() != end:
            yield match
        end = match.end()


def _replace(_: Environment, text: str, find: str, replacement: str) -> Value:
    if len(find) > 1 and find[0] == find[-1] == "/":
        return normal(_replace_pattern(text, _compile(find[1:-1]), replacement))
    size = len(text) + text.count(find) * (len(replacement) - len(find))
    if size > MAX_TEXT:
        raise FunctionError(f"the result would be a text of {size} characters; at most {MAX_TEXT} are possible")
    return normal(text.replace(find, replacement))


def _replace_pattern(text: str, pattern: Any, replacement: str) -> str:
    expand = _template(replacement)
    pieces = []
    end = 0
    for match in _matches(pattern, text):
        pieces += [text[end : match.start()], expand(match)]
        end = match.end()
    return "".join([*pieces, text[end:]])


def _template(replacement: str) -> Callable[[Any], str]:
    """Make the function that fills `$1`, `${name}` and `$$`; a group that does not exist fills in nothing."""
    if "$" not in replacement:
        return lambda _: replacement

    def expand(match: Any) -> str:
        names = match.re.groupindex

        def fill(reference: syntax.Match[str]) -> str:
            if reference[1]:
                return "$"
            name = reference[2] or reference[3]
            number = int(name) if name.isdigit() and len(name) < 6 else names.get(name, -1)
            return (match.group(number) or "") if 0 <= number <= match.re.groups else ""

        return _REFERENCE.sub(fill, replacement)

    return expand


_PATTERN = Parameter("pattern", STRING)
_UNSURE_TEXT = Parameter("text", STRING, sees_unknown=True)

FUNCTIONS: tuple[Function, ...] = (
    Function("regex", (_PATTERN, _UNSURE_TEXT), _regex, ANY, summary="the first match of a pattern"),
    Function("regexall", (_PATTERN, _UNSURE_TEXT), _regexall, ListType(ANY), summary="every match of a pattern"),
    Function(
        "replace",
        (Parameter("text", STRING), Parameter("find", STRING), Parameter("replacement", STRING)),
        _replace,
        STRING,
        summary="the text with every occurrence replaced; /.../ is a pattern",
    ),
)
