"""`module` blocks: which folder is called, with which inputs, how often and with which providers."""

from __future__ import annotations

from typing import Final

from brevplan.engine.config import Config, ModuleCall, ProviderRef
from brevplan.engine.loading.pieces import Pieces
from brevplan.lang import ast

META_ARGUMENTS: Final = ("source", "version", "count", "for_each", "providers", "depends_on")


def load_call(pieces: Pieces, config: Config, block: ast.Block) -> None:
    if not pieces.labels(block, 1) or not pieces.unique(config.calls, block.labels[0].text, block, "module"):
        return
    name, body = block.labels[0].text, block.body
    pieces.no_blocks(block, "a module block")
    if "version" in body.attributes:
        pieces.diagnostics.error(
            "Version of a local module",
            "A module in a folder has the version that its files have.",
            body.attributes["version"].name_span,
            hint="Take the line out.",
        )
    if "source" not in body.attributes:
        pieces.missing(block, "source")
        return
    count, for_each = pieces.repetition(body)
    config.calls[name] = ModuleCall(
        name,
        _source(pieces, body),
        pieces.prepare_all(body, skip=META_ARGUMENTS),
        block.header_span,
        count,
        for_each,
        pieces.depends_on(body),
        _providers(pieces, body),
        body.attributes["source"].value.span,
        {name: attribute.name_span for name, attribute in body.attributes.items()},
    )


def _source(pieces: Pieces, body: ast.Body) -> str:
    text = pieces.literal_text(body, "source") or ""
    if text and not text.startswith(("./", "../")) and text not in (".", ".."):
        pieces.diagnostics.error(
            "Module is not local",
            f'"{text}" is not a folder of this project: modules are read from paths that begin with ./ or ../.',
            body.attributes["source"].value.span,
            hint=f'Copy it into the project and write, for example: source = "./modules/{text.rsplit("/", 1)[-1]}"',
        )
        return ""
    return text


def _providers(pieces: Pieces, body: ast.Body) -> dict[str, ProviderRef]:
    attribute = body.attributes.get("providers")
    if attribute is None:
        return {}
    if not isinstance(attribute.value, ast.ObjectCons):
        pieces.diagnostics.error(
            "Invalid providers", "An object is needed: what the module calls a provider, and which one that is.",
            attribute.value.span, hint="For example: providers = { lambda = lambda.burst }",
        )  # fmt: skip
        return {}
    found: dict[str, ProviderRef] = {}
    for item in attribute.value.items:
        inner, outer = pieces.provider_ref(item.key), pieces.provider_ref(item.value)
        if inner is not None and outer is not None:
            found[inner.text] = outer
    return found
