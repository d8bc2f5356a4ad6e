"""The syntax tree: what the parser gives and everything after it reads.

Every node knows its source and the stretch of characters it came from, so any later stage can point at it.
Nodes are made once by the parser and not changed afterwards; they are not frozen only because making a frozen
dataclass costs three times as much, and a large file has hundreds of thousands of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from brevplan.diagnostics import Source, Span

MAX_DEPTH = 200
"""How deep brackets, blocks and expressions may nest: every later stage walks the tree by recursion."""


@dataclass(slots=True)
class Node:
    source: Source
    start: int
    end: int

    @property
    def span(self) -> Span:
        return Span(self.source, self.start, self.end)


@dataclass(slots=True)
class Expression(Node):
    """Base of everything that has a value."""


@dataclass(slots=True)
class Literal(Expression):
    """A number, `true`, `false`, `null`, or the name of an object key written bare."""

    value: bool | int | Fraction | str | None


@dataclass(slots=True)
class Template(Expression):
    """A quoted string or a heredoc. Literal parts are decoded `str`; the others are to be evaluated.

    An empty `parts` is the empty string; a template whose single part is an expression has that
    expression's value untouched. `heredoc` says which of the two ways of writing it was used.
    """

    parts: list[str | TemplatePart]
    heredoc: bool = False


@dataclass(slots=True)
class TemplateIf(Node):
    """`%{ if c }…%{ else }…%{ endif }`; `otherwise` is empty without an else."""

    condition: Expression
    then: list[str | TemplatePart]
    otherwise: list[str | TemplatePart]


@dataclass(slots=True)
class TemplateFor(Node):
    """`%{ for k, v in c }…%{ endfor }`; `key_name` is None with a single name."""

    key_name: str | None
    value_name: str
    collection: Expression
    body: list[str | TemplatePart]


TemplatePart = Expression | TemplateIf | TemplateFor


@dataclass(slots=True)
class Parentheses(Expression):
    inner: Expression


@dataclass(slots=True)
class Variable(Expression):
    """The first name of a reference: `var` in `var.x`, `instance` in `instance.web`, or a loop name."""

    name: str


@dataclass(slots=True)
class GetAttr(Expression):
    """`object.name`; the span reaches from the start of the object to the end of the name."""

    object: Expression
    name: str


@dataclass(slots=True)
class Index(Expression):
    """`object[key]`, and the legacy `object.0`, whose key is a `Literal`."""

    object: Expression
    key: Expression


@dataclass(slots=True)
class Splat(Expression):
    """`object[*]…` (`full`) or `object.*…`. `each` is evaluated for every element, which it reads as `SplatItem`.

    `each` is the `SplatItem` itself when nothing follows the star. After `.*`, an index is not part of
    `each`: it is an `Index` around the whole splat.
    """

    object: Expression
    full: bool
    each: Expression


@dataclass(slots=True)
class SplatItem(Expression):
    """The element at hand inside `Splat.each` of the innermost enclosing splat."""


@dataclass(slots=True)
class TupleCons(Expression):
    items: list[Expression]


@dataclass(slots=True)
class ObjectItem(Node):
    """`key = value`. A bare key is a `Literal` of its name; a key in parentheses is a `Parentheses`."""

    key: Expression
    value: Expression


@dataclass(slots=True)
class ObjectCons(Expression):
    items: list[ObjectItem]


@dataclass(slots=True)
class ForTuple(Expression):
    """`[for k, v in c : value if condition]`."""

    key_name: str | None
    value_name: str
    collection: Expression
    value: Expression
    condition: Expression | None


@dataclass(slots=True)
class ForObject(Expression):
    """`{for k, v in c : key => value... if condition}`; `grouped` is the three dots."""

    key_name: str | None
    value_name: str
    collection: Expression
    key: Expression
    value: Expression
    condition: Expression | None
    grouped: bool


@dataclass(slots=True)
class Conditional(Expression):
    condition: Expression
    then: Expression
    otherwise: Expression


@dataclass(slots=True)
class Binary(Expression):
    """`operator` is one of `|| && == != < <= > >= + - * / %`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(slots=True)
class Unary(Expression):
    """`operator` is `-` or `!`."""

    operator: str
    operand: Expression


@dataclass(slots=True)
class Call(Expression):
    """`name(arguments)`; `name` keeps its `::` parts; `expand` says that the last argument ends in three dots.

    `name_end` is the offset behind the name, so that a message can underline the name alone.
    """

    name: str
    arguments: list[Expression]
    expand: bool
    name_end: int


@dataclass(slots=True)
class Attribute(Node):
    """`name = value`; the span covers the whole of it, `name_end` is the offset behind the name."""

    name: str
    value: Expression
    name_end: int

    @property
    def name_span(self) -> Span:
        return Span(self.source, self.start, self.name_end)


@dataclass(slots=True)
class Label(Node):
    """A block label with its decoded text; the span includes the quotes of a quoted one."""

    text: str
    quoted: bool


@dataclass(slots=True)
class Block(Node):
    """`type label… { body }`; the span covers all of it, `header_end` is the offset behind the opening brace."""

    type: str
    labels: list[Label]
    body: Body
    header_end: int

    @property
    def header_span(self) -> Span:
        """The type and labels, without the opening brace."""
        last = self.labels[-1].end if self.labels else self.start + len(self.type)
        return Span(self.source, self.start, last)


@dataclass(slots=True)
class Body(Node):
    """The inside of a file or of a block, in the order written. An attribute name occurs once."""

    attributes: dict[str, Attribute] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)


def children(node: Node | str) -> Iterator[Node]:
    """Give the direct sub-nodes of an expression or template part, in the order written."""
    match node:
        case Template(parts=parts):
            yield from (part for part in parts if not isinstance(part, str))
        case TemplateIf():
            yield node.condition
            yield from (part for part in (*node.then, *node.otherwise) if not isinstance(part, str))
        case TemplateFor():
            yield node.collection
            yield from (part for part in node.body if not isinstance(part, str))
        case Parentheses():
            yield node.inner
        case GetAttr():
            yield node.object
        case Index():
            yield node.object
            yield node.key
        case Splat():
            yield node.object
            yield node.each
        case TupleCons():
            yield from node.items
        case ObjectCons():
            for item in node.items:
                yield item.key
                yield item.value
        case ForTuple() | ForObject():
            yield node.collection
            if isinstance(node, ForObject):
                yield node.key
            yield node.value
            if node.condition is not None:
                yield node.condition
        case Conditional():
            yield node.condition
            yield node.then
            yield node.otherwise
        case Binary():
            yield node.left
            yield node.right
        case Unary():
            yield node.operand
        case Call():
            yield from node.arguments
        case _:
            return
