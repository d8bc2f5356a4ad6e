"""Values of variables: from defaults, the environment, files and the command line, later ones winning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from brevplan.diagnostics import Diagnostic, Diagnostics, Source, Span, suggest, warning
from brevplan.engine.config import Config, VariableBlock
from brevplan.engine.desired import check_rules
from brevplan.engine.inputs import UnsuitableInput, accept, marked_as
from brevplan.engine.scope import ModuleScope
from brevplan.lang.literals import literal_value
from brevplan.lang.types import STRING, Primitive
from brevplan.lang.values import Unknown, Value
from brevplan.operations.given import Given
from brevplan.operations.project import parse_values, read_source

ENVIRONMENT_PREFIX: Final = "BREVPLAN_VAR_"


WRONG: Final = Unknown(because="a value that cannot be read")
"""Stands for a value whose mistake is reported already."""


@dataclass(frozen=True, slots=True)
class _Found:
    value: Value
    span: Span | None
    origin: str


def collect(
    config: Config,
    directory: Path,
    environment: Mapping[str, str],
    given: Sequence[Given],
    diagnostics: Diagnostics,
    *,
    offline: bool = False,
) -> dict[str, Value]:
    """Give the value of every declared variable, converted to its type; report what is missing or wrong.

    `offline` takes a missing value for unknown: it is for checking only.
    """
    found: dict[str, _Found] = {}
    _from_environment(config, environment, found, diagnostics)
    for path in _standing_files(directory):
        _from_file(config, path, path.name, found, diagnostics)
    for item in given:
        if item.is_file:
            _from_file(config, directory / item.text, item.text, found, diagnostics)
        else:
            _from_option(config, item.text, found, diagnostics)
    for hint in sorted(directory.glob("*.tfvars")):
        diagnostics.warning(
            "Terraform variable file is not read", f"{hint.name} stands beside the configuration.",
            hint=f"Rename it to {hint.stem}.auto.vars.hcl, or name it with -var-file={hint.name}.",
        )  # fmt: skip
    values = {}
    for name, block in config.variables.items():
        value = _settle(block, found.get(name), diagnostics, offline=offline)
        if value is not None:
            values[name] = value[0]
    return values


def validate(config: Config, scope: ModuleScope, diagnostics: Diagnostics) -> None:
    """Check the validation rules of every variable."""
    for name, block in config.variables.items():
        if block.validations and name in scope.variables:
            check_rules(block.validations, scope, f'Validation of variable "{name}"', "", diagnostics)


def _standing_files(directory: Path) -> list[Path]:
    first = [directory / "brevplan.vars.hcl", directory / "brevplan.vars.hcl.json"]
    automatic = sorted([*directory.glob("*.auto.vars.hcl"), *directory.glob("*.auto.vars.hcl.json")])
    return [path for path in (*first, *automatic) if path.is_file()]


def _from_environment(
    config: Config, environment: Mapping[str, str], found: dict[str, _Found], diagnostics: Diagnostics
) -> None:
    for key, text in environment.items():
        name = key.removeprefix(ENVIRONMENT_PREFIX)
        block = config.variables.get(name)
        if key.startswith(ENVIRONMENT_PREFIX) and block is not None:
            value = _parse_text(block, text, f"${key}", diagnostics)
            if value is not None:
                found[name] = value


def _from_option(config: Config, text: str, found: dict[str, _Found], diagnostics: Diagnostics) -> None:
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals:
        diagnostics.error("Invalid -var", f'"{text}" has no equals sign.', hint="Write: -var 'name=value'")
        return
    block = config.variables.get(name)
    if block is None:
        diagnostics.error(
            "Undeclared variable", f'-var names "{name}", and no variable of that name is declared.',
            hint=suggest(name, config.variables) or f'Declare it: variable "{name}" {{}}',
        )  # fmt: skip
        return
    parsed = _parse_text(block, value, f"-var {name}", diagnostics)
    if parsed is not None:
        found[name] = parsed


def _parse_text(block: VariableBlock, text: str, origin: str, diagnostics: Diagnostics) -> _Found | None:
    """Read a text from outside: as it is for a string, else as a literal of the language."""
    if block.type == STRING or not block.has_type:
        return _Found(text, None, origin)
    from brevplan.lang.parser import parse_expression  # most values are plain texts

    source = Source(origin, text)
    expression, problems = parse_expression(source)
    inner = Diagnostics(list(problems))
    value = literal_value(expression, inner) if expression is not None else None
    if inner.has_errors:
        is_collection = not isinstance(block.type, Primitive)
        diagnostics.error(
            "Unsuitable value",
            f'The value of "{block.name}" ({origin}) is not a {block.type}.',
            None if block.sensitive else Span(source, 0, len(text)),
            hint='A text inside of a collection is written in quotes: ["a", "b"]' if is_collection else "",
        )
        return _Found(WRONG, None, origin)
    return _Found(value, expression.span if expression is not None else None, origin)


def _from_file(config: Config, path: Path, shown: str, found: dict[str, _Found], diagnostics: Diagnostics) -> None:
    body, problems = parse_values(read_source(path, shown))
    # a line of such a file may hold a secret: where one is declared, messages name the place and show no line
    hides = any(block.sensitive for block in config.variables.values())
    diagnostics.extend(_without_line(problem) if hides else problem for problem in problems)
    for block in body.blocks:
        diagnostics.error("Unexpected block", "A file of values holds arguments only.", block.header_span)
    for name, attribute in body.attributes.items():
        if name not in config.variables:
            found_nothing = warning(
                "Value for an undeclared variable",
                f'No variable "{name}" is declared.',
                attribute.name_span,
                hint=suggest(name, config.variables),
            )
            diagnostics.add(_without_line(found_nothing) if hides else found_nothing)
            continue
        inner = Diagnostics()
        value = literal_value(attribute.value, inner)
        if inner.has_errors and config.variables[name].sensitive:
            diagnostics.error("Not a literal value", f'The value of "{name}" at {attribute.value.span} is none.')
        else:
            diagnostics.extend(inner.items)
        found[name] = _Found(WRONG if inner.has_errors else value, attribute.value.span, shown)


def _without_line(problem: Diagnostic) -> Diagnostic:
    return replace(problem, detail=f"{problem.span}: {problem.detail}", span=None) if problem.span else problem


def _settle(
    block: VariableBlock, found: _Found | None, diagnostics: Diagnostics, *, offline: bool
) -> tuple[Value] | None:
    """Convert to the type, apply default and null rules; None after reporting why there is no value."""
    if found is None and not block.has_default:
        if offline:
            unknown = Unknown(block.type, f"var.{block.name}")
            return (marked_as(block, unknown),)
        diagnostics.error(
            "No value for a variable", f'"{block.name}" has no default and was given no value.', block.span,
            hint=f"Give it: -var {block.name}=…, ${ENVIRONMENT_PREFIX}{block.name}, or a line in brevplan.vars.hcl.",
        )  # fmt: skip
        return None
    value = found.value if found is not None else block.default
    if value is WRONG:
        return (Unknown(block.type, f"var.{block.name}"),)
    hides = block.sensitive or found is None or found.span is None
    origin = f" (from {found.origin})" if found is not None and hides else ""
    try:
        return (accept(block, value, origin),)
    except UnsuitableInput as problem:
        at = block.span if hides or found is None else found.span
        diagnostics.error(problem.summary, problem.detail, at)
        return None
