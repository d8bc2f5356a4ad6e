"""A host's own firewall as shell scripts: one for the first start, one for a living machine. Pure.

Both deny what comes in but for SSH and the declared rules. Each UFW rule bears the name of the rule set in its
comment: so a change adds what is new first, and then takes away what does not bear the new name. UFW writes rules in
other words than they were given in, and to compare words would take away too much.

`$BREVPLAN_ROOT` is put before every path that is written to; it is empty but on simulated machines.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from brevplan.contract.docker_user import UNIT, UNIT_NAME, docker_user_script
from brevplan.contract.model import FirewallRules
from brevplan.contract.openings import SSH_PORT, Opening, Openings, openings

ROLLED_BACK: Final = 75
"""The exit status of `confirm_script` when the machine has gone back to its former rules."""

_START_HEAD: Final = """\
#!/bin/sh
# brevplan: closes this machine but for SSH and the declared rules.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
root="${BREVPLAN_ROOT:-}"
failed=0
ssh_open=0
note() { echo "brevplan: this failed: $*" >&2; failed=1; }
try() { "$@" || note "$@"; }
let_ssh_in() { if "$@"; then ssh_open=1; else note "$@"; fi; }
if ! command -v ufw >/dev/null 2>&1; then
    apt-get -q update || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q ufw
fi
"""

_IPV6: Final = """\
if [ -f "$root/etc/default/ufw" ] && ! grep -q '^IPV6=yes' "$root/etc/default/ufw"; then
    sed -i 's/^IPV6=.*/IPV6=yes/' "$root/etc/default/ufw"
fi
"""

_CONTAINERS: Final = """\
mkdir -p "$root/etc/brevplan"
cat > "$root/etc/brevplan/docker-user.sh.new" <<'BREVPLAN_DOCKER_USER'
{script}BREVPLAN_DOCKER_USER
mv "$root/etc/brevplan/docker-user.sh.new" "$root/etc/brevplan/docker-user.sh"
{attempt}sh "$root/etc/brevplan/docker-user.sh"
if command -v systemctl >/dev/null 2>&1 && [ -d "$root/run/systemd/system" ]; then
    mkdir -p "$root/etc/systemd/system"
    cat > "$root/etc/systemd/system/{unit_name}" <<'BREVPLAN_UNIT'
{unit}BREVPLAN_UNIT
    {attempt}systemctl enable {unit_name}
fi
"""

_USER_DATA: Final = """\
mkdir -p "$root/var/lib/brevplan"
chmod 700 "$root/var/lib/brevplan"
own="$root/var/lib/brevplan/user-data"
(umask 077; base64 -d > "$own" <<'BREVPLAN_USER_DATA'
{encoded}
BREVPLAN_USER_DATA
)
chmod 700 "$own"
status=0
"$own" || status=$?
rm -f "$own"
[ "$status" -eq 0 ] || exit "$status"
"""


def start_script(rules: FirewallRules, *, ssh_ports: Sequence[int] = (SSH_PORT,), user_data: str = "") -> str:
    """Write what a machine runs at its first start, as root; raise `ValueError` for what cannot be carried out.

    The firewall is not closed before SSH is let in. `user_data` is a script of the user's own, run by its own
    interpreter once the firewall stands. A rule that could not be set leaves its port closed and the exit status 1.
    """
    wanted = openings(rules, ssh_ports)
    carried = _carried(user_data)
    mark = f" comment 'brevplan {wanted.mark}'"
    lines = [
        "ufw --force reset",
        "ufw default deny incoming",
        "ufw default allow outgoing",
        *(f"let_ssh_in {line}{mark}" for line in _inward(wanted.ssh)),
        '[ "$ssh_open" = 1 ] || { echo "brevplan: SSH could not be let in, so nothing is closed" >&2; exit 1; }',
        *(f"try {line}{mark}" for line in _inward(wanted.ingress)),
        *(f"try {line}{mark}" for line in _outward(wanted.egress)),
        *(["ufw default deny outgoing"] if wanted.egress is not None else []),
        "ufw --force enable",
    ]
    return _START_HEAD + _IPV6 + "\n".join(lines) + "\n" + _containers(wanted, "try ") + carried + 'exit "$failed"\n'


def _carried(user_data: str) -> str:
    if not user_data.strip():
        return ""
    if user_data.startswith("#cloud-config"):
        raise ValueError(
            "user_data is cloud-init configuration (#cloud-config), and this provider's firewall is a start-up script"
            " that it cannot stand beside; write user_data as a script that begins with #!, such as #!/bin/sh"
        )
    if not user_data.startswith("#!"):
        raise ValueError("user_data must be a script that begins with #!, such as #!/bin/sh, to run after the firewall")
    encoded = b64encode(user_data.encode()).decode()
    rows = "\n".join(encoded[start : start + 76] for start in range(0, len(encoded), 76))
    return _USER_DATA.format(encoded=rows)


def _containers(wanted: Openings, attempt: str) -> str:
    script = docker_user_script(wanted)
    return _CONTAINERS.format(script=script, unit=UNIT, unit_name=UNIT_NAME, attempt=attempt)


# Rules as UFW's command takes them


def _inward(wanted: Iterable[Opening]) -> Iterator[str]:
    for opening in wanted:
        if opening == Opening(opening.low, opening.low, "tcp"):
            yield f"ufw allow {opening.low}/tcp"
            continue
        for source in opening.ranges or ("any",):
            for ports in _ports(opening):
                yield f"ufw allow in from {source} to any {ports}"


def _outward(wanted: Sequence[Opening] | None) -> Iterator[str]:
    if wanted is None:
        return
    yield "ufw allow out to any port 53"
    for opening in wanted:
        for target in opening.ranges or ("any",):
            for ports in _ports(opening):
                yield f"ufw allow out to {target} {ports}"


def _ports(opening: Opening) -> Iterator[str]:
    """Give the port part of rules: a single port may leave the protocol open, for a range UFW demands one."""
    if opening.low == opening.high:
        yield f"port {opening.low} proto {opening.protocol}" if opening.protocol else f"port {opening.low}"
        return
    for protocol in opening.protocols:
        yield f"port {opening.low}:{opening.high} proto {protocol}"


# A living machine

_SETTINGS: Final = """\
set -u
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
root="${BREVPLAN_ROOT:-}"
kept="$root/var/lib/brevplan"
keep="$kept/firewall-change"
"""

_TAKE_TURN: Final = """\
command -v ufw >/dev/null 2>&1 || { echo "brevplan: ufw is not installed on this machine" >&2; exit 1; }
# At its first start the machine may still be busy with its own script, which sets the same firewall.
if command -v cloud-init >/dev/null 2>&1; then timeout 300 cloud-init status --wait >/dev/null 2>&1 || true; fi
mkdir -p "$kept" && chmod 700 "$kept" || exit 1
tries=0
until mkdir "$keep" 2>/dev/null; do
    # A change that nobody watches any more, such as one that a restart of the machine cut off, is in nobody's way.
    watcher=$(cat "$keep/watcher" 2>/dev/null || true)
    if [ -n "$watcher" ] && ! kill -0 "$watcher" 2>/dev/null; then rm -rf "$keep"; continue; fi
    if [ -n "$(find "$keep" -maxdepth 0 -mmin +15)" ]; then rm -rf "$keep"; continue; fi
    tries=$((tries + 1))
    [ "$tries" -le 120 ] || { echo "brevplan: another change of this firewall is under way" >&2; exit 1; }
    sleep 1
done
"""

_SAVE: Final = """\
cp -a "$root/etc/ufw" "$keep/ufw" && cp -a "$root/etc/default/ufw" "$keep/default" || { rm -rf "$keep"; exit 1; }
cp -a "$root/etc/brevplan/docker-user.sh" "$keep/docker-user.sh" 2>/dev/null || true
for tool in iptables ip6tables; do
    "$tool" -w 30 -S DOCKER-USER > "$keep/$tool" 2>/dev/null || rm -f "$keep/$tool"
done
"""

_RESTORE: Final = """\
cp -a "$keep/ufw/." "$root/etc/ufw/"
cp -a "$keep/default" "$root/etc/default/ufw"
if grep -q '^ENABLED=yes' "$root/etc/ufw/ufw.conf"; then
    ufw reload || ufw --force enable
else
    ufw --force disable
fi
if [ -f "$keep/docker-user.sh" ]; then
    cp -a "$keep/docker-user.sh" "$root/etc/brevplan/docker-user.sh"
    sh "$root/etc/brevplan/docker-user.sh"
else
    rm -f "$root/etc/brevplan/docker-user.sh"
    for tool in iptables ip6tables; do
        "$tool" -w 30 -F DOCKER-USER 2>/dev/null || continue
        [ -f "$keep/$tool" ] || continue
        grep '^-A ' "$keep/$tool" | while IFS= read -r rule; do
            printf '%s\\n' "$rule" | xargs "$tool" -w 30
        done
    done
fi
rm -f "$kept/confirmed"
"""

_WATCH: Final = """\
applier=$1
armed="$keep/armed-@MARK@-$applier"
waited=0
total=0
while [ "$waited" -lt @PATIENCE@ ]; do
    sleep 1
    [ -e "$armed" ] || exit 0
    total=$((total + 1))
    # Rules are set one by one; while that goes on the time does not count.
    if [ "$total" -ge 600 ] || ! kill -0 "$applier" 2>/dev/null; then
        waited=$((waited + 1))
    fi
done
mv "$armed" "$keep/rolling" 2>/dev/null || exit 0
sh "$keep/restore.sh"
rm -rf "$keep"
"""

_DEFAULTS: Final = """\
state=$(ufw status verbose)
case "$state" in *"deny (incoming)"*) ;; *) ufw default deny incoming ;; esac
case "$state" in *"@OUT@ (outgoing)"*) ;; *) ufw default @OUT@ outgoing ;; esac
"""

_TAKE_AWAY: Final = """\
ufw show added | sed -n 's/^ufw //p' | { grep -v "comment 'brevplan @MARK@'" || true; } |
    sed "s/ comment '[^']*'\\$//" > "$keep/former"
while IFS= read -r rule; do
    case "$rule" in
        "route "*) printf '%s\\n' "${rule#route }" | xargs ufw --force route delete ;;
        *) printf '%s\\n' "$rule" | xargs ufw --force delete ;;
    esac
done < "$keep/former"
case "$state" in "Status: active"*) ;; *) ufw --force enable ;; esac
"""

_APPLY: Final = """\
# The name is this change's own: a watch of an earlier one, still asleep, has nothing to do with it.
armed="$keep/armed-@MARK@-$$"
: > "$armed"
setsid nohup sh "$keep/watch.sh" $$ </dev/null >/dev/null 2>&1 &
echo $! > "$keep/watcher"
if ! timeout 500 sh "$keep/apply.sh" </dev/null >/dev/null; then
    echo "brevplan: the former rules are put back" >&2
    mv "$armed" "$keep/rolling" 2>/dev/null || exit 1
    sh "$keep/restore.sh" </dev/null >/dev/null
    rm -rf "$keep"
    exit 1
fi
"""

_CONFIRM: Final = """\
for armed in "$keep"/armed-@MARK@-*; do
    mv "$armed" "$keep/done" 2>/dev/null || continue
    echo @MARK@ > "$kept/confirmed"
    rm -rf "$keep"
    exit 0
done
[ ! -e "$keep" ] && [ "$(cat "$kept/confirmed" 2>/dev/null)" = @MARK@ ] && exit 0
echo "brevplan: this machine has put its former rules back" >&2
exit 75
"""


def change_script(rules: FirewallRules, ssh_ports: Sequence[int] = (SSH_PORT,), *, patience_s: int = 45) -> str:
    """Write what brings a living machine's rules to exactly these, run as root; the same rules again change nothing.

    SSH is never closed in between: what is new is added before anything is taken away. When it has ended well the
    machine waits `patience_s` seconds for `confirm_script`; without it, it goes back to the rules of before.
    """
    wanted = openings(rules, ssh_ports)
    fill = {"@MARK@": wanted.mark, "@PATIENCE@": str(patience_s), "@OUT@": _default_outgoing(wanted)}
    script = [
        "#!/bin/sh\n# brevplan: brings this machine's firewall to the declared rules, in place.\n",
        _SETTINGS,
        _TAKE_TURN,
        _SAVE,
        _file("restore.sh", _SETTINGS + _RESTORE),
        _file("watch.sh", _SETTINGS + _WATCH),
        _file("apply.sh", _SETTINGS + "set -e\n" + _apply(wanted)),
        _APPLY,
    ]
    return _filled("".join(script), fill)


def confirm_script(rules: FirewallRules, ssh_ports: Sequence[int] = (SSH_PORT,)) -> str:
    """Write what tells a machine, over a new connection, to keep the rules; exits `ROLLED_BACK` when it is too late."""
    return _filled("#!/bin/sh\n" + _SETTINGS + _CONFIRM, {"@MARK@": openings(rules, ssh_ports).mark})


def _apply(wanted: Openings) -> str:
    mark = f" comment 'brevplan {wanted.mark}'"
    added = [
        *_inward(wanted.ssh),
        *_inward(wanted.ingress),
        *_outward(wanted.egress),
    ]
    rules = "".join(f"{line}{mark}\n" for line in added)
    return _IPV6.replace("fi\n", "    ufw reload\nfi\n") + rules + _DEFAULTS + _TAKE_AWAY + _containers(wanted, "")


def _default_outgoing(wanted: Openings) -> str:
    return "allow" if wanted.egress is None else "deny"


def _file(name: str, text: str) -> str:
    word = f"BREVPLAN_{name.partition('.')[0].upper()}"
    return f"cat > \"$keep/{name}\" <<'{word}'\n{text}{word}\n"


def _filled(script: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        script = script.replace(name, value)
    return script
