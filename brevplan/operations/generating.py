"""`plan -generate-config-out=FILE`: a first version of the resources that `import` blocks name and nobody declares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from brevplan.diagnostics import Diagnostics, Source, failure
from brevplan.engine.imports import Import, read_imports
from brevplan.engine.observed import Facts
from brevplan.engine.scope import ModuleScope
from brevplan.lang.values import Value
from brevplan.lang.writer import Code, write_block
from brevplan.operations.project import KINDS, Project, load_sources


def check_target(path: Path, option: str = "-generate-config-out") -> None:
    """Refuse to write over a file that is there; raise `DiagnosticsError`."""
    if path.exists() or path.is_symlink():
        raise failure(
            "File exists", f"{path} is there already, and {option} writes a new file only.",
            hint=f"Name another file: {option}=FILE",
        )  # fmt: skip


def with_generated(project: Project, path: Path, scope: ModuleScope, facts: Facts) -> Project:
    """Write the blocks that are missing, and load the configuration with them; raise `DiagnosticsError`."""
    diagnostics = Diagnostics()
    imports = read_imports(scope, diagnostics)
    diagnostics.raise_if_errors()
    blocks = list(_blocks(project, imports.undeclared(facts.records), facts))
    if not blocks:
        return project
    text = "\n".join(blocks)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise failure("File cannot be written", f"{path}: {problem.strerror}.") from None
    return load_sources(project.directory, [*project.root_sources, Source(path.name, text)])


def _blocks(project: Project, missing: Iterator[Import], facts: Facts) -> Iterator[str]:
    for item in missing:
        address = item.address
        if project.config.declaration(address) is not None or address.kind not in KINDS:
            continue
        if address.module or address.key is not None:
            raise failure(
                "Configuration cannot be written",
                f"{address}: a first version is written of single resources of the root module only.",
                item.span,
                hint="Declare this one by hand.",
            )
        yield _block(project, item, facts)


def _block(project: Project, item: Import, facts: Facts) -> str:
    alias = item.provider or default_provider(project)
    machine = facts.machine(alias, item.cloud_id, "") if alias in facts.views else None
    if machine is None:
        raise failure("Import is not possible", f'There is no machine "{item.cloud_id}" at "{alias}".', item.span)
    kind = KINDS[item.address.kind]
    arguments: dict[str, Value | Code] = dict(kind.written(kind.observe(machine, facts.views[alias].traits)))
    arguments.setdefault("public_key", Code('file("~/.ssh/id_ed25519.pub")'))  # few clouds tell the key
    if alias != default_provider(project) or len(project.config.providers) > 1:
        arguments = {"provider": Code(alias), **arguments}
    comment = f'Written by brevplan from the machine "{item.cloud_id}": look it over, and make it yours.'
    return write_block("resource", [item.address.kind, item.address.name], arguments, comment)


def default_provider(project: Project) -> str:
    """Give the provider of what does not say where it runs."""
    default = project.config.settings.default_provider
    return default.text if default is not None else next(iter(project.config.providers), "")
