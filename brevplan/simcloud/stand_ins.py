"""Programs of a simulated machine that stand in for those that only a whole machine has, as shell scripts. Pure.

Each writes its call into `calls.log`. The firewall's keep what would be in force in files, in the places and forms
where the real ones keep it as far as brevplan looks: UFW rewrites rules in its own words, knows a rule again whatever
its comment, and keeps rules on disk that do nothing until it is enabled.

    etc/ufw/user.rules      one rule a line, in UFW's own words, with its comment
    etc/ufw/ufw.conf        ENABLED=yes or no
    etc/default/ufw         IPV6 and the default policies
    firewall/iptables       the chains and rules as `iptables -S` gives them; firewall/ip6tables likewise
    broken-gpu              its text is what nvidia-smi prints; empty, the driver does not answer
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RULES_FILE: Final = "etc/ufw/user.rules"
CALLS_FILE: Final = "calls.log"
BROKEN_GPU_FILE: Final = "broken-gpu"
ENFORCED_FILE: Final = "firewall-enforced"

_HEAD: Final = """\
#!/bin/sh
root="$BREVPLAN_ROOT"
line="${0##*/}"
for word in "$@"; do line="$line $word"; done
printf '%s\\n' "$line" >> "$root/calls.log"
"""

_SUDO: Final = """\
while :; do
    case "${1:-}" in
        -n|-E|-H) shift ;;
        --) shift; break ;;
        *) break ;;
    esac
done
exec "$@"
"""

_UFW: Final = """\
rules="$root/etc/ufw/user.rules"
conf="$root/etc/ufw/ufw.conf"
defaults="$root/etc/default/ufw"

# Sets $rule and $comment from words as they are typed; the words of "show added" come out.
read_rule() {
    action=$1; shift
    direction=""; from=any; to=any; port=""; proto=""; comment=""
    while [ "$#" -gt 0 ]; do
        case "$1" in
            in) ;;
            out) direction="out " ;;
            from) from=$2; shift ;;
            to) to=$2; shift ;;
            port) port=$2; shift ;;
            proto) proto=$2; shift ;;
            comment) comment=$2; shift ;;
            */tcp|*/udp) port=${1%/*}; proto=${1#*/} ;;
            [0-9]*) port=$1 ;;
            *) echo "ERROR: Invalid syntax" >&2; exit 1 ;;
        esac
        shift
    done
    case "$port" in
        *:*) [ -n "$proto" ] || { echo "ERROR: Must specify 'tcp' or 'udp' with multiple ports" >&2; exit 1; } ;;
        "") echo "ERROR: Invalid syntax" >&2; exit 1 ;;
    esac
    case "$from" in *:*) ;; *) from=${from%/32} ;; esac
    case "$to" in *:*) ;; *) to=${to%/32} ;; esac
    if [ "$from" = any ] && [ "$to" = any ]; then
        rule="$action $direction$port${proto:+/$proto}"
    elif [ -n "$direction" ]; then
        rule="$action out to $to port $port${proto:+ proto $proto}"
    else
        rule="$action from $from to $to port $port${proto:+ proto $proto}"
    fi
}

show() {
    if [ -s "$rules" ]; then sed 's/^/ufw /' "$rules"; else echo "(None)"; fi
}

policy() {
    sed -n "s/^DEFAULT_$1_POLICY=\\"\\(.*\\)\\"/\\1/p" "$defaults" | sed 's/DROP/deny/;s/ACCEPT/allow/;s/REJECT/reject/'
}

# The rule as awk reads it has to stand alone or be followed by a comment.
others() {
    awk -v rule="$rule" '$0 == rule || index($0, rule " comment ") == 1 { next } { print }' "$rules" > "$rules.new"
}

[ "${1:-}" != --force ] || shift
command=${1:-}
[ "$#" -eq 0 ] || shift
case "$command" in
    enable) echo "ENABLED=yes" > "$conf"; echo "Firewall is active and enabled on system startup" ;;
    disable) echo "ENABLED=no" > "$conf"; echo "Firewall stopped and disabled on system startup" ;;
    reset) echo "ENABLED=no" > "$conf"; : > "$rules" ;;
    reload) echo "Firewall reloaded" ;;
    default)
        case "$1" in deny) word=DROP ;; allow) word=ACCEPT ;; *) exit 1 ;; esac
        case "$2" in incoming) chain=INPUT ;; outgoing) chain=OUTPUT ;; *) exit 1 ;; esac
        sed -i "s/^DEFAULT_${chain}_POLICY=.*/DEFAULT_${chain}_POLICY=\\"$word\\"/" "$defaults" ;;
    status)
        if grep -q '^ENABLED=yes' "$conf"; then
            echo "Status: active"
            echo "Default: $(policy INPUT) (incoming), $(policy OUTPUT) (outgoing), disabled (routed)"
        else
            echo "Status: inactive"
        fi ;;
    show) echo "Added user rules (see 'ufw status' for running firewall):"; show ;;
    delete)
        read_rule "$@"
        others
        if cmp -s "$rules" "$rules.new"; then echo "Could not delete non-existent rule"; fi
        mv "$rules.new" "$rules" ;;
    allow|deny|reject|limit)
        read_rule "$command" "$@"
        wanted="$rule${comment:+ comment '$comment'}"
        if grep -qxF "$wanted" "$rules"; then echo "Skipping adding existing rule"; exit 0; fi
        others
        if cmp -s "$rules" "$rules.new"; then
            printf '%s\\n' "$wanted" >> "$rules"; rm -f "$rules.new"; echo "Rule added"
        else
            # A rule whose comment changes keeps its place.
            awk -v rule="$rule" -v wanted="$wanted" \\
                '$0 == rule || index($0, rule " comment ") == 1 { print wanted; next } { print }' \\
                "$rules" > "$rules.new" && mv "$rules.new" "$rules"
            echo "Rule updated"
        fi ;;
    *) echo "ERROR: Invalid syntax" >&2; exit 1 ;;
esac
"""

_IPTABLES: Final = """\
table="$root/firewall/${0##*/}"
[ "${1:-}" != -w ] || { shift; case "${1:-}" in [0-9]*) shift ;; esac; }
verb=${1:-}; chain=${2:-}
known() { grep -qxF -- "-N $chain" "$table"; }
missing() { echo "iptables: No chain/target/match by that name." >&2; exit 1; }
case "$verb" in
    -S)
        [ -n "$chain" ] || { cat "$table"; exit 0; }
        known || missing
        grep -e "^-N $chain\\$" -e "^-A $chain " "$table" ;;
    -N)
        if known; then echo "iptables: Chain already exists." >&2; exit 1; fi
        printf '%s\\n' "-N $chain" >> "$table" ;;
    -F)
        known || missing
        grep -v "^-A $chain " "$table" > "$table.new" || true
        mv "$table.new" "$table" ;;
    -X)
        known || missing
        grep -vxF -e "-N $chain" "$table" > "$table.new" || true
        mv "$table.new" "$table" ;;
    -A)
        known || missing
        rule=""
        for word in "$@"; do rule="$rule${rule:+ }$word"; done
        printf '%s\\n' "$rule" >> "$table" ;;
    *) echo "iptables: not known to this stand-in: $verb" >&2; exit 2 ;;
esac
"""

_NVIDIA_SMI: Final = """\
if [ -e "$root/broken-gpu" ]; then
    if [ -s "$root/broken-gpu" ]; then cat "$root/broken-gpu"; exit 0; fi
    echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    exit 9
fi
cat "$root/gpus.csv"
"""

_QUIET: Final = "exit 0\n"

_CLOUD_INIT: Final = 'echo "status: done"\n'

PROGRAMS: Final[Mapping[str, str]] = {
    name: _HEAD + body
    for name, body in {
        "sudo": _SUDO,
        "ufw": _UFW,
        "iptables": _IPTABLES,
        "ip6tables": _IPTABLES,
        "nvidia-smi": _NVIDIA_SMI,
        "systemctl": _QUIET,
        "cloud-init": _CLOUD_INIT,
        "docker": _QUIET,
    }.items()
}

FILES: Final[Mapping[str, str]] = {
    CALLS_FILE: "",
    RULES_FILE: "",
    "etc/ufw/ufw.conf": "ENABLED=no\n",
    "etc/default/ufw": 'IPV6=yes\nDEFAULT_INPUT_POLICY="DROP"\nDEFAULT_OUTPUT_POLICY="ACCEPT"\n',
    "firewall/iptables": "",
    "firewall/ip6tables": "",
    "run/systemd/system/booted": "",
}
"""What a machine has on its disk at first: a firewall that is there and not enabled, and no container's chain."""
