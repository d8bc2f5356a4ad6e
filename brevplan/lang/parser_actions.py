"""What the parser builds when it has recognised a rule of the grammar: one small function for each.

A function is given the builder and the values of the rule's symbols: tokens as they are, nodes for what has a value,
plain lists and tuples in between. Rules that only hand on a single value, such as the thirteen steps of the
precedence ladder, have no function at all; the parser does not stop at them.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from brevplan.diagnostics import Diagnostic, Source, Span, error
from brevplan.lang import ast
from brevplan.lang.ast import MAX_DEPTH
from brevplan.lang.numbers import parse_number
from brevplan.lang.parser_templates import Mark, Piece, assemble
from brevplan.lang.scanner import Token


class Builder:
    """Holds what the functions need beside their arguments: the source and the place for messages."""

    __slots__ = ("problems", "source")

    def __init__(self, source: Source, problems: list[Diagnostic]) -> None:
        self.source = source
        self.problems = problems

    def error(self, summary: str, detail: str, start: int, end: int, *, hint: str = "") -> None:
        self.problems.append(error(summary, detail, Span(self.source, start, end), hint=hint))


Values = list[Any]
Action = Callable[[Builder, Values], Any]


def nothing(_: Builder, __: Values) -> None:
    """The parser itself keeps the items of a body; the grammar's list of them stays empty."""


def first(_: Builder, values: Values) -> Any:
    return values[0]


def second(_: Builder, values: Values) -> Any:
    return values[1]


def new_list(_: Builder, values: Values) -> Values:
    return [values[0]]


def new_list_of_second(_: Builder, values: Values) -> Values:
    return [values[1]]


def longer(_: Builder, values: Values) -> Values:
    values[0].append(values[1])
    items: Values = values[0]
    return items


def longer_by_third(_: Builder, values: Values) -> Values:
    values[0].append(values[2])
    items: Values = values[0]
    return items


def number(builder: Builder, values: Values) -> ast.Literal:
    _, text, start, end = values[0]
    value: int | Fraction = 0
    try:
        value = int(text) if len(text) < 100 and text.isdecimal() else parse_number(text)
    except ValueError as reason:
        detail = str(reason)
        builder.error("Invalid number", f"{detail[:1].upper()}{detail[1:]}.", start, end)
    return ast.Literal(builder.source, start, end, value)


_WORDS = {"true": True, "false": False, "null": None}


def word(builder: Builder, values: Values) -> ast.Literal:
    _, text, start, end = values[0]
    return ast.Literal(builder.source, start, end, _WORDS[text])


def variable(builder: Builder, values: Values) -> ast.Variable:
    _, name, start, end = values[0]
    check_plain_name(builder, values[0])
    return ast.Variable(builder.source, start, end, name)


def check_plain_name(builder: Builder, token: Token) -> None:
    if ":" in token[1]:
        builder.error(
            "Missing open parenthesis",
            "Only the name of a function can have parts joined by ::, and a call needs parentheses.",
            token[2],
            token[3],
            hint=f"Write {token[1]}(…) to call the function.",
        )


def parentheses(builder: Builder, values: Values) -> ast.Parentheses:
    return ast.Parentheses(builder.source, values[0][2], values[2][3], values[1])


def conditional(builder: Builder, values: Values) -> ast.Conditional:
    condition, _, then, _, otherwise = values
    return ast.Conditional(builder.source, condition.start, otherwise.end, condition, then, otherwise)


def binary(builder: Builder, values: Values) -> ast.Binary:
    left, (token, right) = values
    signs = token[1]
    if signs.__class__ is tuple:
        # A keyword used as a name (`in - 1`) makes the scanner take the minus behind it for a sign.
        right = _signed(builder, signs[1:], right)
        signs = signs[0][0]
    return ast.Binary(builder.source, left.start, right.end, signs, left, right)


def unary(builder: Builder, values: Values) -> ast.Expression:
    token, operand = values
    signs = token[1] if token[1].__class__ is tuple else ((token[1], token[2]),)
    return _signed(builder, signs, operand)


def _signed(builder: Builder, signs: tuple[tuple[str, int], ...], operand: ast.Expression) -> ast.Expression:
    for sign, start in reversed(signs):
        operand = ast.Unary(builder.source, start, operand.end, sign, operand)
    return operand


def call(builder: Builder, values: Values) -> ast.Call:
    _, name, start, name_end = values[0]
    arguments, expand = values[2] if len(values) == 4 else ([], False)
    return ast.Call(builder.source, start, values[-1][3], name, arguments, expand, name_end)


def arguments(_: Builder, values: Values) -> tuple[Values, bool]:
    rest = values[1] if len(values) > 1 and values[1].__class__ is list else []
    last = values[-1]
    return [values[0], *rest], last.__class__ is tuple and last[0] == "ELLIPSIS"


def tuple_of(builder: Builder, values: Values) -> ast.TupleCons:
    items: Values = []
    for value in values[1:-1]:
        if value.__class__ is list:
            items = value
        elif value.__class__ is not tuple:
            items.append(value)
    return ast.TupleCons(builder.source, values[0][2], values[-1][3], items)


def object_of(builder: Builder, values: Values) -> ast.ObjectCons:
    items = values[1] if len(values) == 3 else []
    if items and isinstance(key := items[0].key, ast.Literal) and key.value == "for":
        builder.error(
            "Invalid for expression",
            'A first key "for" begins a for expression.',
            key.start,
            key.end,
            hint='Put the key in quotes: "for" = …',
        )
    return ast.ObjectCons(builder.source, values[0][2], values[-1][3], items)


def key(builder: Builder, values: Values) -> ast.Expression:
    """Give the key of an object item: a bare word is its own name, whatever it means elsewhere."""
    value = values[0]
    if value.__class__ is tuple:
        return ast.Literal(builder.source, value[2], value[3], value[1])
    if isinstance(value, ast.Variable):
        return ast.Literal(builder.source, value.start, value.end, value.name)
    if isinstance(value, ast.Literal) and (value.value is None or isinstance(value.value, bool)):
        return ast.Literal(builder.source, value.start, value.end, builder.source.text[value.start : value.end])
    expression: ast.Expression = value
    return expression


def for_tuple(builder: Builder, values: Values) -> ast.ForTuple:
    key_name, value_name, collection = values[1]
    condition = values[3] if len(values) == 5 else None
    span = values[0][2], values[-1][3]
    return ast.ForTuple(builder.source, *span, key_name, value_name, collection, values[2], condition)


def for_object(builder: Builder, values: Values) -> ast.ForObject:
    key_name, value_name, collection = values[1]
    grouped = values[5].__class__ is tuple and values[5][0] == "ELLIPSIS"
    condition = values[-2] if isinstance(values[-2], ast.Expression) and len(values) > 6 else None
    span = values[0][2], values[-1][3]
    return ast.ForObject(
        builder.source, *span, key_name, value_name, collection, values[2], values[4], condition, grouped
    )


def for_intro(builder: Builder, values: Values) -> tuple[str | None, str, ast.Expression]:
    names = [value for value in values[1:-3] if value[0] != "COMMA"]
    for name in names:
        check_plain_name(builder, name)
    return names[0][1] if len(names) == 2 else None, names[-1][1], values[-2]


Step = tuple[str, Any, int]
"""What stands behind an operand: `("attribute", name, end)` or `("index" or "legacy", key, end)`."""


def attribute_step(builder: Builder, values: Values) -> Step:
    check_plain_name(builder, values[1])
    return "attribute", values[1][1], values[1][3]


def index_step(_: Builder, values: Values) -> Step:
    return "index", values[1], values[2][3]


def legacy_step(builder: Builder, values: Values) -> Step:
    return "legacy", number(builder, [values[1]]), values[1][3]


def apply_step(builder: Builder, values: Values) -> ast.Expression:
    return _step(builder, values[0], values[1])


def _step(builder: Builder, target: ast.Expression, step: Step) -> ast.Expression:
    kind, operand, end = step
    if kind == "attribute":
        return ast.GetAttr(builder.source, target.start, end, target, operand)
    return ast.Index(builder.source, target.start, end, target, operand)


def splat_steps(_: Builder, values: Values) -> tuple[int, int, list[Step]]:
    token = values[0]
    return token[2], token[3], values[1] if len(values) == 2 else []


def full_splat(builder: Builder, values: Values) -> ast.Expression:
    """Apply all that follows `[*]` to each element; so does a further splat, which becomes part of `each`."""
    target, (start, end, steps) = values
    last = steps[-1][2] if steps else end
    return _inside_splats(builder, target, last, lambda inner: _splat(builder, inner, (start, end), steps, full=True))


def attribute_splat(builder: Builder, values: Values) -> ast.Expression:
    """Apply the attributes that follow `.*` to each element, and what stands behind an index to the whole."""
    target, (start, end, steps) = values
    count = next((place for place, step in enumerate(steps) if step[0] == "index"), len(steps))
    last = steps[-1][2] if steps else end

    def wrap(inner: ast.Expression) -> ast.Expression:
        if isinstance(inner, ast.Splat):
            builder.error(
                "Nested splat expression not allowed",
                'A ".*" cannot follow another one.',
                start,
                end,
                hint="Write [*] for both.",
            )
        result = _splat(builder, inner, (start, end), steps[:count], full=False)
        for step in steps[count:]:
            result = _step(builder, result, step)
        return result

    return _inside_splats(builder, target, last, wrap)


def _inside_splats(
    builder: Builder, target: ast.Expression, end: int, wrap: Callable[[ast.Expression], ast.Expression]
) -> ast.Expression:
    """Wrap the innermost `each` of a chain of full splats, or the target itself when it is not one."""
    chain: list[ast.Splat] = []
    inner = target
    # A chain that is too deep will be refused anyway, and need not be walked in full for each of its links.
    while isinstance(inner, ast.Splat) and inner.full and len(chain) <= MAX_DEPTH:
        chain.append(inner)
        inner = inner.each
    result = wrap(inner)
    for splat in reversed(chain):
        result = ast.Splat(builder.source, splat.start, end, splat.object, True, result)
    return result


def _splat(
    builder: Builder, target: ast.Expression, star: tuple[int, int], steps: list[Step], *, full: bool
) -> ast.Expression:
    each: ast.Expression = ast.SplatItem(builder.source, *star)
    for step in steps:
        each = _step(builder, each, step)
    return ast.Splat(builder.source, target.start, each.end, target, full, each)


def template(builder: Builder, values: Values) -> ast.Template:
    opening, closing = values[0], values[-1]
    pieces: list[Piece] = values[1] if len(values) == 3 else []
    flush = opening[1] == "<<-"
    if len(pieces) == 1 and isinstance(pieces[0], str) and not flush:
        parts: list[str | ast.TemplatePart] = [pieces[0]]
    else:
        parts = assemble(builder.source, pieces, flush=flush, problems=builder.problems)
    return ast.Template(builder.source, opening[2], closing[3], parts, opening[1] != '"')


def text_piece(_: Builder, values: Values) -> str:
    text: str = values[0][1]
    return text


def interpolation(_: Builder, values: Values) -> Mark:
    return _mark("expr", values, value=values[1])


def _mark(kind: str, values: Values, **contents: Any) -> Mark:
    opening, closing = values[0], values[-1]
    return Mark(kind, opening[2], closing[3], opening[1].endswith("~"), closing[1].startswith("~"), **contents)


def directive_if(_: Builder, values: Values) -> Mark:
    return _mark("if", values, value=values[2])


def directive_for(builder: Builder, values: Values) -> Mark:
    names = [value for value in values[2:-3] if value[0] != "COMMA"]
    for name in names:
        check_plain_name(builder, name)
    key_name = names[0][1] if len(names) == 2 else None
    return _mark("for", values, value=values[-2], key_name=key_name, value_name=names[-1][1])


def directive_word(_: Builder, values: Values) -> Mark:
    return _mark(values[1][1], values)


BY_HEAD: dict[str, Action] = {
    "arguments": arguments,
    "attr_splat": splat_steps,
    "attr_splat_expr_term": attribute_splat,
    "body": nothing,
    "braces_index": index_step,
    "float_lit": number,
    "for_cond": second,
    "for_intro": for_intro,
    "for_object_expr": for_object,
    "for_tuple_expr": for_tuple,
    "full_splat": splat_steps,
    "full_splat_expr_term": full_splat,
    "function_call": call,
    "get_attr": attribute_step,
    "get_attr_expr_term": apply_step,
    "index_expr_term": apply_step,
    "int_lit": number,
    "interpolation": interpolation,
    "object": object_of,
    "object_elem_key": key,
    "short_index": legacy_step,
    "string": template,
    "template_else": directive_word,
    "template_endfor": directive_word,
    "template_endif": directive_word,
    "template_for_start": directive_for,
    "template_if_start": directive_if,
    "tuple": tuple_of,
    "unary_op": unary,
}
"""For nonterminals all of whose rules are built alike."""

BY_RULE: dict[str, Action] = {
    "__arguments_star_6 : COMMA expression": new_list_of_second,
    "__arguments_star_6 : __arguments_star_6 COMMA expression": longer_by_third,
    "__attr_splat_star_7 : __attr_splat_star_7 get_attr": longer,
    "__attr_splat_star_7 : __attr_splat_star_7 index": longer,
    "__attr_splat_star_7 : get_attr": new_list,
    "__attr_splat_star_7 : index": new_list,
    "__block_star_1 : __block_star_1 _attribute_name": longer,
    "__block_star_1 : __block_star_1 string": longer,
    "__block_star_1 : _attribute_name": new_list,
    "__block_star_1 : string": new_list,
    "__body_star_0 : __body_star_0 attribute": nothing,
    "__body_star_0 : __body_star_0 block": nothing,
    "__body_star_0 : attribute": nothing,
    "__body_star_0 : block": nothing,
    "__object_star_5 : __object_star_5 object_elem": longer,
    "__object_star_5 : __object_star_5 object_elem COMMA": longer,
    "__object_star_5 : object_elem": new_list,
    "__object_star_5 : object_elem COMMA": new_list,
    "__string_star_3 : __string_star_3 string_part": longer,
    "__string_star_3 : string_part": new_list,
    "__tuple_star_4 : __tuple_star_4 expression COMMA": longer,
    "__tuple_star_4 : expression COMMA": new_list,
    "expr_term : LPAR expression RPAR": parentheses,
    "expr_term : identifier": variable,
    "expr_term : literal_value": word,
    "expression : or_expr QMARK expression COLON expression": conditional,
    "string_part : STRING_CHARS": text_piece,
    **{
        f"{level}_binary_term : {level}_binary_operator {operand}": lambda _, values: (values[0], values[1])
        for level, operand in (
            ("add", "mul_expr"),
            ("and", "eq_expr"),
            ("eq", "rel_expr"),
            ("mul", "unary_expr"),
            ("or", "and_expr"),
            ("rel", "add_expr"),
        )
    },
    **{
        f"{level}_expr : {level}_expr {level}_binary_term": binary for level in ("add", "and", "eq", "mul", "or", "rel")
    },
}
