"""The face of Nebius: its gRPC services over the simulated cloud, one project for each region.

The catalogue is the simulated cloud's: `gpu_1x_h100_sxm5` is the preset of one GPU on the platform `gpu-h100-sxm5`. A
machine is kept under its name as ref_id, its labels as tags, and what it was asked for as it came. Nothing is kept in
memory: a server can be ended and started again.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import jwt
from nebius.api.nebius.billing import v1alpha1 as billing
from nebius.api.nebius.capacity import v1 as capacity
from nebius.api.nebius.common import v1 as common
from nebius.api.nebius.compute import v1 as compute
from nebius.api.nebius.iam import v1 as iam
from nebius.api.nebius.iam import v2 as projects
from nebius.api.nebius.quotas import v1 as quotas
from nebius.api.nebius.vpc import v1 as vpc

from brevplan.contract.errors import (
    AuthFailed,
    NotFound,
    NotReady,
    OutOfQuota,
    Rejected,
)
from brevplan.contract.model import (
    CreateInstanceAttrs,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    RefId,
)
from brevplan.simcloud import catalogue
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faults import NO_FAULT, Fault
from brevplan.simcloud.model import Machine, cloud_id_of, number_of

TENANT: Final = "tenant-e00simulated"
REGISTRY: Final = common.REGISTRY

DISKS: Final = "nebius disk"
"""The kinds of the objects that stand beside machines."""
GROUPS: Final = "nebius security group"
RULES: Final = "nebius security rule"
OPERATIONS: Final = "nebius operation"
"""Those that have failed, by their ids; of all others the machine says how far they are."""

FAMILIES: Final = ("ubuntu24.04-cuda13.0", "ubuntu24.04-driverless")

_OPERATION_OF: Final = "operation-of-"
_INSTANCE_ID: Final = re.compile(r"computeinstance-e00(\d{8})\Z")
_GIB: Final = 2**30
_ROOM: Final = 1_000_000
"""What a quota allows that nobody has set."""

_STATE: Final = {
    LifecycleStatus.PENDING: compute.InstanceStatus__InstanceState.CREATING,
    LifecycleStatus.RUNNING: compute.InstanceStatus__InstanceState.RUNNING,
    LifecycleStatus.STOPPING: compute.InstanceStatus__InstanceState.STOPPING,
    LifecycleStatus.STOPPED: compute.InstanceStatus__InstanceState.STOPPED,
    LifecycleStatus.FAILED: compute.InstanceStatus__InstanceState.ERROR,
    LifecycleStatus.TERMINATING: compute.InstanceStatus__InstanceState.DELETING,
}

AddressOf = Callable[[str], tuple[str, int] | None]
"""Where a machine of this cloud id really listens for SSH; None where it is as the model says."""


class Taken(Rejected):
    """A name is not free."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a handler sees it. `fault` holds the fate of a machine that a launch makes."""

    message: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault = NO_FAULT


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service. `operation` is the contract's word for it, by which faults are chosen."""

    client: Any
    name: str
    operation: str
    handler: Callable[[Asked], Any]
    changes: bool = False


class NebiusFace:
    """`public_key` is the PEM that the service account's tokens are checked with.

    `limit` is how many machines the tenant may have, `quota` what it may have of a quota, by its name. `slow_groups`
    is how many calls find a new security group not ready yet, and makes its end an operation that is not over.
    `fails_in_operations` answers a refused change with an operation that has failed; with `fails_later` a refused
    launch or start is answered with one that is under way, and has failed when it is asked for.
    """

    name = "nebius"

    def __init__(
        self,
        cloud: SimCloud,
        public_key: str,
        *,
        limit: int | None = None,
        quota: Mapping[str, int | None] | None = None,
        slow_groups: int = 0,
        fails_in_operations: bool = False,
        fails_later: bool = False,
        page: int = 100,
        address_of: AddressOf = lambda cloud_id: None,
    ) -> None:
        self.cloud = cloud
        self._key, self._limit, self._quota, self._slow = public_key, limit, dict(quota or {}), slow_groups
        self.fails_in_operations, self._fails_later = fails_in_operations, fails_later
        self._page, self._address_of = page, address_of
        self.token = f"ne1-{sha256(public_key.encode()).hexdigest()}"
        self.methods: Sequence[Method] = tuple(self._methods())

    def _methods(self) -> Iterable[Method]:
        yield Method(iam.TokenExchangeServiceClient, "Exchange", "exchange_token", self.exchange)
        yield Method(projects.ProjectServiceClient, "List", "list_projects", self.projects)
        yield Method(projects.ProjectServiceClient, "Get", "get_project", self.project)
        yield Method(quotas.QuotaAllowanceServiceClient, "List", "list_quotas", self.quotas)
        yield Method(capacity.ResourceAdviceServiceClient, "List", "list_advice", self.advice)
        yield Method(billing.CalculatorServiceClient, "Estimate", "estimate", self.estimate)
        yield Method(compute.PlatformServiceClient, "List", "get_instance_types", self.platforms)
        yield Method(compute.ImageServiceClient, "ListPublic", "get_images", self.public_images)
        yield Method(compute.ImageServiceClient, "List", "get_images", self.own_images)
        instances = compute.InstanceServiceClient
        yield Method(instances, "List", "list_instances", self.list)
        yield Method(instances, "Get", "get_instance", self.get)
        yield Method(instances, "GetByName", "get_instance_by_name", self.get_by_name)
        yield Method(instances, "Create", "create_instance", self.create, True)
        yield Method(instances, "Update", "update_instance", self.update, True)
        yield Method(instances, "Delete", "terminate_instance", self.delete, True)
        yield Method(instances, "Stop", "stop_instance", self.stop, True)
        yield Method(instances, "Start", "start_instance", self.start, True)
        yield Method(common.OperationServiceClient, "Get", "get_operation", self.operation)
        disks = compute.DiskServiceClient
        yield Method(disks, "List", "list_disks", self.disks)
        yield Method(disks, "Get", "get_disk", self.disk)
        yield Method(disks, "GetByName", "get_disk", self.disk_by_name)
        yield Method(disks, "Create", "create_disk", self.create_disk, True)
        yield Method(disks, "Update", "update_disk", self.update_disk, True)
        yield Method(disks, "Delete", "delete_disk", self.delete_disk, True)
        yield Method(vpc.SubnetServiceClient, "List", "list_subnets", self.subnets)
        yield Method(vpc.SubnetServiceClient, "Get", "get_subnet", self.subnet)
        groups = vpc.SecurityGroupServiceClient
        yield Method(groups, "List", "list_security_groups", self.groups)
        yield Method(groups, "Get", "get_security_group", self.group)
        yield Method(groups, "GetByName", "get_security_group", self.group_by_name)
        yield Method(groups, "Create", "add_security_group", self.create_group, True)
        yield Method(groups, "Delete", "delete_security_group", self.delete_group, True)
        rules = vpc.SecurityRuleServiceClient
        yield Method(rules, "List", "list_security_rules", self.rules)
        yield Method(rules, "Create", "add_security_rule", self.create_rule, True)
        yield Method(rules, "Delete", "delete_security_rule", self.delete_rule, True)

    # The door

    def admits(self, asked: Asked, operation: str) -> bool:
        return operation == "exchange_token" or asked.headers.get("authorization") == f"Bearer {self.token}"

    def exchange(self, asked: Asked) -> Any:
        try:
            jwt.decode(
                asked.message.subject_token, self._key, algorithms=["RS256"],
                audience="token-service.iam.new.nebiuscloud.net",
            )  # fmt: skip
        except jwt.InvalidTokenError:
            raise AuthFailed("the service account's key is not known") from None
        return iam.CreateTokenResponse(access_token=self.token, token_type="Bearer", expires_in=43200)

    # The account

    def projects(self, asked: Asked) -> Any:
        if asked.message.parent_id != TENANT:
            raise NotFound(f'tenant "{asked.message.parent_id}" is not found')
        items, token = self._paged([_project(place.name) for place in catalogue.LOCATIONS], asked)
        return projects.ListProjectsResponse(items=items, next_page_token=token)

    def project(self, asked: Asked) -> Any:
        return _project(_region(asked.message.id))

    def quotas(self, asked: Asked) -> Any:
        taken: dict[tuple[str, str], int] = {}
        for machine in self.cloud.present():
            offer = catalogue.find_offer(machine.body.instance_type, machine.body.location)
            for name, need in _needs(offer):
                taken[offer.location, name] = taken.get((offer.location, name), 0) + need
        names = sorted({(offer.location, name) for offer in catalogue.offers() for name, _ in _needs(offer)})
        found = [
            quotas.QuotaAllowance(
                metadata=common.ResourceMetadata(id=f"quota-{number}", parent_id=TENANT, name=name),
                spec=quotas.QuotaAllowanceSpec(limit=self._quota.get(name, _ROOM * _GIB), region=region),
                status=quotas.QuotaAllowanceStatus(
                    state=quotas.QuotaAllowanceStatus__State.STATE_ACTIVE, usage=taken.get((region, name), 0)
                ),
            )
            for number, (region, name) in enumerate(names)
        ]
        items, token = self._paged(found, asked)
        return quotas.ListQuotaAllowancesResponse(items=items, next_page_token=token)

    def advice(self, asked: Asked) -> Any:
        found = []
        for offer in self.cloud.types(InstanceTypeFilter()):
            platform, preset = platform_of(offer)
            state = capacity.ResourceAdviceStatus__Availability__DataState.DATA_STATE_FRESH
            left = capacity.ResourceAdviceStatus__Availability(data_state=state, available=offer.stock or 0)
            details = capacity.ComputeInstanceDetails(
                platform=platform, preset=capacity.ComputeInstanceDetails__Preset(name=preset)
            )
            spec = capacity.ResourceAdviceSpec(region=offer.location, compute_instance=details)
            found.append(capacity.ResourceAdvice(spec=spec, status=capacity.ResourceAdviceStatus(on_demand=left)))
        items, token = self._paged(found, asked)
        return capacity.ListResourceAdviceResponse(items=items, next_page_token=token)

    def estimate(self, asked: Asked) -> Any:
        wanted = asked.message.resource_spec.compute_instance_spec
        offer = _offer(wanted.spec.resources, _region(wanted.metadata.parent_id))
        amount = str(offer.base_price.amount) if offer.base_price else ""
        total = billing.GeneralTotalCost(total=billing.CostBreakdown(cost=amount))
        return billing.EstimateResponse(hourly_cost=billing.ResourceGroupCost(general=total))

    def platforms(self, asked: Asked) -> Any:
        region = _region(asked.message.parent_id)
        by_name: dict[str, list[InstanceType]] = {}
        for offer in catalogue.offers():
            if offer.location == region:
                by_name.setdefault(platform_of(offer)[0], []).append(offer)
        items, token = self._paged([_platform(name, offers) for name, offers in by_name.items()], asked)
        return compute.ListPlatformsResponse(items=items, next_page_token=token)

    def public_images(self, asked: Asked) -> Any:
        items, token = self._paged(_images(), asked)
        return compute.ListImagesResponse(items=items, next_page_token=token)

    def own_images(self, asked: Asked) -> Any:
        _region(asked.message.parent_id)
        return compute.ListImagesResponse(items=[])

    # Machines

    def list(self, asked: Asked) -> Any:
        region = _region(asked.message.parent_id)
        machines = self.cloud.instances(InstanceFilter(locations=(region,)), asked.fault)
        items, token = self._paged([self._shown(machine) for machine in machines], asked)
        return compute.ListInstancesResponse(items=items, next_page_token=token)

    def get(self, asked: Asked) -> Any:
        return self._shown(self.cloud.get(_cloud_id(asked.message.id)))

    def get_by_name(self, asked: Asked) -> Any:
        region, name = _region(asked.message.parent_id), asked.message.name
        for machine in self.cloud.present():
            if machine.ref_id == name and machine.body.location == region:
                return self._shown(self.cloud.get(machine.body.cloud_id))
        raise NotFound(f'instance "{name}" is not found')

    def create(self, asked: Asked) -> Any:
        metadata, spec = asked.message.metadata, asked.message.spec
        key = asked.headers.get("x-idempotency-key", "")
        region = _region(metadata.parent_id)
        offer = _offer(spec.resources, region)
        known = self._made(metadata.name)
        if known is not None and known.body.options["key"] != key and known.gone_at is None:
            raise Taken(f'instance "{metadata.name}" exists')
        if known is None:
            self._check_launch(spec, region)
        attrs = CreateInstanceAttrs(
            ref_id=RefId(metadata.name),
            cloud_cred_ref_id="",
            instance_type=offer.type,
            location=region,
            public_key=_authorized_key(spec.cloud_init_user_data),
            name=metadata.name,
            user_data=spec.cloud_init_user_data,
            tags=dict(metadata.labels),
            spot=spec.check_presence("preemptible"),
            options={"key": key, "spec": b64encode(spec.SerializeToString()).decode()},
        )
        made = instance_id(self.cloud.create(attrs, asked.fault).cloud_id)
        return common.Operation(id=f"{_OPERATION_OF}{made}", resource_id=made)

    def _made(self, name: str) -> Machine | None:
        with self.cloud.store.read():
            return self.cloud.store.by_ref_id(name)

    def _check_launch(self, spec: compute.InstanceSpec, region: str) -> None:
        if self._limit is not None and len(self.cloud.present()) >= self._limit:
            raise OutOfQuota(f"quota of {self._limit} instances is exceeded")
        for interface in spec.network_interfaces:
            _region_of_subnet(interface.subnet_id)
            for group in interface.security_groups:
                self._object(GROUPS, group.id)
        boot = spec.boot_disk
        if boot.managed_disk is not None:
            _check_image(boot.managed_disk.spec)
        elif boot.existing_disk is not None:
            self._object(DISKS, boot.existing_disk.id)
        else:
            raise Rejected("a boot disk is needed")

    def update(self, asked: Asked) -> Any:
        metadata, spec = asked.message.metadata, asked.message.spec
        if "x-resetmask" not in asked.headers:
            raise Rejected("an update without x-resetmask")
        cloud_id = _cloud_id(metadata.id)
        machine = self.cloud.get(cloud_id)
        now = _spec(machine)
        if now.network_interfaces[0].subnet_id != spec.network_interfaces[0].subnet_id:
            raise Rejected("a network interface cannot be changed")
        old, new = now.boot_disk.managed_disk, spec.boot_disk.managed_disk
        if old is not None and new is not None and (new.spec.size_gibibytes or 0) < (old.spec.size_gibibytes or 0):
            raise Rejected("a disk cannot shrink")
        self.cloud.set_tags(cloud_id, dict(metadata.labels))
        self.cloud.set_options(cloud_id, {**machine.options, "spec": b64encode(spec.SerializeToString()).decode()})
        return _done(metadata.id)

    def delete(self, asked: Asked) -> Any:
        cloud_id = _cloud_id(asked.message.id)
        machine = self.cloud.get(cloud_id)  # unlike others, this API does not take an unknown id for a success
        if machine.status is LifecycleStatus.TERMINATING:
            raise NotReady("the instance is being deleted")
        self.cloud.terminate(cloud_id)
        return _done(asked.message.id)

    def stop(self, asked: Asked) -> Any:
        cloud_id = _cloud_id(asked.message.id)
        if self.cloud.get(cloud_id).status is not LifecycleStatus.RUNNING:
            raise NotReady("the instance is not running")
        self.cloud.stop(cloud_id)
        return _done(asked.message.id)

    def start(self, asked: Asked) -> Any:
        cloud_id = _cloud_id(asked.message.id)
        if self.cloud.get(cloud_id).status is not LifecycleStatus.STOPPED:
            raise NotReady("the instance is not stopped")
        self.cloud.start(cloud_id)
        return _done(asked.message.id)

    # Operations

    def fails_later(self, method: Method) -> bool:
        return self._fails_later and method.operation in ("create_instance", "start_instance")

    def failing(self, asked: Asked, status: bytes) -> Any:
        """Keep how a launch or a start ends, and answer that it is under way."""
        with self.cloud.store.write():
            number = self.cloud.store.next_number(OPERATIONS)
            # a launch that fails has an id too, under which there is never a machine
            resource = getattr(asked.message, "id", "") or f"computeinstance-e00failed{number:06d}"
            body = {"resource": resource, "status": b64encode(status).decode()}
            self.cloud.store.put_object(OPERATIONS, f"operation-e00{number:06d}", body)
        return common.Operation(id=f"operation-e00{number:06d}", resource_id=resource)

    def operation(self, asked: Asked) -> Any:
        operation_id = asked.message.id
        if operation_id.startswith(_OPERATION_OF):
            return self._launch_of(operation_id.removeprefix(_OPERATION_OF))
        body = self._object(OPERATIONS, operation_id)
        status = REGISTRY.message_class("google.rpc.Status").FromString(b64decode(body["status"]))
        return common.Operation(id=operation_id, resource_id=body["resource"], status=status)

    def _launch_of(self, resource: str) -> Any:
        """Tell how far a launch is: its machine is pending, has failed for want of room, or is there."""
        if not resource.startswith("computeinstance-"):
            return _done(resource)
        machine = self.cloud.get(_cloud_id(resource))
        if machine.status is LifecycleStatus.PENDING:
            return common.Operation(id=f"{_OPERATION_OF}{resource}", resource_id=resource)
        if machine.status is LifecycleStatus.FAILED:
            # 8: RESOURCE_EXHAUSTED, and no detail that says more
            words = f"no room was found for {machine.name}"
            status = REGISTRY.message_class("google.rpc.Status")(code=8, message=words)
            return common.Operation(id=f"{_OPERATION_OF}{resource}", resource_id=resource, status=status)
        return _done(resource)

    def _shown(self, machine: Instance) -> compute.Instance:
        interfaces = []
        public, private = self._addresses(machine)
        if public:
            interfaces = [
                compute.NetworkInterfaceStatus(
                    name="eth0",
                    ip_address=compute.IPAddressStatus(address=f"{private}/32"),
                    public_ip_address=compute.PublicIPAddressStatus(address=f"{public}/32"),
                )
            ]
        spec = _spec(machine)
        spec.stopped = machine.status in (LifecycleStatus.STOPPED, LifecycleStatus.STOPPING)
        return compute.Instance(
            metadata=common.ResourceMetadata(
                id=instance_id(machine.cloud_id), parent_id=project_id(machine.location), name=machine.name,
                labels=machine.tags, created_at=machine.created_at, resource_version=1,
            ),
            spec=spec,
            status=compute.InstanceStatus(state=_STATE[machine.status], network_interfaces=interfaces),
        )  # fmt: skip

    def _addresses(self, machine: Instance) -> tuple[str, str]:
        """Give where a machine is reached; there are no addresses before it has its place."""
        if machine.status is LifecycleStatus.PENDING:
            return "", ""
        found = self._address_of(machine.cloud_id)
        return found[0] if found else machine.public_ip, machine.private_ip

    # Disks: those of machines come and go with them, others are objects

    def disks(self, asked: Asked) -> Any:
        items, token = self._paged(self._disks_in(_region(asked.message.parent_id)), asked)
        return compute.ListDisksResponse(items=items, next_page_token=token)

    def disk(self, asked: Asked) -> Any:
        for place in catalogue.LOCATIONS:
            for disk in self._disks_in(place.name):
                if disk.metadata.id == asked.message.id:
                    return disk
        raise NotFound(f'disk "{asked.message.id}" is not found')

    def disk_by_name(self, asked: Asked) -> Any:
        for disk in self._disks_in(_region(asked.message.parent_id)):
            if disk.metadata.name == asked.message.name:
                return disk
        raise NotFound(f'disk "{asked.message.name}" is not found')

    def create_disk(self, asked: Asked) -> Any:
        _region(asked.message.metadata.parent_id)
        _check_image(asked.message.spec)
        return self._keep(DISKS, "computedisk", asked.message)

    def update_disk(self, asked: Asked) -> Any:
        disk_id = asked.message.metadata.id
        self._object(DISKS, disk_id)
        self._put(DISKS, disk_id, asked.message)
        return _done(disk_id)

    def delete_disk(self, asked: Asked) -> Any:
        disk_id = asked.message.id
        if any(_boot_id(machine) == disk_id for machine in self.cloud.present()):
            raise NotReady(f'disk "{disk_id}" is attached')
        self._drop(DISKS, disk_id)
        return _done(disk_id)

    def _disks_in(self, region: str) -> Sequence[compute.Disk]:
        with self.cloud.store.read():
            kept = self.cloud.store.objects(DISKS)
        own = [_read(compute.CreateDiskRequest, body) for body in kept.values()]
        found = [
            compute.Disk(metadata=one.metadata, spec=one.spec)
            for one in own
            if one.metadata.parent_id == project_id(region)
        ]
        for machine in self.cloud.present():
            managed = _spec(machine.body).boot_disk.managed_disk
            if managed is not None and machine.body.location == region:
                metadata = common.ResourceMetadata(
                    id=_boot_id(machine), parent_id=project_id(region), name=managed.name, labels=dict(managed.labels)
                )
                status = compute.DiskStatus(managed_by=instance_id(machine.body.cloud_id))
                found.append(compute.Disk(metadata=metadata, spec=managed.spec, status=status))
        return found

    # Networks and security groups

    def subnets(self, asked: Asked) -> Any:
        return vpc.ListSubnetsResponse(items=[_subnet(_region(asked.message.parent_id))])

    def subnet(self, asked: Asked) -> Any:
        return _subnet(_region_of_subnet(asked.message.id))

    def groups(self, asked: Asked) -> Any:
        region = _region(asked.message.parent_id)
        items, token = self._paged(self._groups_in(region), asked)
        return vpc.ListSecurityGroupsResponse(items=items, next_page_token=token)

    def group(self, asked: Asked) -> Any:
        return _group(_read(vpc.CreateSecurityGroupRequest, self._object(GROUPS, asked.message.id)))

    def group_by_name(self, asked: Asked) -> Any:
        for group in self._groups_in(_region(asked.message.parent_id)):
            if group.metadata.name == asked.message.name:
                return group
        raise NotFound(f'security group "{asked.message.name}" is not found')

    def create_group(self, asked: Asked) -> Any:
        region = _region(asked.message.metadata.parent_id)
        if any(group.metadata.name == asked.message.metadata.name for group in self._groups_in(region)):
            raise Taken(f'security group "{asked.message.metadata.name}" exists')
        return self._keep(GROUPS, "vpcsecuritygroup", asked.message, done=not self._slow)

    def delete_group(self, asked: Asked) -> Any:
        group_id = asked.message.id
        for machine in self.cloud.present():
            spec = _spec(machine.body)
            if any(group_id == one.id for interface in spec.network_interfaces for one in interface.security_groups):
                raise NotReady(f'security group "{group_id}" is in use')
        self._drop(GROUPS, group_id)
        with self.cloud.store.write():
            for rule_id, body in self.cloud.store.objects(RULES).items():
                if body["parent"] == group_id:
                    self.cloud.store.drop_object(RULES, rule_id)
        return common.Operation(id="op", resource_id=group_id) if self._slow else _done(group_id)

    def rules(self, asked: Asked) -> Any:
        items, token = self._paged(self._rules_of(asked.message.parent_id), asked)
        return vpc.ListSecurityRulesResponse(items=items, next_page_token=token)

    def create_rule(self, asked: Asked) -> Any:
        metadata, spec = asked.message.metadata, asked.message.spec
        self._object(GROUPS, metadata.parent_id)
        with self.cloud.store.write():
            calls = self.cloud.store.next_number(f"calls of {metadata.parent_id}")
        if calls <= self._slow:
            raise NotReady("the security group is not ready")
        _check_rule(spec)
        if any(rule.metadata.name == metadata.name for rule in self._rules_of(metadata.parent_id)):
            raise Taken(f'security rule "{metadata.name}" exists')
        return self._keep(RULES, "vpcsecurityrule", asked.message)

    def delete_rule(self, asked: Asked) -> Any:
        self._drop(RULES, asked.message.id)
        return _done(asked.message.id)

    def _groups_in(self, region: str) -> Sequence[vpc.SecurityGroup]:
        with self.cloud.store.read():
            kept = self.cloud.store.objects(GROUPS)
        found = [_group(_read(vpc.CreateSecurityGroupRequest, body)) for body in kept.values()]
        return [group for group in found if group.metadata.parent_id == project_id(region)]

    def _rules_of(self, group_id: str) -> Sequence[vpc.SecurityRule]:
        with self.cloud.store.read():
            kept = self.cloud.store.objects(RULES)
        found = [_read(vpc.CreateSecurityRuleRequest, body) for body in kept.values() if body["parent"] == group_id]
        return [vpc.SecurityRule(metadata=one.metadata, spec=one.spec) for one in found]

    # Objects

    def _keep(self, kind: str, prefix: str, message: Any, *, done: bool = True) -> Any:
        with self.cloud.store.write():
            message.metadata.id = f"{prefix}-e00{self.cloud.store.next_number(kind):06d}"
        self._put(kind, message.metadata.id, message)
        return _done(message.metadata.id) if done else common.Operation(id="op", resource_id=message.metadata.id)

    def _put(self, kind: str, id_: str, message: Any) -> None:
        body = {"parent": message.metadata.parent_id, "bytes": b64encode(message.SerializeToString()).decode()}
        with self.cloud.store.write():
            self.cloud.store.put_object(kind, id_, body)

    def _object(self, kind: str, id_: str) -> dict[str, Any]:
        with self.cloud.store.read():
            found = self.cloud.store.objects(kind).get(id_)
        if found is None:
            raise NotFound(f'{kind.removeprefix("nebius ")} "{id_}" is not found')
        return found

    def _drop(self, kind: str, id_: str) -> None:
        self._object(kind, id_)
        with self.cloud.store.write():
            self.cloud.store.drop_object(kind, id_)

    def _paged(self, items: Sequence[Any], asked: Asked) -> tuple[Sequence[Any], str]:
        start = int(asked.message.page_token or 0)
        size = min(self._page, asked.message.page_size or self._page)
        return items[start : start + size], str(start + size) if start + size < len(items) else ""

    def target(self, message: Any) -> str:
        """Give what a call is about: the name of what it makes, else an id."""
        if hasattr(message, "metadata"):
            return str(message.metadata.name or message.metadata.id)
        return str(getattr(message, "id", "") or getattr(message, "name", ""))


# Ids


def project_id(region: str) -> str:
    return f"project-e00{region}"


def instance_id(cloud_id: str) -> str:
    """Give the id that a machine of the simulated cloud has here."""
    return f"computeinstance-e00{number_of(cloud_id) or 0:08d}"


def _cloud_id(instance: str) -> str:
    found = _INSTANCE_ID.match(instance)
    if found is None:
        raise NotFound(f'instance "{instance}" is not found')
    return cloud_id_of(int(found[1]))


def _boot_id(machine: Machine) -> str:
    boot = _spec(machine.body).boot_disk
    return boot.existing_disk.id if boot.existing_disk is not None else f"computedisk-e00m{machine.number:06d}"


def _region(project: str) -> str:
    region = project.removeprefix("project-e00")
    if region not in [place.name for place in catalogue.LOCATIONS]:
        raise NotFound(f'project "{project}" is not found')
    return region


def _region_of_subnet(subnet: str) -> str:
    return _region(subnet.replace("vpcsubnet-", "project-", 1))


# Messages


def _done(resource: str) -> common.Operation:
    return common.Operation(
        id=f"{_OPERATION_OF}{resource}",
        resource_id=resource,
        status=REGISTRY.message_class("google.rpc.Status")(code=0),
    )


def _project(region: str) -> projects.Project:
    metadata = common.ResourceMetadata(id=project_id(region), parent_id=TENANT, name=f"default-project-{region}")
    return projects.Project(metadata=metadata, spec=projects.ProjectSpec(region=region))


def _subnet(region: str) -> vpc.Subnet:
    metadata = common.ResourceMetadata(
        id=f"vpcsubnet-e00{region}", parent_id=project_id(region), name=f"default-subnet-{region}"
    )
    return vpc.Subnet(metadata=metadata, spec=vpc.SubnetSpec(network_id=f"vpcnetwork-e00{region}"))


def _group(asked: vpc.CreateSecurityGroupRequest) -> vpc.SecurityGroup:
    return vpc.SecurityGroup(metadata=asked.metadata, spec=asked.spec)


def _read(kind: Any, body: Mapping[str, Any]) -> Any:
    return kind.FromString(b64decode(body["bytes"]))


def _spec(machine: Instance) -> compute.InstanceSpec:
    return compute.InstanceSpec.FromString(b64decode(machine.options["spec"]))


def _authorized_key(user_data: str) -> str:
    """Read the first key that cloud-init would let in."""
    found = re.search(r"ssh-\w+ [^\s\"']+", user_data)
    if not user_data.startswith("#cloud-config\n") or found is None:
        raise Rejected("cloud_init_user_data lets nobody in")
    return found[0]


def _check_image(spec: compute.DiskSpec) -> None:
    if not 50 * _GIB <= (spec.size_gibibytes or 0) * _GIB <= 2560 * _GIB:
        raise Rejected("the size of a disk is 50 to 2560 GiB")
    known = _images()
    if spec.source_image_family is not None:
        family = spec.source_image_family.image_family
        if spec.source_image_family.parent_id != "project-e00public-images" or all(
            image.spec.image_family != family for image in known
        ):
            raise NotFound(f'image family "{family}" is not found')
    elif all(image.metadata.id != spec.source_image_id for image in known):
        raise NotFound(f'image "{spec.source_image_id}" is not found')


def _check_rule(spec: vpc.SecurityRuleSpec) -> None:
    if spec.ingress is not None:
        ranges, ports = spec.ingress.source_cidrs, spec.ingress.destination_ports
    elif spec.egress is not None:
        ranges, ports = spec.egress.destination_cidrs, spec.egress.destination_ports
    else:
        raise Rejected("a rule needs a direction")
    if len(ranges) > 8 or len(ports) > 8 or any(":" in text for text in ranges):
        raise Rejected("a rule has at most 8 ports and 8 IPv4 ranges")


def _images() -> Sequence[compute.Image]:
    arm = compute.ImageSpec__CPUArchitecture.ARM64
    found = [
        compute.Image(
            metadata=common.ResourceMetadata(id=f"computeimage-e00{image.id}", name=image.id),
            spec=compute.ImageSpec(
                image_family=image.id, image_family_human_readable=image.name, description=image.description,
                cpu_architecture=arm if image.architecture == "arm64" else compute.ImageSpec__CPUArchitecture.AMD64,
            ),
        )
        for image in catalogue.IMAGES
    ]  # fmt: skip
    for family in FAMILIES:
        spec = compute.ImageSpec(image_family=family, cpu_architecture=compute.ImageSpec__CPUArchitecture.AMD64)
        found.append(
            compute.Image(metadata=common.ResourceMetadata(id=f"computeimage-e00{family}", name=family), spec=spec)
        )
    return found


# The catalogue


def platform_of(offer: InstanceType) -> tuple[str, str]:
    """Give platform and preset of a type: `gpu_8x_h100_sxm5` is `gpu-h100-sxm5` and `8gpu-208vcpu-1800gb`."""
    size = f"{offer.vcpu}vcpu-{offer.memory.value}gb"
    if not offer.gpus:
        return "cpu-e2", size
    model = offer.type.split("_", 2)[2].removeprefix("rtx_").replace("_", "-")
    return f"gpu-{model}", f"{offer.gpus[0].count}gpu-{size}"


def type_name(offer: InstanceType) -> str:
    return ".".join(platform_of(offer))


def _offer(resources: compute.ResourcesSpec, region: str) -> InstanceType:
    wanted = (resources.platform, resources.preset)
    for offer in catalogue.offers():
        if offer.location == region and platform_of(offer) == wanted:
            return offer
    raise Rejected(f"platform {wanted[0]} has no preset {wanted[1]} in {region}")


def _platform(name: str, offers: Sequence[InstanceType]) -> compute.Platform:
    gpu = offers[0].gpus[0] if offers[0].gpus else None
    presets = [
        compute.Preset(
            name=platform_of(offer)[1],
            resources=compute.PresetResources(
                vcpu_count=offer.vcpu, memory_gibibytes=offer.memory.value,
                gpu_count=offer.gpus[0].count if offer.gpus else 0,
            ),
        )
        for offer in offers
    ]  # fmt: skip
    return compute.Platform(
        metadata=common.ResourceMetadata(id=f"computeplatform-{name}", name=name),
        spec=compute.PlatformSpec(presets=presets, gpu_memory_gigabytes=gpu.memory.value if gpu else 0),
        status=compute.PlatformStatus(allowed_for_preemptibles=offers[0].spot),
    )


def _needs(offer: InstanceType) -> Iterable[tuple[str, int]]:
    if offer.gpus:
        return [(f"compute.instance.gpu.{platform_of(offer)[0].split('-')[1]}", offer.gpus[0].count)]
    return [
        ("compute.instance.non-gpu.vcpu", offer.vcpu),
        ("compute.instance.non-gpu.memory", offer.memory.value * _GIB),
    ]


def face(cloud: SimCloud, public_key: str, **switches: Any) -> NebiusFace:
    """Give the face of a tenant. Its cloud behaves as Nebius does where it is idempotent and fences nothing."""
    return NebiusFace(cloud, public_key, **switches)
