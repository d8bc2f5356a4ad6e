"""What is done on machines: waiting for SSH, host keys, GPUs, firewalls, keys. SSH itself is a stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from brevplan.contract.client import Capability
from brevplan.contract.errors import Unavailable
from brevplan.engine.apply import Result
from brevplan.engine.over_ssh import BEING_CHANGED
from brevplan.engine.ports import Record
from brevplan.engine.reach import Door, FoundGpu, Unreachable
from brevplan.simcloud.faults import NO_FAULT, Fault
from tests.world import KEY, Lab, actions

A10 = [FoundGpu("NVIDIA A10", 23028)]


def config(
    count: int = 1, ssh: str = "ssh {}", rules: str = "from_port = 443", body: str = "", provider: str = ""
) -> str:
    return f"""
brevplan {{ project = "lab" }}
provider "local" {{
  {provider}
}}
resource "firewall" "web" {{
  ingress {{
    {rules}
  }}
}}
resource "instance" "m" {{
  count         = {count}
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{KEY}"
  firewalls     = [firewall.web]
  {body}
  {ssh}
}}
"""


def row(lab: Lab, address: str = "instance.m[0]") -> Record:
    store = lab.state()
    try:
        return next(record for record in store.records() if str(record.address) == address)
    finally:
        store.close()


def applied(lab: Lab) -> Result:
    result = lab.apply().result
    assert result is not None
    return result


def test_a_machine_is_settled_once_ssh_answers_and_its_host_key_is_kept(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config())
    assert applied(lab).complete
    host = lab.machines()[0].body.public_ip
    assert lab.hand.calls == [("ready", host)]
    assert lab.hand.doors[0] == Door(host, 22, "ubuntu")
    assert row(lab).attributes["host_key"] == f"ssh-ed25519 AAAA{host}"
    assert actions(lab.plan()) == {}


def test_what_the_block_says_goes_before_what_the_provider_reports(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config(ssh='ssh {\n user = "root"\n port = 2222\n private_key_file = "id"\n }'))
    lab.apply()
    assert lab.hand.doors[0] == Door(lab.machines()[0].body.public_ip, 2222, "root", str(tmp_path / "id"))


def test_a_machine_that_does_not_answer_stays_recorded_and_the_next_apply_waits_on(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config(ssh='ssh {\n timeout = "2m"\n }'))
    lab.hand.silent.add("198.18.0.1")
    began = lab.clock.elapsed
    result = applied(lab)
    assert "cannot be reached over SSH" in result.failed[0].error
    assert 120 <= lab.clock.elapsed - began < 240
    assert not row(lab).settled
    assert actions(lab.plan()) == {"instance.m[0]": "update"}, "finish creating"
    lab.hand.silent.clear()
    assert applied(lab).complete
    assert len(lab.machines()) == 1
    assert actions(lab.plan()) == {}


def test_a_machine_that_goes_while_we_wait_for_ssh_ends_the_wait(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config())
    lab.hand.silent.add("198.18.0.1")
    lab.hand.on_call = lambda what, door: lab.cloud().delete_machine("i-00000001")
    began = lab.clock.elapsed
    result = applied(lab)
    assert "is gone" in result.failed[0].error
    assert lab.clock.elapsed - began < 60


def test_gpus_that_are_those_paid_for(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config(ssh="ssh {\n verify_gpu = true\n }"))
    lab.hand.gpus_of = lambda host: A10
    assert applied(lab).complete


@pytest.mark.parametrize("found", [[], [FoundGpu("NVIDIA L4", 23034)], A10 * 2, [FoundGpu("NVIDIA A10", 11000)]])
def test_a_machine_with_other_gpus_is_kept_and_told_of(tmp_path: Path, found: list[FoundGpu]) -> None:
    lab = Lab(tmp_path, config(ssh="ssh {\n verify_gpu = true\n }"))
    lab.hand.gpus_of = lambda host: found
    result = applied(lab)
    assert "it is kept" in result.failed[0].error
    assert "-replace=instance.m[0]" in result.failed[0].error
    assert len(lab.machines()) == 1
    assert not row(lab).settled
    lab.hand.gpus_of = lambda host: A10  # mended, by a reboot for instance
    assert applied(lab).complete
    assert [machine.body.cloud_id for machine in lab.machines()] == ["i-00000001"]


def test_an_unhealthy_machine_is_replaced_where_that_is_wanted(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config(ssh='ssh {\n verify_gpu = true\n on_unhealthy = "replace"\n }'))
    lab.hand.gpus_of = lambda host: [] if host == "198.18.0.1" else A10
    assert applied(lab).complete
    assert [machine.body.cloud_id for machine in lab.machines()] == ["i-00000002"]
    assert lab.recorded() == {"instance.m[0]": "i-00000002"}


def test_unhealthy_machines_are_not_replaced_for_ever(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config(ssh='ssh {\n verify_gpu = true\n on_unhealthy = "replace"\n }'))
    result = applied(lab)
    assert "3 machines were not what is paid for" in result.failed[0].error
    assert lab.machines() == []
    assert lab.recorded() == {}
    assert lab.faults.count("create_instance") == 3


def test_further_keys_are_written_once_the_machine_answers_and_changed_in_place(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config(body=f'authorized_keys = ["{KEY} one"]'))
    lab.apply()
    host = lab.machines()[0].body.public_ip
    assert lab.hand.keys[host] == (f"{KEY} one",)
    lab.text = config(body=f'authorized_keys = ["{KEY} two"]')
    assert actions(lab.plan()) == {"instance.m[0]": "update"}
    assert applied(lab).complete
    assert lab.hand.keys[host] == (f"{KEY} two",)
    assert actions(lab.plan()) == {}


def test_rules_of_the_cloud_that_shut_us_out_are_taken_back(tmp_path: Path) -> None:
    """2.2: SSH is open "only to those ranges, once brevplan has proved that it still gets in"."""
    lab = Lab(tmp_path, config())
    lab.apply()
    (machine,) = lab.machines()
    lab.hand.silent.add(machine.body.public_ip)
    lab.text = config(rules='from_port = 22\n protocol = "tcp"\n ip_ranges = ["203.0.113.0/24"]')
    result = applied(lab)
    assert "the old ones are back" in result.failed[0].error
    assert lab.machines()[0].body.firewall_rules == machine.body.firewall_rules
    lab.hand.silent.clear()
    assert applied(lab).complete
    rules = lab.machines()[0].body.firewall_rules
    assert rules is not None
    assert [rule.ip_ranges for rule in rules.ingress] == [("203.0.113.0/24",)]
    assert actions(lab.plan()) == {}


# a cloud that cannot change rules


def fixed(folder: Path, text: str) -> Lab:
    lab = Lab(folder, text)
    lab.lacks = frozenset({Capability.MODIFY_FIREWALL})
    return lab


def test_rules_are_changed_on_the_machine_where_the_cloud_cannot(tmp_path: Path) -> None:
    lab = fixed(tmp_path, config())
    lab.apply()
    lab.text = config(rules="from_port = 8080")
    assert actions(lab.plan()) == {"firewall.web": "update", "instance.m[0]": "update"}
    assert applied(lab).complete
    (rules,) = lab.hand.rules.values()
    assert sorted(rule.from_port for rule in rules.ingress) == [22, 8080]
    assert actions(lab.plan()) == {}


def test_rules_are_dirty_before_and_clean_after(tmp_path: Path) -> None:
    """4: "Rules applied over SSH are recorded dirty before, clean after"."""
    lab = fixed(tmp_path, config())
    lab.apply()
    lab.text = config(rules="from_port = 8080")
    seen: list[object] = []

    def fail(what: str, door: Door) -> None:
        if what == "set_firewall":
            seen.append(row(lab).attributes["firewall_rules"])
            raise Unreachable("the connection was lost")

    lab.hand.on_call = fail
    result = applied(lab)
    assert "could not be changed over SSH" in result.failed[0].error
    assert seen == [BEING_CHANGED]
    lab.hand.on_call = lambda what, door: None
    assert actions(lab.plan()) == {"instance.m[0]": "update"}, "nobody knows what is in force there"
    assert applied(lab).complete
    assert row(lab).attributes["firewall_rules"] == {"ingress": ["tcp 22 from anywhere", "tcp+udp 8080 from anywhere"],
                                                     "egress": None}  # fmt: skip
    assert actions(lab.plan()) == {}


def test_rules_of_a_stopped_machine_wait_for_its_next_start(tmp_path: Path) -> None:
    lab = fixed(tmp_path, config(body='power_state = "stopped"'))
    lab.apply()
    lab.text = config(rules="from_port = 8080", body='power_state = "stopped"')
    plan = lab.plan()
    assert actions(plan) == {"firewall.web": "update"}
    assert any("when it is started" in note for change in plan.changes for note in change.notes)
    lab.apply()
    assert lab.hand.rules == {}
    lab.text = config(rules="from_port = 8080", body='power_state = "running"')
    lab.apply()
    (rules,) = lab.hand.rules.values()
    assert sorted(rule.from_port for rule in rules.ingress) == [22, 8080]
    assert actions(lab.plan()) == {}


def test_without_a_way_to_the_machine_a_change_of_rules_blocks_it(tmp_path: Path) -> None:
    lab = fixed(tmp_path, config(ssh=""))
    lab.apply()
    lab.text = config(ssh="", rules="from_port = 8080")
    plan = lab.plan()
    assert actions(plan) == {"firewall.web": "update"}
    assert any(change.blocked for change in plan.changes)


# peers


PEERS = "peers = true"


def addresses(lab: Lab, but: str) -> set[str]:
    bodies = [machine.body for machine in lab.machines() if machine.body.cloud_id != but]
    return {f"{address}/32" for body in bodies for address in (body.public_ip, body.private_ip)}


def assert_open_among_peers(lab: Lab) -> None:
    for machine in lab.machines():
        rules = machine.body.firewall_rules
        assert rules is not None
        wanted = addresses(lab, machine.body.cloud_id)
        assert any((rule.from_port, rule.ip_ranges) == (22, ()) for rule in rules.ingress), "we still get in"
        found = {(rule.from_port, rule.to_port): set(rule.ip_ranges) for rule in rules.ingress if rule.from_port != 22}
        assert found == ({(1, 65535): wanted} if wanted else {})


def test_peers_let_each_other_in_as_they_come_and_go(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config(3, ssh="", rules=PEERS))
    assert applied(lab).complete
    assert_open_among_peers(lab)
    assert actions(lab.plan()) == {}
    lab.text = config(4, ssh="", rules=PEERS)
    plan = lab.plan()
    assert plan.counts.add == 1
    assert plan.counts.change == 3, "the rules of those that are there follow"
    done = applied(lab)
    assert (done.counts.add, done.counts.change) == (1, 3)
    assert_open_among_peers(lab)
    assert actions(lab.plan()) == {}
    lab.text = config(2, ssh="", rules=PEERS)
    assert applied(lab).counts.change == 2
    assert_open_among_peers(lab)
    assert actions(lab.plan()) == {}


def test_a_run_that_ends_before_the_peers_were_told_is_made_good_by_the_next(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config(2, ssh="", rules=PEERS))
    lab.faults.choose = lambda call: (
        Fault(before=Unavailable("busy", http_status=503)) if call.operation == "replace_firewall_rules" else NO_FAULT
    )
    assert not applied(lab).complete
    lab.faults.choose = lambda call: NO_FAULT
    assert set(actions(lab.plan()).values()) == {"update"}
    assert applied(lab).complete
    assert_open_among_peers(lab)
    assert actions(lab.plan()) == {}


def test_a_peer_that_gets_another_address_is_let_in_there(tmp_path: Path) -> None:
    lab = Lab(tmp_path, config(2, ssh="", rules=PEERS))
    lab.apply()
    lab.cloud().alter_machine("i-00000002", public_ip="198.19.9.9")
    assert actions(lab.plan()) == {"instance.m[0]": "update"}
    assert applied(lab).complete
    assert_open_among_peers(lab)


def test_peers_over_ssh(tmp_path: Path) -> None:
    lab = fixed(tmp_path, config(2, rules=PEERS))
    assert applied(lab).complete
    for machine in lab.machines():
        rules = lab.hand.rules[machine.body.public_ip]
        (rule,) = [rule for rule in rules.ingress if rule.from_port == 1]
        assert set(rule.ip_ranges) == addresses(lab, machine.body.cloud_id)
    assert actions(lab.plan()) == {}
