"""`brevplan simulate` as a process of its own, for a block of code: what clouds it serves and what they hold.

The clouds' files are read behind the server's back, so that what is left at a cloud is not asked of who may be wrong.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import BREVPLAN
from brevplan.contract.model import DEAD
from brevplan.simcloud.faces import shadeform
from brevplan.simcloud.faces.face import uuid_of
from brevplan.simcloud.model import Machine
from brevplan.simcloud.store import Store

KEY: Final = "simulated"
"""The API key that `simulate` takes unless told otherwise."""

_BLOCK: Final = re.compile(r'^provider "(\w+)" \{\n(?:  .*\n)*?  endpoint +=  *"(\S+)"\n(?:  .*\n)*\}$', re.MULTILINE)
_START_S: Final = 30.0
_OBJECTS: Final = {"lambda": ("lambda-key", "lambda-ruleset"), "shadeform": (shadeform.KEYS,)}


@dataclass(slots=True)
class Served:
    """Simulated clouds that answer. `folder` holds their files, `log` what the command has said."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def endpoints(self) -> Mapping[str, str]:
        return dict(_BLOCK.findall(self.said))

    def block(self, name: str, more: str = "") -> str:
        """Give the provider block that the command has printed, with more arguments."""
        (found,) = (found for found in _BLOCK.finditer(self.said) if found[1] == name)
        return f"{found[0].removesuffix('}')}{more}}}\n"

    def end(self, how: signal.Signals = signal.SIGTERM, limit_s: float = 20.0) -> int:
        """Ask the command to end; give its exit code. One that does not hear is killed."""
        self.process.send_signal(how)
        try:
            return self.process.wait(limit_s)
        finally:
            self.process.kill()


@contextmanager
def simulated(
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    names: Sequence[str] = ("lambda", "shadeform"),
    log: str = "simulate.log",
) -> Iterator[Served]:
    """Serve clouds, on a free port unless told otherwise, until the block ends; raise `RuntimeError` if it cannot be.

    The files of the clouds are in `clouds` of the folder.
    """
    clouds, path = folder / "clouds", folder / log
    words = [BREVPLAN, "simulate", f"-path={clouds}", *(f"-provider={name}" for name in names), *options]
    if not any(option.startswith("-port") for option in options):
        words.append("-port=0")
    with path.open("wb") as output:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    served = Served(process, clouds, path)
    try:
        deadline = time.monotonic() + _START_S
        while len(served.endpoints) < len(names):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the clouds cannot be served: {served.said.strip()}")
            time.sleep(0.02)
        yield served
    finally:
        if process.poll() is None:
            served.end()
        process.wait(10)


def living(store: Store) -> list[Machine]:
    """Give the machines that stand."""
    return [machine for machine in store.machines() if machine.body.status not in DEAD]


def ref_id_of(machine: Machine) -> str:
    """Give the mark of a machine; at a cloud where it is a part of its name, that part."""
    return machine.ref_id.partition("_")[0]


def shown_id(provider: str, cloud_id: str) -> str:
    """Give the id that a machine of the simulated cloud has in its provider's API."""
    return uuid_of(cloud_id) if provider == "shadeform" else cloud_id


def beside(store: Store, provider: str) -> list[str]:
    """Give the names of the keys and rulesets that are kept beside machines."""
    if not store.exists():
        return []
    with store.read():
        kinds = {kind: store.objects(kind) for kind in _OBJECTS.get(provider, ())}
    return [f"{kind} {body['name']}" for kind, objects in kinds.items() for body in objects.values()]
