"""The simulated cloud's form of Lambda's API: what our own client never asks for, and the same over a real socket."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from brevplan.contract.client import Connection
from brevplan.contract.model import RefId
from brevplan.operations.world import SystemClock
from brevplan.providers.lambda_cloud import connect
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.face import Request
from brevplan.simcloud.faces.lambda_cloud import face
from brevplan.simcloud.faces.server import Server
from tests.providers.lambda_bench import (
    API_KEY,
    LAMBDA,
    REF,
    CountingPacer,
    LambdaBench,
    attrs,
    violations,
)
from tests.providers.spec import spec_file
from tests.world import KEY

LAUNCH = "instance-operations/launch"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LambdaBench]:
    found = LambdaBench(tmp_path)
    yield found
    found.cloud.close()
    assert violations(found.transport.inner) == []


def code(answer: Any) -> str:
    return str(answer["error"]["code"])


def test_every_call_that_the_api_describes_is_there(bench: LambdaBench) -> None:
    described = json.loads(spec_file("lambda.openapi.json").read_text())["paths"]
    calls = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, operations in described.items()
        for method in operations
        if method in ("get", "post", "put", "patch", "delete")
    }
    assert {(route.method, route.path) for route in bench.face.routes} == calls - {("GET", "/audit-events")}


@pytest.mark.parametrize("given", [f"Bearer {API_KEY}", f"Basic {b64encode(f'{API_KEY}:'.encode()).decode()}"])
def test_both_ways_to_give_the_key(bench: LambdaBench, given: str) -> None:
    assert bench.face.admits(Request(headers={"authorization": given}))


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"authorization": "Bearer x"}, {"x-api-key": API_KEY}])
def test_who_has_no_key_is_not_let_in(bench: LambdaBench, headers: dict[str, str]) -> None:
    assert not bench.face.admits(Request(headers=headers))


def test_the_rules_of_the_account_have_two_doors(bench: LambdaBench) -> None:
    (ssh,) = bench.ask("GET", "firewall-rules")["data"]
    assert ssh["port_range"] == [22, 22]
    rule = {"protocol": "udp", "port_range": [51820, 51820], "source_network": "192.0.2.1", "description": ""}
    bench.ask("PUT", "firewall-rules", {"data": [rule]})
    assert bench.ask("GET", "firewall-rulesets/global")["data"]["rules"] == [{**rule, "source_network": "192.0.2.1/32"}]
    assert bench.ask("PATCH", "firewall-rulesets/global", {"rules": []})["data"]["rules"] == []
    assert bench.ask("GET", "firewall-rules")["data"] == []


@pytest.mark.parametrize(
    "change",
    [{"protocol": "icmp"}, {"protocol": "sctp"}, {"port_range": [2, 1]}, {"port_range": [0, 1]}, {"port_range": [1]},
     {"port_range": None}, {"source_network": "2001:db8::/32"}, {"description": "d" * 129}],
)  # fmt: skip
def test_a_rule_that_the_api_does_not_take(tmp_path: Path, change: dict[str, object]) -> None:
    rule = {"protocol": "tcp", "port_range": [1, 2], "source_network": "192.0.2.0/24", "description": "", **change}
    # not held against the description: the request is wrong on purpose
    answer = LambdaBench(tmp_path).ask(
        "POST", "firewall-rulesets", {"name": "a", "region": "us-west-1", "rules": [rule]}
    )
    assert code(answer) == "global/invalid-parameters"


def test_file_systems_are_made_used_and_deleted(bench: LambdaBench) -> None:
    made = bench.ask("POST", "filesystems", {"name": "data", "region": "us-west-1"})["data"]
    assert code(bench.ask("POST", "filesystems", {"name": "data", "region": "us-west-1"})) == "global/duplicate"
    machine = bench.create(filesystems=(made["id"],))
    assert bench.ask("GET", "file-systems")["data"][0]["is_in_use"] is True
    assert code(bench.ask("DELETE", f"filesystems/{made['id']}")) == "filesystems/filesystem-in-use"
    asyncio.run(bench.client.terminate_instance(machine.cloud_id))
    assert bench.ask("DELETE", f"filesystems/{made['id']}")["data"] == {"deleted_ids": [made["id"]]}
    assert code(bench.ask("DELETE", f"filesystems/{made['id']}")) == "global/object-does-not-exist"


def launch(**fields: object) -> dict[str, object]:
    return {
        "region_name": "us-west-1", "instance_type_name": "gpu_1x_a10", "ssh_key_names": ["ann"],
        "name": "a box", **fields,
    }  # fmt: skip


def test_a_launch_of_somebody_else(bench: LambdaBench) -> None:
    bench.ask("POST", "ssh-keys", {"name": "ann", "public_key": KEY})
    disk = bench.ask("POST", "filesystems", {"name": "data", "region": "us-west-1"})["data"]["id"]
    mount = {"mount_point": "/home/ubuntu/data", "file_system_id": disk}
    answer = bench.ask("POST", LAUNCH, launch(file_system_mounts=[mount]))
    (cloud_id,) = answer["data"]["instance_ids"]
    shown = bench.ask("GET", f"instances/{cloud_id}")["data"]
    assert (shown["name"], shown["ssh_key_names"], shown["file_system_mounts"]) == ("a box", ["ann"], [mount])
    assert bench.only().ref_id == ""


def test_what_a_launch_is_refused_for(bench: LambdaBench) -> None:
    bench.ask("POST", "ssh-keys", {"name": "ann", "public_key": KEY})
    disk = bench.ask("POST", "filesystems", {"name": "data", "region": "us-east-1"})["data"]["id"]
    rules = {"name": "r", "region": "us-east-1", "rules": []}
    ruleset = bench.ask("POST", "firewall-rulesets", rules)["data"]["id"]
    refused = {
        "global/invalid-parameters": [
            launch(ssh_key_names=["ann", "ann"]), launch(ssh_key_names=[]),
            launch(firewall_rulesets=[{"id": ruleset}]),
        ],
        "global/object-does-not-exist": [
            launch(ssh_key_names=["bob"]), launch(instance_type_name="gpu_9x"), launch(image={"family": "nope"}),
            launch(file_system_names=["nope"]), launch(firewall_rulesets=[{"id": "nope"}]),
        ],
        "instance-operations/launch/file-system-in-wrong-region": [
            launch(file_system_names=["data"]),
            launch(file_system_mounts=[{"mount_point": "/data", "file_system_id": disk}]),
        ],
        "instance-operations/launch/insufficient-capacity": [
            launch(region_name="us-south-1"), launch(instance_type_name="gpu_8x_b200_sxm6"),
        ],
    }  # fmt: skip
    assert {name: {code(bench.ask("POST", LAUNCH, body)) for body in bodies} for name, bodies in refused.items()} == {
        name: {name} for name in refused
    }
    assert bench.cloud.store.machines() == []


def test_an_unknown_path_and_unknown_objects(bench: LambdaBench) -> None:
    assert code(bench.ask("GET", "firewall-rulesets/nope")) == "global/object-does-not-exist"
    assert code(bench.ask("PATCH", "firewall-rulesets/nope", {"rules": []})) == "global/object-does-not-exist"
    assert code(bench.ask("DELETE", "firewall-rulesets/nope")) == "global/object-does-not-exist"
    assert code(bench.ask("DELETE", "ssh-keys/nope")) == "global/invalid-parameters"
    assert bench.face.no_such_path().status == 404


def test_a_machine_that_is_reached_elsewhere_shows_that_address(tmp_path: Path) -> None:
    bench = LambdaBench(tmp_path)
    made = bench.create()
    elsewhere = face(bench.cloud, API_KEY, address_of=lambda cloud_id: ("127.0.0.1", 2222))
    nowhere = face(bench.cloud, API_KEY, address_of=lambda cloud_id: None)
    (get,) = [route.handler for route in elsewhere.routes if route.operation == "get_instance"]
    (usual,) = [route.handler for route in nowhere.routes if route.operation == "get_instance"]
    request = Request(parts={"id": made.cloud_id})
    assert get(request).body["data"]["ip"] == "127.0.0.1"
    assert usual(request).body["data"]["ip"] == bench.only().public_ip


def test_a_life_over_a_real_socket(tmp_path: Path) -> None:
    cloud = SimCloud(tmp_path / "lambda.db", SystemClock(), LAMBDA)

    async def whole() -> None:
        server = Server([face(cloud, API_KEY)], SystemClock())
        port = await server.start()
        settings = {"api_key": API_KEY, "endpoint": f"http://127.0.0.1:{port}/lambda/api/v1"}
        client = connect(Connection(settings, {}, ".", CountingPacer(), SystemClock()))
        try:
            made = await client.create_instance(attrs())
            (found,) = await client.list_instances()
            assert (found.cloud_id, found.ref_id) == (made.cloud_id, REF)
            await client.terminate_instance(made.cloud_id)
            await client.release(RefId(REF))
            assert await client.list_instances() == []
            assert await client.side_objects() == []
            async with httpx.AsyncClient(base_url=settings["endpoint"]) as http:
                refused = await http.get("/nowhere", headers={"Authorization": f"Bearer {API_KEY}"})
                assert refused.status_code == 404
        finally:
            await client.aclose()
            await server.stop()

    asyncio.run(asyncio.wait_for(whole(), 30))
    cloud.close()
