"""The client of one Nebius tenant: translates the contract's calls to its API, and its answers and errors back.

A tenant has projects, each in one region. A machine is called by its ref_id, and names are unique in a project: so a
launch that is made again finds the machine of the first. Its boot disk is made and ended with it. Its firewall is a
security group of its own, called by the ref_id too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from msgspec.structs import replace
from nebius.api.nebius.billing.v1alpha1 import CalculatorServiceClient, EstimateRequest, OfferType, ResourceSpec
from nebius.api.nebius.capacity.v1 import ListResourceAdviceRequest, ResourceAdviceServiceClient
from nebius.api.nebius.common.v1 import GetByNameRequest, GetOperationRequest, ResourceMetadata
from nebius.api.nebius.compute.v1 import (
    CreateInstanceRequest,
    DeleteDiskRequest,
    DeleteInstanceRequest,
    Disk,
    DiskServiceClient,
    GetDiskRequest,
    GetInstanceRequest,
    ImageServiceClient,
    InstanceServiceClient,
    InstanceSpec,
    InstanceStatus__InstanceState,
    ListDisksRequest,
    ListImagesRequest,
    ListInstancesRequest,
    ListPlatformsRequest,
    ListPublicRequest,
    PlatformServiceClient,
    ResourcesSpec,
    SecurityGroup,
    StartInstanceRequest,
    StopInstanceRequest,
    UpdateDiskRequest,
    UpdateInstanceRequest,
)
from nebius.api.nebius.compute.v1 import Instance as InstanceMessage
from nebius.api.nebius.iam.v2 import GetProjectRequest, ListProjectsRequest, Project, ProjectServiceClient
from nebius.api.nebius.quotas.v1 import (
    ListQuotaAllowancesRequest,
    QuotaAllowance,
    QuotaAllowanceServiceClient,
    QuotaAllowanceStatus__State,
)
from nebius.api.nebius.vpc.v1 import (
    CreateSecurityGroupRequest,
    CreateSecurityRuleRequest,
    DeleteSecurityGroupRequest,
    DeleteSecurityRuleRequest,
    GetSecurityGroupByNameRequest,
    GetSecurityGroupRequest,
    GetSubnetRequest,
    ListSecurityGroupsRequest,
    ListSecurityRulesRequest,
    ListSubnetsRequest,
    SecurityGroupServiceClient,
    SecurityGroupSpec,
    SecurityRuleServiceClient,
    SubnetServiceClient,
)

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Connection, Urgency
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    InstanceNotFound,
    NotFound,
    NotReady,
    Rejected,
    Sent,
    Unavailable,
)
from brevplan.contract.model import (
    EVERY_INSTANCE,
    EVERY_TYPE,
    CloudId,
    CreateInstanceAttrs,
    FirewallRules,
    Image,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    Location,
    Money,
    RefId,
    SideObject,
    matches,
    type_matches,
    wants_all,
)
from brevplan.providers import nebius_launch as launching
from brevplan.providers import nebius_wire as wire
from brevplan.providers.http import tuned
from brevplan.providers.nebius import TRAITS
from brevplan.providers.nebius_api import EXISTS, NebiusApi
from brevplan.providers.nebius_launch import NAME, Piece, check_launch

_PAGE: Final = 100
_LAUNCH: Final = "create_instance"
_START: Final = "start_instance"

_MOST_PAGES: Final = 10_000

_HALTED: Final = frozenset({InstanceStatus__InstanceState.STOPPED, InstanceStatus__InstanceState.STOPPING})
_UP: Final = frozenset({InstanceStatus__InstanceState.RUNNING, InstanceStatus__InstanceState.STARTING})


@dataclass(frozen=True, slots=True)
class _Project:
    id: str
    region: str
    name: str


@dataclass(slots=True)
class _Begun:
    """The last change that was begun on a machine, and how it ended once that is known."""

    operation: str
    id: str
    machine: Instance | None = None
    """As it was answered, where this is its launch."""
    is_over: bool = False
    failure: CloudError | None = None


class NebiusClient:
    """The client of one tenant. What it keeps of answers is where something stands, and what was begun on a machine.

    A launch and a start are answered once they have begun: why one fails later stands in its operation alone.
    """

    def __init__(self, connection: Connection) -> None:
        self.traits = tuned(TRAITS, connection.settings)
        self._tenant = str(connection.settings.get("tenant_id") or "").strip()
        self._only = str(connection.settings.get("project_id") or "").strip()
        if not self._tenant:
            raise AuthFailed("tenant_id is empty: set it, or $NEBIUS_TENANT_ID", provider=NAME, sent=Sent.NO)
        self._api = NebiusApi(connection)
        sdk = self._api.sdk
        self._instances = InstanceServiceClient(sdk)
        self._operations = self._instances.operation_service()
        self._disks = DiskServiceClient(sdk)
        self._images = ImageServiceClient(sdk)
        self._platforms = PlatformServiceClient(sdk)
        self._containers = ProjectServiceClient(sdk)
        self._allowances = QuotaAllowanceServiceClient(sdk)
        self._advice = ResourceAdviceServiceClient(sdk)
        self._calculator = CalculatorServiceClient(sdk)
        self._subnets = SubnetServiceClient(sdk)
        self._groups = SecurityGroupServiceClient(sdk)
        self._rules = SecurityRuleServiceClient(sdk)
        self._regions: dict[str, str] = {}
        """Of projects, by id."""
        self._chosen: dict[str, str] = {}
        """The project that launches in a region go to, as last read."""
        self._homes: dict[str, str] = {}
        """The project of an attempt, by ref_id: there is no other, for a ref_id is used once."""
        self._places: dict[str, tuple[str, str]] = {}
        """Subnet and network of launches, by project."""
        self._begun: dict[str, _Begun] = {}
        """What was begun on machines, by their ids."""

    # The account

    async def tenant_id(self) -> str:
        """Give the tenant of the credential: that the key is wrong shows at the first list."""
        return self._tenant

    async def aclose(self) -> None:
        await self._api.aclose()

    async def _projects(self, operation: str, urgency: Urgency = Urgency.POLL) -> list[_Project]:
        """Give the projects in the order of preference: the default one of a region comes before its others."""
        if self._only:
            found = [await self._api.call(self._containers.get, GetProjectRequest(id=self._only), operation, urgency)]
        else:
            found = await self._pages(self._containers.list, ListProjectsRequest, self._tenant, operation, urgency)
        projects = [_project(one) for one in found]
        self._regions |= {project.id: project.region for project in projects}
        projects.sort(key=_preference)
        self._chosen = {project.region: project.id for project in reversed(projects) if project.region}
        return projects

    async def _project_in(self, region: str) -> str:
        """Give the project of a region; raise `Rejected` where there is none."""
        if region not in self._chosen:
            await self._projects("list_projects")
        if region not in self._chosen:
            places = ", ".join(sorted(self._chosen)) or "none"
            raise _rejected(
                f"location: the tenant has no project in {region} (it has some in: {places}): make one at Nebius",
                _LAUNCH,
            )
        return self._chosen[region]

    # Reading

    async def list_instances(
        self, wanted: InstanceFilter = EVERY_INSTANCE, *, urgency: Urgency = Urgency.POLL
    ) -> list[Instance]:
        """Give the machines of every project; one request more for a project with a disk that has its own life."""
        found: list[Instance] = []
        for project in await self._projects("list_instances", urgency):
            if wants_all(wanted.locations) or project.region in wanted.locations:
                messages = await self._pages(
                    self._instances.list, ListInstancesRequest, project.id, "list_instances", urgency
                )
                for machine in await self._read(messages, project, "list_instances", urgency):
                    found.append(await self._explained(machine, urgency))
        return [machine for machine in found if matches(machine, wanted)]

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        """Give a machine, with the rules of its security group: those a list leaves out.

        One that was launched here and never came, because its launch failed later, is given as failed with the reason
        until its end is asked for.
        """
        operation = "get_instance"
        try:
            message = await self._message(cloud_id, operation)
        except InstanceNotFound:
            if (failed := await self._never_came(cloud_id)) is None:
                raise
            return failed
        machine = await self._explained(await self._whole(message))
        attached = _groups_of(message)
        if len(attached) != 1:
            return machine
        try:
            rules = await self._pages(self._rules.list, ListSecurityRulesRequest, attached[0], operation)
        except NotFound:
            return machine
        return replace(machine, firewall_rules=wire.read_rules(rules))

    async def _read(
        self, messages: Sequence[InstanceMessage], project: _Project, operation: str, urgency: Urgency
    ) -> list[Instance]:
        disks: dict[str, Disk] = {}
        if any(message.spec.boot_disk.existing_disk is not None for message in messages):
            listed = await self._pages(self._disks.list, ListDisksRequest, project.id, operation, urgency)
            disks = {disk.metadata.id: disk for disk in listed}
        return [self._known(wire.read_machine(message, project.region, disks), project.id) for message in messages]

    async def _whole(self, message: InstanceMessage) -> Instance:
        """Read a machine; a disk that is not there any more has no size that is known."""
        project = message.metadata.parent_id
        if project not in self._regions:
            request = GetProjectRequest(id=project)
            try:
                found = _project(await self._api.call(self._containers.get, request, "get_project"))
            except NotFound as problem:
                # the machine is there: nothing of this may be taken for its absence
                raise Unavailable(problem.message, provider=NAME, operation="get_project") from None
            self._regions[project] = found.region
        own = message.spec.boot_disk.existing_disk
        disks = {}
        if own is not None:
            with suppress(NotFound):
                disks[own.id] = await self._api.call(self._disks.get, GetDiskRequest(id=own.id), "get_disk")
        return self._known(wire.read_machine(message, self._regions[project], disks), project)

    def _known(self, machine: Instance, project: str) -> Instance:
        self._homes[machine.ref_id] = project
        return machine

    async def _message(self, cloud_id: str, operation: str) -> InstanceMessage:
        return await self._api.call(self._instances.get, GetInstanceRequest(id=cloud_id), operation)

    # Why something came to nothing: an operation is read where its machine shows that it did

    async def _explained(self, machine: Instance, urgency: Urgency = Urgency.POLL) -> Instance:
        """Put the reason into a machine that has failed, or that was started and stands still."""
        if machine.status is LifecycleStatus.RUNNING:
            self._begun.pop(machine.cloud_id, None)
        begun = self._begun.get(machine.cloud_id)
        is_of_it = machine.status is LifecycleStatus.FAILED or (
            machine.status is LifecycleStatus.STOPPED and begun is not None and begun.operation == _START
        )
        problem = await self._failure(begun, urgency) if begun is not None and is_of_it else None
        return replace(machine, messages=(*machine.messages, _reason(problem))) if problem is not None else machine

    async def _never_came(self, cloud_id: str) -> Instance | None:
        """Give a machine whose launch failed after it was accepted; None where that is not known."""
        begun = self._begun.get(cloud_id)
        if begun is None or begun.machine is None:
            return None
        problem = await self._failure(begun)
        if problem is None:
            return None
        return replace(begun.machine, status=LifecycleStatus.FAILED, messages=(_reason(problem),))

    async def _failure(self, begun: _Begun, urgency: Urgency = Urgency.POLL) -> CloudError | None:
        """Give what an operation failed with; None while it has not, or when that cannot be read now."""
        if not begun.is_over:
            try:
                request = GetOperationRequest(id=begun.id)
                found: Any = await self._api.call(self._operations.get, request, "get_operation", urgency)
            except CloudError as problem:
                begun.is_over = isinstance(problem, NotFound)
                return None
            begun.is_over = found.done()
            if begun.is_over and not found.successful():
                begun.failure = self._api.explained(found.status(), begun.operation)
        return begun.failure

    # The catalogue

    async def get_instance_types(self, wanted: InstanceTypeFilter = EVERY_TYPE) -> list[InstanceType]:
        """Give the types of each region that has a project; one request for each price."""
        operation = "get_instance_types"
        stock = wire.Stock(await self._quotas(operation), await self._advised(operation))
        found: dict[str, InstanceType] = {}
        for region, project in (await self._by_region(operation)).items():
            if not wants_all(wanted.locations) and region not in wanted.locations:
                continue
            for platform in await self._pages(self._platforms.list, ListPlatformsRequest, project, operation):
                for preset in platform.spec.presets:
                    item = wire.read_type(platform, preset, region)
                    if type_matches(item, wanted):
                        left = stock.left(platform, preset, region)
                        price = await self._price(project, platform.metadata.name, preset.name)
                        found[item.id] = replace(item, stock=left, is_available=left != 0, base_price=price)
        return sorted(found.values(), key=lambda item: (item.type, item.location))

    async def get_locations(self, *, include_unavailable: bool = False) -> list[Location]:
        """Give the regions with a project; those that the tenant has quotas for, and no project in, are not open."""
        here = set(await self._by_region("get_locations"))
        quotas = await self._quotas("get_locations") if include_unavailable else None
        active = QuotaAllowanceStatus__State.STATE_ACTIVE
        others = {one.spec.region for one in quotas or () if one.status.state == active and one.spec.region}
        return [
            Location(name=name, available=name in here, country=wire.country_of(name)) for name in sorted(here | others)
        ]

    async def get_images(self, *, architectures: Sequence[str] = (), names: Sequence[str] = ()) -> list[Image]:
        """Give the public images and the tenant's own; the name of a family stands for its newest image."""
        messages = []
        for region, project in (await self._by_region("get_images")).items():
            request = _public_in(region)
            messages += await self._pages(self._images.list_public, request, "", "get_images")
            messages += await self._pages(self._images.list, ListImagesRequest, project, "get_images")
        return [
            image
            for image in wire.read_images(messages)
            if (not architectures or image.architecture in architectures)
            and (not names or any(fnmatchcase(text, name) for name in names for text in (image.name, image.id)))
        ]

    async def _by_region(self, operation: str) -> dict[str, str]:
        """Give the project for each region that has one."""
        await self._projects(operation)
        return dict(sorted(self._chosen.items()))

    async def _quotas(self, operation: str) -> list[QuotaAllowance] | None:
        """Give the quotas; None where the service account may not see them."""
        try:
            return await self._pages(
                self._allowances.list, ListQuotaAllowancesRequest, self._tenant, operation, size=1000
            )
        except AuthFailed as problem:
            if problem.code != "PERMISSION_DENIED":
                raise
            return None

    async def _advised(self, operation: str) -> list[Any]:
        """Give what the cloud says it has left; without an answer the quotas alone count."""
        try:
            return await self._pages(self._advice.list, ListResourceAdviceRequest, self._tenant, operation)
        except CloudError:
            return []

    async def _price(self, project: str, platform: str, preset: str) -> Money | None:
        """Give USD an hour for a machine without its disk; None where the calculator does not say."""
        asked = CreateInstanceRequest(
            metadata=ResourceMetadata(parent_id=project, name="estimate"),
            spec=InstanceSpec(resources=ResourcesSpec(platform=platform, preset=preset)),
        )
        request = EstimateRequest(
            resource_spec=ResourceSpec(compute_instance_spec=asked), offer_types=[OfferType.OFFER_TYPE_UNSPECIFIED]
        )
        try:
            found = await self._api.call(self._calculator.estimate, request, "get_instance_types")
        except CloudError:
            return None
        general = found.hourly_cost.general
        return wire.read_price(general.total.cost) if general is not None else None

    # Coming and going

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        """Make the security group and launch; the same call again goes on where the last one stopped."""
        launch = check_launch(attrs)
        with _never_sent():
            project = await self._project_in(attrs.location)
            subnet, network = await self._place(project, launch.subnet_id)
            self._homes[attrs.ref_id] = project
            group = await self._make_group(project, network, attrs.ref_id)
            await self._open_group(group, launch.rules)
        spec = wire.launch_spec(launch, project, subnet)
        spec.network_interfaces[0].security_groups = [SecurityGroup(id=group)]
        metadata = ResourceMetadata(parent_id=project, name=attrs.ref_id, labels=dict(launch.labels))
        request = CreateInstanceRequest(metadata=metadata, spec=spec)
        try:
            made = await self._api.call(self._instances.create, request, _LAUNCH, Urgency.CREATE, key=attrs.ref_id)
        except Rejected as problem:
            if problem.code != EXISTS:
                raise
            return await self._named(project, attrs.ref_id)
        if not made.resource_id:
            self._expect_well(made, _LAUNCH)
            raise Unavailable(
                "the launch was answered without an id", provider=NAME, operation=_LAUNCH, sent=Sent.MAYBE
            )
        answer = _answer(attrs, made.resource_id)
        self._begun[answer.cloud_id] = _Begun(_LAUNCH, made.id, answer)
        return answer

    async def _named(self, project: str, ref_id: str) -> Instance:
        """Find the machine of a launch whose name is taken: by the first of two calls."""
        request = GetByNameRequest(parent_id=project, name=ref_id)
        try:
            return await self._whole(await self._api.call(self._instances.get_by_name, request, _LAUNCH))
        except NotFound as problem:
            raise Unavailable(problem.message, provider=NAME, operation=_LAUNCH, sent=Sent.MAYBE) from None
        except CloudError as problem:
            problem.sent = Sent.MAYBE
            raise

    async def terminate_instance(self, cloud_id: CloudId) -> None:
        """Start the end of a machine and of its boot disk."""
        operation = "terminate_instance"
        self._begun.pop(cloud_id, None)
        try:
            await self._do(self._instances.delete, DeleteInstanceRequest(id=cloud_id), operation)
        except NotFound:
            return
        except NotReady:
            if not await self._is_in(cloud_id, frozenset({InstanceStatus__InstanceState.DELETING}), operation):
                raise

    async def stop_instance(self, cloud_id: CloudId) -> None:
        self._begun.pop(cloud_id, None)
        try:
            await self._do(self._instances.stop, StopInstanceRequest(id=cloud_id), "stop_instance")
        except NotReady:
            if not await self._is_in(cloud_id, _HALTED, "stop_instance"):
                raise

    async def start_instance(self, cloud_id: CloudId) -> None:
        """Start; raise once what the last start from here failed with, where that is known by now."""
        last = self._begun.get(cloud_id)
        if last is not None and last.operation == _START:
            problem = await self._failure(last, Urgency.SETTLE)
            if problem is not None:
                del self._begun[cloud_id]
                raise problem
        try:
            request = StartInstanceRequest(id=cloud_id)
            begun = await self._api.call(self._instances.start, request, _START, Urgency.SETTLE)
            self._expect_well(begun, _START)
            self._begun[cloud_id] = _Begun(_START, begun.id)
        except NotReady:
            if not await self._is_in(cloud_id, _UP, _START):
                raise

    async def _is_in(self, cloud_id: CloudId, states: frozenset[InstanceStatus__InstanceState], operation: str) -> bool:
        """Tell whether a refusal was because there is nothing to do: the API refuses what is done already."""
        try:
            return (await self._message(cloud_id, operation)).status.state in states
        except InstanceNotFound:
            return operation == "terminate_instance"

    # What stands beside machines

    async def fence(self, ref_id: RefId) -> bool:
        """Delete the security group of an attempt that is given up, and give False.

        A launch under way names a group that is gone, and nothing promises that it fails. A group in use says that
        there is a machine, whatever the lists show: `NotReady`, and nothing is given up.
        """
        for project in await self._home_of(ref_id, "fence"):
            await self._delete_group(project, ref_id, "fence")
        return False

    async def release(self, ref_id: RefId) -> None:
        """Delete the security group of an attempt, and its disk should it have outlived the machine."""
        if not ref_id.startswith(launching.OURS):
            return
        for project in await self._home_of(ref_id, "release"):
            await self._delete_disk(project, ref_id, "release")
            await self._delete_group(project, ref_id, "release")

    async def side_objects(self) -> list[SideObject]:
        found: list[SideObject] = []
        for project in await self._projects("side_objects"):
            groups = await self._pages(self._groups.list, ListSecurityGroupsRequest, project.id, "side_objects")
            found += [_side_object("security group", one.metadata) for one in groups]
            disks = await self._pages(self._disks.list, ListDisksRequest, project.id, "side_objects")
            found += [_side_object("disk", one.metadata) for one in disks]
        ours = [one for one in found if one.ref_id.startswith(launching.OURS)]
        return sorted(ours, key=lambda one: (one.ref_id, one.kind, one.id))

    async def _home_of(self, ref_id: str, operation: str) -> list[str]:
        """Give the project that an attempt was made in; all of them, where nobody knows."""
        known = self._homes.get(ref_id)
        return [known] if known else [project.id for project in await self._projects(operation, Urgency.SETTLE)]

    async def _delete_disk(self, project: str, ref_id: str, operation: str) -> None:
        name = GetByNameRequest(parent_id=project, name=f"{ref_id}{launching.DISK_SUFFIX}")
        try:
            disk = await self._api.call(self._disks.get_by_name, name, operation, Urgency.SETTLE)
            await self._end(self._disks.delete, DeleteDiskRequest(id=disk.metadata.id), operation)
        except NotFound:
            return

    async def _delete_group(self, project: str, ref_id: str, operation: str) -> None:
        name = GetSecurityGroupByNameRequest(parent_id=project, name=ref_id)
        try:
            group = await self._api.call(self._groups.get_by_name, name, operation, Urgency.SETTLE)
            await self._end(self._groups.delete, DeleteSecurityGroupRequest(id=group.metadata.id), operation)
        except NotFound:
            return

    async def _end(self, method: Callable[..., Any], request: object, operation: str) -> None:
        """Delete; raise `NotReady` until that is done, for what is only begun may fail and cost on."""
        ended = await self._api.call(method, request, operation, Urgency.SETTLE)
        self._expect_well(ended, operation)
        if not ended.done():
            raise NotReady(f"{ended.resource_id} is being deleted", provider=NAME, operation=operation)

    # Networks and firewalls

    async def _place(self, project: str, subnet_id: str) -> tuple[str, str]:
        """Give the subnet and the network for a machine; raise `Rejected` where the project has none."""
        if subnet_id:
            found = await self._api.call(self._subnets.get, GetSubnetRequest(id=subnet_id), "get_subnet")
            return subnet_id, found.spec.network_id
        if project not in self._places:
            subnets = await self._pages(self._subnets.list, ListSubnetsRequest, project, "list_subnets")
            if not subnets:
                raise _rejected(
                    f"the project {project} has no subnet: make a network with one at Nebius, as each new project has",
                    _LAUNCH,
                )
            # `default-subnet-…` is what a project comes with
            chosen = min(subnets, key=lambda one: (not one.metadata.name.startswith("default"), one.metadata.id))
            self._places[project] = chosen.metadata.id, chosen.spec.network_id
        return self._places[project]

    async def _make_group(self, project: str, network: str, ref_id: str) -> str:
        metadata = ResourceMetadata(parent_id=project, name=ref_id, labels=launching.marks_of(ref_id))
        request = CreateSecurityGroupRequest(metadata=metadata, spec=SecurityGroupSpec(network_id=network))
        try:
            made = await self._do(self._groups.create, request, "add_security_group")
        except Rejected as problem:
            if problem.code != EXISTS:
                raise
            name = GetSecurityGroupByNameRequest(parent_id=project, name=ref_id)
            found = await self._api.call(self._groups.get_by_name, name, "add_security_group", Urgency.SETTLE)
            return found.metadata.id
        if not made:
            raise Unavailable("the security group was answered without an id", provider=NAME)
        return made

    async def _open_group(self, group: str, rules: Mapping[str, Piece]) -> None:
        """Add the rules of a new machine to its group.

        A new group may not be ready for rules yet. Under another name all would begin anew and come to the same end;
        taken for unknown, the same launch is made again, and goes on from here.
        """
        try:
            await self._add_rules(group, rules)
        except (NotFound, NotReady) as problem:
            raise _GroupNotReady(
                problem.message, provider=NAME, operation=problem.operation, code=problem.code, sent=Sent.MAYBE
            ) from None

    async def _add_rules(self, group: str, rules: Mapping[str, Piece]) -> None:
        """Add rules by name; those that are there already stay."""
        for name, spec in wire.rule_specs(rules).items():
            request = CreateSecurityRuleRequest(metadata=ResourceMetadata(parent_id=group, name=name), spec=spec)
            try:
                await self._do(self._rules.create, request, "add_security_rule")
            except Rejected as problem:
                if problem.code != EXISTS:
                    raise

    async def replace_firewall_rules(self, cloud_id: CloudId, rules: FirewallRules) -> None:
        """Add what is new and then take away what is not wanted: so nothing is closed in between."""
        operation = "replace_firewall_rules"
        try:
            wanted = launching.rule_pieces(rules)
        except ValueError as problem:
            raise _rejected(str(problem), operation) from None
        group = await self._own_group(cloud_id, operation)
        there = await self._pages(
            self._rules.list, ListSecurityRulesRequest, group, "list_security_rules", Urgency.SETTLE
        )
        names = {rule.metadata.name for rule in there}
        await self._add_rules(group, {name: piece for name, piece in wanted.items() if name not in names})
        for rule in there:
            if rule.metadata.name not in wanted:
                try:
                    await self._do(self._rules.delete, DeleteSecurityRuleRequest(id=rule.metadata.id), operation)
                except NotFound:
                    continue

    async def _own_group(self, cloud_id: CloudId, operation: str) -> str:
        """Give the group that was made for a machine: both are named after the ref_id, which no mark takes off."""
        message = await self._message(cloud_id, operation)
        name, attached = message.metadata.name, _groups_of(message)
        if len(attached) == 1 and name.startswith(launching.OURS):
            request = GetSecurityGroupRequest(id=attached[0])
            group = await self._api.call(self._groups.get, request, "get_security_group", Urgency.SETTLE)
            if group.metadata.name == name:
                return attached[0]
        raise _rejected(
            f"{cloud_id} has no security group of its own ({', '.join(attached) or 'the default one of its network'}), "
            "and brevplan changes no rules that other machines share: replace the machine, or change them at Nebius",
            operation,
        )

    # Changing: an update resets what it does not name, so each sends back all that was read

    async def update_tags(self, cloud_id: CloudId, tags: Mapping[str, str]) -> None:
        try:
            wanted = launching.checked_tags(tags)
        except ValueError as problem:
            raise _rejected(str(problem), "update_tags") from None
        await self._relabel(cloud_id, "update_tags", lambda labels: {**_internal(labels), **wanted})

    async def update_mark(self, cloud_id: CloudId, *, address: str | None) -> None:
        def marked(labels: Mapping[str, str]) -> dict[str, str]:
            kept = {label: value for label, value in labels.items() if not label.startswith(launching.ADDRESS_LABEL)}
            if address is not None:
                return {**kept, **launching.address_labels(address)}
            return {label: value for label, value in kept.items() if label not in launching.MARKS}

        await self._relabel(cloud_id, "update_mark", marked)

    async def rename_instance(self, cloud_id: CloudId, name: str) -> None:
        await self._relabel(cloud_id, "rename_instance", lambda labels: {**labels, launching.NAME_LABEL: name})

    async def resize_volume(self, cloud_id: CloudId, size: Bytes) -> None:
        operation = "resize_volume"
        message = await self._message(cloud_id, operation)
        boot = message.spec.boot_disk
        disk = None
        if boot.existing_disk is not None:
            disk = await self._api.call(self._disks.get, GetDiskRequest(id=boot.existing_disk.id), "get_disk")
        spec = disk.spec if disk is not None else boot.managed_disk.spec if boot.managed_disk is not None else None
        if spec is None:
            raise _rejected(f"{cloud_id} has no boot disk that can be changed", operation)
        now, wanted = wire.size_of(spec), Bytes(launching.whole_gib(size), "GiB")
        if wanted < now:
            raise _rejected(f"a disk can only grow: it is {now}, which is more than {size}", operation)
        spec.size_gibibytes = wanted.value
        if disk is not None:
            changed = UpdateDiskRequest(metadata=disk.metadata, spec=disk.spec)
            await self._do(self._disks.update, changed, "update_disk")
            return
        labels = {label: value for label, value in message.metadata.labels.items() if label != launching.DISK_LABEL}
        message.metadata.labels = labels | launching.disk_label(size)
        await self._update(message, operation)

    async def _relabel(
        self, cloud_id: CloudId, operation: str, change: Callable[[Mapping[str, str]], dict[str, str]]
    ) -> None:
        message = await self._message(cloud_id, operation)
        before = dict(message.metadata.labels)
        after = change(before)
        if after != before:
            message.metadata.labels = after
            await self._update(message, operation)

    async def _update(self, message: InstanceMessage, operation: str) -> None:
        await self._do(
            self._instances.update, UpdateInstanceRequest(metadata=message.metadata, spec=message.spec), operation
        )

    # Every call

    async def _do(self, method: Callable[..., Any], request: object, operation: str) -> str:
        """Make a change; give the id of what it is about. It has begun then, and may not be over."""
        begun = await self._api.call(method, request, operation, Urgency.SETTLE)
        self._expect_well(begun, operation)
        return str(begun.resource_id)

    def _expect_well(self, begun: Any, operation: str) -> None:
        """Raise what an operation failed with, where it is over already."""
        if begun.done() and not begun.successful():
            raise self._api.explained(begun.status(), operation)

    async def _pages(
        self, method: Callable[..., Any], request: Callable[..., Any], parent: str, operation: str,
        urgency: Urgency = Urgency.POLL, size: int = _PAGE,
    ) -> list[Any]:  # fmt: skip
        """Read a list whole; raise where it would never end."""
        found: list[Any] = []
        token, seen = "", {""}
        for _ in range(_MOST_PAGES):
            page = await self._api.call(
                method, request(parent_id=parent, page_size=size, page_token=token), operation, urgency
            )
            found += page.items
            token = page.next_page_token
            if not token:
                return found
            if token in seen:
                raise Unavailable("a list leads back to a page that was read", provider=NAME, operation=operation)
            seen.add(token)
        raise Unavailable(f"a list has more than {_MOST_PAGES} pages", provider=NAME, operation=operation)


class _GroupNotReady(NotReady):
    """A security group that was made just now takes no rules yet."""


@contextmanager
def _never_sent() -> Iterator[None]:
    """Say of what fails before the launch that there was none."""
    try:
        yield
    except _GroupNotReady:
        raise
    except CloudError as problem:
        problem.sent = Sent.NO
        raise


def _reason(problem: CloudError) -> str:
    return f"{problem.operation} failed at Nebius: {problem.message}"


def _answer(attrs: CreateInstanceAttrs, cloud_id: str) -> Instance:
    machine = Instance(
        cloud_id=CloudId(cloud_id),
        ref_id=attrs.ref_id,
        cloud_cred_ref_id=attrs.cloud_cred_ref_id,
        address=attrs.address,
        name=attrs.name,
        status=LifecycleStatus.PENDING,
        instance_type=attrs.instance_type,
        location=attrs.location,
        image_id=attrs.image_id,
        ssh_user="ubuntu",
        spot=attrs.spot,
        tags=dict(attrs.tags),
        stoppable=True,
    )
    return wire.with_machine_type(machine)


def _groups_of(message: InstanceMessage) -> list[str]:
    return [group.id for interface in message.spec.network_interfaces for group in interface.security_groups]


def _project(found: Project) -> _Project:
    return _Project(found.metadata.id, found.spec.region, found.metadata.name)


def _preference(project: _Project) -> tuple[int, str]:
    """Put the default project of a region before its others, and those by id."""
    names = (f"default-project-{project.region}", f"default-{project.region}", "default")
    rank = names.index(project.name) if project.name in names else len(names)
    return rank if rank < len(names) or project.region not in project.name else len(names) - 1, project.id


def _public_in(region: str) -> Callable[..., ListPublicRequest]:
    """Give what asks for a page of a region's public images, which have no parent."""

    def request(parent_id: str, page_size: int, page_token: str) -> ListPublicRequest:
        return ListPublicRequest(region=region, page_size=page_size, page_token=page_token)

    return request


def _side_object(kind: str, metadata: ResourceMetadata) -> SideObject:
    return SideObject(kind=kind, id=metadata.id, ref_id=metadata.name.removesuffix(launching.DISK_SUFFIX))


def _internal(labels: Mapping[str, str]) -> dict[str, str]:
    return {label: value for label, value in labels.items() if launching.is_internal(label)}


def _rejected(reason: str, operation: str) -> Rejected:
    return Rejected(reason, provider=NAME, operation=operation, sent=Sent.NO)
