"""What names mean: variables, locals, data and resources of the module, and `each`, `count` and `self` of an instance.

Reading a resource records the edge: of one instance when its key is written, of the whole block when it is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from brevplan.diagnostics import Diagnostics, Span, suggest
from brevplan.engine.address import Address, InstanceKey
from brevplan.engine.config import Config
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.gate import Environment
from brevplan.lang.prepared import EvaluationError, Step, fault
from brevplan.lang.types import NUMBER
from brevplan.lang.values import EMPTY_OBJECT, EMPTY_TUPLE, Object, Tuple, Unknown, Value, has_unknown, reveal


@dataclass(slots=True)
class Published:
    """The values of one block's instances, as others read them. `mode` is "single", "count" or "for_each"."""

    mode: str
    instances: dict[InstanceKey, Mapping[str, Value]] = field(default_factory=dict)
    whole: Value = None
    """All of them as one value; None until somebody asks, and again after a change."""
    failed: bool = False
    shape: Value = None
    """With `failed`: what an instance looks like, so that a wrong attribute name is still found."""


@dataclass(frozen=True, slots=True)
class Context:
    """`project` and so on: the fixed facts that expressions may ask for."""

    workspace: str
    project: str
    root: str = "."


class ModuleScope:
    """The names of one module. Locals are evaluated when first read, and kept once they are known."""

    def __init__(
        self, config: Config, variables: Mapping[str, Value], environment: Environment, context: Context
    ) -> None:
        self.config = config
        self.variables = dict(variables)
        self.environment = environment
        self.context = context
        self.published: dict[Address, Published] = {}
        self._locals: dict[str, tuple[Value, frozenset[Address]]] = {}
        self._failed: set[str] = set()
        self._running: list[str] = []
        self.reads: set[Address] = set()
        """What was read since the last `recording` began."""

    @contextmanager
    def recording(self) -> Iterator[set[Address]]:
        """Collect the addresses read inside of the block."""
        outer, self.reads = self.reads, set()
        try:
            yield self.reads
        finally:
            outer |= self.reads
            self.reads = outer

    def publish(self, block: Address, mode: str, key: InstanceKey, attributes: Mapping[str, Value]) -> None:
        """Make the value of an instance readable; a later value takes the place of an earlier one."""
        entry = self.published.get(block)
        if entry is None:
            entry = self.published[block] = Published(mode)
        entry.instances[key] = attributes
        entry.whole = None

    def open_block(self, block: Address, mode: str) -> None:
        """Make an empty block readable, so that `[]` or `{}` is its value."""
        self.published.setdefault(block, Published(mode))

    def fail_block(self, block: Address, mode: str = "single", names: Collection[str] = ()) -> None:
        """Remember that a block could not be evaluated: reading it gives unknowns instead of a second error."""
        entry = self.published.setdefault(block, Published(mode))
        entry.failed = True
        entry.shape = Object({name: Unknown(because=f"{block}.{name}") for name in names}) if names else None

    def forget_unknown_locals(self) -> None:
        """Let locals that held an unknown be evaluated again: something has become known."""
        self._locals = {name: found for name, found in self._locals.items() if not has_unknown(found[0])}

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        match root:
            case "var":
                return self._variable(_name(steps)), 1
            case "local":
                return self._local(_name(steps), span), 1
            case "path":
                return self.context.root if _name(steps) != "cwd" else self.environment.files.absolute("."), 1
            case "brevplan":
                return (self.context.workspace if _name(steps) == "workspace" else self.context.project), 1
            case "data":
                return self._resource(Address(_name(steps), _name(steps[1:]), None, True), steps[2:], span, 2)
            case "each" | "count" | "self":
                raise fault(
                    "Reference to something undeclared", f'"{root}" has no meaning here.', span, catchable=False
                )
        return self._resource(Address(root, _name(steps)), steps[1:], span, 1)

    def _variable(self, name: str) -> Value:
        if name in self.variables:
            return self.variables[name]
        return Unknown(because=f"var.{name}")  # its own mistake is reported where it was found

    def _local(self, name: str, span: Span) -> Value:
        found = self._locals.get(name)
        if found is not None:
            self.reads |= found[1]
            return found[0]
        if name in self._failed or name not in self.config.locals:
            return Unknown(because=f"local.{name}")
        if name in self._running:
            members = " → ".join(f"local.{item}" for item in [*self._running[self._running.index(name) :], name])
            raise fault("Cycle", f"These locals need each other: {members}.", span, catchable=False)
        self._running.append(name)
        try:
            with self.recording() as reads:
                value = self.config.locals[name].evaluate(self)
        finally:
            self._running.pop()
        self._locals[name] = (value, frozenset(reads))
        return value

    def check_local(self, name: str, diagnostics: Diagnostics) -> None:
        """Evaluate a local that nobody may have read, for its mistakes."""
        if name in self._locals or name in self._failed:
            return
        try:
            self._local(name, self.config.locals[name].node.span)
        except EvaluationError as problem:
            self._failed.add(name)
            diagnostics.add(problem.diagnostic)

    def _resource(self, block: Address, steps: tuple[Step, ...], span: Span, used: int) -> tuple[Value, int]:
        entry = self.published.get(block)
        if entry is None or entry.failed:
            self.reads.add(block)
            return self._of_failed(entry, block, steps, used)
        if entry.mode == "single":
            self.reads.add(block)
            return self._instance_value(entry, None), used
        key = _instance_key(steps, entry.mode, block, span)
        if key is None:
            self.reads.add(block)
            return self._whole(entry), used
        if key not in entry.instances:
            raise _no_such_instance(block, key, entry, span)
        self.reads.add(block.instance(key))
        return self._instance_value(entry, key), used + 1

    def _of_failed(
        self, entry: Published | None, block: Address, steps: tuple[Step, ...], used: int
    ) -> tuple[Value, int]:
        keyed = entry is not None and entry.mode != "single" and bool(steps) and not isinstance(steps[0], str)
        if entry is None or entry.shape is None or (entry.mode != "single" and not keyed):
            return Unknown(because=str(block)), used + len(steps)
        return entry.shape, used + keyed

    def _instance_value(self, entry: Published, key: InstanceKey) -> Value:
        attributes = entry.instances.get(key)
        if attributes is None:
            return Unknown()
        if not isinstance(attributes, _Frozen):
            attributes = entry.instances[key] = _Frozen(attributes)
        return attributes.value

    def _whole(self, entry: Published) -> Value:
        if entry.whole is None:
            if entry.mode == "count":
                indexes = sorted(key for key in entry.instances if isinstance(key, int))
                entry.whole = Tuple(self._instance_value(entry, index) for index in indexes) if indexes else EMPTY_TUPLE
            else:
                names = [key for key in entry.instances if isinstance(key, str)]
                entry.whole = (
                    Object({name: self._instance_value(entry, name) for name in names}) if names else EMPTY_OBJECT
                )
        return entry.whole


class _Frozen(dict[str, Value]):
    """Attributes together with the one `Object` made of them."""

    __slots__ = ("value",)

    def __init__(self, attributes: Mapping[str, Value]) -> None:
        super().__init__(attributes)
        self.value = Object(attributes)


def _name(steps: tuple[Step, ...]) -> str:
    return steps[0] if steps and isinstance(steps[0], str) else ""


def _instance_key(steps: tuple[Step, ...], mode: str, block: Address, span: Span) -> InstanceKey:
    if not steps:
        return None
    step = steps[0]
    if isinstance(step, str):
        if mode == "for_each":
            return step
        raise fault(
            "Missing instance key",
            f'{block} has "count", so it is a list of instances.',
            span,
            hint=f"Write {block}[0].{step} for one of them, or {block}[*].{step} for all.",
            catchable=False,
        )
    key = reveal(step.value)
    if isinstance(key, Unknown) or key is None:
        return None
    if mode == "count":
        try:
            number = convert(key, NUMBER)
        except ConversionError:
            number = None
        return number if isinstance(number, int) and not isinstance(number, bool) else None
    return key if isinstance(key, str) else str(key) if isinstance(key, int) else None


def _no_such_instance(block: Address, key: InstanceKey, entry: Published, span: Span) -> EvaluationError:
    keys = list(entry.instances)
    if entry.mode == "count":
        detail = f"{block} has {len(keys)} instance{'s' if len(keys) != 1 else ''}, so there is no [{key}]."
        return fault("Invalid index", detail, span)
    hint = suggest(str(key), [str(item) for item in keys])
    return fault("Invalid index", f'{block} has no instance with the key "{key}".', span, hint=hint)


class InstanceScope:
    """The module's names plus `each`, `count`, `self` and the iterators of dynamic blocks."""

    __slots__ = ("environment", "module", "names")

    def __init__(self, module: ModuleScope, names: Mapping[str, Value]) -> None:
        self.module = module
        self.environment = module.environment
        self.names = names

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        found = self.names.get(root)
        if found is not None:
            return found, 0
        return self.module.resolve(root, steps, span)

    def with_names(self, names: Mapping[str, Value]) -> InstanceScope:
        return InstanceScope(self.module, {**self.names, **names})


def repetition_names(key: InstanceKey, value: Value) -> dict[str, Value]:
    """Give `count` or `each` for an instance key."""
    if isinstance(key, int):
        return {"count": Object({"index": key})}
    if isinstance(key, str):
        return {"each": Object({"key": key, "value": value})}
    return {}
