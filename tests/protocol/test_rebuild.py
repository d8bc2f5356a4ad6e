"""A state that is lost or damaged: restored from configuration and clouds, nothing lost, nothing bought twice."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from brevplan.contract.errors import AuthFailed
from brevplan.diagnostics import DiagnosticsError, Source
from brevplan.engine.address import Address
from brevplan.engine.bench import Options
from brevplan.engine.ports import StateLost
from brevplan.engine.rebuilt import Rebuilt
from brevplan.operations.importing import UNHINDERED, Imported, import_machine
from brevplan.operations.mapping import parse_wishes
from brevplan.operations.project import load_sources
from brevplan.operations.rebuild import rebuild
from brevplan.simcloud.faults import NO_FAULT, Call, Fault
from brevplan.simcloud.model import cloud_id_of
from brevplan.state.lock import Holder, Lock, try_lock
from brevplan.state.sums import reseal
from tests.world import KEY, Lab, actions, configuration

REST = """
resource "firewall" "web" {
  ingress {
    from_port = 443
  }
}
output "addresses" {
  value = instance.m[*].public_ip
}
"""


def restore(lab: Lab, *maps: str, **fields: str) -> Rebuilt:
    async def run() -> Rebuilt:
        project = load_sources(lab.folder, [Source("main.hcl", lab.text)])
        request = lab.request(UNHINDERED, **fields)
        return await rebuild(project, request, lab.outside, parse_wishes(maps), lab.said.append)

    return asyncio.run(run())


def take_in(lab: Lab, address: str, cloud_id: str) -> Imported:
    async def run() -> Imported:
        project = load_sources(lab.folder, [Source("main.hcl", lab.text)])
        request = lab.request(UNHINDERED)
        return await import_machine(project, request, lab.outside, Address.parse(address), cloud_id, lab.said.append)

    return asyncio.run(run())


def summaries(problem: pytest.ExceptionInfo[DiagnosticsError]) -> list[str]:
    return [item.summary for item in problem.value.diagnostics]


def full_lab(folder: Path) -> Lab:
    lab = Lab(folder, configuration(12, rest=REST, body="firewalls = [firewall.web]"))
    lab.apply()
    return lab


def is_whole(lab: Lab) -> bool:
    """Check that everything is recorded again, and that a plan finds nothing to do."""
    assert sorted(lab.recorded().values()) == sorted(machine.body.cloud_id for machine in lab.machines())
    plan = lab.plan()
    assert not plan.has_changes
    assert plan.orphans == []
    return True


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def with_zeroes(data: bytes) -> bytes:
    return data[:1024] + bytes(2048) + data[3072:]


def with_garbage_first(data: bytes) -> bytes:
    return b"garbage garbage!" + data[16:]


def with_flipped_pages(data: bytes) -> bytes:
    """Flip the bits of the first byte of each page: the sort of page it is."""
    pages = [bytearray(data[at : at + 1024]) for at in range(0, len(data), 1024)]
    for page in pages[1:]:
        page[0] ^= 0xFF
    return b"".join(pages)


def with_a_foreign_id(data: bytes) -> bytes:
    return data[:68] + b"\0\0\0\7" + data[72:]


@pytest.mark.parametrize(
    "damage",
    [cut, with_zeroes, with_garbage_first, with_flipped_pages, with_a_foreign_id, lambda data: b"too short",
     lambda data: bytes(len(data))],
    ids=["cut", "zeroed page", "garbage header", "flipped pages", "foreign id", "too short", "all zeroes"],
)  # fmt: skip
def test_a_damaged_state_is_put_aside_and_restored(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    lab = full_lab(tmp_path)
    path = tmp_path / "brevplan.db"
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()
    with pytest.raises(DiagnosticsError) as problem:
        lab.plan()
    assert problem.value.diagnostics[0].hint == "brevplan rebuild restores it from the configuration and the cloud."
    result = restore(lab)
    assert len(result.restored) == 12
    assert list(map(str, result.kept_in_state)) == ["firewall.web"]
    assert result.problems == []
    assert path.with_name("brevplan.db.damaged").read_bytes() == damaged
    assert is_whole(lab)
    assert len(lab.machines()) == 12


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE resources",
        "DROP TABLE steps",
        "DELETE FROM meta",
        "UPDATE resources SET attributes = '{' WHERE id = 3",
        "UPDATE resources SET address = 'x y' WHERE id = 3",
        "UPDATE meta SET value = 'x' WHERE key = 'epoch'",
        "UPDATE outputs SET value = 'x'",
    ],
)
def test_a_state_whose_rows_cannot_be_read_is_restored(tmp_path: Path, statement: str) -> None:
    lab = full_lab(tmp_path)
    with sqlite3.connect(tmp_path / "brevplan.db") as connection:
        connection.execute(statement)
    connection.close()
    assert len(restore(lab).restored) == 12
    assert is_whole(lab)


@pytest.mark.parametrize("seed", range(12))
def test_random_flips_are_noticed_and_mended_or_do_not_buy_anything(tmp_path: Path, seed: int) -> None:
    lab = full_lab(tmp_path)
    path = tmp_path / "brevplan.db"
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([8, 64, 512])):
        data[chance.randrange(100, len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    result = restore(lab)
    if path.with_name("brevplan.db.damaged").exists():
        assert len(result.restored) == 12
        assert is_whole(lab)
    else:
        assert not any(change.creates for change in lab.plan().effective)


def test_what_was_put_aside_before_is_not_written_over(tmp_path: Path) -> None:
    lab = full_lab(tmp_path)
    for content, name in ((b"first", "damaged"), (b"second", "damaged.2"), (b"third", "damaged.3")):
        (tmp_path / "brevplan.db").write_bytes(content)
        (tmp_path / "brevplan.db-wal").write_bytes(content + b" log")
        restore(lab)
        assert (tmp_path / f"brevplan.db.{name}").read_bytes() == content
        assert (tmp_path / f"brevplan.db.{name}-wal").read_bytes() == content + b" log"
    assert (tmp_path / "brevplan.db.damaged").read_bytes() == b"first"
    assert is_whole(lab)


def test_a_log_without_its_state_is_not_read_into_the_new_one(tmp_path: Path) -> None:
    lab = full_lab(tmp_path)
    (tmp_path / "brevplan.db").rename(tmp_path / "brevplan.db-wal")
    restore(lab)
    assert is_whole(lab)


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 99", "PRAGMA user_version = -2147483648"])
def test_a_state_of_a_later_version_is_left_alone(tmp_path: Path, statement: str) -> None:
    lab = full_lab(tmp_path)
    with sqlite3.connect(tmp_path / "brevplan.db") as connection:
        connection.execute(statement)
    connection.close()
    if "99" in statement:
        with pytest.raises(DiagnosticsError) as problem:
            restore(lab)
        assert summaries(problem) == ["State written by a newer version"]
        assert not (tmp_path / "brevplan.db.damaged").exists()
    else:
        restore(lab)
        assert is_whole(lab)


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    with sqlite3.connect(tmp_path / "brevplan.db") as connection:
        connection.execute("CREATE TABLE theirs(x)")
    connection.close()
    with pytest.raises(DiagnosticsError) as problem:
        restore(lab)
    assert "another program" in problem.value.diagnostics[0].detail
    assert not (tmp_path / "brevplan.db.damaged").exists()


def test_the_machine_of_an_intent_that_is_lost_with_the_state_is_found_by_its_mark(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(3))
    seen = []

    def choose(call: Call) -> Fault:
        if call.operation == "create_instance":
            # the state as a run leaves it that dies right now, with the launch on its way
            shutil.copy(tmp_path / "brevplan.db", tmp_path / "then.db")
            shutil.copy(tmp_path / "brevplan.db-wal", tmp_path / "then.db-wal")
            seen.append(call.target)
        return NO_FAULT

    lab.faults.choose = choose
    lab.apply()
    lab.faults.choose = lambda call: NO_FAULT
    (tmp_path / "then.db").rename(tmp_path / "brevplan.db")
    (tmp_path / "then.db-wal").rename(tmp_path / "brevplan.db-wal")
    store = lab.state()
    assert [intent.ref_id for intent in store.intents()][-1] == seen[-1]
    store.close()
    (tmp_path / "brevplan.db").write_bytes(b"nothing that can be read")
    result = restore(lab)
    assert len(result.restored) == 3
    assert is_whole(lab)


def test_open_intents_of_a_sound_state_are_bound_by_a_rebuild(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))

    def choose(call: Call) -> Fault:
        if call.operation == "create_instance":
            shutil.copy(tmp_path / "brevplan.db", tmp_path / "then.db")
            shutil.copy(tmp_path / "brevplan.db-wal", tmp_path / "then.db-wal")
        return NO_FAULT

    lab.faults.choose = choose
    lab.apply()
    lab.faults.choose = lambda call: NO_FAULT
    (tmp_path / "then.db").rename(tmp_path / "brevplan.db")
    (tmp_path / "then.db-wal").rename(tmp_path / "brevplan.db-wal")
    restore(lab)
    store = lab.state()
    assert store.intents() == []
    store.close()
    assert lab.recorded() == {"instance.m[0]": "i-00000001"}


def test_nothing_is_touched_when_no_account_can_be_looked_at(tmp_path: Path) -> None:
    lab = full_lab(tmp_path)
    path = tmp_path / "brevplan.db"
    path.write_bytes(b"damaged")
    lab.faults.choose = lambda call: (
        Fault(before=AuthFailed("wrong key")) if call.operation == "list_instances" else NO_FAULT
    )
    with pytest.raises(DiagnosticsError) as problem:
        restore(lab)
    assert summaries(problem) == ["Account cannot be looked at"]
    assert path.read_bytes() == b"damaged"


TWO = f"""
brevplan {{
  project          = "lab"
  default_provider = local
}}
provider "local" {{}}
provider "local" {{
  alias = "far"
  path  = "far.db"
}}
resource "instance" "near" {{
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{KEY}"
}}
resource "instance" "far" {{
  provider      = local.far
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = "{KEY}"
}}
"""


def test_machines_of_two_accounts_are_restored(tmp_path: Path) -> None:
    lab = Lab(tmp_path, TWO)
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    result = restore(lab)
    assert [(str(item.address), item.alias) for item in result.restored] == [
        ("instance.far", "local.far"), ("instance.near", "local"),
    ]  # fmt: skip
    assert not lab.plan().has_changes


def test_an_account_that_cannot_be_looked_at_gets_nothing_written_and_the_other_does(tmp_path: Path) -> None:
    lab = Lab(tmp_path, TWO)
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    calls: list[Call] = []

    def choose(call: Call) -> Fault:
        if call.operation != "list_instances":
            return NO_FAULT
        calls.append(call)
        return Fault(before=AuthFailed("wrong key")) if len(calls) == 1 else NO_FAULT

    lab.faults.choose = choose
    result = restore(lab)
    assert [str(item.address) for item in result.restored] == ["instance.far"]
    assert [item.summary for item in result.problems] == ["Account cannot be looked at"]
    store = lab.state()
    assert [record.alias for record in store.records()] == ["local.far"]
    assert list(store.accounts()) == ["local.far"]
    store.close()


def test_a_map_may_name_a_machine_at_an_address_whose_own_is_gone(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    cloud = lab.cloud()
    cloud.delete_machine(lab.recorded()["instance.m[0]"])
    cloud.close()
    lab.text = configuration(1)
    with pytest.raises(DiagnosticsError) as problem:
        restore(lab, "i-00000002=instance.m[0]")
    assert "recorded as instance.m[1]" in problem.value.diagnostics[0].detail
    with sqlite3.connect(tmp_path / "brevplan.db") as connection:
        connection.execute("DELETE FROM resources WHERE address = 'instance.m[1]'")
        reseal(connection)
    connection.close()
    restore(lab, "i-00000002=instance.m[0]")
    assert lab.recorded() == {"instance.m[0]": "i-00000002"}
    assert [machine.body.address for machine in lab.machines()] == ["instance.m[0]"]
    assert not lab.plan().has_changes
    (tmp_path / "brevplan.db").unlink()
    assert actions(lab.plan()) == {"instance.m[0]": "import"}


def test_a_doubled_machine_is_taken_in_beside_the_first(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    double(lab, "i-00000001")
    lab.text = configuration(2)
    take_in(lab, "instance.m[1]", "i-00000002")
    assert lab.recorded() == {"instance.m[0]": "i-00000001", "instance.m[1]": "i-00000002"}


def test_an_import_block_takes_a_double_in_beside_the_first(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    double(lab, "i-00000001")
    block = 'import {\n  to = instance.m[1]\n  id = "i-00000002"\n}\n'
    lab.text = configuration(2, rest=block)
    lab.apply()
    assert lab.recorded() == {"instance.m[0]": "i-00000001", "instance.m[1]": "i-00000002"}


def test_a_machine_that_an_import_block_names_is_not_adopted_by_its_mark_as_well(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    block = 'import {\n  to = instance.m[0]\n  id = "i-00000002"\n}\n'
    lab.text = configuration(2, rest=block)
    plan = lab.plan(Options(ignore_orphans=True))
    assert actions(plan) == {"instance.m[0]": "import", "instance.m[1]": "create"}


def test_an_imported_machine_need_not_stand_in_the_list_yet(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, provider='list_lag = "10m"\n  grace_window = "1s"'))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    done = take_in(lab, "instance.m[0]", "i-00000001")
    assert done.machine.cloud_id == "i-00000001"
    store = lab.state()
    assert [record.seen for record in store.records()] == [False]
    store.close()


def double(lab: Lab, cloud_id: str) -> None:
    """Let a second machine bear the marks of the first."""
    machine = next(item for item in lab.machines() if item.body.cloud_id == cloud_id)
    cloud = lab.cloud()
    with cloud.write():
        number = cloud.next_number("machine")
        body = msgspec.structs.replace(machine.body, cloud_id=cloud_id_of(number))
        cloud.add(msgspec.structs.replace(machine, number=number, body=body))
    cloud.close()


@pytest.mark.parametrize("write", [lambda lab: restore(lab), lambda lab: take_in(lab, "instance.m[0]", "i-00000001")])
def test_who_writes_without_a_plan_takes_the_lock_and_raises_the_epoch(
    tmp_path: Path, write: Callable[[Lab], object]
) -> None:
    lab = Lab(tmp_path, configuration(1))
    lab.apply()
    with sqlite3.connect(tmp_path / "brevplan.db") as connection:
        connection.execute("DELETE FROM resources")
        reseal(connection)
    connection.close()
    older = lab.state()
    older.epoch = older.meta().epoch
    holder = Holder("0123", "ann", "box", 1, "apply", "2026-01-01T00:00:00Z")
    lock = try_lock(tmp_path / "brevplan.db", holder)
    assert isinstance(lock, Lock)
    with pytest.raises(DiagnosticsError) as problem:
        write(lab)
    assert "ann@box" in problem.value.diagnostics[0].detail
    lock.release()
    write(lab)
    assert lab.recorded() == {"instance.m[0]": "i-00000001"}
    with pytest.raises(StateLost):
        older.transact([])
    assert [run.outcome for run in older.runs()] == ["done", "done"]
    older.close()


@pytest.mark.parametrize("write", [lambda lab: restore(lab), lambda lab: take_in(lab, "instance.m[0]", "i-00000001")])
def test_the_cloud_is_only_read(tmp_path: Path, write: Callable[[Lab], object]) -> None:
    lab = Lab(tmp_path, configuration(2))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    lab.faults.calls.clear()
    write(lab)
    assert {call.operation for call in lab.faults.calls if call.changes} == set()
    assert lab.faults.count("list_instances") == 1


def test_a_refused_import_leaves_no_state_behind(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1))
    with pytest.raises(DiagnosticsError) as problem:
        take_in(lab, "instance.m[0]", "i-00000001")
    assert summaries(problem) == ["Import is not possible"]
    assert not (tmp_path / "brevplan.db").exists()


def test_secrets_are_digested_under_the_salt_of_the_new_state(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(1, body='user_data = sensitive("password=hunter2")'))
    lab.apply()
    (tmp_path / "brevplan.db").unlink()
    restore(lab)
    assert not lab.plan().has_changes
    assert b"hunter2" not in (tmp_path / "brevplan.db").read_bytes()
    lab.text = configuration(1, body='user_data = sensitive("password=hunter3")')
    assert lab.plan().effective or lab.plan().changes[0].notes
