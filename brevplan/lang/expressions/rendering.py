"""`templatefile` and `templatestring`: templates that are found when the expression runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from brevplan.diagnostics import Source, Span, suggest
from brevplan.lang import ast
from brevplan.lang.gate import Environment
from brevplan.lang.prepared import NO_LOOP, EvaluationError, Loop, Prepared, Run, Scope, Step, fault
from brevplan.lang.printing import is_name, quote
from brevplan.lang.types import ANY
from brevplan.lang.values import Mapping_, Unknown, Value, all_marks, mark, mark_whole, marks_of, reveal


def make_templatefile(node: ast.Call, arguments: list[Run]) -> Run:
    def read(path: str, scope: Scope) -> Source:
        try:
            return Source(path, scope.environment.files.read_bytes(path).decode("utf-8"))
        except (OSError, UnicodeDecodeError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
            raise fault(
                'Error in function "templatefile"', f'Cannot read "{path}": {reason}.', node.arguments[0].span
            ) from None

    return _rendering(node, arguments, read, "The path")


def make_templatestring(node: ast.Call, arguments: list[Run]) -> Run:
    return _rendering(node, arguments, lambda text, scope: Source("template", text), "The template")


def _rendering(node: ast.Call, arguments: list[Run], read: Callable[[str, Scope], Source], what: str) -> Run:
    """Make a call that renders a template: `read` gets its text by the first argument, `what` names that one."""
    title = f'Error in function "{node.name}"'
    if len(arguments) != 2:
        raise fault(title, "A template and an object of its variables are needed.", node.span)

    def run(scope: Scope, loop: Loop) -> Value:
        first, given = arguments[0](scope, loop), arguments[1](scope, loop)
        marks = marks_of(first) | marks_of(given)
        text, names = reveal(first), reveal(given)
        waits = next((value for value in (text, names) if isinstance(value, Unknown)), None)
        if waits is not None:
            return mark(Unknown(ANY, waits.because), marks | all_marks(names))
        if not isinstance(text, str):
            raise fault(title, f"{what} must be a text.", node.arguments[0].span)
        try:
            result = _render(read(text, scope), names, scope, node)
        except EvaluationError as problem:
            if not marks:
                raise
            # the message would show a part of the template, or of what is filled in
            reason = "The template cannot be rendered; why is not shown, because it or its variables are secret."
            raise fault(title, reason, node.span, catchable=problem.catchable) from None
        return mark_whole(result, marks)

    return run


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


def _render(source: Source, names: Value, scope: Scope, node: ast.Call) -> Value:
    if not isinstance(names, Mapping_):
        raise fault(f'Error in function "{node.name}"', "The variables must be an object.", node.arguments[1].span)
    for name in names:
        if not is_name(name):
            reason = f"{quote(name)} cannot name a variable: a letter or _ comes first, then letters, digits, _ and -."
            raise fault(f'Error in function "{node.name}"', reason, node.arguments[1].span)
    key = ("template", source.name, source.text)
    prepared = scope.environment.cache.get(key)
    if not isinstance(prepared, Prepared):
        prepared = scope.environment.cache[key] = _prepared_template(source, node)
    return prepared.run(_TemplateScope(scope.environment, names.items), NO_LOOP)


def _prepared_template(source: Source, node: ast.Call) -> Prepared:
    from brevplan.lang.parser import parse_template  # the parser is not needed to run literals

    template, problems = parse_template(source)
    if template is None or problems:
        raise EvaluationError(problems[0])
    if any(isinstance(inner, ast.Call) and inner.name.endswith("templatefile") for inner in _walk(template)):
        raise fault("Recursive template", "A template may not call templatefile itself.", node.span)
    from brevplan.lang.evaluate import prepare  # the evaluator knows the special forms, and they need it for templates

    return prepare(template)


def _walk(node: ast.Node) -> Iterator[ast.Node]:
    yield node
    for child in ast.children(node):
        yield from _walk(child)
