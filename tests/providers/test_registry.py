"""Clouds that an installed package brings: found by their entry points, and never in the place of one that is here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from brevplan.providers import registry

MODULE = "raise SystemExit('loaded')\n"


def told(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python where a package `stranger` is installed that brings `lambda` and `other`."""
    info = folder / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[brevplan.providers]\nlambda = stranger\nother = stranger\n")
    (folder / "stranger.py").write_text(MODULE)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", f"from brevplan.providers import registry\n{code}"],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_installed_cloud_is_known_and_loaded_on_use(tmp_path: Path) -> None:
    done = told(tmp_path, "print('other' in registry.names(), registry.is_known('other'))\nregistry.spec('other')")
    assert done.stdout == "True True\n"
    assert "loaded" in done.stderr


def test_installed_cloud_takes_no_known_name(tmp_path: Path) -> None:
    done = told(tmp_path, "print(registry.spec('lambda').arguments[0].name, registry.names().count('lambda'))")
    assert done.stdout == "api_key 1\n", done.stderr


def test_unknown_names_are_unknown() -> None:
    assert not registry.is_known("nowhere")
    assert "nowhere" not in registry.Arguments()
    assert set(registry.MODULES) <= set(registry.Arguments())
