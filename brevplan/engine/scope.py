"""What names mean: variables, locals, data, resources and modules, and `each`, `count` and `self` of an instance.

Reading a resource records the edge: of one instance when its key is written, of the whole block when it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from brevplan.diagnostics import Diagnostic, Diagnostics, Severity, Span, suggest
from brevplan.engine.address import Address, InstanceKey, ModuleAddress, ModulePath, path_text
from brevplan.engine.board import Board, Context, Expansion, Published, Slot
from brevplan.engine.config import Config, ModuleCall, OutputBlock, VariableBlock
from brevplan.engine.inputs import UnsuitableInput, accept
from brevplan.lang.convert import ConversionError, convert
from brevplan.lang.gate import Environment
from brevplan.lang.prepared import EvaluationError, Key, Reference, Step, fault
from brevplan.lang.types import NUMBER
from brevplan.lang.values import (
    EPHEMERAL,
    SENSITIVE,
    Object,
    Tuple,
    Unknown,
    Value,
    has_ephemeral,
    has_unknown,
    mark_whole,
    reveal,
)


class ModuleScope:
    """The names of one module instance. Its values are evaluated when first read, and kept once they are known."""

    def __init__(self, config: Config, board: Board, path: ModulePath = (), outer: InstanceScope | None = None) -> None:
        self.config, self.board, self.path = config, board, path
        self.outer = outer
        """Where the call of this module is evaluated; None for the root module."""
        self.variables: dict[str, Value] = {}
        """The values of the root module's variables; those of other modules are what their call says."""
        self._kept: dict[Slot, tuple[Value, frozenset[Address]]] = {}
        self._failed: set[Slot] = set()
        self._faults: dict[Slot, EvaluationError] = {}
        """Why a value cannot be had. To try again would take as long, and as often as it is asked for on the way."""

    @classmethod
    def of_root(
        cls, config: Config, variables: Mapping[str, Value], environment: Environment, context: Context
    ) -> ModuleScope:
        """Give the scope of the root module, with a board of its own."""
        scope = cls(config, Board(environment, context))
        scope.variables = dict(variables)
        scope.board.add(scope)
        return scope

    # modules

    def open_module(self, name: str, expansion: Expansion) -> None:
        """Make the instances of a module call readable."""
        self.board.calls[(self.path, name)] = expansion
        for child in self.children(name, expansion):
            self.board.add(child)

    def children(self, name: str, expansion: Expansion) -> Iterator[ModuleScope]:
        """Give new scopes for the instances of a module call."""
        config = self.config.children.get(name)
        if config is None:
            return
        for key, value in expansion.instances:
            yield ModuleScope(
                config, self.board, (*self.path, (name, key)), InstanceScope(self, repetition_names(key, value))
            )

    @property
    def call(self) -> ModuleCall | None:
        """The block that calls this module."""
        return self.outer.module.config.calls[self.path[-1][0]] if self.outer is not None else None

    @property
    def environment(self) -> Environment:
        return self.board.environment

    @property
    def text(self) -> str:
        """The address of the module; empty for the root module."""
        return path_text(self.path)

    # what names lead to

    def resolve(self, root: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        match root:
            case "var":
                return self._variable(_name(steps)), 1
            case "local":
                return self.value(("local", _name(steps)), span), 1
            case "path":
                return self._folder(_name(steps)), 1
            case "brevplan":
                context = self.board.context
                return (context.workspace if _name(steps) == "workspace" else context.project), 1
            case "data":
                block = Address(_name(steps), _name(steps[1:]), None, True)
                return self._resource(block.inside(self.path), steps[2:], span, 2)
            case "module":
                return self._module(_name(steps), steps[1:], span)
            case "each" | "count" | "self":
                return Unknown(because=root), len(steps)  # reported where it is written
        return self._resource(Address(root, _name(steps)).inside(self.path), steps[1:], span, 1)

    def _folder(self, name: str) -> str:
        if name == "cwd":
            return self.environment.files.absolute(".")
        return self.config.directory if name == "module" else self.board.context.root

    def _variable(self, name: str) -> Value:
        if self.outer is not None:
            return self.value(("var", name), None)
        if name in self.variables:
            return self.variables[name]
        return Unknown(because=f"var.{name}")  # its own mistake is reported where it was found

    def value(self, slot: Slot, span: Span | None) -> Value:
        """Give a local, a module's variable or an output; raise `EvaluationError`."""
        board, found = self.board, self._kept.get(slot)
        if found is not None:
            board.reads |= found[1]
            return found[0]
        evaluate = self._evaluator(slot) if slot not in self._failed else None
        label = ".".join(filter(None, (path_text(self.path), *slot)))
        if evaluate is None:
            return Unknown(because=label)
        if slot in self._faults:
            raise self._faults[slot]
        if label in board.running:
            members = " → ".join([*board.running[board.running.index(label) :], label])
            raise fault("Cycle", f"These need each other: {members}.", span or self._place(slot), catchable=False)
        board.running.append(label)
        try:
            with board.recording() as reads:
                value = evaluate()
        except EvaluationError as problem:
            self._faults[slot] = problem
            board.unsettled.append((self, slot))
            raise
        finally:
            board.running.pop()
        self._kept[slot] = (value, frozenset(reads))
        if has_unknown(value):
            board.unsettled.append((self, slot))
        return value

    def forget(self, slot: Slot) -> None:
        """Evaluate a value anew when it is asked for the next time."""
        self._kept.pop(slot, None)
        self._faults.pop(slot, None)

    def _evaluator(self, slot: Slot) -> Callable[[], Value] | None:
        sort, name = slot
        if sort == "local" and name in self.config.locals:
            return lambda: self.config.locals[name].evaluate(self)
        if sort == "var" and name in self.config.variables:
            return lambda: self._input(self.config.variables[name])
        if sort == "output" and name in self.config.outputs:
            return lambda: self._output(self.config.outputs[name])
        return None

    def _input(self, block: VariableBlock) -> Value:
        """Give a variable as the call of this module says it, or its default."""
        call = self.call
        assert self.outer is not None
        assert call is not None
        given = call.inputs.get(block.name)
        value = given.evaluate(self.outer) if given is not None else block.default
        try:
            return accept(block, value)
        except UnsuitableInput as problem:
            span = given.node.span if given is not None else block.span
            values = given.named_values(self.outer) if given is not None else ()
            diagnostic = Diagnostic(Severity.ERROR, problem.summary, problem.detail, span, values=values)
            raise EvaluationError(diagnostic) from None

    def _output(self, block: OutputBlock) -> Value:
        """Give an output as the calling module sees it."""
        for reference in block.depends_on:
            self.await_reference(reference)
        return marked_output(block, block.value.evaluate(self))

    def _place(self, slot: Slot) -> Span:
        sort, name = slot
        if sort == "local":
            return self.config.locals[name].node.span
        return self.config.outputs[name].span if sort == "output" else self.config.variables[name].span

    def check(self, slot: Slot, diagnostics: Diagnostics) -> None:
        """Evaluate what nobody may have read, and report its mistake; who reads it then gets an unknown."""
        if slot in self._kept or slot in self._failed:
            return
        try:
            self.value(slot, None)
        except EvaluationError as problem:
            self._failed.add(slot)
            diagnostics.add(problem.diagnostic)

    def fail(self, slot: Slot) -> None:
        """Give an unknown to whoever reads a value whose mistake is reported already."""
        self._failed.add(slot)

    def await_reference(self, reference: Reference) -> None:
        """Record what a `depends_on` names as read."""
        name = reference.steps[0] if reference.steps else None
        if reference.root == "module" and isinstance(name, str):
            key = reference.steps[1] if len(reference.steps) > 1 else None
            value = key.value if isinstance(key, Key) else None
            named = ModuleAddress((*self.path, (name, value if isinstance(value, (int, str)) else None)))
            self.board.reads.update(self.board.blocks_inside(named))
            return
        try:
            self.resolve(reference.root, reference.steps, reference.span)
        except EvaluationError:
            self.board.reads.add(Address(reference.root, str(name)).inside(self.path))

    def _module(self, name: str, steps: tuple[Step, ...], span: Span) -> tuple[Value, int]:
        expansion = self.board.calls.get((self.path, name))
        if expansion is None:
            return Unknown(because=f"module.{name}"), 1 + len(steps)
        key, used = None, 1
        if expansion.mode != "single":
            if steps and isinstance(steps[0], Key) and isinstance(reveal(steps[0].value), Unknown):
                return Unknown(because=f"module.{name}"), 1 + len(steps)
            key = _instance_key(steps, expansion.mode, f"module.{name}", span)
            if key is None:
                return self._all_instances(name, expansion), used
            if key not in {found for found, _ in expansion.instances}:
                raise _no_such_instance(
                    f"module.{name}", key, expansion.mode, [k for k, _ in expansion.instances], span
                )
            steps, used = steps[1:], 2
        child = self.board.modules[(*self.path, (name, key))]
        if steps and isinstance(steps[0], str):
            return child.value(("output", steps[0]), span), used + 1
        return child.outputs(), used

    def _all_instances(self, name: str, expansion: Expansion) -> Value:
        values = {key: self.board.modules[(*self.path, (name, key))].outputs() for key, _ in expansion.instances}
        if expansion.mode == "count":
            return Tuple(values.values())
        return Object({str(key): value for key, value in values.items()})

    def outputs(self) -> Value:
        return Object({name: self.value(("output", name), None) for name in self.config.outputs})

    def _resource(self, block: Address, steps: tuple[Step, ...], span: Span, used: int) -> tuple[Value, int]:
        entry = self.board.published.get(block)
        if entry is None or entry.failed:
            self.board.reads.add(block)
            return self._of_failed(entry, block, steps, used)
        if entry.mode == "single":
            self.board.reads.add(block)
            return entry.instance(None), used
        key = _instance_key(steps, entry.mode, block, span)
        if key is None:
            self.board.reads.add(block)
            return entry.whole(), used
        if key not in entry.instances:
            raise _no_such_instance(str(block), key, entry.mode, list(entry.instances), span)
        self.board.reads.add(block.instance(key))
        return entry.instance(key), used + 1

    def _of_failed(
        self, entry: Published | None, block: Address, steps: tuple[Step, ...], used: int
    ) -> tuple[Value, int]:
        keyed = entry is not None and entry.mode != "single" and bool(steps) and not isinstance(steps[0], str)
        if entry is None or entry.shape is None or (entry.mode != "single" and not keyed):
            return Unknown(because=str(block)), used + len(steps)
        return entry.shape, used + keyed


def marked_output(block: OutputBlock, value: Value) -> Value:
    """Put the marks on an output's value that it is declared with; raise `EvaluationError` for an ephemeral one."""
    if has_ephemeral(value) and not block.ephemeral:
        raise fault(
            "Output would keep an ephemeral value",
            f'The value of "{block.name}" comes from something ephemeral, which is there for one run only.',
            block.value.node.span,
            hint="In a called module, ephemeral = true hands it on; ephemeralasnull(…) leaves it out.",
        )
    return mark_whole(value, (SENSITIVE if block.sensitive else 0) | (EPHEMERAL if block.ephemeral else 0))


def _name(steps: tuple[Step, ...]) -> str:
    return steps[0] if steps and isinstance(steps[0], str) else ""


def _instance_key(steps: tuple[Step, ...], mode: str, block: object, span: Span) -> InstanceKey:
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


def _no_such_instance(
    block: str, key: InstanceKey, mode: str, keys: Sequence[InstanceKey], span: Span
) -> EvaluationError:
    if mode == "count":
        detail = f"{block} has {len(keys)} instance{'s' if len(keys) != 1 else ''}, so there is no [{key}]."
        return fault("Invalid index", detail, span)
    hint = suggest(str(key), [str(item) for item in keys])
    return fault("Invalid index", f'{block} has no instance with the key "{key}".', span, hint=hint)


class InstanceScope:
    """The module's names plus `each`, `count`, `self` and the iterators of dynamic blocks."""

    __slots__ = ("module", "names")

    def __init__(self, module: ModuleScope, names: Mapping[str, Value]) -> None:
        self.module = module
        self.names = names

    @property
    def environment(self) -> Environment:
        return self.module.board.environment

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
