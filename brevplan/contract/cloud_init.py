"""What a machine is handed for its first start where all that it takes is cloud-init user data. Pure.

Several things go into one text: a MIME message whose parts cloud-init takes by their kind. Scripts run in the order of
their file names, as root; of configuration each part is laid over what came before it.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Final

CONFIGURATION: Final = "#cloud-config"
"""What a text begins with that is configuration, and no script."""

_ADDED: Final = "list(append)+dict(no_replace,recurse_list)+str()"
"""How our part is laid over the user's: lists grow, and what is said already stays."""


def is_configuration(text: str) -> bool:
    """Tell configuration from all else; `#cloud-config-archive` and the like are other formats."""
    first = text.partition("\n")[0].split()
    return first[:1] == [CONFIGURATION] and text.startswith(CONFIGURATION)


def user_data(*, public_key: str, script: str, configuration: str = "") -> str:
    """Write user data that lets an SSH key in for the image's own user, and runs a script at the first start.

    `configuration` is the user's own, `#cloud-config` at its top; its own keys stay beside ours. The same input gives
    the same text. Raises `ValueError` for a key that is none, or for configuration that is none.
    """
    from email.mime.multipart import MIMEMultipart  # here, because only a launch needs it
    from email.mime.text import MIMEText

    if configuration and not is_configuration(configuration):
        raise ValueError(f"configuration for cloud-init begins with {CONFIGURATION}")
    parts = [("cloud-config", "brevplan-1-user.cfg", configuration)] if configuration else []
    # ours comes last: a part is laid over those before it as the part itself says
    parts.append(("cloud-config", "brevplan-2-key.cfg", _key_part(public_key)))
    parts.append(("x-shellscript", "brevplan-3-start.sh", script))
    digest = sha256("\0".join(text for _, _, text in parts).encode()).hexdigest()
    message = MIMEMultipart(boundary=f"brevplan-{digest[:32]}")
    for subtype, name, text in parts:
        # UTF-8 is carried as base64: no line of it can be taken for a boundary, or is changed on the way
        part = MIMEText(text, subtype, "utf-8")
        part.add_header("Content-Disposition", "attachment", filename=name)
        message.attach(part)
    return message.as_string()


def _key_part(public_key: str) -> str:
    keys = [line.strip() for line in public_key.splitlines() if line.strip()]
    if not keys or not all(len(key.split()) > 1 and key.isprintable() for key in keys):
        raise ValueError("an SSH public key in its one-line form is needed, such as: ssh-ed25519 AAAA… me@laptop")
    # JSON is YAML too, and quotes what has to be quoted
    body = json.dumps({"merge_how": _ADDED, "ssh_authorized_keys": keys}, ensure_ascii=False)
    return f"{CONFIGURATION}\n{body}\n"
