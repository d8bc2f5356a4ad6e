"""A living machine's firewall, changed over SSH: exactly the rules, SSH never closed, and the way back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from brevplan.contract.model import FirewallRules
from brevplan.contract.ufw import change_script, start_script
from brevplan.engine.reach import CommandFailed, ReachError
from brevplan.simcloud.ssh import lets_in
from brevplan.ssh.connection import run_script
from brevplan.ssh.reach import SshReach
from tests.ssh.build import Clock, Machine, machine, rule, rules

FIRST = rules(rule(443), rule(8000, 8010, "10.0.0.0/8"))
SECOND = rules(rule(443, None, "0.0.0.0/0"), rule(9000, protocol="udp"), egress=(rule(443, protocol="tcp"),))


async def wait_until_settled(there: Machine) -> None:
    """Wait until no change of the firewall is open any more: kept or taken back."""
    end = time.monotonic() + 20
    while (there.home / "var/lib/brevplan/firewall-change").exists():
        assert time.monotonic() < end, "the machine did not settle"
        await asyncio.sleep(0.1)


def test_rules_change_in_place_and_twice_is_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        reach = SshReach(Clock())
        async with machine(tmp_path) as there:
            assert await there.shells.boot("i-1", start_script(FIRST)) == 0
            booted = there.firewall_files()
            there.forget_calls()
            await reach.set_firewall(there.door, SECOND)
            port = there.door.port
            assert there.ufw_rules() == [
                "allow 22/tcp",
                f"allow {port}/tcp",
                "allow from 0.0.0.0/1 to any port 443",
                "allow from 128.0.0.0/1 to any port 443",
                "allow 9000/udp",
                "allow out 53",
                "allow out 443/tcp",
            ]
            assert 'DEFAULT_OUTPUT_POLICY="DROP"' in there.firewall_files()["etc/default/ufw"]
            assert not any(" reset" in call for call in there.calls())
            assert "cloud-init status --wait" in there.calls()[:3], "the first start may still set the firewall itself"
            once = there.firewall_files()
            there.forget_calls()
            await reach.set_firewall(there.door, SECOND)
            assert there.firewall_files() == once
            assert not any(" delete " in call or " default " in call for call in there.calls())
            await reach.set_firewall(there.door, FIRST)
            assert set(there.ufw_rules()) == {
                "allow 22/tcp",
                f"allow {port}/tcp",
                "allow 443",
                "allow from 10.0.0.0/8 to any port 8000:8010 proto tcp",
                "allow from 10.0.0.0/8 to any port 8000:8010 proto udp",
            }
            assert there.firewall_files()["etc/default/ufw"] == booted["etc/default/ufw"]

    asyncio.run(run())


def test_rules_given_by_hand_go_and_a_machine_never_closed_is_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            by_hand = "allow 22/tcp\nlimit 2222/tcp comment 'mine'\ndeny from 192.0.2.0/24 to any port 25\n"
            (there.home / "etc/ufw/user.rules").write_text(by_hand)
            await SshReach(Clock()).set_firewall(there.door, rules())
            assert there.ufw_rules() == ["allow 22/tcp", f"allow {there.door.port}/tcp"]
            assert "ENABLED=yes" in there.firewall_files()["etc/ufw/ufw.conf"]

    asyncio.run(run())


def test_what_is_new_is_let_in_before_anything_is_taken_away(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            await there.shells.boot("i-1", start_script(FIRST, ssh_ports=(there.door.port,)))
            there.forget_calls()
            (there.home / "firewall-enforced").touch()
            here = rules(rule(there.door.port, None, "127.0.0.0/8"), rule(22, None, "127.0.0.0/8"))
            await SshReach(Clock()).set_firewall(there.door, here)
            calls = [call for call in there.calls() if call.startswith("ufw")]
            added = [position for position, call in enumerate(calls) if call.startswith("ufw allow")]
            taken = [position for position, call in enumerate(calls) if " delete " in call]
            assert max(added) < min(taken)
            assert lets_in(there.home, there.door.port, "127.0.0.1")
            assert not lets_in(there.home, there.door.port, "203.0.113.7")

    asyncio.run(run())


def test_rules_that_lock_us_out_are_taken_back_by_the_machine(tmp_path: Path) -> None:
    async def run() -> None:
        reach = SshReach(Clock(), patience_s=2)
        async with machine(tmp_path) as there:
            await there.shells.boot("i-1", start_script(FIRST, ssh_ports=(there.door.port,)))
            before = there.firewall_files()
            (there.home / "firewall-enforced").touch()
            elsewhere = rules(rule(there.door.port, None, "203.0.113.0/24"))
            with pytest.raises(ReachError, match="goes back to the former ones by itself"):
                await reach.set_firewall(there.door, elsewhere)
            await wait_until_settled(there)
            assert there.firewall_files() == before
            assert await reach.ready(there.door, timeout=10, progress=lambda _: None)

    asyncio.run(run())


def test_a_change_that_nobody_confirms_is_taken_back_and_the_next_one_is_not_disturbed(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            ports = (there.door.port,)
            await there.shells.boot("i-1", start_script(FIRST, ssh_ports=ports))
            before = there.firewall_files()
            cut_off = change_script(SECOND, ports, patience_s=1)
            await run_script(there.door, cut_off, clock=Clock(), limit_s=30, as_root=True)
            assert there.firewall_files() != before
            await wait_until_settled(there)
            assert there.firewall_files() == before
            await SshReach(Clock(), patience_s=20).set_firewall(there.door, SECOND)
            kept = there.firewall_files()
            await asyncio.sleep(2.5)
            assert there.firewall_files() == kept

    asyncio.run(run())


def test_a_rule_that_the_machine_refuses_puts_everything_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            await there.shells.boot("i-1", start_script(FIRST))
            before = there.firewall_files()
            ufw = there.home / "bin/ufw"
            ufw.write_text(ufw.read_text().replace("rules=", 'case "$*" in *9000*) exit 1 ;; esac\nrules=', 1))
            with pytest.raises(CommandFailed, match="the former rules are put back"):
                await SshReach(Clock()).set_firewall(there.door, SECOND)
            assert there.firewall_files() == before

    asyncio.run(run())


def test_a_change_cut_off_by_a_restart_is_in_nobody_s_way(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            left = there.home / "var/lib/brevplan/firewall-change"
            left.mkdir(parents=True)
            ended = await asyncio.create_subprocess_exec("true")
            await ended.wait()
            (left / "watcher").write_text(f"{ended.pid}\n")
            await SshReach(Clock()).set_firewall(there.door, FIRST)
            assert "allow 443" in there.ufw_rules()
            assert not left.exists()

    asyncio.run(run())


def test_docker_s_own_rules_come_back_where_there_were_none_of_ours(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            (there.home / "firewall/iptables").write_text("-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n")
            change = change_script(FIRST, (there.door.port,), patience_s=1)
            await run_script(there.door, change, clock=Clock(), limit_s=30, as_root=True)
            await wait_until_settled(there)
            assert there.firewall_files()["firewall/iptables"] == "-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n"
            assert not (there.home / "etc/brevplan/docker-user.sh").exists()

    asyncio.run(run())


def test_a_machine_without_ufw_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with machine(tmp_path) as there:
            (there.home / "bin/ufw").unlink()
            with pytest.raises(CommandFailed, match="ufw is not installed"):
                await SshReach(Clock()).set_firewall(there.door, FirewallRules())

    asyncio.run(run())
