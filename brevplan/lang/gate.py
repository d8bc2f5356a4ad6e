"""The one gate that every function and operator goes through.

A function is ordinary Python over known, plain values. The gate checks the number of arguments, converts them,
answers "unknown" when an argument is not known yet, takes secret marks off before the call and puts one on the
result after it. Only functions that say so (`sees_unknown`, `sees_secret`, `nullable`) meet these bare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.types import ANY, Type
from brevplan.lang.values import (
    MAX_TEXT,
    Mapping_,
    Marks,
    Secret,
    Sequence_,
    Unknown,
    Value,
    all_marks,
    first_unknown,
    has_secret,
    has_unknown,
    mark,
    reveal,
    reveal_deep,
)


class FunctionError(Exception):
    """A function refuses its arguments. `argument` is the 0-based position to point at, if one is to blame."""

    def __init__(self, message: str, argument: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument


class Files(Protocol):
    """The files that functions may read. `lang` opens nothing itself; relative paths are the implementer's matter."""

    def read_bytes(self, path: str) -> bytes:
        """Give the content; raise `OSError`."""
        ...

    def is_file(self, path: str) -> bool:
        """Tell whether the path is a file; raise `IsADirectoryError` for a folder."""
        ...

    def glob(self, directory: str, pattern: str) -> list[str]:
        """Give the files below a folder that match, relative to it, with forward slashes, sorted."""
        ...

    def absolute(self, path: str) -> str: ...

    def expand_home(self, path: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Environment:
    """What impure functions need from outside, handed in by the operation.

    `now` is the moment the plan started. `applying` is false while planning: `timestamp`, `uuid` and `bcrypt` are
    then unknown.
    """

    files: Files
    now: datetime
    applying: bool = False
    random_bytes: Callable[[int], bytes] | None = None
    cache: dict[object, object] = field(default_factory=dict)
    clock: Callable[[], datetime] | None = None
    """What `timestamp` reads while applying, which may be days after `now`. The machine's clock if there is none."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name for messages, its type, and what it may meet without the gate stepping in."""

    name: str
    type: Type = ANY
    nullable: bool = False
    sees_unknown: bool = False
    sees_secret: bool = False


Body = Callable[..., Value]
"""A function's body: `body(environment, *arguments)`, all converted, known and bare unless a parameter says else."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language. `returns` is the type of the result when it cannot be computed yet."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Body
    returns: Type = ANY
    variadic: Parameter | None = None
    optional: int = 0
    """How many of the last parameters may be left out."""
    summary: str = ""
    never_null: bool = True

    def signature(self) -> str:
        names = [parameter.name for parameter in self.parameters]
        required = len(names) - self.optional
        shown = names[:required] + [f"[{name}]" for name in names[required:]]
        if self.variadic is not None:
            shown.append(f"{self.variadic.name}...")
        return f"{self.name}({', '.join(shown)})"


def invoke(function: Function, environment: Environment, arguments: Sequence[Value]) -> Value:
    """Call a function by the rules of the language; raise `FunctionError`.

    Messages quote what they complain about, so the reason of a call with a secret argument is kept back.
    """
    parameters = _match(function, arguments)
    try:
        return _call(function, environment, parameters, arguments)
    except FunctionError as problem:
        if not any(map(_is_hidden, parameters, arguments)):
            raise
        reason = "the arguments do not suit; why is not shown, because a secret is among them"
        raise FunctionError(f"{reason}: {function.signature()}", problem.argument) from None


def _is_hidden(parameter: Parameter, argument: Value) -> bool:
    """Tell whether the function meets a secret in the open: one inside a collection it may know and avoid."""
    return isinstance(argument, Secret) or (has_secret(argument) and not parameter.sees_secret)


def _call(
    function: Function, environment: Environment, parameters: Sequence[Parameter], arguments: Sequence[Value]
) -> Value:
    prepared: list[Value] = []
    marks = 0
    unknown: Unknown | None = None
    for position, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
        value = argument
        if has_secret(value) and not parameter.sees_secret:
            marks |= all_marks(value)
            value = reveal_deep(value)
        value = _checked(parameter, value, position)
        if unknown is None and not parameter.sees_unknown and has_unknown(value):
            unknown = first_unknown((value,))
        prepared.append(value)
    if unknown is not None:
        result: Value = Unknown(function.returns, unknown.because, not_null=function.never_null)
    else:
        result = function.body(environment, *prepared)
        if result.__class__ is str and len(result) > MAX_TEXT:
            raise FunctionError(f"the result is a text of {len(result)} characters; at most {MAX_TEXT} are possible")
    if isinstance(result, Unknown):
        # it may turn out to be, or to hold, a part that is hidden
        marks |= _inner_marks(arguments)
    return mark(result, marks)


def _inner_marks(values: Sequence[Value]) -> Marks:
    marks = 0
    for value in values:
        inner = reveal(value)
        if isinstance(inner, (Sequence_, Mapping_)):
            marks |= inner.inner_marks
    return marks


def _match(function: Function, arguments: Sequence[Value]) -> list[Parameter]:
    given, most = len(arguments), len(function.parameters)
    least = most - function.optional
    if given < least:
        missing = function.parameters[given].name
        raise FunctionError(f'the argument "{missing}" is missing: {function.signature()}')
    if given > most and function.variadic is None:
        raise FunctionError(f"{given} arguments given, at most {most} expected: {function.signature()}", most)
    extra = [function.variadic] * (given - most) if function.variadic is not None else []
    return [*function.parameters[:given], *extra]


def _checked(parameter: Parameter, value: Value, position: int) -> Value:
    if reveal(value) is None:
        if not parameter.nullable:
            raise FunctionError(f'the argument "{parameter.name}" must not be null', position)
        return value
    try:
        return convert(value, parameter.type)
    except ConversionError as problem:
        raise FunctionError(f'unsuitable value for "{parameter.name}": {problem}', position) from None
