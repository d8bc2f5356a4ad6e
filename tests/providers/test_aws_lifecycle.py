"""The whole engine at a moto server: real requests over loopback, in real time that waiting does not take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from brevplan.contract.client import Connection
from brevplan.contract.provider import ProviderSpec
from brevplan.diagnostics import DiagnosticsError
from brevplan.engine.bench import Options
from brevplan.engine.change import Mode
from brevplan.operations.world import Outside
from brevplan.providers import registry
from brevplan.providers.aws import Ec2Client, connect
from tests.providers.aws_bench import KEY_ID, SECRET, TYPE, Bench, Broken, Front, QuickClock, Refuse
from tests.providers.face_lab import applied, is_adopted_whole
from tests.world import Hand, Lab, actions, configuration

pytestmark = pytest.mark.slow  # a real server, which takes its time

FIREWALL = 'resource "firewall" "web" {\n  ingress {\n    from_port = PORT\n  }\n}\n'


def text(count: int = 1, body: str = "", rest: str = "", where: str = "us-east-1", key: str = KEY_ID) -> str:
    block = (
        f'provider "aws" {{\n  access_key_id = "{key}"\n  secret_access_key = "{SECRET}"\n'
        '  regions = ["us-east-1", "us-west-2", "eu-west-1"]'
    )
    local = configuration(count, body=body, rest=rest)
    return local.replace('provider "local" {', block).replace("gpu_1x_a10", TYPE).replace('"us-west-1"', f'"{where}"')


class AwsLab(Lab):
    """A lab whose cloud is EC2."""

    def __init__(self, folder: Path, given: str, front: Front) -> None:
        super().__init__(folder, given)
        self.front = front
        self.bench = Bench(front)
        self.quick = QuickClock()
        self.hand = Hand(self.quick)  # type: ignore[arg-type]  # of a clock it needs only that it passes
        self.outside = Outside(self.quick, self.ids, self.hand, self._spec)

    def _spec(self, name: str) -> ProviderSpec:
        return replace(registry.spec(name), connect=self._reach)

    def _reach(self, connection: Connection) -> Ec2Client:
        return connect(replace(connection, settings={**connection.settings, "endpoint": self.front.url}))

    def lists(self) -> list[str]:
        """Give the regions that were listed since the last look."""
        found = [region for region, action, given in self.front.asked
                 if action == "DescribeInstances" and "InstanceId.1" not in given]  # fmt: skip
        self.front.asked.clear()
        return found

    def is_converged(self, machines: int, region: str = "us-east-1") -> bool:
        """Check that cloud, state and configuration agree, and that a plan says so."""
        self.front.choose = lambda region, action, given: None
        rows = self.bench.rows(region)
        assert len(rows) == len(self.recorded()) == machines
        assert {row["InstanceId"] for row in rows} == set(self.recorded().values())
        assert self.bench.keys(region) == self.bench.groups(region)
        assert len(self.bench.keys(region)) == machines
        plan = self.plan()
        assert actions(plan) == {}
        assert plan.orphans == []
        return True


@pytest.fixture
def lab(tmp_path: Path, front: Front) -> AwsLab:
    return AwsLab(tmp_path, text(1), front)


def test_apply_and_then_there_is_nothing_to_do(lab: AwsLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }\n  disk_size = "1TB"\n  firewalls = [firewall.web]',
                    rest=FIREWALL.replace("PORT", "443"))  # fmt: skip
    assert set(actions(lab.plan()).values()) == {"create"}
    applied(lab)
    assert lab.is_converged(2)
    tags = [{tag["Key"]: tag["Value"] for tag in row["Tags"]} for row in lab.bench.rows()]
    assert {one["brev-cloud-cred-ref-id"] for one in tags} == {"bp-lab"}
    assert {one["brevplan-address"] for one in tags} == {"instance.m[0]", "instance.m[1]"}
    assert {one["Name"] for one in tags} == {"m-0", "m-1"}
    assert {one["team"] for one in tags} == {"ml"}
    assert sorted(one["brev-ref-id"] for one in tags) == lab.bench.keys()


def test_one_list_a_refresh_and_region(lab: AwsLab) -> None:
    lab.text = text(3)
    applied(lab)
    lab.lists()
    lab.plan()
    assert lab.lists() == ["us-east-1"]


def test_a_first_plan_looks_everywhere_and_later_ones_where_machines_are(lab: AwsLab) -> None:
    lab.plan()
    assert sorted(lab.lists()) == ["eu-west-1", "us-east-1", "us-west-2"]
    applied(lab)
    lab.lists()
    lab.text = text(1) + text(1, where="us-west-2").partition("}\nresource")[2].join(["resource", ""]).replace(
        '"m"', '"west"'
    )
    assert actions(lab.plan()) == {"instance.west[0]": "create"}
    assert sorted(lab.lists()) == ["us-east-1", "us-east-1", "us-west-2"]


def test_a_machine_of_a_region_that_the_configuration_no_longer_names_is_found(lab: AwsLab) -> None:
    lab.text = text(1, where="us-west-2")
    applied(lab)
    before = lab.recorded()
    (lab.folder / "brevplan.db").unlink()
    lab.text = text(1).replace('"m"', '"other"')
    assert [orphan.cloud_id for orphan in lab.plan().orphans] == list(before.values())


def test_a_state_that_lost_a_region_finds_its_machines_there(lab: AwsLab) -> None:
    west = text(1, where="us-west-2")
    lab.text = west
    applied(lab)
    before = lab.recorded()
    lab.text = text(1).replace('"m"', '"east"')
    (lab.folder / "brevplan.db").unlink()
    applied(lab, options=Options(ignore_orphans=True))
    both = lab.text + west.partition("}\nresource")[2].join(["resource", ""])
    lab.text = both
    lab.lists()
    assert actions(lab.plan()) == {"instance.m[0]": "import"}, "the state names us-east-1 alone"
    applied(lab)
    assert before.items() <= lab.recorded().items()


def test_a_lost_state_is_adopted_whole(lab: AwsLab) -> None:
    lab.text = text(2, body='tags = { team = "ml" }\n  disk_size = "100GiB"')
    assert is_adopted_whole(lab)
    assert lab.is_converged(2)


def test_tags_name_disk_and_rules_change_in_place(lab: AwsLab) -> None:
    lab.text = text(1, body='tags = { team = "ml" }\n  disk_size = "100GiB"\n  firewalls = [firewall.web]',
                    rest=FIREWALL.replace("PORT", "443"))  # fmt: skip
    applied(lab)
    before = lab.recorded()
    lab.text = text(1, body='tags = { team = "ops" }\n  name = "new"\n  disk_size = "200GiB"\n  '
                    "firewalls = [firewall.web]", rest=FIREWALL.replace("PORT", "8443"))  # fmt: skip
    assert actions(lab.plan()) == {"firewall.web": "update", "instance.m[0]": "update"}
    applied(lab)
    assert lab.recorded() == before
    machine = lab.bench.got(before["instance.m[0]"])
    assert (machine.tags, machine.name, str(machine.disk_size)) == ({"team": "ops"}, "new", "200 GiB")
    assert machine.firewall_rules is not None
    assert {rule.from_port for rule in machine.firewall_rules.ingress} == {22, 8443}
    assert lab.is_converged(1)


def test_rules_opened_by_hand_are_drift_and_closed_again(lab: AwsLab) -> None:
    lab.text = text(1, body="firewalls = [firewall.web]", rest=FIREWALL.replace("PORT", "443"))
    applied(lab)
    (group,) = (one for one in lab.bench.ask("describe_security_groups")["SecurityGroups"]
                if one["GroupName"].startswith("bp-"))  # fmt: skip
    everything = [{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 65535, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    lab.bench.ask("authorize_security_group_ingress", GroupId=group["GroupId"], IpPermissions=everything)
    assert actions(lab.plan()) == {"instance.m[0]": "update"}
    applied(lab)
    assert lab.is_converged(1)


def test_stop_and_start_and_a_new_address(lab: AwsLab) -> None:
    applied(lab)
    lab.text = text(1, body='power_state = "stopped"')
    applied(lab)
    assert [row["State"]["Name"] for row in lab.bench.rows()] == ["stopped"]
    assert actions(lab.plan()) == {}
    lab.text = text(1, body='power_state = "running"')
    applied(lab)
    assert [row["State"]["Name"] for row in lab.bench.rows()] == ["running"]
    assert lab.is_converged(1)


def test_what_is_found_again_costs_what_its_type_costs(lab: AwsLab) -> None:
    applied(lab)
    (lab.folder / "brevplan.db").unlink()
    plan = lab.plan()
    assert actions(plan) == {"instance.m[0]": "import"}
    assert (float(plan.cost.after), plan.cost.unknown_after) == (0.526, 0)
    applied(lab)
    plan = lab.plan()
    assert (float(plan.cost.after), plan.cost.unknown_after) == (0.526, 0), "it is written down"
    (lab.folder / "brevplan.db").unlink()
    lab.text = text(1).replace('"m"', '"other"')
    assert [float(orphan.hourly or 0) for orphan in lab.plan().orphans] == [0.526]


def test_a_group_that_somebody_added_is_taken_off_and_left_as_it_is(lab: AwsLab) -> None:
    lab.text = text(1, body="firewalls = [firewall.web]", rest=FIREWALL.replace("PORT", "443"))
    applied(lab)
    bench = lab.bench
    (row,) = bench.rows()
    own = row["SecurityGroups"][0]["GroupId"]
    vpc = bench.ask("describe_vpcs")["Vpcs"][0]["VpcId"]
    theirs = bench.ask("create_security_group", GroupName="bp-database", Description="x", VpcId=vpc)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    bench.ask("authorize_security_group_ingress", GroupId=theirs, IpPermissions=[rule])
    bench.ask("modify_instance_attribute", InstanceId=row["InstanceId"], Groups=[theirs, own])
    before = bench.ask("describe_security_group_rules", Filters=[{"Name": "group-id", "Values": [theirs]}])
    assert actions(lab.plan()) == {"instance.m[0]": "update"}, "the machine lets through what it is not to"
    applied(lab)
    assert [one["GroupId"] for one in bench.rows()[0]["SecurityGroups"]] == [own]
    after = bench.ask("describe_security_group_rules", Filters=[{"Name": "group-id", "Values": [theirs]}])
    assert after["SecurityGroupRules"] == before["SecurityGroupRules"]
    assert actions(lab.plan()) == {}


@pytest.mark.parametrize(
    "body",
    ['tags = { Name = "x" }\n on_change {\n tags = "replace"\n }', 'filesystems = ["vol-1"]',
     'options = { image_name = "ubuntu*" }'],
    ids=["tags", "filesystems", "options"],
)  # fmt: skip
def test_what_ec2_cannot_do_is_told_before_anything_is_destroyed(lab: AwsLab, body: str) -> None:
    applied(lab)
    lab.text = text(1, body=body).replace(TYPE, "g5.xlarge")
    with pytest.raises(DiagnosticsError, match="Not possible here"):
        lab.apply()
    assert [row["State"]["Name"] for row in lab.bench.rows()] == ["running"]


def test_a_stopped_machine_becomes_one_of_another_type_and_is_started(lab: AwsLab) -> None:
    lab.text = text(1, body='power_state = "stopped"')
    applied(lab)
    before = lab.recorded()
    lab.text = text(1, body='power_state = "running"').replace(TYPE, "g4dn.2xlarge")
    assert actions(lab.plan()) == {"instance.m[0]": "update"}
    lab.front.once("ModifyInstanceAttribute", Broken("dropped"))
    applied(lab)
    assert lab.recorded() == before
    assert [(row["InstanceType"], row["State"]["Name"]) for row in lab.bench.rows()] == [("g4dn.2xlarge", "running")]
    assert lab.is_converged(1)
    lab.text = lab.text.replace("g4dn.2xlarge", TYPE)
    assert actions(lab.plan()) == {"instance.m[0]": "replace"}


@pytest.mark.parametrize(
    "reply",
    [
        Broken("dropped"),
        Broken("dropped", after=False),
        Broken("truncated"),
        Broken("<html>bad gateway</html>", status=502),
        Broken("<html>bad gateway</html>", after=False, status=502),
        Broken("{}"),
        Refuse("InternalError", 500),
    ],
    ids=["dropped", "dropped before", "truncated", "502", "502 before", "malformed", "500 before"],
)
def test_a_lost_answer_neither_loses_nor_doubles(lab: AwsLab, reply: Any) -> None:
    lab.text = text(2)
    lab.front.once("RunInstances", reply, reply)
    applied(lab)
    assert lab.is_converged(2)


def test_a_launch_that_was_lost_with_its_run_is_found_by_the_next(lab: AwsLab) -> None:
    lab.front.choose = lambda region, action, given: Broken("dropped") if action == "RunInstances" else None
    done = lab.apply()
    assert done.result is not None
    assert len(lab.bench.rows()) == 1
    lab.front.choose = lambda region, action, given: None
    applied(lab)
    assert lab.is_converged(1)


def test_no_capacity_closes_the_attempt_and_leaves_nothing(lab: AwsLab) -> None:
    lab.front.once("RunInstances", Refuse("InsufficientInstanceCapacity", 500))
    done = lab.apply()
    assert done.result is not None
    assert len(done.result.failed) == 1
    assert (lab.bench.rows(), lab.bench.keys(), lab.bench.groups()) == ([], [], [])
    store = lab.state()
    assert store.intents() == []
    store.close()


def test_throttled_it_goes_on_later(lab: AwsLab) -> None:
    lab.front.once("RunInstances", Refuse("RequestLimitExceeded", 503))
    lab.front.once("DescribeInstances", Refuse("RequestLimitExceeded", 503))
    applied(lab)
    assert lab.is_converged(1)


def test_another_type_is_another_machine(lab: AwsLab) -> None:
    applied(lab)
    lab.text = text(1).replace(TYPE, "g5.xlarge")
    applied(lab)
    assert [row["InstanceType"] for row in lab.bench.rows()] == ["g5.xlarge"]
    assert lab.is_converged(1)


def test_destroy_leaves_no_machine_no_key_and_no_group(lab: AwsLab) -> None:
    lab.text = text(2)
    applied(lab)
    applied(lab, options=Options(Mode.DESTROY))
    assert (lab.bench.rows(), lab.bench.keys(), lab.bench.groups(), lab.recorded()) == ([], [], [], {})


def test_a_forgotten_machine_bears_no_mark(lab: AwsLab) -> None:
    lab.text = text(1, body='tags = { team = "ml" }')
    applied(lab)
    rest = "removed {\n  from = instance.m\n  lifecycle {\n    destroy = false\n  }\n}\n"
    lab.text = text(0, rest=rest).replace('resource "instance" "m"', 'resource "instance" "other"')
    applied(lab)
    assert {tag["Key"] for tag in lab.bench.rows()[0]["Tags"]} == {"Name", "team"}
    assert (actions(lab.plan()), lab.plan().orphans) == ({}, [])


def test_a_region_that_does_not_answer_blocks_instead_of_buying_again(lab: AwsLab) -> None:
    applied(lab)
    lab.front.choose = lambda region, action, given: Refuse("UnauthorizedOperation", 403)
    plan = lab.plan()
    assert all(change.blocked for change in plan.changes if str(change.address).startswith("instance"))
    assert lab.front.count("RunInstances") == 1


def test_a_wrong_key_blocks_and_is_told(lab: AwsLab) -> None:
    applied(lab)
    lab.text = text(1, key="AKIAWRONGWRONGWRONGW")
    plan = lab.plan()
    blocked = [change.blocked for change in plan.changes if str(change.address).startswith("instance")]
    assert blocked
    assert all("AuthFailure" in reason for reason in blocked)
    assert SECRET not in str(blocked)
    assert lab.front.count("RunInstances") == 1
