"""The credentials file: where it lies, who may read it, what stands in it, and that no error ever shows it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from brevplan.diagnostics import Diagnostics, DiagnosticsError
from brevplan.operations.credentials import stored_credentials
from brevplan.operations.session import read_settings
from brevplan.providers import registry

CANARY = "sk-canary-51c0"


def keep(home: Path, content: object, mode: int = 0o600) -> dict[str, str]:
    path = home / ".config" / "brevplan" / "credentials.json"
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(mode)
    return {"HOME": str(home)}


def test_nothing_is_there(tmp_path: Path) -> None:
    assert stored_credentials({}, "lambda") == {}
    assert stored_credentials({"HOME": str(tmp_path)}, "lambda") == {}
    assert stored_credentials({"HOME": "relative"}, "lambda") == {}


def test_the_entry_of_a_block_goes_before_that_of_its_provider(tmp_path: Path) -> None:
    environment = keep(tmp_path, {"lambda": {"api_key": "one"}, "lambda.second": {"api_key": "two"}})
    assert stored_credentials(environment, "lambda") == {"api_key": "one"}
    assert stored_credentials(environment, "lambda.second") == {"api_key": "two"}
    assert stored_credentials(environment, "lambda.third") == {"api_key": "one"}
    assert stored_credentials(environment, "shadeform") == {}


def test_the_folder_of_the_specification_goes_first(tmp_path: Path) -> None:
    keep(tmp_path / "home", {"lambda": {"api_key": "one"}})
    other = tmp_path / "config" / "brevplan"
    other.mkdir(parents=True)
    (other / "credentials.json").write_text('{"lambda": {"api_key": "two"}}')
    (other / "credentials.json").chmod(0o600)
    environment = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert stored_credentials(environment, "lambda") == {"api_key": "two"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_file_that_others_can_get_at_is_refused(tmp_path: Path, mode: int) -> None:
    environment = keep(tmp_path, {"lambda": {"api_key": CANARY}}, mode)
    with pytest.raises(DiagnosticsError) as caught:
        stored_credentials(environment, "lambda")
    (item,) = caught.value.diagnostics
    assert item.summary == "Credentials are not private"
    assert "chmod 600" in item.hint


@pytest.mark.parametrize(
    "content",
    [f'{{"lambda": "{CANARY}"', f'["{CANARY}"]', {"lambda": CANARY}, {"lambda": {"api_key": 5, "x": CANARY}},
     "[" * 9999],
)  # fmt: skip
def test_a_file_that_is_wrong_is_told_of_without_its_content(tmp_path: Path, content: object) -> None:
    environment = keep(tmp_path, content)
    with pytest.raises(DiagnosticsError) as caught:
        stored_credentials(environment, "lambda")
    (item,) = caught.value.diagnostics
    assert item.summary == "Credentials cannot be read"
    assert CANARY not in f"{item.detail}{item.hint}"


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / ".config" / "brevplan" / "credentials.json").mkdir(parents=True)
    os.chmod(tmp_path / ".config" / "brevplan" / "credentials.json", 0o700)
    with pytest.raises(DiagnosticsError):
        stored_credentials({"HOME": str(tmp_path)}, "lambda")


@pytest.mark.parametrize(
    ("environment", "taken"),
    [
        ({}, ("AKIASTORED", "stored secret", "stored token")),
        ({"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "env secret"}, ("AKIAENV", "env secret", None)),
        ({"AWS_ACCESS_KEY_ID": "AKIASTORED"}, ("AKIASTORED", "stored secret", "stored token")),
        ({"AWS_SECRET_ACCESS_KEY": "env secret"}, ("AKIASTORED", "stored secret", "stored token")),
    ],
)
def test_halves_of_two_credentials_are_never_put_together(
    tmp_path: Path, environment: dict[str, str], taken: tuple[str, str, str | None]
) -> None:
    stored = {"access_key_id": "AKIASTORED", "secret_access_key": "stored secret", "session_token": "stored token"}
    environment = {**environment, **keep(tmp_path, {"aws": stored})}
    scope: Any = None  # nothing is evaluated: there is no block
    found = read_settings("aws", registry.spec("aws"), None, scope, environment, Diagnostics())
    assert found is not None
    assert tuple(found[name] for name in stored) == taken
