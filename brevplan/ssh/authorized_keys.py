"""The script that puts further keys into a machine's authorized_keys: a marked block, and nothing outside it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

BEGIN: Final = "# brevplan: begin"
END: Final = "# brevplan: end"

# Type, key, comment; options before the type are left to those who write the file by hand.
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9@.-]* [A-Za-z0-9+/]{16,}={0,2}(?: [^\x00-\x1f\x7f]*)?\Z")

# A block whose end is missing was cut by hand: its lines stay, for one may be the key that lets us in.
_WITHOUT_BLOCK: Final = """\
awk -v begin='# brevplan: begin' -v end='# brevplan: end' '
$0 == begin { if (inside) printf "%s", held; inside = 1; held = ""; next }
$0 == end && inside { inside = 0; held = ""; next }
inside { held = held $0 "\\n"; next }
{ print }
END { if (inside) printf "%s", held }
' "$file" > "$new"
"""


def authorized_keys_script(keys: Sequence[str]) -> str:
    """Write the script; the same keys again leave the same file. Raises `ValueError` for what is no key."""
    for key in keys:
        if not _KEY.match(key):
            raise ValueError(
                "an authorized key is not an OpenSSH public key on one line, such as ssh-ed25519 AAAA... me"
            )
    lines = [BEGIN, *keys, END] if keys else []
    block = "".join(f"{line}\n" for line in lines)
    return f"""\
#!/bin/sh
# brevplan: the further keys of this user.
set -eu
umask 077
mkdir -p "$HOME/.ssh"
file=$(readlink -f "$HOME/.ssh/authorized_keys")
[ -e "$file" ] || : > "$file"
new=$(mktemp "$file.XXXXXX")
trap 'rm -f "$new"' EXIT
{_WITHOUT_BLOCK}cat >> "$new" <<'BREVPLAN_KEYS'
{block}BREVPLAN_KEYS
if cmp -s "$file" "$new"; then exit 0; fi
chmod 600 "$new"
mv "$new" "$file"
"""
