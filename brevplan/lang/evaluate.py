"""Evaluation: a syntax tree is prepared once into nested functions, and these are run for every instance.

`prepare` knows nothing of what names mean: it collects the references of an expression, and at run time asks the
`Scope` what a reference leads to, handing over as many steps as the source has (`instance.web[0].id`), index keys
already evaluated. The scope says how many steps it consumed; the rest are applied here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from brevplan.diagnostics import Span, suggest
from brevplan.lang import ast
from brevplan.lang.convert import ConversionError, convert, unify, unify_two
from brevplan.lang.functions import registry
from brevplan.lang.gate import Function, FunctionError, invoke
from brevplan.lang.operators import OperationError, binary, get_attribute, get_index, text_of, to_bool, unary
from brevplan.lang.prepared import (
    EvaluationError,
    Key,
    Loop,
    Prepared,
    Reference,
    Run,
    Scope,
    Step,
    attempt,
    fault,
    marked,
    too_deep,
)
from brevplan.lang.printing import print_value
from brevplan.lang.special_forms import SPECIAL_FORMS
from brevplan.lang.types import ANY, BOOL, STRING, ListType, MapType, Primitive, SetType, TupleType, Type, friendly
from brevplan.lang.values import (
    EMPTY_TUPLE,
    MAX_TEXT,
    List,
    Mapping_,
    Object,
    Secret,
    Sequence_,
    Set,
    Tuple,
    Unknown,
    Value,
    has_secret,
    is_open,
    rebuild,
    reveal,
    reveal_deep,
    type_of,
)


def prepare(node: ast.Expression) -> Prepared:
    """Make an expression ready to run; raise `EvaluationError` when it is nested too deeply."""
    references: list[Reference] = []
    try:
        run = _Preparer(references).expression(node, frozenset())
    except RecursionError:
        raise too_deep(node) from None
    return Prepared(node, tuple(references), run)


class _Preparer:
    """Walks a tree once. `loops` are the names bound by enclosing `for` expressions."""

    def __init__(self, references: list[Reference]) -> None:
        self.references = references

    def expression(self, node: ast.Expression, loops: frozenset[str]) -> Run:
        match node:
            case ast.Literal(value=value):
                constant = normalize("NFC", value) if isinstance(value, str) else value
                return lambda scope, loop: constant
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
            case ast.Unary():
                return self.unary(node, loops)
            case ast.Call():
                return self.call(node, loops)
        raise AssertionError(f"no such expression: {type(node).__name__}")

    def traversal(self, node: ast.Expression, loops: frozenset[str]) -> Run:
        nodes: list[ast.GetAttr | ast.Index] = []
        base = node
        while isinstance(base, (ast.GetAttr, ast.Index)):
            nodes.append(base)
            base = base.object
        nodes.reverse()
        if isinstance(base, ast.Variable) and base.name not in loops:
            return self.reference(base, node, nodes, loops)
        source = self.loop_value(base) if isinstance(base, ast.Variable) else self.expression(base, loops)
        if not nodes:
            return source
        steps = self.steps(nodes, loops)
        return lambda scope, loop: _follow(source(scope, loop), _ready(steps, scope, loop), nodes)

    def loop_value(self, node: ast.Variable) -> Run:
        name = node.name
        return lambda scope, loop: loop[name]

    def steps(self, nodes: list[ast.GetAttr | ast.Index], loops: frozenset[str]) -> list[str | Run]:
        return [node.name if isinstance(node, ast.GetAttr) else self.expression(node.key, loops) for node in nodes]

    def reference(
        self,
        root: ast.Variable,
        whole: ast.Expression,
        nodes: list[ast.GetAttr | ast.Index],
        loops: frozenset[str],
    ) -> Run:
        name, span = root.name, Span(root.source, root.start, whole.end)
        fixed = tuple(_fixed_steps(nodes))
        self.references.append(Reference(name, fixed, span))
        if len(fixed) == len(nodes):

            def run_fixed(scope: Scope, loop: Loop) -> Value:
                value, used = scope.resolve(name, fixed, span)
                return _follow(value, fixed, nodes, used)

            return run_fixed
        steps = self.steps(nodes, loops)

        def run(scope: Scope, loop: Loop) -> Value:
            ready = _ready(steps, scope, loop)
            value, used = scope.resolve(name, ready, span)
            return _follow(value, ready, nodes, used)

        return run

    def splat(self, node: ast.Splat, loops: frozenset[str]) -> Run:
        source = self.expression(node.object, loops)
        each = self.expression(node.each, loops)

        def run(scope: Scope, loop: Loop) -> Value:
            def apply(item: Value) -> Value:
                return each(scope, {**loop, "*": item})

            value = source(scope, loop)
            if isinstance(value, Secret):
                return Secret(reveal_deep(_spread(_members_marked(value), apply)))
            return _spread(value, apply)

        return run

    def object(self, node: ast.ObjectCons, loops: frozenset[str]) -> Run:
        pairs = [(item, self.expression(item.key, loops), self.expression(item.value, loops)) for item in node.items]

        def run(scope: Scope, loop: Loop) -> Value:
            items: dict[str, Value] = {}
            hidden = False
            waits: Unknown | None = None
            for item, key, value in pairs:
                name = key(scope, loop)
                if name.__class__ is not str:
                    hidden = hidden or isinstance(name, Secret)
                    name = _object_key(name, item.key)
                element = value(scope, loop)
                if isinstance(name, Unknown):
                    waits = name
                    hidden = hidden or has_secret(element)
                else:
                    items[name] = element
            return _outcome(Object(items), waits, hidden)

        return run

    def conditional(self, node: ast.Conditional, loops: frozenset[str]) -> Run:
        test = self.expression(node.condition, loops)
        then, otherwise = self.expression(node.then, loops), self.expression(node.otherwise, loops)

        def run(scope: Scope, loop: Loop) -> Value:
            condition = test(scope, loop)
            truth = _truth(node.condition, condition, "The condition")
            if isinstance(truth, Unknown):
                result = _undecided(node, truth, (then, otherwise), scope, loop)
            else:
                chosen, other = (then, otherwise) if truth else (otherwise, then)
                result = chosen(scope, loop)
                rest = attempt(other, scope, loop)
                if not isinstance(rest, EvaluationError):
                    result = _as_common(node, result, rest, is_then=truth)
            return Secret(result) if isinstance(condition, Secret) else result

        return run

    def logical(self, node: ast.Binary, loops: frozenset[str]) -> Run:
        left, right = self.expression(node.left, loops), self.expression(node.right, loops)
        deciding = node.operator == "||"
        left_side, right_side = f'The left side of "{node.operator}"', f'The right side of "{node.operator}"'

        def run(scope: Scope, loop: Loop) -> Value:
            first = left(scope, loop)
            a = _truth(node.left, first, left_side)
            if a is deciding:
                return Secret(a) if isinstance(first, Secret) else a
            try:
                second = right(scope, loop)
                b = _truth(node.right, second, right_side)
            except EvaluationError as problem:
                if not isinstance(a, Unknown) or not problem.catchable:
                    raise
                # the left side may yet decide, and then the right one's mistake does not matter
                second = b = a
            result: Value = b
            if isinstance(a, Unknown):
                result = deciding if b is deciding else Unknown(BOOL, a.because, not_null=True)
            return Secret(result) if isinstance(first, Secret) or isinstance(second, Secret) else result

        return run

    def binary(self, node: ast.Binary, loops: frozenset[str]) -> Run:
        symbol = node.operator
        left, right = self.expression(node.left, loops), self.expression(node.right, loops)

        def run(scope: Scope, loop: Loop) -> Value:
            a, b = left(scope, loop), right(scope, loop)
            try:
                return binary(symbol, a, b)
            except OperationError as problem:
                raise _placed(problem, node.span) from None

        return run

    def unary(self, node: ast.Unary, loops: frozenset[str]) -> Run:
        symbol, operand = node.operator, self.expression(node.operand, loops)

        def run(scope: Scope, loop: Loop) -> Value:
            value = operand(scope, loop)
            try:
                return unary(symbol, value)
            except OperationError as problem:
                raise _placed(problem, node.span) from None

        return run

    def template(self, node: ast.Template, loops: frozenset[str]) -> Run:
        if all(isinstance(part, str) for part in node.parts):
            constant = _joined([part for part in node.parts if isinstance(part, str)])
            return lambda scope, loop: constant
        if len(node.parts) == 1 and isinstance(node.parts[0], ast.Expression):
            return self.expression(node.parts[0], loops)
        return self.text(node.parts, loops)

    def text(self, parts: Sequence[str | ast.TemplatePart], loops: frozenset[str]) -> Run:
        """Join the parts of a template to one text."""
        pieces = [part if isinstance(part, str) else self.piece(part, loops) for part in parts]
        place = next((part for part in parts if not isinstance(part, str)), None)

        def run(scope: Scope, loop: Loop) -> Value:
            text = _joined([p if isinstance(p, str) else p(scope, loop) for p in pieces])
            if text.__class__ is str and len(text) > MAX_TEXT and place is not None:
                raise fault("Text too long", f"The text gets more than {MAX_TEXT} characters.", place.span)
            return text

        return run

    def piece(self, part: ast.TemplatePart, loops: frozenset[str]) -> Run:
        if isinstance(part, ast.TemplateIf):
            return self.template_if(part, loops)
        if isinstance(part, ast.TemplateFor):
            return self.template_for(part, loops)
        run, node = self.expression(part, loops), part

        def text(scope: Scope, loop: Loop) -> Value:
            value = run(scope, loop)
            if value.__class__ is str:
                return value
            try:
                return Secret(text_of(value.value)) if isinstance(value, Secret) else text_of(value)
            except OperationError as problem:
                raise _placed(problem, node.span) from None

        return text

    def template_if(self, part: ast.TemplateIf, loops: frozenset[str]) -> Run:
        test = self.expression(part.condition, loops)
        then, otherwise = self.text(part.then, loops), self.text(part.otherwise, loops)

        def run(scope: Scope, loop: Loop) -> Value:
            condition = test(scope, loop)
            hidden = isinstance(condition, Secret)
            truth = _truth(part.condition, condition, "The condition")
            if isinstance(truth, Unknown):
                secrets = [_touched(branch, scope, loop) for branch in (then, otherwise)]
                return marked(Unknown(STRING, truth.because, not_null=True), hidden or any(secrets))
            return marked((then if truth else otherwise)(scope, loop), hidden)

        return run

    def template_for(self, part: ast.TemplateFor, loops: frozenset[str]) -> Run:
        head = _LoopHead(part, self.expression(part.collection, loops), None)
        body = self.text(part.body, loops | head.names)

        def run(scope: Scope, loop: Loop) -> Value:
            rounds = _Rounds(head, scope, loop)
            texts: list[Value] = []
            for names, is_certain in rounds:
                if is_certain:
                    texts.append(body(scope, names))
                else:
                    rounds.hidden |= _touched(body, scope, names)
            if rounds.waits is not None:
                return marked(Unknown(STRING, rounds.waits.because, not_null=True), rounds.hidden)
            return marked(_joined(texts), rounds.hidden)

        return run

    def for_tuple(self, node: ast.ForTuple, loops: frozenset[str]) -> Run:
        head = self.loop_head(node, loops)
        value = self.expression(node.value, loops | head.names)

        def run(scope: Scope, loop: Loop) -> Value:
            rounds = _Rounds(head, scope, loop)
            items: list[Value] = []
            for names, is_certain in rounds:
                if is_certain:
                    items.append(value(scope, names))
                else:
                    rounds.hidden |= _touched(value, scope, names)
            return _outcome(Tuple(items), rounds.waits, rounds.hidden)

        return run

    def for_object(self, node: ast.ForObject, loops: frozenset[str]) -> Run:
        head = self.loop_head(node, loops)
        key_of = self.expression(node.key, loops | head.names)
        value = self.expression(node.value, loops | head.names)

        def run(scope: Scope, loop: Loop) -> Value:
            rounds = _Rounds(head, scope, loop)
            groups: dict[str, list[Value]] = {}
            for names, is_certain in rounds:
                if not is_certain:
                    rounds.hidden |= _touched(key_of, scope, names) | _touched(value, scope, names)
                    continue
                raw = key_of(scope, names)
                rounds.hidden |= isinstance(raw, Secret)
                name = _object_key(raw, node.key)
                item = value(scope, names)
                if isinstance(name, Unknown):
                    rounds.waits = name
                    rounds.hidden |= has_secret(item)
                    continue
                if name in groups and not node.grouped:
                    raise _duplicate_key(node, raw)
                groups.setdefault(name, []).append(item)
            result = Object({name: Tuple(found) if node.grouped else found[0] for name, found in groups.items()})
            return _outcome(result, rounds.waits, rounds.hidden)

        return run

    def loop_head(self, node: ast.ForTuple | ast.ForObject, loops: frozenset[str]) -> _LoopHead:
        head = _LoopHead(node, self.expression(node.collection, loops), None)
        if node.condition is not None:
            head.condition = self.expression(node.condition, loops | head.names)
        return head

    def call(self, node: ast.Call, loops: frozenset[str]) -> Run:
        name = node.name.removeprefix("core::")
        arguments = [self.expression(argument, loops) for argument in node.arguments]
        special = SPECIAL_FORMS.get(name)
        if special is not None:
            if node.expand:
                raise fault("Invalid expansion", f'The arguments of "{name}" are written out.', node.arguments[-1].span)
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
            try:
                if node.expand:
                    return _spread_call(node, function, scope, values)
                return invoke(function, scope.environment, values)
            except FunctionError as problem:
                raise _function_fault(node, problem) from None

        return run


def _outcome(result: Value, waits: Unknown | None, hidden: bool) -> Value:
    """Give the collection that was built, or the unknown that stands for it when something decides it later."""
    return marked(result if waits is None else Unknown(ANY, waits.because, not_null=True), hidden)


def _placed(problem: OperationError, span: Span) -> EvaluationError:
    return fault(problem.summary, problem.message, span, hint=problem.hint)


def _touched(run: Run, scope: Scope, loop: Loop) -> bool:
    """Evaluate what does not count yet, for the references it reads; tell whether there is a secret in it."""
    value = attempt(run, scope, loop)
    return not isinstance(value, EvaluationError) and has_secret(value)


# References: a name and the steps behind it.


def _fixed_steps(nodes: Sequence[ast.GetAttr | ast.Index]) -> Iterator[Step]:
    """Give the steps that do not depend on anything, up to the first that does."""
    for node in nodes:
        if isinstance(node, ast.GetAttr):
            yield node.name
            continue
        key = _literal_key(node.key)
        if key is None:
            return
        yield Key(key)


def _literal_key(node: ast.Expression) -> Value:
    if isinstance(node, ast.Literal):
        return node.value
    if isinstance(node, ast.Template) and len(node.parts) == 1 and isinstance(node.parts[0], str):
        return normalize("NFC", node.parts[0])
    return None


def _ready(steps: Sequence[str | Run], scope: Scope, loop: Loop) -> tuple[Step, ...]:
    return tuple([step if isinstance(step, str) else Key(step(scope, loop)) for step in steps])


def _follow(value: Value, steps: Sequence[Step], nodes: Sequence[ast.GetAttr | ast.Index], start: int = 0) -> Value:
    """Apply the steps from `start` on to a value; a mistake underlines the name or the key."""
    for position in range(start, len(steps)):
        step = steps[position]
        try:
            value = get_attribute(value, step) if isinstance(step, str) else get_index(value, step.value)
        except OperationError as problem:
            raise _placed(problem, _step_span(nodes[position])) from None
    return value


def _step_span(node: ast.GetAttr | ast.Index) -> Span:
    if isinstance(node, ast.Index):
        return node.key.span
    return Span(node.source, node.end - len(node.name), node.end)


# Splats.


def _spread(value: Value, apply: Callable[[Value], Value]) -> Value:
    match value:
        case None:
            return EMPTY_TUPLE
        case Unknown():
            return _spread_unknown(value, apply)
        case Tuple():
            return Tuple(map(apply, value.items))
        case List() | Set():
            items = [apply(item) for item in value.items]
            element = unify(map(type_of, items)) if items else _type_of_none(value.element, apply)
            if element is None:  # what follows the star may differ where the elements hold `any`
                return Tuple(items)
            return List([convert(item, element) for item in items], element)
        case _:
            return Tuple([apply(value)])


def _type_of_none(element: Type, apply: Callable[[Value], Value]) -> Type:
    """Give the type that the elements of an empty list would come to have."""
    try:
        stand_in = apply(Unknown(element))
    except EvaluationError as problem:
        if not problem.catchable:
            raise
        return ANY  # no element, no mistake
    return ANY if is_open(stand_in) else type_of(stand_in)


def _spread_unknown(value: Unknown, apply: Callable[[Value], Value]) -> Value:
    match value.type:
        case ListType(element=element) | SetType(element=element):
            item = apply(Unknown(element, value.because))
            type_ = ListType(ANY if is_open(item) else type_of(item))
            return marked(Unknown(type_, value.because, not_null=True), has_secret(item))
        case TupleType(elements=elements):
            items = Tuple([apply(Unknown(element, value.because)) for element in elements])
            return Unknown(type_of(items), value.because, not_null=True)
    if value.not_null and value.type is not ANY:
        return Tuple([apply(value)])
    item = apply(value)  # its reads count; whether there will be an element at all is not known
    return marked(Unknown(ANY, value.because, not_null=True), has_secret(item))


def _members_marked(value: Secret) -> Value:
    """Mark the elements instead of the whole, so that no message about one of them shows it."""
    match value.value:
        case Tuple() | List():
            return rebuild(value.value, Secret)
        case Set(items=items, element=element):
            return List(map(Secret, items), element)
        case None | Unknown():
            return value.value
        case _:
            return Tuple([value])


# Conditions.


def _truth(node: ast.Node, value: Value, what: str) -> bool | Unknown:
    if value is True or value is False:
        return value
    try:
        return to_bool(value, what)
    except OperationError as problem:
        raise _placed(problem, node.span) from None


def _undecided(node: ast.Conditional, truth: Unknown, arms: tuple[Run, Run], scope: Scope, loop: Loop) -> Value:
    """Give the unknown that stands for one of the arms. An arm that fails may turn out not to be the chosen one."""
    first, second = (attempt(arm, scope, loop) for arm in arms)
    if isinstance(first, EvaluationError):
        if isinstance(second, EvaluationError):
            raise first
        return marked(Unknown(ANY, truth.because), has_secret(second))
    if isinstance(second, EvaluationError):
        return marked(Unknown(ANY, truth.because), has_secret(first))
    type_ = ANY if is_open(first) or is_open(second) else unify_two(type_of(first), type_of(second))
    if type_ is None:
        raise _inconsistent(node, first, second)
    result = Unknown(type_, truth.because, not_null=_is_not_null(first) and _is_not_null(second))
    return marked(result, has_secret(first) or has_secret(second))


def _is_not_null(value: Value) -> bool:
    inner = reveal(value)
    return inner.not_null if isinstance(inner, Unknown) else inner is not None


def _inconsistent(node: ast.Conditional, then: Value, otherwise: Value) -> EvaluationError:
    types = (type_of(then), type_of(otherwise))
    one, other = map(friendly, types)
    if one == other and not has_secret(then) and not has_secret(otherwise):
        one, other = map(str, types)  # in full: the difference is inside
    return fault(
        "Inconsistent conditional result types",
        f"The two results must have one type in common: the true one is {one}, the false one is {other}.",
        node.span,
    )


def _as_common(node: ast.Conditional, result: Value, rest: Value, *, is_then: bool) -> Value:
    """Convert the chosen arm to the type that both arms have in common."""
    if result is None or rest is None or result.__class__ is rest.__class__ is str or is_open(result):
        return result
    then, otherwise = (result, rest) if is_then else (rest, result)
    target = unify_two(type_of(result), type_of(rest))
    if target is None:
        raise _inconsistent(node, then, otherwise)
    try:
        return convert(result, target)
    except ConversionError:
        raise _inconsistent(node, then, otherwise) from None


# Object keys and templates.


def _object_key(value: Value, node: ast.Expression) -> str | Unknown:
    """Give the text of a key; the secret mark is the caller's matter."""
    if value.__class__ is str:
        return value
    if reveal(value) is None:
        raise fault("Null object key", "The key of an object cannot be null.", node.span)
    try:
        name = reveal(convert(value, STRING))
    except ConversionError as problem:
        raise fault("Invalid object key", f"The key of an object is a text: {problem}.", node.span) from None
    assert isinstance(name, (str, Unknown))
    return name


def _duplicate_key(node: ast.ForObject, key: Value) -> EvaluationError:
    return fault(
        "Duplicate object key",
        f"Two elements give the key {print_value(key, short=True)}.",
        node.key.span,
        hint="Write three dots behind the value to collect all values of a key: => value...",
    )


def _joined(parts: Sequence[Value]) -> Value:
    try:
        text = "".join(parts)  # type: ignore[arg-type]  # the usual case: nothing but texts
    except TypeError:
        return _joined_bare([reveal(part) for part in parts], hidden=any(isinstance(part, Secret) for part in parts))
    return text if text.isascii() else normalize("NFC", text)


def _joined_bare(parts: Sequence[Value], *, hidden: bool) -> Value:
    unknown = next((part for part in parts if isinstance(part, Unknown)), None)
    return marked(_joined(parts) if unknown is None else Unknown(STRING, unknown.because, not_null=True), hidden)


# Loops.


@dataclass(slots=True)
class _LoopHead:
    """What is written before the value of a `for`."""

    node: ast.ForTuple | ast.ForObject | ast.TemplateFor
    collection: Run
    condition: Run | None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name in (self.node.key_name, self.node.value_name) if name is not None)


class _Rounds:
    """One run of a loop: gives the names bound for each element, and whether the element is certain to count.

    Afterwards `waits` is the unknown that decides which elements there are, if there is one, and `hidden` says
    whether a secret decided it. The names are bound in one mapping that changes from round to round.
    """

    __slots__ = ("head", "hidden", "outer", "scope", "waits")

    def __init__(self, head: _LoopHead, scope: Scope, outer: Loop) -> None:
        self.head = head
        self.scope = scope
        self.outer = outer
        self.hidden = False
        self.waits: Unknown | None = None

    def __iter__(self) -> Iterator[tuple[Loop, bool]]:
        node, condition = self.head.node, self.head.condition
        source = self.head.collection(self.scope, self.outer)
        self.hidden = isinstance(source, Secret)
        collection = reveal(source)
        names = dict(self.outer)
        if isinstance(collection, Unknown) and not isinstance(collection.type, Primitive):
            self.waits = collection
            self._bind(names, *_stand_ins(collection))
            self.hidden |= condition is not None and _touched(condition, self.scope, names)
            yield names, False
            return
        for key, item in _pairs(collection, node.collection):
            self._bind(names, key, item)
            wanted = True if condition is None else self._is_wanted(condition, names)
            if isinstance(wanted, Unknown):
                self.waits = wanted
                yield names, False
            elif wanted:
                yield names, True

    def _bind(self, names: dict[str, Value], key: Value, item: Value) -> None:
        node = self.head.node
        if node.key_name is not None:
            names[node.key_name] = Secret(key) if self.hidden else key
        names[node.value_name] = Secret(item) if self.hidden else item

    def _is_wanted(self, condition: Run, names: Loop) -> bool | Unknown:
        node = self.head.node
        assert not isinstance(node, ast.TemplateFor)
        assert node.condition is not None
        value = condition(self.scope, names)
        self.hidden |= isinstance(value, Secret)
        return _truth(node.condition, value, 'The condition behind "if"')


def _pairs(value: Value, node: ast.Expression) -> Iterable[tuple[Value, Value]]:
    match value:
        case Set():
            return zip(value.items, value.items, strict=True)
        case Sequence_():
            return enumerate(value.items)
        case Mapping_():
            return value.items.items()
        case None:
            raise fault("Iteration over null", "The collection is null.", node.span)
        case _:
            raise fault(
                "Iteration over a single value",
                f"A list, set, map or object is needed, not {friendly(type_of(value))}.",
                node.span,
            )


def _stand_ins(collection: Unknown) -> tuple[Value, Value]:
    """Give an unknown key and an unknown element of a collection that is not known."""
    kind, because = collection.type, collection.because
    element = kind.element if isinstance(kind, (ListType, SetType, MapType)) else ANY
    return Unknown(ANY, because, not_null=True), Unknown(element, because)


# Calls.


def _spread_call(node: ast.Call, function: Function, scope: Scope, values: list[Value]) -> Value:
    """Call a function whose last argument is a list of arguments."""
    last = values.pop()
    rest = reveal(last)
    if isinstance(rest, Unknown) and (rest.type is ANY or isinstance(rest.type, (ListType, SetType, TupleType))):
        result = Unknown(function.returns, rest.because, not_null=function.never_null)
        return marked(result, has_secret(last) or any(map(has_secret, values)))
    if not isinstance(rest, Sequence_):
        given = friendly(type_of(rest)) if rest is not None else "null"
        raise fault(
            "Invalid expansion",
            f"Only a list, a set or a tuple can be spread by three dots, not {given}.",
            node.arguments[-1].span,
        )
    if isinstance(last, Secret):
        return marked(invoke(function, scope.environment, [*values, *map(Secret, rest.items)]), True)
    return invoke(function, scope.environment, [*values, *rest.items])


def _function_fault(node: ast.Call, problem: FunctionError) -> EvaluationError:
    position = problem.argument
    at: ast.Node = node
    if position is not None and node.expand:
        position = min(position, len(node.arguments) - 1)
    if position is not None and position < len(node.arguments):
        at = node.arguments[position]
    message = problem.message[:1].upper() + problem.message[1:]
    return fault(f'Error in function "{node.name}"', f"{message.rstrip('.')}.", at.span)


# Special forms: functions that receive expressions, or that need the evaluator itself.
