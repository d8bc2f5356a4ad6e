"""The client of EC2 at a moto server and its front: every call, every trap, every kind of failure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Urgency
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    ImageNotFound,
    InstanceNotFound,
    NotFound,
    NotReady,
    OutOfQuota,
    OutOfStock,
    RateLimited,
    Rejected,
    Sent,
    Unavailable,
)
from brevplan.contract.gpu import nominal_gb
from brevplan.contract.model import (
    CloudId,
    FirewallRule,
    FirewallRules,
    Instance,
    InstanceFilter,
    InstanceTypeFilter,
    LifecycleStatus,
    RefId,
)
from brevplan.providers import aws, aws_images, aws_rows
from brevplan.providers.aws_firewall import ALL_OUT, GroupRule, difference, observed, wanted
from brevplan.providers.aws_types import gb_of, prices
from brevplan.providers.aws_wire import kind_of
from tests.providers.aws_bench import IMAGE, KEY_ID, REF, SECRET, TYPE, Bench, Broken, Front, Refuse, attrs, product

OTHER = "bp-test-aaaaaaaaaaaa-000002"


@pytest.fixture
def bench(front: Front) -> Bench:
    return Bench(front)


def failure(call: Callable[[], object]) -> CloudError:
    with pytest.raises(CloudError) as caught:
        call()
    assert caught.value.provider == "aws"
    assert SECRET not in str(caught.value)
    return caught.value


def rule(port: int, *ranges: str, protocol: str = "", to: int = 0) -> FirewallRule:
    return FirewallRule(from_port=port, to_port=to or port, ip_ranges=ranges, protocol=protocol)


def bare(rules: FirewallRules | None) -> set[tuple[int, int, tuple[str, ...], str]]:
    assert rules is not None
    return {(one.from_port, one.to_port, one.ip_ranges, one.protocol) for one in rules.ingress}


# The account


def test_tenant_id_is_the_digest_of_the_key_id_and_asks_nothing(bench: Bench) -> None:
    found = bench.run(lambda client: client.tenant_id())
    assert found.startswith("aws-")
    assert len(found) == 4 + 64
    assert bench.front.asked == []


def test_tenant_id_of_a_temporary_key_is_the_account(bench: Bench) -> None:
    found = bench.run(lambda client: client.tenant_id(), session_token="a-token")
    assert found == "aws-123456789012"


def test_a_wrong_key_is_noticed_by_the_first_list(bench: Bench) -> None:
    problem = failure(lambda: bench.listed(access_key_id="AKIAWRONG"))
    assert isinstance(problem, AuthFailed)
    assert problem.code == "AuthFailure"


@pytest.mark.parametrize("settings", [{"access_key_id": ""}, {"secret_access_key": " "}, {"access_key_id": "a\nb"}])
def test_a_key_that_cannot_be_one_is_refused_before_any_request(bench: Bench, settings: dict[str, str]) -> None:
    assert isinstance(failure(lambda: bench.listed(**settings)), AuthFailed)
    assert bench.front.asked == []


@pytest.mark.parametrize("url", ["ftp://a", "nonsense", "http://me:word@host"])
def test_an_endpoint_that_is_no_url_is_refused(bench: Bench, url: str) -> None:
    problem = failure(lambda: bench.listed(endpoint=url))
    assert isinstance(problem, Rejected)
    assert "word" not in str(problem)


def test_files_and_profiles_of_other_tools_change_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "config").write_text("[default]\nregion = nowhere-1\nendpoint_url = http://127.0.0.1:1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert bench.listed() == []


def test_without_the_library_the_error_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['aiobotocore'] = None\n"
        "from brevplan.contract.client import Connection\n"
        "from brevplan.providers.registry import spec\n"
        "given = {'access_key_id': 'a', 'secret_access_key': 'b'}\n"
        "try: spec('aws').connect(Connection(given, {}, '.', None, None))\n"
        "except Exception as problem: print(type(problem).__name__, problem)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("Rejected")
    assert 'pip install "brevplan[aws]"' in done.stdout


def test_the_introduction_loads_no_library() -> None:
    script = (
        "import sys; from brevplan.providers.registry import spec; spec('aws'); print('aiobotocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


# Coming and going


def test_create_asks_in_this_order_and_returns_with_the_id(bench: Bench) -> None:
    made = bench.make(address="instance.web", tags={"team": "ml"})
    assert bench.front.actions() == [
        "DescribeInstanceTypes", "GetParameter", "DescribeImages", "ImportKeyPair", "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress", "RunInstances",
    ]  # fmt: skip
    assert bench.pacer.admitted.count(Urgency.CREATE) == 1
    assert made.status is LifecycleStatus.PENDING
    assert (made.ref_id, made.cloud_cred_ref_id, made.address) == (REF, "bp-test", "instance.web")
    assert made.instance_type_id == f"us-east-1-noSub-{TYPE}"
    given = bench.front.last("RunInstances")
    assert given["ClientToken"] == given["KeyName"] == REF
    assert given["MetadataOptions.HttpTokens"] == "required"
    assert given["BlockDeviceMapping.1.Ebs.VolumeType"] == "gp3"
    assert given["BlockDeviceMapping.1.Ebs.Encrypted"] == "true"
    assert (bench.keys(), bench.groups()) == ([REF], [REF])


def test_marks_tags_and_everything_else_come_back_in_list_and_get(bench: Bench) -> None:
    made = bench.make(address='instance.web["a"]', tags={"team": "ml", "empty": ""}, disk_size=Bytes(50, "GB"))
    (listed,) = bench.listed()
    assert listed == bench.got(made.cloud_id)
    assert listed.status is LifecycleStatus.RUNNING
    assert (listed.ref_id, listed.cloud_cred_ref_id, listed.address) == (REF, "bp-test", 'instance.web["a"]')
    assert (listed.name, listed.tags) == ("web", {"team": "ml", "empty": ""})
    assert listed.disk_size == Bytes(47, "GiB"), "rounded up to whole GiB"
    assert listed.public_ip
    assert listed.private_ip
    assert (listed.ssh_user, listed.ssh_port, listed.image_id) == ("ubuntu", 22, IMAGE)
    assert (listed.location, listed.sub_location) == ("us-east-1", "us-east-1a")
    assert listed.created_at is not None
    assert str(listed.created_at.tzinfo) == "UTC"


def test_the_volume_bears_the_marks_too(bench: Bench) -> None:
    bench.make()
    (volume,) = bench.ask("describe_volumes")["Volumes"]
    assert {"Key": "brev-ref-id", "Value": REF} in volume["Tags"]


def test_client_token_makes_a_repeated_launch_the_same_machine(bench: Bench) -> None:
    first, second = bench.make(), bench.make()
    assert first.cloud_id == second.cloud_id
    assert len(bench.rows()) == 1


def test_idempotent_parameter_mismatch_may_have_a_machine(bench: Bench) -> None:
    bench.make()
    problem = failure(lambda: bench.make(instance_type="g5.xlarge"))
    assert isinstance(problem, Rejected)
    assert (problem.code, problem.sent) == ("IdempotentParameterMismatch", Sent.MAYBE)


def test_user_data_is_encoded_once(bench: Bench) -> None:
    made = bench.make(user_data="#!/bin/sh\necho hällo\n")
    found = bench.ask("describe_instance_attribute", InstanceId=made.cloud_id, Attribute="userData")
    from base64 import b64decode

    assert b64decode(found["UserData"]["Value"]).decode() == "#!/bin/sh\necho hällo\n"


def test_a_subnet_brings_its_network_and_the_group_is_found_at_the_interface(bench: Bench) -> None:
    subnet = next(one for one in bench.ask("describe_subnets")["Subnets"] if one["AvailabilityZone"] == "us-east-1b")
    made = bench.make(options={"subnet_id": subnet["SubnetId"]})
    given = bench.front.last("RunInstances")
    assert given["NetworkInterface.1.AssociatePublicIpAddress"] == "true"
    assert "SecurityGroupId.1" not in given
    found = bench.got(made.cloud_id)
    assert found.sub_location == "us-east-1b"
    assert found.firewall_rules == FirewallRules()


def test_zone_spot_and_profile_are_asked_for(bench: Bench) -> None:
    bench.ask("create_instance_profile", service="iam", InstanceProfileName="worker")
    bench.make(sub_location="us-east-1c", spot=True, options={"iam_instance_profile": "worker"})
    given = bench.front.last("RunInstances")
    assert given["Placement.AvailabilityZone"] == "us-east-1c"
    assert given["InstanceMarketOptions.MarketType"] == "spot"
    assert given["IamInstanceProfile.Name"] == "worker"
    (found,) = bench.listed()
    assert (found.spot, found.stoppable) == (True, False)


@pytest.mark.parametrize(
    "fields",
    [{"filesystems": ("vol-1",)}, {"user_data": "x" * 16385}, {"tags": {"Name": "a"}}, {"tags": {"aws:a": "b"}},
     {"tags": {"brev-ref-id": "x"}}, {"public_key": " "}, {"location": "us east"}],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_what_cannot_be_asked_for_is_refused_before_any_request(bench: Bench, fields: dict[str, Any]) -> None:
    problem = failure(lambda: bench.make(**fields))
    assert isinstance(problem, Rejected)
    assert problem.sent is Sent.NO
    assert bench.front.asked == []


@pytest.mark.parametrize("action", ["ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress",
                                    "DescribeImages", "GetParameter"])  # fmt: skip
def test_what_fails_before_the_launch_sends_no_launch(bench: Bench, action: str) -> None:
    bench.front.once(action, Broken("dropped"))
    problem = failure(bench.make)
    assert (problem.sent, problem.retryable) == (Sent.NO, True)
    assert bench.front.count("RunInstances") == 0
    bench.make()
    (made,) = (row["InstanceId"] for row in bench.rows())
    bench.run(lambda client: client.terminate_instance(CloudId(made)))
    bench.run(lambda client: client.release(RefId(REF)))
    assert (bench.keys(), bench.groups()) == ([], [])


def test_terminate_is_a_success_when_it_is_gone_or_never_was(bench: Bench) -> None:
    made = bench.make()
    for cloud_id in (made.cloud_id, made.cloud_id, "i-00000000000000000", "nonsense"):
        bench.run(lambda client, cloud_id=cloud_id: client.terminate_instance(CloudId(cloud_id)))  # type: ignore[misc]  # a default binds the id of this turn
    assert bench.got(made.cloud_id).status is LifecycleStatus.TERMINATED
    assert bench.rows() == []


def test_release_waits_for_the_machine_and_is_idempotent(bench: Bench) -> None:
    made = bench.make()
    problem = failure(lambda: bench.run(lambda client: client.release(RefId(REF))))
    assert isinstance(problem, NotReady)
    assert "still in use" in str(problem)
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    for _ in range(2):
        bench.run(lambda client: client.release(RefId(REF)))
    assert (bench.keys(), bench.groups()) == ([], [])


def test_release_touches_nothing_that_is_not_ours(bench: Bench) -> None:
    bench.ask("create_key_pair", KeyName="theirs")
    bench.run(lambda client: client.release(RefId("theirs")))
    assert bench.keys() == ["theirs"]
    assert bench.front.asked == []


def test_fence_a_launch_that_comes_later_finds_no_key(bench: Bench) -> None:
    held: list[dict[str, str]] = []

    def hold(region: str, action: str, given: dict[str, str]) -> Broken | None:
        held.extend([given] if action == "RunInstances" else [])
        return Broken("dropped", after=False) if action == "RunInstances" else None

    bench.front.choose = hold
    failure(bench.make)
    bench.front.choose = lambda region, action, given: None
    assert bench.run(lambda client: client.fence(RefId(REF))) is True
    (late,) = held

    async def arrive(client: aws.Ec2Client) -> None:
        await client._wire.call(
            "us-east-1", "run_instances", type(None), operation="create_instance", ImageId=late["ImageId"],
            InstanceType=late["InstanceType"], MinCount=1, MaxCount=1, ClientToken=REF, KeyName=late["KeyName"],
        )  # fmt: skip

    problem = failure(lambda: bench.run(arrive))
    assert (type(problem), problem.sent) == (NotFound, Sent.REFUSED)
    assert bench.rows() == []


def test_side_objects_are_ours_in_every_region(bench: Bench) -> None:
    bench.make()
    bench.make(OTHER, location="us-west-2")
    bench.ask("create_key_pair", KeyName="theirs")
    found = bench.run(lambda client: client.side_objects())
    assert sorted((one.kind, one.ref_id) for one in found) == [
        ("key pair", REF), ("key pair", OTHER), ("security group", REF), ("security group", OTHER),
    ]  # fmt: skip


# Regions


def test_a_list_asks_the_regions_of_its_filter_and_else_all(bench: Bench) -> None:
    bench.make()
    bench.make(OTHER, location="us-west-2")
    assert [one.location for one in bench.listed()] == ["us-east-1", "us-west-2"]
    bench.front.asked.clear()
    wanted = InstanceFilter(locations=("us-west-2",))
    found = bench.run(lambda client: client.list_instances(wanted))
    assert [one.ref_id for one in found] == [OTHER]
    assert {region for region, _, _ in bench.front.asked} == {"us-west-2"}


def test_every_enabled_region_is_used_where_none_are_named(bench: Bench) -> None:
    bench.listed(regions=None)
    asked = {region for region, action, _ in bench.front.asked if action == "DescribeInstances"}
    assert {"us-east-1", "eu-west-1", "ap-northeast-1"} <= asked
    assert "ap-east-1" not in asked, "not opted in"


def test_a_machine_that_was_not_seen_yet_is_looked_for_in_every_region(bench: Bench) -> None:
    made = bench.make(location="us-west-2")
    bench.front.asked.clear()
    assert bench.got(made.cloud_id).location == "us-west-2"
    assert {region for region, _, _ in bench.front.asked} == {"us-east-1", "us-west-2"}


def test_a_region_that_cannot_be_asked_is_no_proof_that_a_machine_is_gone(bench: Bench) -> None:
    bench.front.choose = lambda region, action, given: (
        Refuse("UnauthorizedOperation", 403) if region == "us-west-2" else None
    )
    problem = failure(lambda: bench.got("i-00000000000000000"))
    assert isinstance(problem, AuthFailed)


def test_a_list_with_a_failing_region_is_no_list(bench: Bench) -> None:
    bench.make()
    bench.front.choose = lambda region, action, given: Refuse("InternalError", 500) if region == "us-west-2" else None
    assert isinstance(failure(bench.listed), Unavailable)


def test_pages_are_read_to_the_end_and_no_further(bench: Bench) -> None:
    for number in range(3):
        bench.make(f"bp-test-aaaaaaaaaaaa-{number:06d}")

    async def paged(client: aws.Ec2Client) -> int:
        found = await client._wire.pages(
            "us-east-1", "describe_instances", aws_rows.Reservations, operation="list_instances", MaxResults=5
        )
        return sum(len(one.instances) for page in found for one in page.reservations)

    assert bench.run(paged) == 3
    page = (
        '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet/>'
        "<requestId>r</requestId><nextToken>again</nextToken></DescribeInstancesResponse>"
    )
    bench.front.choose = lambda region, action, given: Broken(page)
    assert "do not end" in str(failure(bench.listed))


def test_locations(bench: Bench) -> None:
    found = bench.run(lambda client: client.get_locations())
    assert [place.name for place in found] == ["us-east-1", "us-west-2"]
    every = bench.run(lambda client: client.get_locations(include_unavailable=True))
    assert {place.name: place.available for place in every}["eu-west-1"] is False
    assert {place.name: place.country for place in every}["eu-west-1"] == "IRL"


# Changing


def test_stop_start_reboot_and_an_address_that_changes(bench: Bench) -> None:
    made = bench.make()
    before = bench.got(made.cloud_id).public_ip

    async def stop(client: aws.Ec2Client) -> Instance:
        await client.stop_instance(made.cloud_id)
        return await client.get_instance(made.cloud_id)

    async def start(client: aws.Ec2Client) -> Instance:
        await client.start_instance(made.cloud_id)
        await client.reboot_instance(made.cloud_id)
        return await client.get_instance(made.cloud_id)

    stopped = bench.run(stop)
    assert (stopped.status, stopped.public_ip) == (LifecycleStatus.STOPPED, "")
    started = bench.run(start)
    assert started.status is LifecycleStatus.RUNNING
    assert started.public_ip not in ("", before)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [(Refuse("InsufficientInstanceCapacity", 500), OutOfStock), (Refuse("VcpuLimitExceeded"), OutOfQuota),
     (Refuse("IncorrectInstanceState"), NotReady), (Refuse("UnsupportedOperation"), Rejected)],
    ids=lambda one: getattr(one, "code", ""),
)  # fmt: skip
def test_a_start_that_is_refused(bench: Bench, refusal: Refuse, kind: type[CloudError]) -> None:
    made = bench.make()
    bench.front.once("StartInstances", refusal)
    assert type(failure(lambda: bench.run(lambda client: client.start_instance(made.cloud_id)))) is kind


def test_the_type_of_a_stopped_machine_changes_and_that_of_a_running_one_does_not_although_moto_would_do_it(
    bench: Bench,
) -> None:
    made = bench.make()
    larger = "g4dn.2xlarge"
    problem = failure(lambda: bench.run(lambda client: client.change_instance_type(made.cloud_id, larger)))
    assert isinstance(problem, NotReady)
    assert bench.front.count("ModifyInstanceAttribute") == 0
    bench.run(lambda client: client.stop_instance(made.cloud_id))
    for _ in range(2):
        bench.run(lambda client: client.change_instance_type(made.cloud_id, larger))
    assert bench.front.count("ModifyInstanceAttribute") == 1
    found = bench.got(made.cloud_id)
    assert (found.instance_type, found.instance_type_id) == (larger, f"us-east-1-noSub-{larger}")


def test_disk_grows_and_a_shrink_is_refused_although_moto_would_do_it(bench: Bench) -> None:
    made = bench.make(disk_size=Bytes(50, "GiB"))
    bench.run(lambda client: client.resize_volume(made.cloud_id, Bytes(60, "GiB")))
    assert bench.got(made.cloud_id).disk_size == Bytes(60, "GiB")
    problem = failure(lambda: bench.run(lambda client: client.resize_volume(made.cloud_id, Bytes(50, "GiB"))))
    assert isinstance(problem, Rejected)
    assert bench.front.count("ModifyVolume") == 1
    bench.run(lambda client: client.resize_volume(made.cloud_id, Bytes(60, "GiB")))
    assert bench.front.count("ModifyVolume") == 1


def test_tags_become_exactly_these_and_marks_and_name_stay(bench: Bench) -> None:
    made = bench.make(tags={"team": "ml", "old": "1"}, address="instance.web")
    bench.run(lambda client: client.update_tags(made.cloud_id, {"team": "ops", "new": ""}))
    found = bench.got(made.cloud_id)
    assert (found.tags, found.name, found.ref_id) == ({"team": "ops", "new": ""}, "web", REF)
    bench.run(lambda client: client.rename_instance(made.cloud_id, "db"))
    bench.run(lambda client: client.update_mark(made.cloud_id, address="instance.db"))
    found = bench.got(made.cloud_id)
    assert (found.name, found.address) == ("db", "instance.db")
    bench.run(lambda client: client.update_mark(made.cloud_id, address="x" * 300))
    assert bench.got(made.cloud_id).address == "", "half an address would be another one"
    bench.run(lambda client: client.update_mark(made.cloud_id, address=None))
    found = bench.got(made.cloud_id)
    assert (found.ref_id, found.cloud_cred_ref_id, found.tags) == ("", "", {"team": "ops", "new": ""})


# The firewall


def test_rules_come_back_as_they_were_asked_for(bench: Bench) -> None:
    asked = FirewallRules(
        ingress=(rule(22, protocol="tcp"), rule(443), rule(443, "10.0.0.0/8", protocol="tcp"),
                 rule(8000, "10.0.0.0/8", "2001:db8::/32", protocol="udp", to=8010)),
        egress=(rule(443, protocol="tcp"),),
    )  # fmt: skip
    made = bench.make(firewall_rules=asked)
    for found in (bench.listed()[0], bench.got(made.cloud_id)):
        assert bare(found.firewall_rules) == bare(asked)
        assert found.firewall_rules is not None
        assert found.firewall_rules.egress is not None
        assert [(one.from_port, one.protocol) for one in found.firewall_rules.egress] == [(443, "tcp")]
        assert all(one.id.startswith("sgr-") for one in found.firewall_rules.ingress)


def test_the_same_rules_again_change_nothing(bench: Bench) -> None:
    asked = FirewallRules(ingress=(rule(443),), egress=(rule(443),))
    made = bench.make(firewall_rules=asked)
    bench.front.asked.clear()
    bench.run(lambda client: client.replace_firewall_rules(made.cloud_id, asked))
    assert not [one for one in bench.front.actions() if "Authorize" in one or "Revoke" in one or "Update" in one]


def test_ssh_is_open_to_anywhere_unless_a_rule_covers_it(bench: Bench) -> None:
    made = bench.make()
    group = {"Filters": [{"Name": "group-name", "Values": [REF]}]}

    def open_to() -> set[str]:
        (found,) = bench.ask("describe_security_groups", **group)["SecurityGroups"]
        return {one["CidrIp"] for perm in found["IpPermissions"] if perm["FromPort"] <= 22 <= perm["ToPort"]
                for one in perm["IpRanges"]}  # fmt: skip

    assert open_to() == {"0.0.0.0/0"}
    only = FirewallRules(ingress=(rule(22, "203.0.113.0/24", protocol="tcp"),))
    bench.run(lambda client: client.replace_firewall_rules(made.cloud_id, only))
    assert open_to() == {"203.0.113.0/24"}


def test_a_new_group_lets_everything_out_and_to_restrict_that_it_is_revoked(bench: Bench) -> None:
    made = bench.make(firewall_rules=FirewallRules(egress=()))
    (found,) = bench.ask("describe_security_groups", Filters=[{"Name": "group-name", "Values": [REF]}])[
        "SecurityGroups"
    ]
    assert {(one["IpProtocol"], one["FromPort"]) for one in found["IpPermissionsEgress"]} == {("tcp", 53), ("udp", 53)}
    assert bench.got(made.cloud_id).firewall_rules == FirewallRules(egress=())
    bench.run(lambda client: client.replace_firewall_rules(made.cloud_id, FirewallRules()))
    assert bench.got(made.cloud_id).firewall_rules == FirewallRules()


def test_a_duplicate_permission_makes_the_others_go_one_by_one(bench: Bench) -> None:
    bench.front.once("AuthorizeSecurityGroupIngress", Refuse("InvalidPermission.Duplicate"))
    made = bench.make(firewall_rules=FirewallRules(ingress=(rule(443, protocol="tcp"),)))
    assert bare(bench.got(made.cloud_id).firewall_rules) == {(443, 443, (), "tcp")}
    assert bench.front.count("AuthorizeSecurityGroupIngress") == 5


def test_a_permission_that_somebody_else_revoked_is_a_success(bench: Bench) -> None:
    made = bench.make(firewall_rules=FirewallRules(ingress=(rule(443), rule(80))))
    bench.front.once("RevokeSecurityGroupIngress", Refuse("InvalidPermission.NotFound"))
    bench.run(lambda client: client.replace_firewall_rules(made.cloud_id, FirewallRules(ingress=(rule(80),))))
    assert bare(bench.got(made.cloud_id).firewall_rules) == {(80, 80, (), "")}


def test_a_machine_that_others_made_gets_a_group_of_its_own(bench: Bench) -> None:
    row = bench.ask("run_instances", ImageId=IMAGE, InstanceType=TYPE, MinCount=1, MaxCount=1)["Instances"][0]
    (found,) = bench.listed()
    assert (found.ref_id, found.firewall_rules) == ("", None)
    asked = FirewallRules(ingress=(rule(443, protocol="tcp"),))
    bench.run(lambda client: client.replace_firewall_rules(CloudId(row["InstanceId"]), asked))
    assert bare(bench.listed()[0].firewall_rules) == {(443, 443, (), "tcp")}


def test_what_is_left_of_a_rule_is_told_permission_by_permission() -> None:
    goal = wanted(FirewallRules(ingress=(rule(443, "10.0.0.0/8", "10.1.0.0/16", protocol="tcp"),)))
    there = [
        GroupRule(f"sgr-{number}", "sg-1", one.is_egress, one.protocol, one.low, one.high, one.source, None, None,
                  None, text)
        for number, (one, text) in enumerate(sorted(goal.items()))
        if one.source != "10.1.0.0/16"
    ]  # fmt: skip
    assert bare(observed(there)) == {(443, 443, ("10.0.0.0/8",), "tcp")}


def test_permissions_about_groups_and_prefix_lists_are_seen_and_revoked() -> None:
    odd = [
        GroupRule("sgr-1", "sg-1", False, "tcp", 80, 80, None, None, "pl-1", None, ""),
        GroupRule("sgr-2", "sg-1", False, "tcp", 80, 80, None, None, None, {"GroupId": "sg-2"}, "brevplan 12345678"),
    ]
    assert {one.ip_ranges for one in observed(odd).ingress} == {("pl-1",), ("sg-2",)}
    change = difference(FirewallRules(), odd)
    assert {one.security_group_rule_id for one in change.revoke} == {"sgr-1", "sgr-2"}
    assert ALL_OUT in {one for one, _ in change.add}


# What is sold


def test_types_have_gpus_prices_zones_and_an_id_without_one(bench: Bench) -> None:
    found = bench.run(lambda client: client.get_instance_types())
    assert found == sorted(found, key=lambda item: (item.type, item.location))
    assert {item.location for item in found} == {"us-east-1", "us-west-2"}
    assert all(item.gpus for item in found)
    one = next(item for item in found if (item.type, item.location) == (TYPE, "us-east-1"))
    assert one.id == f"us-east-1-noSub-{TYPE}"
    assert one.base_price is not None
    assert one.base_price.amount == Decimal("0.5260000000")
    assert one.available_azs == tuple(sorted(one.available_azs)) != ()
    assert (one.vcpu, one.memory, one.stop_loses_data, one.spot) == (4, Bytes(16384, "MiB"), True, True)
    by_type = {item.type: item.gpus[0] for item in found}
    assert (by_type["p5.48xlarge"].name, by_type["p5.48xlarge"].count) == ("H100", 8)
    assert (by_type["p5.48xlarge"].memory, by_type["p5.48xlarge"].interconnect) == (Bytes(80, "GB"), "SXM5")
    assert (by_type["p4de.24xlarge"].name, by_type["p4de.24xlarge"].memory) == ("A100", Bytes(80, "GB"))
    assert by_type["g7e.2xlarge"].name == "RTX PRO 6000"
    assert by_type["g6f.large"].count == 1
    assert next(item for item in found if item.type == "g5g.xlarge").architectures == ("arm64",)


@pytest.mark.parametrize(
    ("name", "mib", "gb"),
    [("A10G", 22888, 24), ("L40S", 45776, 48), ("H200", 144384, 141), ("B200", 183359, 180), ("B300", 275040, 288),
     ("H100", 81920, 80), ("A100", 40960, 40), ("T4", 16384, 16), ("RTX PRO 6000", 98304, 96), ("L4", 2861, 3)],
)  # fmt: skip
def test_memory_is_nominal_where_odd_values_are_reported(name: str, mib: int, gb: int) -> None:
    assert nominal_gb(name, gb_of(mib)) == gb


def test_the_gpu_filter_is_by_names_for_there_is_none_for_gpus(bench: Bench) -> None:
    bench.run(lambda client: client.get_instance_types(InstanceTypeFilter(locations=("us-east-1",))))
    given = bench.front.last("DescribeInstanceTypes")
    assert given["Filter.1.Name"] == "instance-type"
    assert {region for region, _, _ in bench.front.asked} == {"us-east-1"}


@pytest.mark.parametrize("reply", [Refuse("AccessDeniedException"), Broken("dropped"), Refuse("InternalError", 500)])
def test_without_an_answer_prices_are_not_known_and_never_nothing(bench: Bench, reply: Any) -> None:
    bench.front.choose = lambda region, action, given: reply if action == "GetProducts" else None
    found = bench.run(lambda client: client.get_instance_types())
    assert found
    assert {item.base_price for item in found} == {None}


def test_prices_are_exact_and_asked_for_once(bench: Bench) -> None:
    async def twice(client: aws.Ec2Client) -> None:
        await client.get_instance_types()
        await client.get_instance_types()

    bench.run(twice)
    assert bench.front.count("GetProducts") == 2 * 2, "two regions, of two requests each"


def test_prices_that_cannot_be_read_are_not_known() -> None:
    good = product("a", "98.3200000000")
    found = prices([good, product("b", "0.0000000000"), "{", "[]", '{"product": 1}', product("c", "much")])
    assert found == {"a": Decimal("98.32")}


# Images


def test_images_by_id_parameter_name_and_architecture(bench: Bench) -> None:
    made = bench.make(image_id=IMAGE)
    assert made.image_id == IMAGE
    bench.front.ssm["/mine"] = IMAGE
    bench.make(OTHER, options={"image_parameter": "/mine"})
    assert bench.front.last("GetParameter") == {"Name": "/mine"}
    named = {"image_name": "ubuntu/images/hvm-ssd/ubuntu-xenial*", "image_owner": "099720109477"}
    assert bench.make("bp-test-aaaaaaaaaaaa-000003", options=named).image_id == IMAGE
    bench.front.ssm[aws_images.DEEP_LEARNING_IMAGE.format(architecture="arm64")] = IMAGE
    bench.make("bp-test-aaaaaaaaaaaa-000004", instance_type="g5g.xlarge")
    assert "/arm64/" in bench.front.last("GetParameter")["Name"]


@pytest.mark.parametrize(
    "fields",
    [
        {"image_id": "ami-00000000"},
        {"options": {"image_parameter": "/none"}},
        {"options": {"image_name": "none*", "image_owner": "self"}},
    ],
    ids=["id", "parameter", "name"],
)
def test_an_image_that_is_not_there(bench: Bench, fields: dict[str, Any]) -> None:
    problem = failure(lambda: bench.make(**fields))
    assert isinstance(problem, ImageNotFound)
    assert problem.sent is Sent.NO


def test_a_name_without_an_owner_is_refused_for_anybody_may_have_published_it(bench: Bench) -> None:
    problem = failure(lambda: bench.make(options={"image_name": "ubuntu/images/*"}))
    assert isinstance(problem, Rejected)
    assert "image_owner" in str(problem)
    assert bench.front.asked == []


TWO_DISKS = f"""<DescribeImagesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>
<imagesSet><item><imageId>{IMAGE}</imageId><name>mine</name><rootDeviceName>/dev/sda1</rootDeviceName>
<blockDeviceMapping><item><deviceName>/dev/sda1</deviceName><ebs><volumeSize>8</volumeSize></ebs></item>
<item><deviceName>/dev/sdf</deviceName><ebs><volumeSize>500</volumeSize>
<deleteOnTermination>false</deleteOnTermination></ebs></item></blockDeviceMapping></item></imagesSet>
</DescribeImagesResponse>"""


def test_no_disk_that_an_image_brings_outlives_the_machine(bench: Bench) -> None:
    bench.front.once("DescribeImages", Broken(TWO_DISKS, after=False))
    bench.make(image_id=IMAGE)
    asked = bench.front.last("RunInstances")
    disks = {asked[f"BlockDeviceMapping.{n}.DeviceName"]: asked[f"BlockDeviceMapping.{n}.Ebs.DeleteOnTermination"]
             for n in (1, 2)}  # fmt: skip
    assert disks == {"/dev/sda1": "true", "/dev/sdf": "true"}


def test_the_user_goes_by_the_image(bench: Bench) -> None:
    bench.make(options={"image_name": "amzn2-ami-hvm-2.0*", "image_owner": "amazon"})
    assert bench.listed()[0].ssh_user == "ec2-user"
    assert aws_rows.ssh_user_of("debian-12-amd64-20240101") == "admin"
    assert aws_rows.ssh_user_of("al2023-ami-2023.5") == "ec2-user"
    assert aws_rows.ssh_user_of("something") == "ubuntu"


# Who answers


PAGE = "<html><body>please log in</body></html>"


@pytest.mark.parametrize(
    "action",
    ["ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "RunInstances"],
)
def test_a_page_of_somebody_else_is_no_answer_to_a_launch(bench: Bench, action: str) -> None:
    bench.front.once(action, Broken(PAGE, after=False))
    problem = failure(bench.make)
    assert isinstance(problem, Unavailable)
    assert problem.sent is (Sent.MAYBE if action == "RunInstances" else Sent.NO)
    assert bench.rows() == []


@pytest.mark.parametrize("action", ["DeleteKeyPair", "DeleteSecurityGroup"])
def test_nor_to_a_release(bench: Bench, action: str) -> None:
    made = bench.make()
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    bench.front.once(action, Broken(PAGE, after=False))
    assert isinstance(failure(lambda: bench.run(lambda client: client.release(RefId(REF)))), Unavailable)
    bench.run(lambda client: client.release(RefId(REF)))
    assert (bench.keys(), bench.groups()) == ([], [])


def test_nor_are_the_rules_of_a_group_taken_from_it(bench: Bench) -> None:
    bench.make()
    bench.front.once("DescribeSecurityGroupRules", Broken(PAGE, after=False))
    assert isinstance(failure(bench.listed), Unavailable)


# What stays, and whose it is


def test_a_release_goes_on_after_a_refusal_and_then_tells_it(bench: Bench) -> None:
    made = bench.make()
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    bench.front.once("DeleteKeyPair", Refuse("UnauthorizedOperation", 403))

    async def release(client: aws.Ec2Client) -> None:
        await client.list_instances()
        await client.release(RefId(REF))

    assert isinstance(failure(lambda: bench.run(release)), AuthFailed)
    assert bench.groups() == []


def test_what_a_failed_preparation_made_is_looked_for_where_it_is(bench: Bench) -> None:
    bench.front.choose = lambda region, action, given: (
        Refuse("UnauthorizedOperation", 403) if region == "us-west-2" else None
    )
    bench.front.once("AuthorizeSecurityGroupIngress", Refuse("VcpuLimitExceeded"))

    async def tried(client: aws.Ec2Client) -> None:
        with pytest.raises(OutOfQuota):
            await client.create_instance(attrs(REF))
        bench.front.asked.clear()
        await client.release(RefId(REF))

    bench.run(tried)
    assert {region for region, _, _ in bench.front.asked} == {"us-east-1"}
    assert (bench.keys(), bench.groups()) == ([], [])


def test_another_process_passes_over_a_region_that_lets_the_key_do_nothing(bench: Bench) -> None:
    made = bench.make()
    bench.run(lambda client: client.terminate_instance(made.cloud_id))
    bench.front.choose = lambda region, action, given: (
        Refuse("UnauthorizedOperation", 403) if region == "us-west-2" else None
    )
    bench.run(lambda client: client.release(RefId(REF)))
    assert (bench.keys(), bench.groups()) == ([], [])
    bench.front.choose = lambda region, action, given: Refuse("UnauthorizedOperation", 403)
    assert isinstance(failure(lambda: bench.run(lambda client: client.release(RefId(REF)))), AuthFailed)


def test_groups_and_keys_of_others_are_no_side_objects_whatever_they_are_called(bench: Bench) -> None:
    vpc = bench.ask("describe_vpcs")["Vpcs"][0]["VpcId"]
    bench.ask("create_security_group", GroupName="bp-database-clients", Description="of others", VpcId=vpc)
    bench.make()
    found = bench.run(lambda client: client.side_objects())
    assert {(one.kind, one.ref_id) for one in found} == {("security group", REF), ("key pair", REF)}


def test_more_rules_than_can_be_told_apart_are_refused() -> None:
    def rules(count: int) -> FirewallRules:
        return FirewallRules(
            ingress=tuple(
                FirewallRule(
                    from_port=443, to_port=443, ip_ranges=("10.0.0.0/8", f"192.0.2.{number}/32"), protocol="tcp"
                )
                for number in range(count)
            )
        )

    assert max(map(len, wanted(rules(27)).values())) <= 255
    with pytest.raises(ValueError, match="28 rules open tcp 443 to 10"):
        wanted(rules(28))


@pytest.mark.parametrize(
    "endpoint",
    ["http://my_moto:5000", "http://a b", "http://host:99999", "http://h\u00e9.com", "ftp://x", "http://u:p@x"],
)
def test_an_endpoint_that_cannot_be_one_is_told_before_any_request(bench: Bench, endpoint: str) -> None:
    problem = failure(lambda: bench.listed(endpoint=endpoint))
    assert isinstance(problem, Rejected)
    assert "endpoint is not a URL" in str(problem)


def test_the_environment_leads_to_no_other_endpoint(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "none such")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert bench.listed() == []


# What a machine says of itself


def test_a_start_does_not_change_when_it_was_made() -> None:
    volume = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeId": "vol-1", "AttachTime": "2026-01-01T00:00:00Z"}}
    started = row(RootDeviceName="/dev/sda1", BlockDeviceMappings=[volume], LaunchTime="2026-05-01T00:00:00Z")
    assert str(started.created_at) == "2026-01-01 00:00:00+00:00"
    assert str(row(LaunchTime="2026-05-01T00:00:00Z").created_at) == "2026-05-01 00:00:00+00:00"


def row(state: str = "running", **fields: Any) -> aws_rows.Row:
    import msgspec

    given = {"InstanceId": "i-1", "State": {"Name": state}, **fields}
    return msgspec.convert(given, type=aws_rows.Row, strict=False)


@pytest.mark.parametrize(
    ("state", "status"),
    [("pending", "pending"), ("running", "running"), ("shutting-down", "terminating"), ("terminated", "terminated"),
     ("stopping", "stopping"), ("stopped", "stopped"), ("dreaming", "running")],
)  # fmt: skip
def test_states(bench: Bench, state: str, status: str) -> None:
    found = aws_rows.read_instance(row(state), "us-east-1", {}, {}, bench.clock.now(), set())
    assert found.status == status
    assert bool(found.messages) is (state == "dreaming")


def test_died_soon_after_create_is_failed_later_and_once_ended_it_is_gone(bench: Bench) -> None:
    now = bench.clock.now()
    reason = {"Code": "Server.InsufficientInstanceCapacity", "Message": "no capacity"}
    young = row("terminated", StateReason=reason, LaunchTime=now)
    found = aws_rows.read_instance(young, "us-east-1", {}, {}, now, set())
    assert (found.status, found.messages) == (LifecycleStatus.FAILED, ("no capacity",))
    assert aws_rows.read_instance(young, "us-east-1", {}, {}, now, {"i-1"}).status is LifecycleStatus.TERMINATED
    old = row("terminated", StateReason=reason, LaunchTime=now.replace(year=2020))
    assert aws_rows.read_instance(old, "us-east-1", {}, {}, now, set()).status is LifecycleStatus.TERMINATED


# Errors


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InsufficientInstanceCapacity", OutOfStock), ("InsufficientHostCapacity", OutOfStock),
        ("Unsupported", OutOfStock), ("SpotMaxPriceTooLow", OutOfStock), ("InstanceLimitExceeded", OutOfQuota),
        ("VcpuLimitExceeded", OutOfQuota), ("MaxSpotInstanceCountExceeded", OutOfQuota),
        ("SecurityGroupLimitExceeded", OutOfQuota), ("RulesPerSecurityGroupLimitExceeded", OutOfQuota),
        ("InvalidParameterValue", Rejected), ("InvalidInstanceType", Rejected), ("SomethingNew", Rejected),
        ("RequestLimitExceeded", RateLimited), ("Throttling", RateLimited), ("AuthFailure", AuthFailed),
        ("UnauthorizedOperation", AuthFailed), ("ExpiredToken", AuthFailed), ("OptInRequired", AuthFailed),
        ("Blocked", AuthFailed), ("InvalidAMIID.NotFound", ImageNotFound), ("VPCIdNotSpecified", Rejected),
        ("InvalidSubnetID.NotFound", NotFound),
    ],
)  # fmt: skip
def test_a_launch_refused_with_a_code_made_nothing(bench: Bench, code: str, kind: type[CloudError]) -> None:
    bench.front.once("RunInstances", Refuse(code))
    problem = failure(bench.make)
    assert (type(problem), problem.sent) == (kind, Sent.REFUSED)
    assert (problem.code, problem.http_status) == (code, 400)


@pytest.mark.parametrize(
    ("code", "kind", "sent"),
    [("InsufficientInstanceCapacity", OutOfStock, Sent.REFUSED), ("RequestLimitExceeded", RateLimited, Sent.REFUSED),
     ("SomethingNew", Unavailable, Sent.MAYBE)],
)  # fmt: skip
def test_never_by_the_status_alone(bench: Bench, code: str, kind: type[CloudError], sent: Sent) -> None:
    bench.front.once("RunInstances", Refuse(code, 500))
    problem = failure(bench.make)
    assert (type(problem), problem.sent) == (kind, sent)


@pytest.mark.parametrize("code", ["InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable"])
def test_a_launch_that_failed_at_the_service_may_have_made_one(bench: Bench, code: str) -> None:
    bench.front.once("RunInstances", Refuse(code, 503))
    problem = failure(bench.make)
    assert (type(problem), problem.sent, problem.retryable) == (Unavailable, Sent.MAYBE, True)


@pytest.mark.parametrize(
    "reply",
    [Broken("dropped"), Broken("truncated"), Broken("<html/>", status=404), Broken("<html/>", status=502),
     Broken("nonsense"), Broken("<RunInstancesResponse/>"), Broken("")],
    ids=["dropped", "truncated", "a proxy's 404", "a proxy's 502", "nonsense", "empty", "nothing"],
)  # fmt: skip
def test_a_launch_without_an_answer_may_have_made_one(bench: Bench, reply: Broken) -> None:
    bench.front.once("RunInstances", reply)
    problem = failure(bench.make)
    assert (type(problem), problem.sent) == (Unavailable, Sent.MAYBE)
    assert bench.front.count("RunInstances") == 1, "the library repeats nothing"
    assert len(bench.rows()) == 1


def test_a_proxys_404_is_no_machine_that_is_gone(bench: Bench) -> None:
    made = bench.make()
    bench.front.choose = lambda region, action, given: Broken("<html>not found</html>", after=False, status=404)
    assert isinstance(failure(lambda: bench.got(made.cloud_id)), Unavailable)


def test_nobody_there_is_a_request_that_never_left(bench: Bench) -> None:
    problem = failure(lambda: bench.listed(endpoint="http://127.0.0.1:9"))
    assert (type(problem), problem.sent) == (Unavailable, Sent.NO)


def test_an_unknown_machine_is_not_found(bench: Bench) -> None:
    for cloud_id in ("i-00000000000000000", "nonsense"):
        assert isinstance(failure(lambda cloud_id=cloud_id: bench.got(cloud_id)), InstanceNotFound)  # type: ignore[misc]  # a default binds the id of this turn


def test_termination_protection_is_told_with_what_to_do(bench: Bench) -> None:
    made = bench.make()
    bench.front.once("TerminateInstances", Refuse("OperationNotPermitted"))
    problem = failure(lambda: bench.run(lambda client: client.terminate_instance(made.cloud_id)))
    assert isinstance(problem, Rejected)
    assert "protection" in str(problem)


def test_an_error_shows_no_secret(bench: Bench) -> None:
    bench.front.once("DescribeInstances", Refuse("InvalidParameterValue", message=f"odd: {SECRET} and token-xyz"))
    problem = failure(lambda: bench.listed(session_token="token-xyz"))
    assert str(problem).count("(secret)") == 2
    assert "token-xyz" not in str(problem)


def test_a_code_that_nobody_knows_goes_by_the_status() -> None:
    assert kind_of("New", 400) is Rejected
    assert kind_of("New", 500) is Unavailable
    assert kind_of("404", 404) is Unavailable
    assert kind_of("", 403) is Unavailable


def test_a_hostile_description_is_read_once() -> None:
    words = " ".join(["brevplan", *(["ssh"] * 25_000)])
    found = observed([GroupRule("sgr-1", "sg-1", False, "tcp", 22, 22, "0.0.0.0/0", None, None, None, words)])
    assert found.ingress == ()


def test_the_key_id_is_in_no_result(bench: Bench) -> None:
    bench.make()
    assert KEY_ID not in str(bench.listed())
