"""Which provider block a resource belongs to: chosen by itself, by default, or handed on to its module."""

from __future__ import annotations

from collections.abc import Iterator

from brevplan.diagnostics import Diagnostics, Span
from brevplan.engine.config import Config, Declaration, ProviderRef


class ProviderChoice:
    """Follows what a resource says through the `providers` of the calls around it, up to the root module."""

    def __init__(self, root: Config) -> None:
        self.root = root

    def of(self, path: tuple[str, ...], declaration: Declaration, diagnostics: Diagnostics) -> str | None:
        """Give the key of a provider block, or None after reporting why there is none."""
        found = self._follow(path, declaration.provider, declaration, diagnostics)
        return found.text if found is not None else None

    def named(self) -> Iterator[ProviderRef]:
        """Give every provider that the configuration names, as the root module calls it."""
        quiet = Diagnostics()
        if self.root.settings.default_provider is not None:
            yield self.root.settings.default_provider
        for item in self.root.imports:
            if item.provider is not None:
                yield item.provider
        for path, module in self.root.modules():
            for declaration in module.resources.values():
                if declaration.provider is not None or path:
                    found = self._follow(path, declaration.provider, declaration, quiet)
                    if found is not None:
                        yield found

    def _follow(
        self, path: tuple[str, ...], wanted: ProviderRef | None, declaration: Declaration, diagnostics: Diagnostics
    ) -> ProviderRef | None:
        while path:
            outer = self.root.at(path[:-1])
            assert outer is not None
            call = outer.calls[path[-1]]
            if wanted is None and self.root.settings.default_provider is None and len(call.providers) == 1:
                wanted = next(iter(call.providers.values()))
            elif wanted is None and self.root.settings.default_provider is not None:
                default = self.root.settings.default_provider
                wanted = call.providers.get(default.text)
            elif wanted is not None and wanted.text in call.providers:
                wanted = call.providers[wanted.text]
            elif wanted is not None and "." in wanted.text:
                _not_handed_on(wanted, path, call.span, diagnostics)
                return None
            path = path[:-1]
        return wanted or self._default(declaration, diagnostics)

    def _default(self, declaration: Declaration, diagnostics: Diagnostics) -> ProviderRef | None:
        configured = self.root.providers
        if self.root.settings.default_provider is not None:
            return self.root.settings.default_provider
        if len(configured) == 1:
            return ProviderRef(next(iter(configured)), declaration.span)
        diagnostics.error(
            "No provider chosen",
            f"{declaration.address} does not say where it runs, and "
            + (f"{len(configured)} providers are configured." if configured else "no provider is configured."),
            declaration.span,
            hint=f"Add provider = {next(iter(configured), 'local')} to the block, "
            "or default_provider to the brevplan block.",
        )
        return None


def _not_handed_on(wanted: ProviderRef, path: tuple[str, ...], call: Span, diagnostics: Diagnostics) -> None:
    diagnostics.error(
        "Provider is not handed on",
        f'A module knows the provider "{wanted.text}" only if its call says which one that is ({call}).',
        wanted.span,
        hint=f'Add to module "{path[-1]}": providers = {{ {wanted.text} = {wanted.text} }}',
    )
