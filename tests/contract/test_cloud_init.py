"""User data for cloud-init: what goes into the message comes out of it again, and in the right order."""

from __future__ import annotations

import json
from email import message_from_string

import pytest

from brevplan.contract.cloud_init import is_configuration, user_data

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIuY6PuXNmyrB4jqJ5YVhE0W0nqXUGGy1jdz4ZyM1QyR me@laptop"
SCRIPT = "#!/bin/sh\nFrom here on\n.\n--brevplan\necho 'ü'\n"


def parts(text: str) -> list[tuple[str, str, str]]:
    """Give kind, file name and text of each part, as a reader of MIME finds them."""
    message = message_from_string(text)
    assert message.get_content_type() == "multipart/mixed"
    found = []
    for part in message.get_payload():
        payload = part.get_payload(decode=True)
        found.append((part.get_content_type(), part.get_filename(), payload.decode()))
    return found


def test_key_and_script_come_out_as_they_went_in() -> None:
    (config, script) = parts(user_data(public_key=f"{KEY}\n", script=SCRIPT))
    assert script == ("text/x-shellscript", "brevplan-3-start.sh", SCRIPT)
    assert config[0] == "text/cloud-config"
    first, _, body = config[2].partition("\n")
    assert first == "#cloud-config"
    assert json.loads(body)["ssh_authorized_keys"] == [KEY]


def test_it_begins_as_cloud_init_tells_a_message() -> None:
    assert user_data(public_key=KEY, script=SCRIPT).startswith("Content-Type: multipart/mixed; boundary=")


def test_configuration_of_the_user_comes_first_and_ours_is_added_to_it() -> None:
    """A part is laid over those before it in the way that it names itself, so ours must be the later one."""
    own = "#cloud-config\nssh_authorized_keys:\n  - ssh-ed25519 BBBB colleague\npackages: [htop]\n"
    found = parts(user_data(public_key=KEY, script=SCRIPT, configuration=own))
    assert [name for _, name, _ in found] == sorted(name for _, name, _ in found)
    assert found[0] == ("text/cloud-config", "brevplan-1-user.cfg", own)
    ours = json.loads(found[1][2].partition("\n")[2])
    assert ours["merge_how"] == "list(append)+dict(no_replace,recurse_list)+str()"


def test_several_keys_are_several_entries() -> None:
    (config, _) = parts(user_data(public_key=f"{KEY}\n\nssh-rsa CCCC other\n", script=SCRIPT))
    assert json.loads(config[2].partition("\n")[2])["ssh_authorized_keys"] == [KEY, "ssh-rsa CCCC other"]


def test_the_same_input_gives_the_same_text() -> None:
    assert user_data(public_key=KEY, script=SCRIPT) == user_data(public_key=KEY, script=SCRIPT)
    assert user_data(public_key=KEY, script=SCRIPT) != user_data(public_key=KEY, script=f"{SCRIPT}\n")


@pytest.mark.parametrize("key", ["", "  \n", "AAAA", "ssh-ed25519 AAAA\x00", "ssh-ed25519 AAAA\nsecond"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="public key"):
        user_data(public_key=key, script=SCRIPT)


def test_configuration_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="#cloud-config"):
        user_data(public_key=KEY, script=SCRIPT, configuration="packages: [htop]")


def test_a_key_cannot_leave_its_quotes() -> None:
    odd = 'ssh-ed25519 AAAA "]}, "runcmd": ["id"]'
    (config, _) = parts(user_data(public_key=odd, script=SCRIPT))
    assert json.loads(config[2].partition("\n")[2]).keys() == {"merge_how", "ssh_authorized_keys"}


@pytest.mark.parametrize(
    "text", ["#cloud-config", "#cloud-config\npackages: []", "#cloud-config \r\n", "#cloud-config # mine\n"]
)
def test_configuration_is_told_by_its_first_line(text: str) -> None:
    assert is_configuration(text)


@pytest.mark.parametrize(
    "text",
    ["", "#!/bin/sh", "#cloud-config-archive\n- a", "#cloud-config-jsonp\n[]", " #cloud-config", "\n#cloud-config"],
)
def test_other_formats_of_cloud_init_are_no_configuration(text: str) -> None:
    assert not is_configuration(text)
    if text:
        with pytest.raises(ValueError, match="begins with #cloud-config"):
            user_data(public_key=KEY, script=SCRIPT, configuration=text)
