"""What `moved` and `removed` say of addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brevplan.diagnostics import Diagnostics
from brevplan.engine.address import Address, parse_target
from brevplan.engine.config import Config, MovedBlock
from brevplan.engine.moves import Moves, OneMove, Removals
from brevplan.engine.ports import Intent, Record
from brevplan.operations.project import KINDS
from tests.engine.build import at, loaded, record


def moves(*pairs: tuple[str, str], text: str = "", modules: dict[str, str] | None = None) -> Moves:
    blocks = "".join(f"moved {{\n  from = {old}\n  to = {new}\n}}\n" for old, new in pairs)
    config, problems = loaded(blocks + text, modules=modules)
    assert problems == []
    return Moves(config, KINDS)


@pytest.mark.parametrize(
    ("pairs", "old", "new"),
    [
        ([("instance.a", "instance.b")], "instance.a", "instance.b"),
        ([("instance.a", "instance.b")], "instance.a[3]", "instance.b[3]"),
        ([("instance.a", "instance.b")], 'instance.a["k"]', 'instance.b["k"]'),
        ([("instance.a", "instance.b")], "instance.c", "instance.c"),
        ([("instance.a", "instance.b")], "firewall.a", "firewall.a"),
        ([("instance.a", "instance.b")], "data.instance.a", "data.instance.a"),
        ([("instance.a", "instance.b")], "module.m.instance.a", "module.m.instance.a"),
        ([("instance.a", 'instance.a["k"]')], "instance.a", 'instance.a["k"]'),
        ([("instance.a", 'instance.a["k"]')], "instance.a[0]", "instance.a[0]"),
        ([("instance.a[0]", 'instance.a["k"]')], "instance.a[0]", 'instance.a["k"]'),
        ([("instance.a[0]", 'instance.a["k"]')], "instance.a[1]", "instance.a[1]"),
        ([("instance.a", "module.m.instance.a")], "instance.a[2]", "module.m.instance.a[2]"),
        ([("module.m", "module.n")], "module.m.instance.a", "module.n.instance.a"),
        ([("module.m", "module.n")], 'module.m["x"].instance.a[1]', 'module.n["x"].instance.a[1]'),
        ([("module.m", "module.n")], "module.m.module.o.instance.a", "module.n.module.o.instance.a"),
        ([("module.m", 'module.m["x"]')], "module.m.instance.a", 'module.m["x"].instance.a'),
        ([("module.m", 'module.m["x"]')], 'module.m["y"].instance.a', 'module.m["y"].instance.a'),
        ([("module.m.instance.a", "instance.a")], "module.m.instance.a", "instance.a"),
        ([("instance.a", "instance.b"), ("instance.b", "instance.c")], "instance.a", "instance.c"),
        ([("instance.b", "instance.c"), ("instance.a", "instance.b")], "instance.a", "instance.c"),
        ([("instance.a", "instance.b"), ("module.m", "module.n")], "module.m.instance.a", "module.n.instance.a"),
    ],
)
def test_an_address_goes_where_the_blocks_say(pairs: list[tuple[str, str]], old: str, new: str) -> None:
    found = moves(*pairs)
    assert str(found.forward(at(old))) == new
    assert old == new or at(old) in found.former(at(new))


def test_a_block_in_a_module_speaks_of_every_instance_of_it() -> None:
    text = 'module "m" {\n  source = "./m"\n  count = 2\n}\n'
    found = moves(text=text, modules={"m": "moved {\n  from = instance.a\n  to = instance.b\n}\n"})
    assert str(found.forward(at("module.m[1].instance.a"))) == "module.m[1].instance.b"
    assert str(found.forward(at("instance.a"))) == "instance.a"


@pytest.mark.parametrize(
    ("block", "old", "new"),
    [
        ("count = 2", "instance.a", "instance.a[0]"),
        ("count = 2", "instance.a[1]", "instance.a[1]"),
        ("", "instance.a[0]", "instance.a"),
        ("", "instance.a[1]", "instance.a[1]"),
        ('for_each = toset(["x"])', "instance.a[0]", "instance.a[0]"),
    ],
)
def test_a_count_that_comes_or_goes_moves_the_first(block: str, old: str, new: str) -> None:
    arguments = f'instance_type = "t"\n  location = "l"\n  public_key = var.k\n  {block}'
    found = moves(text=f'variable "k" {{}}\nresource "instance" "a" {{\n  {arguments}\n}}\n')
    assert str(found.forward(at(old))) == new


def test_of_two_that_want_a_name_the_nearer_gets_it() -> None:
    found = moves(("instance.a", "instance.b"), ("instance.b", "instance.c"))
    told = Diagnostics()
    records = [record("instance.a", key="1"), record("instance.b", key="2")]
    result = found.relocate(records, [], "default", told)
    assert {item.key: str(item.address) for item in result.records} == {"1": "instance.a", "2": "instance.c"}
    assert [item.summary for item in told] == ["Move is not possible"]
    assert result.moved == {at("instance.c"): at("instance.b")}


def test_rows_that_read_what_moved_learn_its_name() -> None:
    found = moves(("firewall.f", "firewall.g"))
    rows = [
        record("firewall.f", key="state:default:firewall.f", kind="firewall", attributes={"id": "firewall.f"}),
        record("instance.a", key="k", attributes={"firewalls": ["firewall.f"]}, reads=("firewall.f",)),
    ]
    intent = Intent("r", "default", at("firewall.f"), "local", "p", "run")
    result = found.relocate(rows, [intent], "default", Diagnostics())
    firewall, instance = result.records
    assert (firewall.key, firewall.attributes["id"]) == ("state:default:firewall.g", "firewall.g")
    assert (instance.reads, instance.attributes["firewalls"]) == (("firewall.g",), ["firewall.g"])
    assert [key for key, _ in result.rewritten] == ["state:default:firewall.f", "k"]
    assert [str(item.address) for item in result.intents] == ["firewall.g"]


NAMES = st.sampled_from("abc")
KEYS = st.none() | st.integers(0, 2) | st.sampled_from(["x", "y"])
PATHS = st.lists(st.tuples(NAMES, KEYS), max_size=2).map(tuple)
ADDRESSES = st.builds(Address, st.just("instance"), NAMES, KEYS, st.just(False), PATHS)


@given(st.lists(st.tuples(ADDRESSES, ADDRESSES), max_size=4), st.sets(ADDRESSES, max_size=6))
def test_whatever_is_written_no_row_is_lost_and_no_name_given_twice(
    written: list[tuple[Address, Address]], recorded: set[Address]
) -> None:
    span = loaded("moved {\n  from = instance.a\n  to = instance.b\n}\n")[0].moved[0].span
    config = Config(moved=[MovedBlock(old, new, span) for old, new in written if old != new])
    rows: list[Record] = [record(str(address), key=str(address)) for address in sorted(recorded)]
    result = Moves(config, KINDS).relocate(rows, [], "default", Diagnostics())
    addresses = [row.address for row in result.records]
    assert [row.key for row in result.records] == [row.key for row in rows]
    assert len(set(addresses)) == len(addresses)
    assert {new: old for new, old in result.moved.items() if new == old} == {}
    assert all(old in recorded and new in addresses for new, old in result.moved.items())


@pytest.mark.parametrize(
    ("text", "address", "forgets"),
    [
        ("instance.a", "instance.a[0]", True),
        ("instance.a", "instance.b", False),
        ("module.m", 'module.m["k"].instance.a', True),
        ("module.m", "module.n.instance.a", False),
        ("module.m.instance.a", "module.m[3].instance.a[1]", True),
    ],
)
def test_a_removed_block_lets_go_of_all_instances(text: str, address: str, forgets: bool) -> None:
    config, problems = loaded(f"removed {{\n  from = {text}\n  lifecycle {{\n    destroy = false\n  }}\n}}\n")
    assert problems == []
    assert Removals(config).forgets(at(address)) is forgets
    assert parse_target(text) is not None


def test_a_module_that_moves_into_itself_or_out_of_itself_moves_once() -> None:
    into, out = moves(("module.m", "module.m.module.n")), moves(("module.m.module.n", "module.m"))
    assert str(into.forward(at("module.m.instance.a"))) == "module.m.module.n.instance.a"
    assert into.former(at("module.m.module.n.instance.a")) == [at("module.m.instance.a")]
    assert str(out.forward(at("module.m.module.n.instance.a"))) == "module.m.instance.a"
    assert out.former(at("module.m.instance.a")) == [at("module.m.module.n.instance.a")]


def test_a_move_by_hand_is_made_once() -> None:
    into, out = (
        OneMove(parse_target(source), parse_target(target), KINDS)
        for source, target in (("module.m", "module.m.module.n"), ("module.m.module.n", "module.m"))
    )
    assert str(into.forward(at("module.m.instance.a"))) == "module.m.module.n.instance.a"
    assert str(out.forward(at("module.m.module.n.module.n.instance.a"))) == "module.m.module.n.instance.a"
    assert not out.touches(at("module.m.instance.a"))
