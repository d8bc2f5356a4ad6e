"""The start-up script of the firewall, run by a real shell: the order of what it does, and what is in force then.

Stand-ins for ufw and iptables record each call and keep the rules that come of them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brevplan.contract.model import FirewallRule, FirewallRules
from brevplan.contract.ufw import change_script, start_script
from brevplan.simcloud.ssh import environment, lets_in
from brevplan.simcloud.stand_ins import FILES, PROGRAMS
from tests.ssh.build import rule, rules


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return furnished(tmp_path / "machine")


def furnished(home: Path) -> Path:
    for name, text in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (home / "bin").mkdir()
    for name, text in PROGRAMS.items():
        (home / "bin" / name).write_text(text)
        (home / "bin" / name).chmod(0o755)
    return home


def started(home: Path, script: str, status: int = 0) -> list[str]:
    """Run a script as a machine's first start does; give the calls that it made, comments left out."""
    done = subprocess.run(
        ["/bin/sh", "-s"],
        input=script,
        env=environment(home, "root"),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return [line.partition(" comment ")[0] for line in (home / "calls.log").read_text().splitlines()]


def table(home: Path, name: str = "iptables", chain: str = "DOCKER-USER") -> list[str]:
    lines = (home / "firewall" / name).read_text().splitlines()
    return [line.removeprefix(f"-A {chain} ") for line in lines if line.startswith(f"-A {chain} ")]


def ufw_rules(home: Path) -> list[str]:
    return [line.partition(" comment ")[0] for line in (home / "etc/ufw/user.rules").read_text().splitlines()]


def test_the_order_is_reset_defaults_ssh_rules_enable_containers(home: Path) -> None:
    calls = started(home, start_script(rules(rule(443), egress=(rule(80),))))
    ufw = [call for call in calls if call.startswith("ufw ")]
    assert ufw == [
        "ufw --force reset",
        "ufw default deny incoming",
        "ufw default allow outgoing",
        "ufw allow 22/tcp",
        "ufw allow in from any to any port 443",
        "ufw allow out to any port 53",
        "ufw allow out to any port 80",
        "ufw default deny outgoing",
        "ufw --force enable",
    ]
    assert calls.index("ufw --force enable") < next(i for i, call in enumerate(calls) if "iptables" in call)
    assert start_script(rules()).startswith("#!/bin/sh\n")


def test_the_chain_is_made_before_it_is_flushed_and_ends_closed(home: Path) -> None:
    calls = started(home, start_script(rules(rule(443))))
    for tool in ("iptables", "ip6tables"):
        mine = [call.removeprefix(f"{tool} -w 30 ") for call in calls if call.startswith(f"{tool} ")]
        assert mine.index("-N DOCKER-USER") < mine.index("-F DOCKER-USER") < mine.index("-A DOCKER-USER -j DROP")
        there = table(home, tool)
        assert there[0] == "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
        assert there[-2:] == ["-j DROP", "-j RETURN"]
        assert "-i docker0 ! -o docker0 -j ACCEPT" in there
        assert "-i br+ -o br+ -j ACCEPT" in there
        assert "-i lo -j ACCEPT" in there


def test_a_published_container_port_is_reached_by_the_port_it_was_published_at(home: Path) -> None:
    started(home, start_script(rules(rule(8080, None, "203.0.113.0/24", protocol="tcp"))))
    published = [line for line in table(home) if "ctorigdstport" in line]
    assert published == [
        "-p tcp -m conntrack --ctdir ORIGINAL --ctorigdstport 22 -j ACCEPT",
        "-s 203.0.113.0/24 -p tcp -m conntrack --ctdir ORIGINAL --ctorigdstport 8080 -j ACCEPT",
    ]
    assert not any("8080" in line for line in table(home, "ip6tables"))


def test_containers_may_send_only_where_the_machine_may(home: Path) -> None:
    started(home, start_script(rules(egress=(rule(443, None, "10.0.0.0/8", protocol="tcp"),))))
    assert "-i docker0 ! -o docker0 -j BREVPLAN-OUT" in table(home)
    assert table(home, chain="BREVPLAN-OUT") == [
        "-d 10.0.0.0/8 -p tcp --dport 443 -j ACCEPT",
        "-p tcp --dport 53 -j ACCEPT",
        "-p udp --dport 53 -j ACCEPT",
        "-j DROP",
    ]


def test_a_range_of_ports_is_one_rule_for_tcp_and_one_for_udp(home: Path) -> None:
    calls = started(home, start_script(rules(rule(8000, 8010), rule(9000, 9001, protocol="udp"))))
    assert "ufw allow in from any to any port 8000:8010 proto tcp" in calls
    assert "ufw allow in from any to any port 8000:8010 proto udp" in calls
    assert "ufw allow in from any to any port 9000:9001 proto udp" in calls
    assert "ufw allow in from any to any port 9000:9001 proto tcp" not in calls


def test_a_rule_without_ranges_is_open_to_anywhere(home: Path) -> None:
    started(home, start_script(rules(rule(443))))
    assert "allow 443" in ufw_rules(home)
    assert any("443" in line for line in table(home, "ip6tables"))


def test_all_of_both_families_is_anywhere_and_all_of_one_is_its_two_halves(home: Path) -> None:
    started(home, start_script(rules(rule(443, None, "0.0.0.0/0", "::/0"), rule(80, None, "0.0.0.0/0"))))
    assert ufw_rules(home) == [
        "allow 22/tcp",
        "allow from 0.0.0.0/1 to any port 80",
        "allow from 128.0.0.0/1 to any port 80",
        "allow 443",
    ]


def test_ipv6_ranges_reach_ufw_and_only_the_ipv6_chain(home: Path) -> None:
    (home / "etc/default/ufw").write_text('IPV6=no\nDEFAULT_INPUT_POLICY="DROP"\nDEFAULT_OUTPUT_POLICY="ACCEPT"\n')
    started(home, start_script(rules(rule(443, None, "2001:db8::/32"))))
    assert "allow from 2001:db8::/32 to any port 443" in ufw_rules(home)
    assert not any("443" in line for line in table(home))
    assert any(line.startswith("-s 2001:db8::/32 ") for line in table(home, "ip6tables"))
    assert "IPV6=yes" in (home / "etc/default/ufw").read_text()


def test_no_egress_leaves_everything_out_open_and_an_empty_one_only_dns(home: Path) -> None:
    assert "ufw default deny outgoing" not in started(home, start_script(rules()))
    (home / "calls.log").write_text("")
    calls = started(home, start_script(rules(egress=())))
    assert "ufw default deny outgoing" in calls
    assert [line for line in ufw_rules(home) if " out " in line] == ["allow out 53"]


def test_ssh_is_open_unless_a_rule_covers_its_port(home: Path) -> None:
    started(home, start_script(rules(rule(20, 30, "203.0.113.0/24")), ssh_ports=(22, 2222)))
    assert "allow 22/tcp" not in ufw_rules(home)
    assert "allow 2222/tcp" in ufw_rules(home)
    assert not lets_in(home, 22, "198.51.100.7")
    assert lets_in(home, 22, "203.0.113.7")
    (home / "etc/ufw/user.rules").write_text("")
    started(home, start_script(rules(rule(22, protocol="udp"))))
    assert lets_in(home, 22, "198.51.100.7"), "a rule for udp says nothing of SSH"


def test_a_machine_whose_ssh_cannot_be_let_in_is_not_closed(home: Path) -> None:
    (home / "bin/ufw").write_text(PROGRAMS["ufw"].replace("allow|deny|reject|limit)", "allow) exit 1 ;;\ndeny)"))
    calls = started(home, start_script(rules(rule(443))), status=1)
    assert "ufw --force enable" not in calls


def test_one_rule_that_fails_leaves_the_others_and_the_firewall_standing(home: Path) -> None:
    broken = PROGRAMS["ufw"].replace("rules=", 'case "$*" in *443*) exit 1 ;; esac\nrules=', 1)
    (home / "bin/ufw").write_text(broken)
    started(home, start_script(rules(rule(443), rule(80))), status=1)
    assert ufw_rules(home) == ["allow 22/tcp", "allow 80"]
    assert "ENABLED=yes" in (home / "etc/ufw/ufw.conf").read_text()


def test_the_container_rules_come_back_before_each_start_of_docker(home: Path) -> None:
    calls = started(home, start_script(rules()))
    unit = (home / "etc/systemd/system/brevplan-docker-user.service").read_text()
    assert "systemctl enable brevplan-docker-user.service" in calls
    assert "Before=docker.service" in unit
    assert "WantedBy=multi-user.target docker.service" in unit
    first = (home / "firewall/iptables").read_text()
    (home / "firewall/iptables").write_text("")  # a restart
    subprocess.run(["/bin/sh", home / "etc/brevplan/docker-user.sh"], env=environment(home, "root"), check=True)
    assert (home / "firewall/iptables").read_text() == first


def test_a_script_run_twice_leaves_the_same(home: Path) -> None:
    script = start_script(rules(rule(443), rule(8000, 8010, "10.0.0.0/8")))
    started(home, script)
    first = {name: (home / name).read_text() for name in ("etc/ufw/user.rules", "firewall/iptables")}
    started(home, script)
    assert {name: (home / name).read_text() for name in first} == first


def test_a_script_of_the_user_runs_after_the_firewall_by_its_own_interpreter(home: Path) -> None:
    own = "#!/usr/bin/env python3\nimport os\nprint('it''s $HOME `id` \\' BREVPLAN_USER_DATA', file=open('ran', 'w'))\n"
    own += "open('calls.log', 'a').write('own\\n')\n"
    calls = started(home, start_script(rules(), user_data=own))
    assert (home / "ran").read_text() == "its $HOME `id` ' BREVPLAN_USER_DATA\n"
    assert calls.index("own") > calls.index("ufw --force enable")
    assert os.listdir(home / "var/lib/brevplan") == []


def test_a_failing_script_of_the_user_gives_its_exit_status(home: Path) -> None:
    started(home, start_script(rules(), user_data="#!/bin/sh\nexit 9"), status=9)


@pytest.mark.parametrize(("text", "words"), [("#cloud-config\nusers: []", "cloud-init"), ("echo hi", "begins with #!")])
def test_user_data_that_cannot_be_carried_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        start_script(rules(), user_data=text)


@pytest.mark.parametrize(
    "wrong",
    [
        rule(0),
        rule(65536),
        rule(443, 80),
        rule(443, None, "10.0.0.0/33"),
        rule(443, None, "any; touch owned"),
        rule(443, None, "$(touch owned)"),
        rule(443, None, "10.0.0.0/8\ntouch owned"),
        rule(443, None, "fe80::%$(touch owned)/64"),
        rule(443, None, ""),
        rule(443, protocol="tcp; touch owned"),
        rule("443; touch owned"),  # type: ignore[arg-type]  # what a careless caller could hand in
        rule(True),
    ],
)
def test_injection_is_refused_wherever_a_rule_has_text(wrong: FirewallRule) -> None:
    for side in (rules(wrong), rules(egress=(wrong,))):
        with pytest.raises(ValueError, match=r"is not a|comes first"):
            start_script(side)
        with pytest.raises(ValueError, match=r"is not a|comes first"):
            change_script(side)
    with pytest.raises(ValueError, match="is not a port"):
        start_script(rules(), ssh_ports=("22; touch owned",))  # type: ignore[arg-type]  # as above


def test_a_description_is_no_part_of_a_script() -> None:
    described = FirewallRule(from_port=443, to_port=443, description="'; touch owned; '")
    assert "owned" not in start_script(rules(described)) + change_script(rules(described))


# Properties

PORTS = st.integers(1, 65535)
RANGES = st.sampled_from(
    [
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0/8",
        "203.0.113.7/32",
        "198.51.100.0/24",
        "2001:db8::/32",
        "fd00::1/128",
        "10.1.2.3/16",
    ]
)


@st.composite
def some_rules(draw: st.DrawFn) -> FirewallRule:
    low = draw(PORTS)
    high = draw(st.sampled_from([low, min(65535, low + draw(st.integers(1, 50)))]))
    return FirewallRule(
        from_port=low,
        to_port=high,
        ip_ranges=tuple(draw(st.lists(RANGES, max_size=3))),
        protocol=draw(st.sampled_from(["", "tcp", "udp"])),
    )


SOURCES = ("10.9.9.9", "203.0.113.7", "203.0.113.8", "198.51.100.20", "8.8.8.8", "2001:db8::5", "2a00::1", "fd00::1")


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(ingress=st.lists(some_rules(), max_size=4))
def test_every_declared_rule_is_in_force_nothing_else_and_ssh_open(
    tmp_path_factory: pytest.TempPathFactory, ingress: list[FirewallRule]
) -> None:
    home = furnished(tmp_path_factory.mktemp("machine") / "root")
    started(home, start_script(FirewallRules(ingress=tuple(ingress))))
    for port in _telling_ports(ingress):
        for source in SOURCES:
            assert lets_in(home, port, source) == _declared(ingress, port, source), (port, source)
            assert _container_lets_in(home, port, source) == _declared(ingress, port, source), (port, source)


def _telling_ports(ingress: list[FirewallRule]) -> Iterator[int]:
    found = {22, 443}
    for one in ingress:
        found |= {one.from_port - 1, one.from_port, one.to_port, one.to_port + 1}
    return (port for port in sorted(found) if 1 <= port <= 65535)


def _declared(ingress: list[FirewallRule], port: int, source: str) -> bool:
    mine = [one for one in ingress if one.from_port <= port <= one.to_port and one.protocol != "udp"]
    if port == 22 and not mine:
        return True
    return any(not one.ip_ranges or any(_within(source, network) for network in one.ip_ranges) for one in mine)


def _within(source: str, network: str) -> bool:
    return ip_address(source) in ip_network(network, strict=False)


def _container_lets_in(home: Path, port: int, source: str) -> bool:
    """Follow a new TCP connection to a published port through the chain."""
    for line in table(home, "ip6tables" if ":" in source else "iptables"):
        words = line.split()
        if line == "-j DROP":
            return False
        if "--ctorigdstport" not in words or words[words.index("-p") + 1] != "tcp":
            continue
        low, _, high = words[words.index("--ctorigdstport") + 1].partition(":")
        inside = "-s" not in words or _within(source, words[words.index("-s") + 1])
        if inside and int(low) <= port <= int(high or low):
            return True
    raise AssertionError("the chain does not end")
