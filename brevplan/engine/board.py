"""What all modules of a configuration share while it is evaluated: published values, what was read, who is there.

A value is published by the fold, or by an apply, and read by whoever names it. Reading records the edge.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from brevplan.engine.address import Address, InstanceKey, ModuleAddress, ModulePath, path_names
from brevplan.lang.gate import Environment
from brevplan.lang.values import EMPTY_OBJECT, EMPTY_TUPLE, Object, Tuple, Unknown, Value

if TYPE_CHECKING:
    from brevplan.engine.scope import ModuleScope

Slot = tuple[str, str]
"""A value that a module evaluates once and keeps: `("local", name)`, `("var", name)` or `("output", name)`."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """The keys of a block with `each.value` for each; `mode` is "single", "count" or "for_each"."""

    mode: str
    instances: tuple[tuple[InstanceKey, Value], ...]


@dataclass(frozen=True, slots=True)
class Context:
    """`project` and so on: the fixed facts that expressions may ask for."""

    workspace: str
    project: str
    root: str = "."


@dataclass(slots=True)
class Published:
    """The values of one block's instances, as others read them. `mode` is "single", "count" or "for_each"."""

    mode: str
    instances: dict[InstanceKey, Mapping[str, Value]] = field(default_factory=dict)
    failed: bool = False
    shape: Value = None
    """With `failed`: what an instance looks like, so that a wrong attribute name is still found."""
    _whole: Value = None

    def put(self, key: InstanceKey, attributes: Mapping[str, Value]) -> None:
        """Let an instance have these values; they take the place of earlier ones."""
        self.instances[key] = attributes
        self._whole = None

    def instance(self, key: InstanceKey) -> Value:
        """Give one instance as a value; unknown before it is published."""
        attributes = self.instances.get(key)
        if attributes is None:
            return Unknown()
        if not isinstance(attributes, _Frozen):
            attributes = self.instances[key] = _Frozen(attributes)
        return attributes.value

    def whole(self) -> Value:
        """Give all instances as one value: by index, or by name."""
        if self._whole is None:
            if self.mode == "count":
                indexes = sorted(key for key in self.instances if isinstance(key, int))
                self._whole = Tuple(map(self.instance, indexes)) if indexes else EMPTY_TUPLE
            else:
                names = [key for key in self.instances if isinstance(key, str)]
                self._whole = Object({name: self.instance(name) for name in names}) if names else EMPTY_OBJECT
        return self._whole


class _Frozen(dict[str, Value]):
    """Attributes together with the one `Object` made of them."""

    __slots__ = ("value",)

    def __init__(self, attributes: Mapping[str, Value]) -> None:
        super().__init__(attributes)
        self.value = Object(attributes)


class _Recording:
    """What is read inside of a `with` counts for whoever records outside of it, too."""

    __slots__ = ("_board", "_inner", "_outer")

    def __init__(self, board: Board) -> None:
        self._board = board

    def __enter__(self) -> set[Address]:
        self._outer, self._inner = self._board.reads, set[Address]()
        self._board.reads = self._inner
        return self._inner

    def __exit__(self, *_: object) -> None:
        self._outer |= self._inner
        self._board.reads = self._outer


class Board:
    def __init__(self, environment: Environment, context: Context) -> None:
        self.environment, self.context = environment, context
        self.published: dict[Address, Published] = {}
        self.modules: dict[ModulePath, ModuleScope] = {}
        self._by_names: dict[tuple[str, ...], list[ModuleScope]] = {}
        self.calls: dict[tuple[ModulePath, str], Expansion] = {}
        """How often each call of each module instance is repeated. A call that failed is missing."""
        self.reads: set[Address] = set()
        """What was read since the last `recording` began."""
        self.running: list[str] = []
        """The values that are being evaluated, each for the one before it."""
        self.unsettled: list[tuple[ModuleScope, Slot]] = []
        """Kept values that hold an unknown, and those that could not be had."""

    # modules

    def add(self, scope: ModuleScope) -> None:
        self.modules[scope.path] = scope
        self._by_names.setdefault(path_names(scope.path), []).append(scope)

    def instances(self, names: tuple[str, ...]) -> list[ModuleScope]:
        """Give the instances of a module by the names of the calls that lead to it."""
        return self._by_names.get(names, [])

    # blocks

    def publish(self, block: Address, mode: str, key: InstanceKey, attributes: Mapping[str, Value]) -> None:
        """Make the value of an instance readable; a later value takes the place of an earlier one."""
        entry = self.published.get(block)
        if entry is None:
            entry = self.published[block] = Published(mode)
        entry.put(key, attributes)

    def open_block(self, block: Address, mode: str) -> None:
        """Make an empty block readable, so that `[]` or `{}` is its value."""
        self.published.setdefault(block, Published(mode))

    def fail_block(self, block: Address, mode: str = "single", names: Collection[str] = ()) -> None:
        """Remember that a block could not be evaluated: reading it gives unknowns instead of a second error."""
        entry = self.published.setdefault(block, Published(mode))
        entry.failed = True
        entry.shape = Object({name: Unknown(because=f"{block}.{name}") for name in names}) if names else None

    def failed_blocks(self) -> frozenset[Address]:
        """Give the blocks that could not be evaluated."""
        return frozenset(block for block, entry in self.published.items() if entry.failed)

    def blocks_inside(self, module: ModuleAddress) -> list[Address]:
        """Give the blocks of a module, in all its instances or in one, and of those that it calls."""
        return [block for block in self.published if module.holds(block.module)]

    def attributes(self, address: Address) -> Mapping[str, Value] | None:
        """Give what is published of one instance."""
        entry = self.published.get(address.block)
        return entry.instances.get(address.key) if entry is not None else None

    # reading

    def recording(self) -> _Recording:
        """Collect the addresses read inside of the block."""
        return _Recording(self)

    def forget_unknown(self) -> None:
        """Let values of all modules that held an unknown be evaluated again: something has become known."""
        for scope, slot in self.unsettled:
            scope.forget(slot)
        self.unsettled.clear()
