"""Syntax trees as data: every tree comes back the same, and no bytes give anything but a tree that can be used."""

from __future__ import annotations

import contextlib
import gc
import random
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brevplan.diagnostics import Source
from brevplan.lang import ast
from brevplan.lang.ast import MAX_DEPTH
from brevplan.lang.evaluate import prepare
from brevplan.lang.json_shape import Shape
from brevplan.lang.json_syntax import parse_json
from brevplan.lang.parser import parse
from brevplan.lang.prepared import EvaluationError
from brevplan.lang.tree_format import KINDS, Table
from brevplan.lang.tree_reader import decode
from brevplan.lang.tree_writer import encode

TESTS = Path(__file__).parents[1]
SYNTAX = TESTS / "lang" / "cases" / "syntax"


def files() -> Iterator[tuple[str, str]]:
    """Give every configuration that stands in the tests and the examples."""
    for path in sorted((TESTS.parent / "examples").rglob("*.hcl")):
        yield str(path.relative_to(TESTS.parent)), path.read_text()
    for path in sorted((TESTS / "scenarios").glob("*.txt")):
        for name, text in re.findall(r"^-- (\S+\.hcl) --\n(.*?)(?=^-- |\Z)", path.read_text(), re.M | re.S):
            yield f"{path.stem}/{name}", text
    for title, text in cases("accepts.txt"):
        yield title, text
    for title, text in cases("shapes.txt"):
        yield title, f"a = {text.rpartition('--> ')[0]}\n"


def cases(name: str) -> Iterator[tuple[str, str]]:
    for part in (SYNTAX / name).read_text().split("\n=== ")[1:]:
        title, text = part.split("\n", 1)
        yield f"{name}: {title}", text.rstrip("\n") + "\n"


FILES = dict(files())
VALID = {name: text for name, text in FILES.items() if not parse(Source(name, text))[1]}


def test_files_of_the_tests_were_found() -> None:
    assert len(VALID) > 150
    assert any("/main.hcl" in name for name in VALID)


@pytest.mark.parametrize("name", VALID)
def test_file_comes_back_the_same(name: str) -> None:
    source = Source(name, VALID[name])
    body, _ = parse(source)

    assert decode(encode(body), source) == body  # nodes are equal when all is, down to source, start and end


JSON_SHAPE = Shape(is_file=True, blocks={"resource": Shape(labels=2, blocks={"ingress": Shape()}), "locals": Shape()})


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"locals": {"a": -1.5e300, "b": [1, true, null, "x${ upper(\\"é\\u0041\\") }y"], "c": {"k": "${c[*].d}"}}}',
        '[{"resource": {"x": {"y": {"ingress": [{"a": 1}, {"a": 2}], "d": "%{ if a }b%{ else }c%{ endif }"}}}}]',
    ],
)
def test_json_file_comes_back_the_same(text: str) -> None:
    source = Source("a.hcl.json", text)
    body, problems = parse_json(source, JSON_SHAPE)
    assert problems == []

    assert decode(encode(body), source) == body


def test_numbers_of_any_size_come_back_exactly() -> None:
    texts = ["0", "7", "18446744073709551616", "1e4000", "1e-4000", "0.1", "123456789.987654321"]
    source = Source("a.hcl", "".join(f"a{place} = {text}\n" for place, text in enumerate(texts)))
    body, _ = parse(source)

    found = decode(encode(body), source)

    assert found == body
    assert found is not None
    tenth = found.attributes["a5"].value
    assert isinstance(tenth, ast.Literal)
    assert isinstance(tenth.value, Fraction)


@pytest.mark.parametrize(
    "text",
    [
        "b {\n" * MAX_DEPTH + "}\n" * MAX_DEPTH,
        f"a = {'[' * (MAX_DEPTH - 1)}1{']' * (MAX_DEPTH - 1)}\n",
        f"a = 1{' + 1' * (MAX_DEPTH - 1)}\n",
        f"a = [{', '.join(['a.b[*].c'] * 500)}]\n",
    ],
    ids=["blocks", "brackets", "chain", "long list"],
)
def test_deepest_nesting_that_is_allowed_comes_back(text: str) -> None:
    source = Source("a.hcl", text)
    body, problems = parse(source)
    assert problems == []

    found = decode(encode(body), source)

    assert found is not None
    assert encode(found) == encode(body)  # comparing nodes would itself go too deep


def test_deepest_json_that_is_allowed_comes_back() -> None:
    inner = "[" * (MAX_DEPTH - 5) + "1" + "]" * (MAX_DEPTH - 5)
    text = '{"locals": {"a": ' + "[" * (MAX_DEPTH - 5) + f'"${{{inner}}}"' + "]" * (MAX_DEPTH - 5) + "}}"
    source = Source("a.hcl.json", text)
    body, problems = parse_json(source, JSON_SHAPE)
    assert problems == []

    found = decode(encode(body), source)

    assert found is not None
    assert encode(found) == encode(body)


# trees that no parser made

SOURCE = Source("made-up.hcl", "x" * 50)
SPANS = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted)
NAMES = st.sampled_from(["a", "b", "é", "a::b", "for"])
NUMBERS = st.integers() | st.fractions().filter(lambda number: number.denominator > 1)


def node(kind: type[ast.Node], *fields: st.SearchStrategy[object]) -> st.SearchStrategy[ast.Node]:
    return st.tuples(SPANS, *fields).map(lambda drawn: kind(SOURCE, *drawn[0], *drawn[1:]))


def named(kind: type[ast.Node], *fields: st.SearchStrategy[object]) -> st.SearchStrategy[ast.Node]:
    """Give a node whose last field is an offset inside of it."""
    return st.tuples(SPANS, *fields, st.integers(0, 50)).map(
        lambda drawn: kind(SOURCE, *drawn[0], *drawn[1:-1], min(max(drawn[-1], drawn[0][0]), drawn[0][1]))
    )


def parts(inner: st.SearchStrategy[ast.Node]) -> st.SearchStrategy[list[ast.Node | str]]:
    texts = st.lists(st.text(max_size=3) | inner, max_size=3)
    part = (
        st.text(max_size=3)
        | inner
        | node(ast.TemplateIf, inner, texts, texts)
        | node(ast.TemplateFor, st.none() | NAMES, NAMES, inner, texts)
    )
    return st.lists(part, max_size=3)


def larger(inner: st.SearchStrategy[ast.Node]) -> st.SearchStrategy[ast.Node]:
    condition = st.none() | inner
    loop = (st.none() | NAMES, NAMES, inner)
    each = st.recursive(node(ast.SplatItem), lambda deeper: node(ast.GetAttr, deeper, NAMES), max_leaves=3)
    return st.one_of(
        node(ast.Template, parts(inner), st.booleans()),
        node(ast.Parentheses, inner),
        node(ast.GetAttr, inner, NAMES),
        node(ast.Index, inner, inner),
        node(ast.Splat, inner, st.booleans(), each),
        node(ast.TupleCons, st.lists(inner, max_size=3)),
        node(ast.ObjectCons, st.lists(node(ast.ObjectItem, inner, inner), max_size=3)),
        node(ast.ForTuple, *loop, inner, condition),
        node(ast.ForObject, *loop, inner, inner, condition, st.booleans()),
        node(ast.Conditional, inner, inner, inner),
        node(ast.Binary, st.sampled_from(["||", "==", "%", "-"]), inner, inner),
        node(ast.Unary, st.sampled_from(["-", "!"]), inner),
        named(ast.Call, NAMES, st.lists(inner, max_size=3), st.just(False)),
        named(ast.Call, NAMES, st.lists(inner, min_size=1, max_size=3), st.just(True)),
    )


EXPRESSIONS = st.recursive(
    node(ast.Literal, st.none() | st.booleans() | NUMBERS | NAMES)
    | node(ast.Template, st.lists(st.text(max_size=5), max_size=1), st.booleans())
    | node(ast.Variable, NAMES),
    larger,
    max_leaves=12,
)


def bodies(blocks: st.SearchStrategy[list[ast.Node]]) -> st.SearchStrategy[ast.Node]:
    attributes = st.lists(named(ast.Attribute, NAMES, EXPRESSIONS), max_size=3)
    by_name = attributes.map(lambda items: {item.name: item for item in items if isinstance(item, ast.Attribute)})
    return node(ast.Body, by_name, blocks)


LABELS = st.lists(node(ast.Label, NAMES, st.booleans()), max_size=2)
BODIES = st.recursive(
    bodies(st.just([])),
    lambda inner: bodies(st.lists(named(ast.Block, NAMES, LABELS, inner), max_size=2)),
    max_leaves=4,
)


@given(BODIES)
def test_any_tree_comes_back_the_same(body: ast.Node) -> None:
    assert isinstance(body, ast.Body)

    assert decode(encode(body), SOURCE) == body


# bytes that no tree made


TEXT = """
resource "a" "b" {
  list  = [for k, v in var.x : "${k}-${v}" if v > -1]
  map   = { for v in f(a, b...) : v.a => v[0].c...  }
  splat = a.b[*].c[0]
  old   = a.*.b
  text  = "%{ if a }x%{ else }y%{ endif }%{ for a in b }${a}%{ endfor }"
  long  = <<-EOT
    ${a ? b : !c}
  EOT
  inner {
    number = (1.5 + 2)
  }
}
"""


def check_usable(body: ast.Body, source: Source) -> None:
    """Walk a tree as the later stages do."""
    for attribute in body.attributes.values():
        assert 0 <= attribute.start <= attribute.end <= len(source.text)
        with contextlib.suppress(EvaluationError):  # a message of the language, as for any text
            prepare(attribute.value)
    for block in body.blocks:
        check_usable(block.body, source)


@given(st.binary(max_size=200))
def test_bytes_of_any_sort_are_no_tree(content: bytes) -> None:
    assert decode(content, SOURCE) is None


def test_every_prefix_is_no_tree() -> None:
    source = Source("main.hcl", TEXT)
    content = encode(parse(source)[0])

    assert [size for size in range(len(content)) if decode(content[:size], source) is not None] == []


def test_flipped_bits_give_a_usable_tree_or_none() -> None:
    source = Source("main.hcl", TEXT)
    content = encode(parse(source)[0])
    given_back = 0
    for place in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            found = decode(bytes(damaged), source)
            if found is not None:
                given_back += 1
                check_usable(found, source)
    assert given_back > 0  # a letter of a name cannot be told from another: that is for the checksum around it


@settings(max_examples=500)
@given(st.data())
def test_made_up_rows_give_a_usable_tree_or_none(data: st.DataObject) -> None:
    source = Source("main.hcl", TEXT)
    table = msgspec.msgpack.decode(encode(parse(source)[0]), type=Table)
    rows = list(zip(table.kinds, table.starts, table.ends, table.first, table.second, table.third, strict=True))
    chance = random.Random(data.draw(st.integers()))
    for _ in range(data.draw(st.integers(1, 4))):
        place = chance.randrange(len(rows))
        match chance.randrange(4):
            case 0:
                del rows[place]
            case 1:
                rows.insert(place, rows[chance.randrange(len(rows))])
            case 2:
                rows[place] = (chance.randrange(len(KINDS) + 2), *rows[place][1:])
            case _:
                row = list(rows[place])
                row[chance.randrange(1, 6)] = chance.choice([-1, 0, 1, 2, 3, 40, 10**6])
                rows[place] = (row[0], row[1], row[2], row[3], row[4], row[5])
    kinds, *columns = zip(*rows, strict=True)

    found = decode(msgspec.msgpack.encode(Table(table.texts, table.numbers, bytes(kinds), *map(list, columns))), source)

    if found is not None:
        check_usable(found, source)


def table_of(*rows: tuple[str, int, int, int]) -> bytes:
    """Write rows of a kind and its three numbers, over the whole of `SOURCE`."""
    numbers = ["1/0"] if any(row[0] == "number" for row in rows) else []
    kinds = bytes(KINDS.index(row[0]) for row in rows)
    columns = [[row[place] for row in rows] for place in (1, 2, 3)]
    return msgspec.msgpack.encode(Table(["a"], numbers, kinds, [0] * len(rows), [50] * len(rows), *columns))


ATTRIBUTE, BODY = ("attribute", 0, 1, 0), ("body", 1, 0, 0)
WORD = ("word", 0, 0, 0)


def test_rows_by_hand_are_a_tree() -> None:
    found = decode(table_of(WORD, ATTRIBUTE, BODY), SOURCE)

    assert found == ast.Body(
        SOURCE, 0, 50, {"a": ast.Attribute(SOURCE, 0, 50, "a", ast.Literal(SOURCE, 0, 50, None), 1)}
    )


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [BODY],
        [WORD, ATTRIBUTE, BODY, BODY],
        [WORD, WORD, ATTRIBUTE, BODY],
        [("label", 0, 0, 0), WORD, ATTRIBUTE, BODY],
        [("number", 0, 0, 0), ATTRIBUTE, BODY],
        [("splat item", 0, 0, 0), ATTRIBUTE, BODY],
        [("splat item", 0, 0, 0), WORD, ("splat", 1, 0, 0), ATTRIBUTE, BODY],
        [("expanding call", 0, 1, 0), ATTRIBUTE, BODY],
        [WORD, ("binary", 0, 0, 0), ATTRIBUTE, BODY],
        [WORD, WORD, ("binary", 99, 0, 0), ATTRIBUTE, BODY],
        [WORD, ("attribute", 0, 51, 0), BODY],
        [("call", 0, 51, 0), ATTRIBUTE, BODY],
        [("body", 0, 0, 0), ("block", 0, 51, 0), ("body", 0, 1, 0)],
        [("word", 3, 0, 0), ATTRIBUTE, BODY],
        [("variable", 1, 0, 0), ATTRIBUTE, BODY],
        [("variable", -1, 0, 0), ATTRIBUTE, BODY],
        [WORD, *[("unary", 0, 0, 0)] * 2 * MAX_DEPTH, ATTRIBUTE, BODY],
        [WORD, *[*[("unary", 0, 0, 0)] * MAX_DEPTH, WORD, ATTRIBUTE] * 5, ATTRIBUTE, ("body", 6, 0, 0)],
        [WORD, ("text part", 0, 0, 0), ATTRIBUTE, BODY],
        [WORD, WORD, WORD, ("object item", 0, 0, 0), ATTRIBUTE, BODY],
        [("body", 0, 0, 0), *[("block", 0, 1, 0), ("body", 0, 1, 0)] * (MAX_DEPTH + 1)],
    ],
)  # fmt: skip
def test_rows_without_sense_are_no_tree(rows: list[tuple[str, int, int, int]]) -> None:
    assert decode(table_of(*rows), SOURCE) is None


def test_tree_of_a_longer_text_is_none() -> None:
    source = Source("main.hcl", TEXT)
    content = encode(parse(source)[0])

    assert decode(content, source) is not None
    assert decode(content, Source("main.hcl", TEXT[:-1])) is None


def test_columns_of_different_lengths_are_no_tree() -> None:
    whole = msgspec.msgpack.decode(table_of(WORD, ATTRIBUTE, BODY), type=Table)

    assert decode(msgspec.msgpack.encode(msgspec.structs.replace(whole, third=[0, 0])), SOURCE) is None
    assert decode(msgspec.msgpack.encode(msgspec.structs.replace(whole, ends=[50, 50, 51])), SOURCE) is None
    assert decode(msgspec.msgpack.encode(msgspec.structs.replace(whole, starts=[0, 51, 0])), SOURCE) is None


def test_collector_runs_again_afterwards() -> None:
    assert gc.isenabled()
    decode(b"", SOURCE)
    encode(ast.Body(SOURCE, 0, 0))

    assert gc.isenabled()
