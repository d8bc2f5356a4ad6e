"""Catalogues that were read a moment ago, kept in the user's cache folder for as long as their provider allows.

A plan and a list of offers may use them; an apply reads anew. An entry that is damaged, or made by another version, is
as if it were not there, and a folder that cannot be used costs time and nothing else. There is nothing secret in it:
the account is named by its fingerprint.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from brevplan.contract.model import Image, InstanceType, Location
from brevplan.engine.accounts import Account
from brevplan.operations.user_folders import cache_folder
from brevplan.version import VERSION


class Catalogue(msgspec.Struct, frozen=True):
    """What one account sells, and when that was read (seconds since 1970)."""

    version: str
    at: float
    types: list[InstanceType]
    locations: list[Location]
    images: list[Image] | None = None


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Catalogue)


class CatalogueCache:
    """The cache of one user; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, account: Account) -> Catalogue | None:
        """Give a catalogue that is still young enough; None where there is none."""
        path = self._path(account)
        if path is None:
            return None
        try:
            found = _DECODER.decode(path.read_bytes())
        except (OSError, msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        age = account.clock.now().timestamp() - found.at
        is_young = 0 <= age < account.traits.catalogue_poll_s
        return found if is_young and found.version == VERSION else None

    def put(self, account: Account, found: Catalogue) -> None:
        """Keep a catalogue, unless its provider says that it is never to be kept."""
        path = self._path(account) if account.traits.catalogue_poll_s > 0 else None
        if path is None:
            return
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(_ENCODER.encode(found))
            os.replace(partial, path)

    def _path(self, account: Account) -> Path | None:
        # the embedded cloud is a file beside us: its own answer is as quick, and always right
        if self._folder is None or account.spec.account_free:
            return None
        of = f"-{sha256(account.traits.catalogue.encode()).hexdigest()[:16]}" if account.traits.catalogue else ""
        return self._folder / f"{account.spec.name}-{account.fingerprint}{of}.json"


def catalogue_cache(environment: Mapping[str, str]) -> CatalogueCache:
    """Give the cache of the user whose environment it is; without a home there is none."""
    return CatalogueCache(cache_folder(environment, "catalogues"))


NO_CACHE: Final = CatalogueCache(None)
