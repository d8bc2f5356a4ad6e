"""Evaluation: a syntax tree is prepared once into nested functions, and these are run for every instance.

`prepare` knows nothing of what names mean: it collects the references of an expression, and at run time asks the
`Scope` what a reference leads to, handing over as many steps as the source has (`instance.web[0].id`), index keys
already evaluated. The scope says how many steps it consumed; the rest are applied here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from brevplan.diagnostics import Diagnostic, Severity, Source, Span, suggest
from brevplan.lang import ast
from brevplan.lang.convert import ConversionError, convert, unify_two
from brevplan.lang.functions import registry
from brevplan.lang.gate import Environment, FunctionError, invoke
from brevplan.lang.operators import OperationError, binary, get_attribute, get_index, text_of, to_bool, unary
from brevplan.lang.printing import print_value
from brevplan.lang.types import ANY, BOOL, STRING, ListType, SetType, TupleType, Type, friendly
from brevplan.lang.values import (
    EMPTY_TUPLE,
    List,
    Mapping_,
    Object,
    Secret,
    Sequence_,
    Set,
    Tuple,
    Unknown,
    Value,
    has_unknown,
    reveal,
    type_of,
)


class Key(NamedTuple):
    """An index step of a reference; an attribute step is a plain `str`."""

    value: Value


Step = str | Key


class Scope(Protocol):
    """What names mean while an expression runs."""

    environment: Environment

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        """Give the value that a reference leads to and how many of its steps that took; raise `EvaluationError`."""
        ...


class EvaluationError(Exception):
    """An expression has no value. `catchable` is false for mistakes that `try` and `can` must not hide."""

    def __init__(self, diagnostic: Diagnostic, *, catchable: bool = True) -> None:
        super().__init__(diagnostic.summary)
        self.diagnostic = diagnostic
        self.catchable = catchable


def fault(
    summary: str, detail: str, span: Span, *, hint: str = "", catchable: bool = True
) -> EvaluationError:
    return EvaluationError(Diagnostic(Severity.ERROR, summary, detail, span, hint), catchable=catchable)


@dataclass(frozen=True, slots=True)
class Reference:
    """A name used in an expression with the steps written after it, as far as these are fixed."""

    root: str
    steps: tuple[Step, ...]
    span: Span

    def __str__(self) -> str:
        text = self.root
        for step in self.steps:
            text += f".{step}" if isinstance(step, str) else f"[{print_value(step.value)}]"
        return text


Loop = Mapping[str, Value]
Run = Callable[[Scope, Loop], Value]

_NO_LOOP: Loop = {}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An expression ready to run, with every reference it makes."""

    node: ast.Expression
    references: tuple[Reference, ...]
    run: Run

    def evaluate(self, scope: Scope) -> Value:
        """Give the value; raise `EvaluationError` with the values of the references in its diagnostic."""
        try:
            return self.run(scope, _NO_LOOP)
        except EvaluationError as problem:
            raise EvaluationError(self._explained(problem.diagnostic, scope), catchable=problem.catchable) from None
        except RecursionError:
            raise fault("Expression nested too deeply", "Split it into several locals.", self.node.span) from None

    def _explained(self, diagnostic: Diagnostic, scope: Scope) -> Diagnostic:
        if diagnostic.values:
            return diagnostic
        values = tuple(_reference_values(self.references, scope))
        return Diagnostic(
            diagnostic.severity,
            diagnostic.summary,
            diagnostic.detail,
            diagnostic.span,
            diagnostic.hint,
            values,
            diagnostic.address,
        )


def _reference_values(references: Sequence[Reference], scope: Scope) -> Iterator[tuple[str, str]]:
    shown: set[str] = set()
    for reference in references[:8]:
        name = str(reference)
        if name in shown:
            continue
        shown.add(name)
        try:
            value, used = scope.resolve(reference.root, reference.steps, reference.span)
            for step in reference.steps[used:]:
                value = get_attribute(value, step) if isinstance(step, str) else get_index(value, step.value)
        except (EvaluationError, OperationError):
            continue
        yield name, print_value(value, short=True)


def prepare(node: ast.Expression) -> Prepared:
    """Make an expression ready to run; raise `EvaluationError` when it is nested too deeply."""
    references: list[Reference] = []
    try:
        run = _Preparer(references).expression(node, frozenset())
    except RecursionError:
        raise fault("Expression nested too deeply", "Split it into several locals.", node.span) from None
    return Prepared(node, tuple(references), run)


class _Preparer:
    """Walks a tree once. `loops` are the names bound by enclosing `for` expressions."""

    def __init__(self, references: list[Reference]) -> None:
        self.references = references

    def expression(self, node: ast.Expression, loops: frozenset[str]) -> Run:
        match node:
            case ast.Literal(value=value):
                return lambda scope, loop: value
            case ast.Parentheses():
                return self.expression(node.inner, loops)
            case ast.Template():
                return self.template(node, loops)
            case ast.Variable() | ast.GetAttr() | ast.Index():
                return self.traversal(node, loops)
            case ast.SplatItem():
                return lambda scope, loop: loop["*"]
            case ast.Splat():
                return self.splat(node, loops)
            case ast.TupleCons():
                items = [self.expression(item, loops) for item in node.items]
                return lambda scope, loop: Tuple([run(scope, loop) for run in items])
            case ast.ObjectCons():
                return self.object(node, loops)
            case ast.ForTuple():
                return self.for_tuple(node, loops)
            case ast.ForObject():
                return self.for_object(node, loops)
            case ast.Conditional():
                return self.conditional(node, loops)
            case ast.Binary(operator="&&" | "||"):
                return self.logical(node, loops)
            case ast.Binary():
                return self.binary(node, loops)
            case ast.Unary(operator=symbol):
                operand = self.expression(node.operand, loops)
                return lambda scope, loop: _at(node, unary, symbol, operand(scope, loop))
            case ast.Call():
                return self.call(node, loops)
        raise AssertionError(f"no such expression: {type(node).__name__}")

    def traversal(self, node: ast.Expression, loops: frozenset[str]) -> Run:
        steps: list[tuple[str | Run, ast.Expression]] = []
        current: ast.Expression = node
        while isinstance(current, (ast.GetAttr, ast.Index)):
            if isinstance(current, ast.GetAttr):
                steps.append((current.name, current))
                current = current.object
            else:
                steps.append((self.index_key(current.key, loops), current))
                current = current.object
        steps.reverse()
        if isinstance(current, ast.Variable) and current.name not in loops:
            return self.reference(current, node, steps)
        base = self.loop_value(current) if isinstance(current, ast.Variable) else self.expression(current, loops)
        return lambda scope, loop: _follow(base(scope, loop), steps, scope, loop)

    def index_key(self, key: ast.Expression, loops: frozenset[str]) -> Run:
        return self.expression(key, loops)

    def loop_value(self, node: ast.Variable) -> Run:
        name = node.name
        return lambda scope, loop: loop[name]

    def reference(
        self, root: ast.Variable, whole: ast.Expression, steps: list[tuple[str | Run, ast.Expression]]
    ) -> Run:
        name, span = root.name, Span(root.source, root.start, whole.end)
        fixed: list[Step] = []
        for step, node in steps:
            if isinstance(step, str):
                fixed.append(step)
            elif isinstance(node, ast.Index) and _literal_key(node.key) is not None:
                fixed.append(Key(_literal_key(node.key)))
            else:
                break
        self.references.append(Reference(name, tuple(fixed), span))
        if len(fixed) == len(steps):
            return _fixed_reference(name, tuple(fixed), steps, span)

        def run(scope: Scope, loop: Loop) -> Value:
            ready = tuple(step if isinstance(step, str) else Key(step(scope, loop)) for step, _ in steps)
            value, used = scope.resolve(name, ready, span)
            for position in range(used, len(ready)):
                value = _step(value, ready[position], steps[position][1])
            return value

        return run

    def splat(self, node: ast.Splat, loops: frozenset[str]) -> Run:
        source = self.expression(node.object, loops)
        each = None if isinstance(node.each, ast.SplatItem) else self.expression(node.each, loops)

        def apply(item: Value, scope: Scope, loop: Loop) -> Value:
            return item if each is None else each(scope, {**loop, "*": item})

        def run(scope: Scope, loop: Loop) -> Value:
            value = source(scope, loop)
            if isinstance(value, Secret):
                return Secret(spread(value.value, scope, loop))
            return spread(value, scope, loop)

        def spread(value: Value, scope: Scope, loop: Loop) -> Value:
            if value is None:
                return EMPTY_TUPLE
            if isinstance(value, Unknown):
                kind = value.type
                if isinstance(kind, (ListType, SetType, TupleType)) or kind is ANY:
                    return Unknown(ANY, value.because, not_null=True)
                return Tuple([apply(value, scope, loop)])
            if isinstance(value, Sequence_):
                items = [apply(item, scope, loop) for item in value.items]
                if isinstance(value, Tuple):
                    return Tuple(items)
                if each is None and isinstance(value, (List, Set)):
                    return List(items, value.element)
                return List(items)
            return Tuple([apply(value, scope, loop)])

        return run

    def object(self, node: ast.ObjectCons, loops: frozenset[str]) -> Run:
        pairs = [
            (item, self.expression(item.key, loops), self.expression(item.value, loops)) for item in node.items
        ]

        def run(scope: Scope, loop: Loop) -> Value:
            items: dict[str, Value] = {}
            hidden = False
            because: str | None = None
            for item, key, value in pairs:
                name = key(scope, loop)
                if name.__class__ is not str:
                    hidden = hidden or isinstance(name, Secret)
                    name = _object_key(reveal(name), item.key)
                if isinstance(name, Unknown):
                    because = name.because
                    value(scope, loop)  # its reads count
                    continue
                items[name] = value(scope, loop)  # type: ignore[index]
            result: Value = Object(items) if because is None else Unknown(ANY, because, not_null=True)
            return Secret(result) if hidden else result

        return run

    def conditional(self, node: ast.Conditional, loops: frozenset[str]) -> Run:
        test = self.expression(node.condition, loops)
        then, otherwise = self.expression(node.then, loops), self.expression(node.otherwise, loops)

        def run(scope: Scope, loop: Loop) -> Value:
            condition = test(scope, loop)
            hidden = isinstance(condition, Secret)
            truth = _at(node.condition, to_bool, reveal(condition), "The condition")
            if isinstance(truth, Unknown):
                a, b = then(scope, loop), otherwise(scope, loop)
                result: Value = Unknown(_unified(node, a, b), truth.because)
            else:
                chosen, other = (then, otherwise) if truth else (otherwise, then)
                result = chosen(scope, loop)
                try:
                    rest = other(scope, loop)
                except EvaluationError as problem:
                    if not problem.catchable:
                        raise
                else:
                    result = _as_common(node, result, rest)
            return Secret(result) if hidden else result

        return run

    def logical(self, node: ast.Binary, loops: frozenset[str]) -> Run:
        left, right = self.expression(node.left, loops), self.expression(node.right, loops)
        deciding = node.operator == "||"

        def run(scope: Scope, loop: Loop) -> Value:
            first = left(scope, loop)
            hidden = isinstance(first, Secret)
            a = _at(node.left, to_bool, reveal(first), f'The left side of "{node.operator}"')
            if a is deciding:
                return Secret(a) if hidden else a
            second = right(scope, loop)
            hidden = hidden or isinstance(second, Secret)
            b = _at(node.right, to_bool, reveal(second), f'The right side of "{node.operator}"')
            result: Value
            if isinstance(a, Unknown):
                # a right side that decides makes the left one's value irrelevant
                result = deciding if b is deciding else Unknown(BOOL, a.because, not_null=True)
            else:
                result = b
            return Secret(result) if hidden else result

        return run

    def binary(self, node: ast.Binary, loops: frozenset[str]) -> Run:
        symbol = node.operator
        left, right = self.expression(node.left, loops), self.expression(node.right, loops)
        return lambda scope, loop: _at(node, binary, symbol, left(scope, loop), right(scope, loop))

    def template(self, node: ast.Template, loops: frozenset[str]) -> Run:
        if not node.parts:
            return lambda scope, loop: ""
        if len(node.parts) == 1:
            part = node.parts[0]
            if isinstance(part, str):
                return lambda scope, loop: part
            if isinstance(part, ast.Expression):
                return self.expression(part, loops)
        pieces = self.pieces(node.parts, loops)
        return lambda scope, loop: _joined(_flat(pieces, scope, loop))

    def pieces(self, parts: Sequence[str | ast.TemplatePart], loops: frozenset[str]) -> list[Piece]:
        return [part if isinstance(part, str) else self.piece(part, loops) for part in parts]

    def piece(self, part: ast.TemplatePart, loops: frozenset[str]) -> Piece:
        if isinstance(part, ast.TemplateIf):
            return self.template_if(part, loops)
        if isinstance(part, ast.TemplateFor):
            return self.template_for(part, loops)
        run, node = self.expression(part, loops), part

        def text(scope: Scope, loop: Loop) -> Value:
            value = run(scope, loop)
            if value.__class__ is str:
                return value
            return Secret(_at(node, text_of, value.value)) if isinstance(value, Secret) else _at(node, text_of, value)

        return text

    def template_if(self, part: ast.TemplateIf, loops: frozenset[str]) -> Run:
        test = self.expression(part.condition, loops)
        then, otherwise = self.pieces(part.then, loops), self.pieces(part.otherwise, loops)

        def run(scope: Scope, loop: Loop) -> Value:
            condition = test(scope, loop)
            truth = _at(part.condition, to_bool, reveal(condition), "The condition")
            if isinstance(truth, Unknown):
                for branch in (then, otherwise):
                    _joined(_flat(branch, scope, loop))
                result: Value = Unknown(STRING, truth.because, not_null=True)
            else:
                result = _joined(_flat(then if truth else otherwise, scope, loop))
            return Secret(result) if isinstance(condition, Secret) else result

        return run

    def template_for(self, part: ast.TemplateFor, loops: frozenset[str]) -> Run:
        names = {part.value_name} | ({part.key_name} if part.key_name else set())
        collection = self.expression(part.collection, loops)
        body = self.pieces(part.body, loops | names)

        def run(scope: Scope, loop: Loop) -> Value:
            value = collection(scope, loop)
            pairs = _pairs(reveal(value), part.collection)
            if isinstance(pairs, Unknown):
                return Unknown(STRING, pairs.because, not_null=True)
            texts = [_joined(_flat(body, scope, _bind(loop, part, key, item))) for key, item in pairs]
            result = _joined(texts)
            return Secret(result) if isinstance(value, Secret) else result

        return run

    def for_tuple(self, node: ast.ForTuple, loops: frozenset[str]) -> Run:
        inner = loops | {node.value_name} | ({node.key_name} if node.key_name else set())
        collection = self.expression(node.collection, loops)
        value = self.expression(node.value, inner)
        condition = self.expression(node.condition, inner) if node.condition is not None else None

        def run(scope: Scope, loop: Loop) -> Value:
            source = collection(scope, loop)
            pairs = _pairs(reveal(source), node.collection)
            if isinstance(pairs, Unknown):
                return _marked(Unknown(ANY, pairs.because, not_null=True), source)
            items: list[Value] = []
            hidden = isinstance(source, Secret)
            because: str | None = None
            for key, item in pairs:
                bound = _bind(loop, node, key, item)
                if condition is not None:
                    wanted, secret = _wanted(condition(scope, bound), node.condition)
                    hidden = hidden or secret
                    if isinstance(wanted, Unknown):
                        because = wanted.because
                        continue
                    if not wanted:
                        continue
                items.append(value(scope, bound))
            result: Value = Tuple(items) if because is None else Unknown(ANY, because, not_null=True)
            return Secret(result) if hidden else result

        return run

    def for_object(self, node: ast.ForObject, loops: frozenset[str]) -> Run:
        inner = loops | {node.value_name} | ({node.key_name} if node.key_name else set())
        collection = self.expression(node.collection, loops)
        key_of, value = self.expression(node.key, inner), self.expression(node.value, inner)
        condition = self.expression(node.condition, inner) if node.condition is not None else None

        def run(scope: Scope, loop: Loop) -> Value:
            source = collection(scope, loop)
            pairs = _pairs(reveal(source), node.collection)
            if isinstance(pairs, Unknown):
                return _marked(Unknown(ANY, pairs.because, not_null=True), source)
            groups: dict[str, list[Value]] = {}
            hidden = isinstance(source, Secret)
            because: str | None = None
            for key, item in pairs:
                bound = _bind(loop, node, key, item)
                if condition is not None:
                    wanted, secret = _wanted(condition(scope, bound), node.condition)
                    hidden = hidden or secret
                    if isinstance(wanted, Unknown):
                        because = wanted.because
                        continue
                    if not wanted:
                        continue
                raw = key_of(scope, bound)
                hidden = hidden or isinstance(raw, Secret)
                name = _object_key(reveal(raw), node.key)
                if isinstance(name, Unknown):
                    because = name.because
                    continue
                if name in groups and not node.grouped:
                    raise fault(
                        "Duplicate object key",
                        f'Two elements give the key "{name}".',
                        node.key.span,
                        hint="Write three dots behind the value to collect all values of a key: => value...",
                    )
                groups.setdefault(name, []).append(value(scope, bound))
            if because is not None:
                result: Value = Unknown(ANY, because, not_null=True)
            else:
                result = Object({n: Tuple(items) if node.grouped else items[0] for n, items in groups.items()})
            return Secret(result) if hidden else result

        return run

    def call(self, node: ast.Call, loops: frozenset[str]) -> Run:
        name = node.name.removeprefix("core::")
        arguments = [self.expression(argument, loops) for argument in node.arguments]
        special = _SPECIAL.get(name)
        if special is not None:
            return special(node, arguments)
        function = registry.lookup(node.name)
        if function is None:
            raise fault(
                "Call to unknown function",
                f'There is no function named "{node.name}".',
                Span(node.source, node.start, node.name_end),
                hint=suggest(name, registry.names()),
            )

        def run(scope: Scope, loop: Loop) -> Value:
            values = [argument(scope, loop) for argument in arguments]
            hidden = False
            if node.expand:
                values, hidden = _expanded(node, values)
                if values and isinstance(values[-1], _UnknownRest):
                    return Unknown(function.returns, values[-1].because)
            try:
                result = invoke(function, scope.environment, values)
            except FunctionError as problem:
                raise _function_fault(node, problem) from None
            return Secret(result) if hidden else result

        return run


Piece = str | Run


class _UnknownRest(Unknown):
    """Stands for the arguments of `f(list...)` when the list is not known."""

    __slots__ = ()


def _function_fault(node: ast.Call, problem: FunctionError) -> EvaluationError:
    position = problem.argument
    at: ast.Node = node
    if position is not None and position < len(node.arguments):
        at = node.arguments[position]
    message = problem.message[:1].upper() + problem.message[1:]
    return fault(f'Error in function "{node.name}"', f"{message.rstrip('.')}.", at.span)


def _expanded(node: ast.Call, values: list[Value]) -> tuple[list[Value], bool]:
    last = values.pop()
    hidden = isinstance(last, Secret)
    last = reveal(last)
    if isinstance(last, Unknown):
        return [*values, _UnknownRest(ANY, last.because)], hidden
    if not isinstance(last, Sequence_):
        raise fault(
            "Invalid expansion",
            f"Only a list, a set or a tuple can be spread by three dots, not {friendly(type_of(last)) if last is not None else 'null'}.",
            node.arguments[-1].span,
        )
    return [*values, *last.items], hidden


def _fixed_reference(
    name: str, fixed: tuple[Step, ...], steps: list[tuple[str | Run, ast.Expression]], span: Span
) -> Run:
    def run(scope: Scope, loop: Loop) -> Value:
        value, used = scope.resolve(name, fixed, span)
        if used == len(fixed):
            return value
        for position in range(used, len(fixed)):
            value = _step(value, fixed[position], steps[position][1])
        return value

    return run


def _literal_key(node: ast.Expression) -> Value:
    if isinstance(node, ast.Literal):
        return node.value
    if isinstance(node, ast.Template) and len(node.parts) == 1 and isinstance(node.parts[0], str):
        return node.parts[0]
    return None


def _step(value: Value, step: Step, node: ast.Expression) -> Value:
    if isinstance(step, str):
        return _at_name(node, value, step)
    return _at(node, get_index, value, step.value)


def _at_name(node: ast.Expression, value: Value, name: str) -> Value:
    try:
        return get_attribute(value, name)
    except OperationError as problem:
        raise fault(
            problem.summary, problem.message, Span(node.source, node.end - len(name), node.end), hint=problem.hint
        ) from None


def _follow(value: Value, steps: list[tuple[str | Run, ast.Expression]], scope: Scope, loop: Loop) -> Value:
    for step, node in steps:
        value = _step(value, step if isinstance(step, str) else Key(step(scope, loop)), node)
    return value


def _at(node: ast.Node, apply: Callable[..., Any], *arguments: Any) -> Any:
    """Call an operation; give its error the place of the node. The result has the type that `apply` gives."""
    try:
        return apply(*arguments)
    except OperationError as problem:
        raise fault(problem.summary, problem.message, node.span, hint=problem.hint) from None


def _object_key(value: Value, node: ast.Expression) -> str | Unknown:
    if isinstance(value, Unknown):
        return value
    if value is None:
        raise fault("Null object key", "The key of an object cannot be null.", node.span)
    try:
        name = convert(value, STRING)
    except ConversionError as problem:
        raise fault("Invalid object key", f"The key of an object is a text: {problem}.", node.span) from None
    assert isinstance(name, str)
    return name


def _unified(node: ast.Conditional, a: Value, b: Value) -> Type:
    found = unify_two(type_of(a), type_of(b))
    if found is None:
        raise _inconsistent(node, a, b)
    return found


def _inconsistent(node: ast.Conditional, a: Value, b: Value) -> EvaluationError:
    return fault(
        "Inconsistent conditional result types",
        f"The two results must have one type in common: the true one is {friendly(type_of(a))}, "
        f"the false one is {friendly(type_of(b))}.",
        node.span,
    )


def _as_common(node: ast.Conditional, result: Value, rest: Value) -> Value:
    """Convert the chosen arm to the type that both arms have in common."""
    if result is None or rest is None or result.__class__ is rest.__class__ is str:
        return result
    target = unify_two(type_of(result), type_of(rest))
    if target is None:
        raise _inconsistent(node, result, rest)
    try:
        return convert(result, target)
    except ConversionError:
        raise _inconsistent(node, result, rest) from None


def _flat(pieces: list[Piece], scope: Scope, loop: Loop) -> list[Value]:
    return [piece if isinstance(piece, str) else piece(scope, loop) for piece in pieces]


def _joined(parts: Sequence[Value]) -> Value:
    try:
        return "".join(parts)  # type: ignore[arg-type]  # the usual case: nothing but texts
    except TypeError:
        pass
    hidden = any(isinstance(part, Secret) for part in parts)
    bare = [reveal(part) for part in parts]
    unknown = next((part for part in bare if isinstance(part, Unknown)), None)
    result: Value = (
        Unknown(STRING, unknown.because, not_null=True) if unknown is not None else "".join(bare)  # type: ignore[arg-type]
    )
    return Secret(result) if hidden else result


def _pairs(value: Value, node: ast.Expression) -> list[tuple[Value, Value]] | Unknown:
    match value:
        case Unknown():
            return value
        case Set():
            return [(item, item) for item in value.items]
        case Sequence_():
            return list(enumerate(value.items))
        case Mapping_():
            return list(value.items.items())
        case None:
            raise fault("Iteration over null", "The collection is null.", node.span)
        case _:
            raise fault(
                "Iteration over a single value",
                f"A list, set, map or object is needed, not {friendly(type_of(value))}.",
                node.span,
            )


def _bind(
    loop: Loop, node: ast.ForTuple | ast.ForObject | ast.TemplateFor, key: Value, item: Value
) -> dict[str, Value]:
    bound = dict(loop)
    if node.key_name is not None:
        bound[node.key_name] = key
    bound[node.value_name] = item
    return bound


def _wanted(value: Value, node: ast.Expression | None) -> tuple[bool | Unknown, bool]:
    assert node is not None
    return _at(node, to_bool, reveal(value), 'The condition behind "if"'), isinstance(value, Secret)


def _marked(value: Value, source: Value) -> Value:
    return Secret(value) if isinstance(source, Secret) else value


# Special forms: functions that receive expressions, or that need the evaluator itself.


def _try(node: ast.Call, arguments: list[Run]) -> Run:
    def run(scope: Scope, loop: Loop) -> Value:
        reasons = []
        for argument in arguments:
            try:
                return argument(scope, loop)
            except EvaluationError as problem:
                if not problem.catchable:
                    raise
                reasons.append(problem.diagnostic)
        listed = "; ".join(f"{reason.summary} ({reason.detail.rstrip('.')})" for reason in reasons)
        raise fault('Error in function "try"', f"No expression succeeded: {listed or 'none was given'}.", node.span)

    return run


def _can(node: ast.Call, arguments: list[Run]) -> Run:
    if len(arguments) != 1:
        raise fault('Error in function "can"', "Exactly one expression is needed.", node.span)

    def run(scope: Scope, loop: Loop) -> Value:
        try:
            value = arguments[0](scope, loop)
        except EvaluationError as problem:
            if not problem.catchable:
                raise
            return False
        return Unknown(BOOL, "", not_null=True) if has_unknown(value) else True

    return run


def _templatefile(node: ast.Call, arguments: list[Run]) -> Run:
    _require_two(node)

    def run(scope: Scope, loop: Loop) -> Value:
        path, names = arguments[0](scope, loop), arguments[1](scope, loop)
        hidden = isinstance(path, Secret) or isinstance(names, Secret)
        path, names = reveal(path), reveal(names)
        if isinstance(path, Unknown) or isinstance(names, Unknown):
            return Unknown(STRING, "", not_null=True)
        if not isinstance(path, str):
            raise fault('Error in function "templatefile"', "The path must be a text.", node.arguments[0].span)
        try:
            text = scope.environment.files.read_bytes(path).decode("utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
            raise fault(
                'Error in function "templatefile"', f'Cannot read "{path}": {reason}.', node.arguments[0].span
            ) from None
        result = render_template(Source(path, text), names, scope, node)
        return Secret(result) if hidden else result

    return run


def _templatestring(node: ast.Call, arguments: list[Run]) -> Run:
    _require_two(node)

    def run(scope: Scope, loop: Loop) -> Value:
        text, names = arguments[0](scope, loop), arguments[1](scope, loop)
        hidden = isinstance(text, Secret) or isinstance(names, Secret)
        text, names = reveal(text), reveal(names)
        if isinstance(text, Unknown) or isinstance(names, Unknown):
            return Unknown(STRING, "", not_null=True)
        if not isinstance(text, str):
            raise fault('Error in function "templatestring"', "The template must be a text.", node.arguments[0].span)
        result = render_template(Source("template", text), names, scope, node)
        return Secret(result) if hidden else result

    return run


def _require_two(node: ast.Call) -> None:
    if len(node.arguments) != 2:
        raise fault(
            f'Error in function "{node.name}"', "A template and an object of its variables are needed.", node.span
        )


@dataclass(slots=True)
class _TemplateScope:
    """Inside a rendered template only the variables given to it have meaning."""

    environment: Environment
    names: Mapping[str, Value]

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        if root not in self.names:
            raise fault(
                "Missing template variable",
                f'The template uses "{root}", and it was not given.',
                span,
                hint=suggest(root, self.names) or f'Add "{root}" to the variables of the template.',
            )
        return self.names[root], 0


def render_template(source: Source, names: Value, scope: Scope, node: ast.Call) -> Value:
    from brevplan.lang.parser import parse_template  # the parser is not needed to run literals

    if not isinstance(names, Mapping_):
        raise fault(f'Error in function "{node.name}"', "The variables must be an object.", node.arguments[1].span)
    key = ("template", source.name, source.text)
    prepared = scope.environment.cache.get(key)
    if not isinstance(prepared, Prepared):
        template, problems = parse_template(source)
        if template is None or problems:
            raise EvaluationError(problems[0])
        if any(isinstance(n, ast.Call) and n.name == "templatefile" for n in _walk(template)):
            raise fault(
                "Recursive template", "A template may not call templatefile itself.", node.span
            )
        prepared = prepare(template)
        scope.environment.cache[key] = prepared
    return prepared.run(_TemplateScope(scope.environment, names.items), _NO_LOOP)


def _walk(node: ast.Node) -> Iterator[ast.Node]:
    yield node
    for child in ast.children(node):
        yield from _walk(child)


def _type(node: ast.Call, arguments: list[Run]) -> Run:
    if len(arguments) != 1:
        raise fault('Error in function "type"', "Exactly one value is needed.", node.span)
    return lambda scope, loop: str(type_of(arguments[0](scope, loop)))


_SPECIAL: dict[str, Callable[[ast.Call, list[Run]], Run]] = {
    "try": _try,
    "can": _can,
    "templatefile": _templatefile,
    "templatestring": _templatestring,
    "type": _type,
}
