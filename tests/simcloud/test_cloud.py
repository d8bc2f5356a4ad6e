"""What an account can ask of the simulated cloud, under a clock that is set by hand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brevplan.contract.bytes import Bytes
from brevplan.contract.errors import CloudError, InstanceNotFound, NotReady, OutOfStock, RateLimited, Rejected, Sent
from brevplan.contract.model import (
    FirewallRule,
    FirewallRules,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
)
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faults import Call, Fault
from brevplan.simcloud.model import cloud_id_of, digest_of_user_data, number_of

from .build import HandClock, attrs, cloud

ALL = InstanceFilter()
ALL_TYPES = InstanceTypeFilter()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def sim(tmp_path: Path, clock: HandClock) -> SimCloud:
    return cloud(tmp_path, clock)


@pytest.fixture
def slow(tmp_path: Path, clock: HandClock) -> SimCloud:
    return cloud(tmp_path, clock, boot_s=30, stop_s=10, end_s=5, list_lag_s=8)


def offer(sim: SimCloud, instance_type: str, location: str = "us-west-1") -> InstanceType:
    (found,) = sim.types(InstanceTypeFilter(locations=(location,), instance_types=(instance_type,)))
    return found


class TestCreate:
    def test_everything_asked_for_comes_back(self, sim: SimCloud, clock: HandClock) -> None:
        rules = FirewallRules(ingress=(FirewallRule(from_port=80, to_port=90, ip_ranges=("10.0.0.0/8",)),), egress=())
        asked = attrs(
            address="instance.web[0]",
            sub_location="us-west-1b",
            name="web-0",
            image_id="ubuntu-24.04-x86-64",
            user_data="#!/bin/sh\necho hunter2\n",
            disk_size=Bytes(500, "GiB"),
            filesystems=("fs-1",),
            tags={"team": "ml"},
            firewall_rules=rules,
            spot=True,
            options={"subnet_id": "s-1"},
        )
        made = sim.create(asked)
        for field in ("ref_id", "cloud_cred_ref_id", "address", "name", "instance_type", "location", "sub_location"):
            assert getattr(made, field) == getattr(asked, field)
        for field in ("image_id", "filesystems", "tags", "spot", "options", "public_key", "disk_size"):
            assert getattr(made, field) == getattr(asked, field)
        assert made.cloud_id == "i-00000001"
        assert made.status == LifecycleStatus.RUNNING
        assert (made.public_ip, made.private_ip) == ("198.18.0.1", "10.0.0.1")
        assert (made.ssh_user, made.ssh_port, made.host_key) == ("ubuntu", 22, "")
        assert made.instance_type_id == offer(sim, "gpu_1x_a10").id
        assert made.hourly_price == Decimal("0.75")
        assert made.created_at == clock.now()
        assert made.firewall_rules is not None
        assert made.firewall_rules.egress == ()
        assert made.firewall_rules.ingress[0].id
        assert sim.get(made.cloud_id) == made == sim.instances(ALL)[0]

    def test_user_data_is_kept_as_a_digest_only(self, sim: SimCloud, tmp_path: Path) -> None:
        made = sim.create(attrs(user_data="echo hunter2"))
        (stored,) = sim.store.machines()
        assert stored.user_data_digest == digest_of_user_data(made.cloud_id, "echo hunter2")
        sim.close()
        assert b"hunter2" not in (tmp_path / "cloud.db").read_bytes()

    def test_what_is_left_out_gets_a_default(self, sim: SimCloud) -> None:
        made = sim.create(attrs())
        assert made.name == made.cloud_id
        assert made.image_id == "ubuntu-22.04-cuda-x86-64"
        assert made.disk_size == Bytes(1400, "GB")

    def test_the_same_ref_id_gives_the_same_machine(self, sim: SimCloud) -> None:
        assert sim.create(attrs("a")) == sim.create(attrs("a"))
        assert len(sim.instances(ALL)) == 1

    def test_the_same_ref_id_for_something_else_is_refused(self, sim: SimCloud) -> None:
        sim.create(attrs("a"))
        with pytest.raises(Rejected, match="a gpu_1x_a10 in us-west-1"):
            sim.create(attrs("a", location="us-east-1"))

    def test_a_ref_id_is_used_up_by_a_machine_that_is_gone(self, sim: SimCloud) -> None:
        sim.terminate(sim.create(attrs("a")).cloud_id)
        with pytest.raises(Rejected, match="used up"):
            sim.create(attrs("a"))

    def test_a_fenced_ref_id_is_refused_as_nothing_made(self, sim: SimCloud) -> None:
        sim.fence("a")
        sim.fence("a")
        with pytest.raises(Rejected, match="fenced") as caught:
            sim.create(attrs("a"))
        assert caught.value.sent is Sent.REFUSED
        assert sim.store.machines(include_gone=True) == []
        assert sim.store.fences() == ["a"]

    def test_cloud_ids_are_never_used_again(self, sim: SimCloud) -> None:
        sim.store.delete_machine(sim.create(attrs("a")).cloud_id)
        sim.terminate(sim.create(attrs("b")).cloud_id)
        assert sim.create(attrs("c")).cloud_id == "i-00000003"

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"instance_type": "gpu_1x_gh200", "spot": True}, "spot"),
            ({"sub_location": "us-west-1z"}, "us-west-1a, us-west-1b"),
            ({"disk_size": Bytes(1, "GB")}, "10 GB to 64 TB"),
            ({"instance_type": "gpu_8x_a100_40gb_sxm4", "disk_size": Bytes(1, "TB")}, "always 6000 GB"),
            ({"public_key": " "}, "public key"),
            ({"firewall_rules": FirewallRules(ingress=(FirewallRule(from_port=0, to_port=0),))}, "port 0"),
        ],
    )
    def test_what_cannot_be_is_refused(self, sim: SimCloud, fields: dict[str, Any], says: str) -> None:
        with pytest.raises(Rejected, match=says) as caught:
            sim.create(attrs(**fields))
        assert caught.value.sent is Sent.REFUSED


class TestLifecycle:
    def test_a_machine_boots_and_then_has_its_addresses(self, slow: SimCloud, clock: HandClock) -> None:
        made = slow.create(attrs())
        assert (made.status, made.public_ip) == (LifecycleStatus.PENDING, "")
        clock.passed += 29.5
        assert slow.get(made.cloud_id).status == LifecycleStatus.PENDING
        clock.passed += 0.5
        assert slow.get(made.cloud_id).status == LifecycleStatus.RUNNING
        assert slow.get(made.cloud_id).public_ip

    def test_stop_and_start_go_through_their_states(self, slow: SimCloud, clock: HandClock) -> None:
        made = slow.create(attrs())
        seen = []
        for step, wait in ((None, 30), (slow.stop, 0), (None, 10), (slow.stop, 0), (slow.start, 0), (None, 30)):
            if step:
                step(made.cloud_id)
            clock.passed += wait
            seen.append(slow.get(made.cloud_id).status.value)
        assert seen == ["running", "stopping", "stopped", "stopped", "pending", "running"]

    def test_stop_of_a_booting_machine_is_not_ready(self, slow: SimCloud) -> None:
        made = slow.create(attrs())
        with pytest.raises(NotReady):
            slow.stop(made.cloud_id)

    def test_stop_then_start_at_once_is_fine(self, slow: SimCloud, clock: HandClock) -> None:
        made = slow.create(attrs())
        clock.passed += 30
        slow.stop(made.cloud_id)
        slow.start(made.cloud_id)
        clock.passed += 30
        assert slow.get(made.cloud_id).status == LifecycleStatus.RUNNING

    def test_stop_of_a_type_that_cannot_is_refused(self, sim: SimCloud) -> None:
        made = sim.create(attrs(instance_type="gpu_1x_rtx_a6000"))
        assert not made.stoppable
        with pytest.raises(Rejected, match="cannot be stopped"):
            sim.stop(made.cloud_id)

    def test_reboot_counts_and_wants_a_running_machine(self, slow: SimCloud, clock: HandClock) -> None:
        made = slow.create(attrs())
        with pytest.raises(NotReady):
            slow.reboot(made.cloud_id)
        clock.passed += 30
        slow.reboot(made.cloud_id)
        assert slow.get(made.cloud_id).status == LifecycleStatus.RUNNING
        assert slow.store.machines()[0].reboots == 1
        slow.stop(made.cloud_id)
        with pytest.raises(Rejected, match="stopped"):
            slow.reboot(made.cloud_id)

    def test_terminate_ends_in_not_found_and_can_be_repeated(self, slow: SimCloud, clock: HandClock) -> None:
        made = slow.create(attrs())
        clock.passed += 30
        slow.terminate(made.cloud_id)
        assert slow.get(made.cloud_id).status == LifecycleStatus.TERMINATING
        with pytest.raises(Rejected, match="being terminated"):
            slow.stop(made.cloud_id)
        clock.passed += 5
        with pytest.raises(InstanceNotFound):
            slow.get(made.cloud_id)
        for cloud_id in (made.cloud_id, "i-99999999", "nonsense"):
            slow.terminate(cloud_id)
        assert slow.store.machines() == []
        assert [machine.body.cloud_id for machine in slow.store.machines(include_gone=True)] == [made.cloud_id]

    def test_a_list_lags_behind_and_a_get_does_not(self, tmp_path: Path, clock: HandClock) -> None:
        sim = cloud(tmp_path, clock, list_lag_s=8)
        made = sim.create(attrs())
        one = InstanceFilter(cloud_ids=(made.cloud_id,))
        assert sim.get(made.cloud_id) == made
        assert sim.instances(ALL) == sim.instances(one) == []
        clock.passed += 8
        assert sim.instances(ALL) == sim.instances(one) == [made]
        sim.terminate(made.cloud_id)
        with pytest.raises(InstanceNotFound):
            sim.get(made.cloud_id)
        clock.passed += 7.5
        assert sim.instances(ALL) == sim.instances(one) == [made]
        clock.passed += 0.5
        assert sim.instances(ALL) == sim.instances(one) == []

    def test_a_machine_altered_behind_the_back_shows_it(self, sim: SimCloud) -> None:
        made = sim.create(attrs())
        sim.store.alter_machine(made.cloud_id, name="other", status=LifecycleStatus.FAILED)
        assert sim.instances(ALL)[0].name == "other"
        with pytest.raises(Rejected, match="failed"):
            sim.start(made.cloud_id)


class TestChange:
    def test_tags_become_exactly_these_and_the_mark_stays(self, sim: SimCloud) -> None:
        made = sim.create(attrs(tags={"a": "1", "b": "2"}))
        sim.set_tags(made.cloud_id, {"c": "3"})
        now = sim.get(made.cloud_id)
        assert now.tags == {"c": "3"}
        assert (now.ref_id, now.cloud_cred_ref_id) == (made.ref_id, made.cloud_cred_ref_id)

    def test_the_mark_can_be_moved_and_taken_off(self, sim: SimCloud) -> None:
        made = sim.create(attrs(address="instance.a"))
        sim.set_mark(made.cloud_id, "instance.b")
        assert sim.get(made.cloud_id).address == "instance.b"
        assert sim.get(made.cloud_id).ref_id == made.ref_id
        sim.set_mark(made.cloud_id, None)
        now = sim.get(made.cloud_id)
        assert (now.address, now.ref_id, now.cloud_cred_ref_id) == ("", "", "")
        with pytest.raises(Rejected, match="used up"):
            sim.create(attrs())

    def test_a_disk_grows_and_never_shrinks(self, sim: SimCloud) -> None:
        made = sim.create(attrs(disk_size=Bytes(1, "TB")))
        sim.resize(made.cloud_id, Bytes(1000, "GB"))
        sim.resize(made.cloud_id, Bytes(2, "TB"))
        assert sim.get(made.cloud_id).disk_size == Bytes(2, "TB")
        with pytest.raises(Rejected, match="only grow"):
            sim.resize(made.cloud_id, Bytes(1, "TB"))
        with pytest.raises(Rejected, match="64 TB"):
            sim.resize(made.cloud_id, Bytes(65, "TB"))

    def test_the_same_rules_again_change_nothing(self, sim: SimCloud) -> None:
        made = sim.create(attrs())
        rules = FirewallRules(ingress=(FirewallRule(from_port=80, to_port=80),))
        sim.set_rules(made.cloud_id, rules)
        first = sim.get(made.cloud_id).firewall_rules
        sim.set_rules(made.cloud_id, rules)
        assert sim.get(made.cloud_id).firewall_rules == first

    def test_a_name_can_be_changed(self, sim: SimCloud) -> None:
        made = sim.create(attrs(name="a"))
        sim.rename(made.cloud_id, "b")
        assert sim.get(made.cloud_id).name == "b"

    @pytest.mark.parametrize("cloud_id", ["i-00000001", "i-1", "", "i-999999999999999999999999", "i-٣٣٣٣٣٣٣٣"])
    def test_an_unknown_machine_is_not_found(self, sim: SimCloud, cloud_id: str) -> None:
        with pytest.raises(InstanceNotFound):
            sim.get(cloud_id)
        with pytest.raises(InstanceNotFound):
            sim.stop(cloud_id)


class TestStock:
    def test_stock_goes_down_and_comes_back(self, sim: SimCloud) -> None:
        full = offer(sim, "gpu_1x_l40s").stock or 0
        made = [sim.create(attrs(f"r{n}", instance_type="gpu_1x_l40s")) for n in range(3)]
        assert offer(sim, "gpu_1x_l40s").stock == full - 3
        sim.stop(made[0].cloud_id)
        sim.terminate(made[1].cloud_id)
        sim.store.delete_machine(made[2].cloud_id)
        assert offer(sim, "gpu_1x_l40s").stock == full

    def test_an_empty_shelf_refuses_and_shows_it(self, sim: SimCloud) -> None:
        made = [
            sim.create(attrs(f"r{n}", instance_type="gpu_8x_v100_sxm2", location="us-east-1")).cloud_id
            for n in range(24)
        ]
        assert not offer(sim, "gpu_8x_v100_sxm2", "us-east-1").is_available
        with pytest.raises(OutOfStock) as caught:
            sim.create(attrs("late", instance_type="gpu_8x_v100_sxm2", location="us-east-1"))
        assert caught.value.sent is Sent.REFUSED
        sim.stop(made[0])
        sim.create(attrs("late", instance_type="gpu_8x_v100_sxm2", location="us-east-1"))
        with pytest.raises(OutOfStock):
            sim.start(made[0])
        assert sim.get(made[0]).status == LifecycleStatus.STOPPED

    def test_a_type_can_be_sold_out_on_demand(self, tmp_path: Path, clock: HandClock) -> None:
        sim = cloud(tmp_path, clock, out_of_stock=frozenset({"gpu_1x_a10"}))
        assert not offer(sim, "gpu_1x_a10").is_available
        with pytest.raises(OutOfStock):
            sim.create(attrs())

    def test_the_type_list_makes_no_file(self, sim: SimCloud) -> None:
        assert sim.types(ALL_TYPES)
        assert sim.store.machines() == []
        assert not sim.store.exists()

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["create", "stop", "start", "terminate", "delete"]), st.integers(0, 5))))
    def test_what_is_taken_is_what_stands_and_is_not_stopped(
        self, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
    ) -> None:
        sim = cloud(tmp_path_factory.mktemp("stock"), HandClock())
        for verb, number in steps:
            cloud_id = cloud_id_of(number)
            try:
                match verb:
                    case "create":
                        sim.create(attrs(f"r{number}"))
                    case "delete":
                        sim.store.delete_machine(cloud_id)
                    case _:
                        getattr(sim, verb)(cloud_id)
            except CloudError:
                pass
        standing = [one for one in sim.instances(ALL) if one.status == LifecycleStatus.RUNNING]
        with sim.store.read():
            assert sum(sim.store.taken().values()) == len(standing)
        sim.close()


class TestFilter:
    def test_filters_are_joined_by_and(self, sim: SimCloud) -> None:
        one = sim.create(attrs("a", tags={"team": "ml", "tier": "1"}))
        two = sim.create(attrs("b", location="us-east-1", tags={"team": "ml"}))
        assert sim.instances(InstanceFilter(locations=("us-east-1",))) == [two]
        assert sim.instances(InstanceFilter(locations=("all",))) == [one, two]
        assert sim.instances(InstanceFilter(cloud_ids=(two.cloud_id, "i-77777777", "x"))) == [two]
        assert sim.instances(InstanceFilter(tags={"team": ("ml",), "tier": ()})) == [one]
        assert sim.instances(InstanceFilter(tags={"team": ("web",)})) == []

    def test_types_are_filtered_by_the_shared_rule(self, sim: SimCloud) -> None:
        assert {one.type for one in sim.types(InstanceTypeFilter(architectures=("arm64",)))} == {"gpu_1x_gh200"}
        assert sim.types(InstanceTypeFilter(locations=("mars",))) == []

    def test_a_list_is_in_the_order_of_making(self, slow: SimCloud, clock: HandClock) -> None:
        first = slow.create(attrs("a"))
        clock.passed += 100
        second = slow.create(attrs("b"))
        slow.stop(first.cloud_id)
        clock.passed += 9
        assert [one.cloud_id for one in slow.instances(ALL)] == [first.cloud_id, second.cloud_id]


class TestRate:
    def test_too_many_requests_are_told_how_long_to_wait(self, tmp_path: Path, clock: HandClock) -> None:
        sim = cloud(tmp_path, clock, requests_per_minute=3)
        for _ in range(3):
            sim.enter(Call("list"))
        with pytest.raises(RateLimited) as caught:
            sim.enter(Call("list"))
        assert caught.value.retry_after == pytest.approx(20)
        clock.passed += 20
        sim.enter(Call("list"))
        with pytest.raises(RateLimited):
            sim.enter(Call("list"))

    def test_a_clock_put_back_locks_nobody_out(self, tmp_path: Path, clock: HandClock) -> None:
        sim = cloud(tmp_path, clock, requests_per_minute=3)
        clock.passed = 10_000
        sim.enter(Call("list"))
        clock.passed = 0
        sim.enter(Call("list"))


class TestFate:
    def test_two_machines_by_one_call(self, sim: SimCloud) -> None:
        made = sim.create(attrs(), Fault(twice=True))
        assert [one.cloud_id for one in sim.instances(ALL)] == [made.cloud_id, "i-00000002"]
        assert {one.ref_id for one in sim.instances(ALL)} == {made.ref_id}

    def test_a_machine_that_vanishes(self, sim: SimCloud) -> None:
        made = sim.create(attrs(), Fault(vanish=True))
        assert sim.instances(ALL) == []
        with pytest.raises(InstanceNotFound):
            sim.get(made.cloud_id)

    def test_a_machine_that_is_pending_and_then_failed(self, slow: SimCloud, clock: HandClock) -> None:
        made = slow.create(attrs(), Fault(fails_after_s=20))
        assert made.status == LifecycleStatus.PENDING
        clock.passed += 20
        failed = slow.get(made.cloud_id)
        assert failed.status == LifecycleStatus.FAILED
        assert failed.messages
        assert slow.instances(ALL) == [failed]
        with pytest.raises(Rejected, match="failed"):
            slow.stop(made.cloud_id)
        slow.terminate(made.cloud_id)

    def test_a_machine_that_comes_late(self, sim: SimCloud, clock: HandClock) -> None:
        sim.create(attrs("a"), Fault(late_s=60))
        assert sim.instances(ALL) == []
        clock.passed += 60
        assert len(sim.instances(ALL)) == 1

    def test_a_late_machine_is_stopped_by_a_fence(self, sim: SimCloud, clock: HandClock) -> None:
        sim.create(attrs("a"), Fault(late_s=60))
        sim.fence("a")
        clock.passed += 60
        assert sim.instances(ALL) == []

    def test_a_late_machine_comes_at_once_when_asked_for_again(self, slow: SimCloud, clock: HandClock) -> None:
        slow.create(attrs("a"), Fault(late_s=60))
        clock.passed += 10
        again = slow.create(attrs("a"))
        assert slow.get(again.cloud_id).status == LifecycleStatus.PENDING
        clock.passed += 30
        assert slow.get(again.cloud_id).status == LifecycleStatus.RUNNING


@given(st.integers(1, 10**12))
def test_a_cloud_id_is_read_back(number: int) -> None:
    assert number_of(cloud_id_of(number)) == number
