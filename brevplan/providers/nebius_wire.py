"""What Nebius' messages mean in the contract's nouns, and back. Pure: no request is made here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar

from nebius.api.nebius.capacity.v1 import (
    ResourceAdvice,
    ResourceAdviceStatus__Availability,
    ResourceAdviceStatus__Availability__AvailabilityLevel,
    ResourceAdviceStatus__Availability__DataState,
)
from nebius.api.nebius.compute.v1 import (
    AttachedDiskSpec,
    AttachedDiskSpec__AttachMode,
    AttachedFilesystemSpec,
    AttachedFilesystemSpec__AttachMode,
    Disk,
    DiskSpec,
    DiskSpec__DiskType,
    ExistingFilesystem,
    ImageSpec__CPUArchitecture,
    InstanceRecoveryPolicy,
    InstanceSpec,
    InstanceStatus__InstanceState,
    IPAddress,
    ManagedDisk,
    NetworkInterfaceSpec,
    Platform,
    PreemptibleSpec,
    PreemptibleSpec__PreemptionPolicy,
    Preset,
    PublicIPAddress,
    ResourcesSpec,
    SourceImageFamily,
)
from nebius.api.nebius.compute.v1 import Image as ImageMessage
from nebius.api.nebius.compute.v1 import Instance as InstanceMessage
from nebius.api.nebius.quotas.v1 import QuotaAllowance, QuotaAllowanceStatus__State
from nebius.api.nebius.vpc.v1 import (
    RuleAccessAction,
    RuleEgress,
    RuleIngress,
    RuleProtocol,
    RuleType,
    SecurityRule,
    SecurityRuleSpec,
)

from brevplan.contract.bytes import Bytes
from brevplan.contract.gpu import architectures_beside, canonical_name, interconnect, nominal_gb
from brevplan.contract.model import (
    CloudId,
    FirewallRule,
    FirewallRules,
    Gpu,
    Image,
    Instance,
    InstanceType,
    LifecycleStatus,
    Money,
    Storage,
    instance_type_id,
    with_type_id,
)
from brevplan.providers.nebius_launch import (
    CRED_LABEL,
    DEFAULT_DISK,
    DISK_LABEL,
    DISK_SUFFIX,
    GIB,
    LARGEST_DISK,
    NAME,
    NAME_LABEL,
    REF_LABEL,
    SMALLEST_DISK,
    USER_LABEL,
    Launch,
    Piece,
    is_internal,
    marks_of,
    read_address,
    whole_gib,
)

T = TypeVar("T")

_EVERY_PORT: Final = range(1, 65536)

_DISK_PRICE: Final = Money(Decimal("0.00014"))
"""USD per GB and hour."""

_STATUS: Final = {
    InstanceStatus__InstanceState.UNSPECIFIED: LifecycleStatus.PENDING,
    InstanceStatus__InstanceState.CREATING: LifecycleStatus.PENDING,
    InstanceStatus__InstanceState.STARTING: LifecycleStatus.PENDING,
    InstanceStatus__InstanceState.RUNNING: LifecycleStatus.RUNNING,
    InstanceStatus__InstanceState.STOPPING: LifecycleStatus.STOPPING,
    InstanceStatus__InstanceState.STOPPED: LifecycleStatus.STOPPED,
    InstanceStatus__InstanceState.DELETING: LifecycleStatus.TERMINATING,
    InstanceStatus__InstanceState.ERROR: LifecycleStatus.FAILED,
}

_MODELS: Final = {"RTX6000": "RTX PRO 6000"}
"""What a platform's name says otherwise than all the world does."""
_VRAM: Final = {"A100": 80, "GB200": 192, "GB300": 270, "V100": 32}
"""GB of a GPU that is built with several sizes, for platforms that do not say it."""

_COUNTRIES: Final = {
    "asia-east1": "TWN", "eu-north1": "FIN", "eu-west1": "NLD", "eu-west2": "BEL", "eu-west3": "DEU", "eu-west4": "FRA",
}  # fmt: skip


def country_of(region: str) -> str:
    return "USA" if region.startswith("us-") else _COUNTRIES.get(region, "")


# A launch


def launch_spec(launch: Launch, project: str, subnet: str) -> InstanceSpec:
    """Write what a machine is asked for with; its security group is still to be named."""
    spec = InstanceSpec(
        resources=ResourcesSpec(platform=launch.platform, preset=launch.preset),
        network_interfaces=[
            NetworkInterfaceSpec(
                name="eth0",
                subnet_id=subnet,
                ip_address=IPAddress(),
                public_ip_address=PublicIPAddress(static=False),
            )
        ],
        # the disk is made and ended with the machine: nothing is left of a launch that fails
        boot_disk=AttachedDiskSpec(
            attach_mode=AttachedDiskSpec__AttachMode.READ_WRITE,
            device_id="boot-disk",
            managed_disk=ManagedDisk(
                name=f"{launch.ref_id}{DISK_SUFFIX}", labels=marks_of(launch.ref_id), spec=_disk_spec(launch, project)
            ),
        ),
        filesystems=[
            AttachedFilesystemSpec(
                attach_mode=AttachedFilesystemSpec__AttachMode.READ_WRITE,
                mount_tag=f"filesystem-{number}",
                existing_filesystem=ExistingFilesystem(id=filesystem),
            )
            for number, filesystem in enumerate(launch.filesystems)
        ],
        cloud_init_user_data=launch.user_data,
        hostname=launch.hostname,
    )
    if launch.spot:
        spec.preemptible = PreemptibleSpec(on_preemption=PreemptibleSpec__PreemptionPolicy.STOP)
        spec.recovery_policy = InstanceRecoveryPolicy.FAIL
    return spec


def _disk_spec(launch: Launch, project: str) -> DiskSpec:
    spec = DiskSpec(type=DiskSpec__DiskType.NETWORK_SSD, size_gibibytes=launch.disk_gib)
    if launch.image.startswith("computeimage-"):
        spec.source_image_id = launch.image
    else:
        spec.source_image_family = SourceImageFamily(image_family=launch.image, parent_id=public_images(project))
    return spec


def public_images(project: str) -> str:
    """Give the project of the public images: its name holds the routing code, the three letters behind `project-`."""
    routing = project.removeprefix("project-")[:3] if project.startswith("project-") else ""
    return f"project-{routing if len(routing) == 3 else 'e00'}public-images"


# Machines


def read_machine(message: InstanceMessage, region: str, disks: Mapping[str, Disk]) -> Instance:
    """Read a machine. `disks` holds those by id that are not described in the machine itself."""
    metadata, spec, status = message.metadata, message.spec, message.status
    labels = dict(metadata.labels)
    ref_id = labels.get(REF_LABEL) or labels.get(USER_LABEL, "")
    public, private = _addresses(message)
    state = status.state
    known = _STATUS.get(state)
    size, image = _boot_disk(message, disks)
    machine = Instance(
        cloud_id=CloudId(metadata.id),
        ref_id=ref_id,
        cloud_cred_ref_id=labels.get(CRED_LABEL, ""),
        address=read_address(labels),
        name=labels.get(NAME_LABEL) or metadata.name,
        status=known or _between(message),
        messages=() if known or state == InstanceStatus__InstanceState.UPDATING else (_unknown_state(int(state)),),
        instance_type=f"{spec.resources.platform}.{spec.resources.preset}",
        location=region,
        public_ip=public,
        private_ip=private,
        hostname=public or private,
        image_id=image,
        disk_size=_asked_size(labels, size),
        filesystems=tuple(one.existing_filesystem.id for one in spec.filesystems if one.existing_filesystem),
        ssh_user="ubuntu",
        spot=_is_spot(spec),
        tags={label: value for label, value in labels.items() if not is_internal(label)},
        stoppable=True,
        created_at=metadata.created_at,
    )
    return with_machine_type(machine)


def with_machine_type(machine: Instance) -> Instance:
    from msgspec.structs import replace

    return replace(machine, instance_type_id=instance_type_id(machine))


def _unknown_state(number: int) -> str:
    return f"Nebius gives its state the number {number}, which is not known here"


def _between(message: InstanceMessage) -> LifecycleStatus:
    """Read a machine that is being changed, or whose state nobody knows: what it is meant to be counts."""
    return LifecycleStatus.STOPPED if message.spec.stopped else LifecycleStatus.RUNNING


def _is_spot(spec: InstanceSpec) -> bool:
    return spec.check_presence("preemptible") or spec.which_field_in_oneof("pricing_model") in (
        "follows_spot_price",
        "spot_pricing_policy",
    )


def _addresses(message: InstanceMessage) -> tuple[str, str]:
    """Give the public and the private address, which come as networks of one: `198.51.100.7/32`."""
    for interface in message.status.network_interfaces:
        public = interface.public_ip_address.address.partition("/")[0]
        return public, interface.ip_address.address.partition("/")[0]
    return "", ""


def _boot_disk(message: InstanceMessage, disks: Mapping[str, Disk]) -> tuple[Bytes, str]:
    """Give size and image; what is not known is empty."""
    boot = message.spec.boot_disk
    if boot.managed_disk is not None:
        return size_of(boot.managed_disk.spec), _image_of(boot.managed_disk.spec)
    disk = disks.get(boot.existing_disk.id) if boot.existing_disk is not None else None
    if disk is None:
        return Bytes(), ""
    size = _whole(disk.status.size_bytes) if disk.status.size_bytes else size_of(disk.spec)
    return size, _image_of(disk.spec)


def _image_of(spec: DiskSpec) -> str:
    if spec.source_image_id:
        return spec.source_image_id
    return spec.source_image_family.image_family if spec.source_image_family is not None else ""


def size_of(spec: DiskSpec) -> Bytes:
    """Read a size in whichever unit it stands."""
    total = (
        (spec.size_bytes or 0)
        + (spec.size_kibibytes or 0) * 2**10
        + (spec.size_mebibytes or 0) * 2**20
        + (spec.size_gibibytes or 0) * GIB
    )
    return _whole(total)


def _whole(total: int) -> Bytes:
    return Bytes(total // GIB, "GiB") if total % GIB == 0 else Bytes(total, "B")


def _asked_size(labels: Mapping[str, str], size: Bytes) -> Bytes:
    text = labels.get(DISK_LABEL, "")
    try:
        asked = Bytes.parse(text) if text else size
    except ValueError:
        return size
    return asked if whole_gib(asked) * GIB == size.total else size


# Firewall rules


def rule_specs(pieces: Mapping[str, Piece]) -> dict[str, SecurityRuleSpec]:
    """Write rules as a security group takes them, by name."""
    return {name: _rule_spec(piece) for name, piece in pieces.items()}


def _rule_spec(piece: Piece) -> SecurityRuleSpec:
    spec = SecurityRuleSpec(
        access=RuleAccessAction.ALLOW,
        protocol=RuleProtocol[piece.protocol.upper() or "ANY"],
        type=RuleType.STATEFUL,
    )
    if piece.is_inward:
        spec.ingress = RuleIngress(source_cidrs=list(piece.ranges), destination_ports=list(piece.ports))
    else:
        spec.egress = RuleEgress(destination_cidrs=list(piece.ranges), destination_ports=list(piece.ports))
    return spec


def read_rules(found: Iterable[SecurityRule]) -> FirewallRules:
    """Read the rules of a group as they were declared: what stands for SSH, for names and for all the way out, is not
    among them.
    """
    inward: dict[tuple[str, tuple[str, ...]], set[int]] = {}
    outward: dict[tuple[str, tuple[str, ...]], set[int]] = {}
    everything_out = False
    for rule in found:
        protocol = "" if rule.spec.protocol == RuleProtocol.ANY else rule.spec.protocol.name.lower()
        if rule.spec.ingress is not None:
            key = protocol, tuple(sorted(rule.spec.ingress.source_cidrs))
            inward.setdefault(key, set()).update(rule.spec.ingress.destination_ports or _EVERY_PORT)
        elif rule.spec.egress is not None:
            key = protocol, tuple(sorted(rule.spec.egress.destination_cidrs))
            ports = rule.spec.egress.destination_ports
            everything_out = everything_out or (key == ("", ()) and not ports)
            outward.setdefault(key, set()).update(ports or _EVERY_PORT)
    inward.get(("tcp", ()), set()).discard(22)
    for protocol in ("tcp", "udp"):
        outward.get((protocol, ()), set()).discard(53)
    return FirewallRules(ingress=tuple(_runs(inward)), egress=None if everything_out else tuple(_runs(outward)))


def _runs(found: Mapping[tuple[str, tuple[str, ...]], set[int]]) -> Iterator[FirewallRule]:
    """Give a rule for each run of ports; what is open to both protocols is one rule."""
    for (protocol, ranges), ports in found.items():
        twin = found.get(({"tcp": "udp", "udp": "tcp"}.get(protocol, ""), ranges), set())
        both = ports & twin if protocol == "tcp" else set()
        own = ports - twin if protocol in ("tcp", "udp") else ports
        for open_to, some in ((protocol, own), ("", both)):
            for low, high in _consecutive(sorted(some)):
                name = f"{open_to or 'tcp+udp'} {low}-{high} {','.join(ranges) or 'anywhere'}"
                yield FirewallRule(from_port=low, to_port=high, ip_ranges=ranges, protocol=open_to, id=name)


def _consecutive(ports: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for place in range(1, len(ports) + 1):
        if place == len(ports) or ports[place] != ports[place - 1] + 1:
            yield ports[start], ports[place - 1]
            start = place


# The catalogue


def read_type(platform: Platform, preset: Preset, region: str) -> InstanceType:
    """Read one preset of a platform, without its price and whether it can be had."""
    name, has = platform.metadata.name, preset.resources
    model = gpu_model(name) if has.gpu_count else ""
    return with_type_id(
        InstanceType(
            type=f"{name}.{preset.name}",
            location=region,
            provider=NAME,
            cloud=NAME,
            gpus=(_gpu(platform, preset, model),) if model else (),
            storage=(
                Storage(
                    type="network-ssd", size=DEFAULT_DISK, min_size=SMALLEST_DISK, max_size=LARGEST_DISK,
                    price_per_gb_hour=_DISK_PRICE, is_elastic=True,
                ),
            ),
            memory=Bytes(has.memory_gibibytes, "GiB"),
            vcpu=has.vcpu_count,
            # Grace stands beside a GB200, a GB300 and a GH200
            architectures=architectures_beside(model),
            stoppable=True,
            can_modify_firewall=True,
            elastic_root_volume=True,
            spot=platform.status.allowed_for_preemptibles,
        )
    )  # fmt: skip


def gpu_model(platform: str) -> str:
    """Read the model off a platform's name: `gpu-h100-sxm` has an H100, `gpu-rtx6000` an RTX PRO 6000."""
    parts = platform.split("-")
    model = parts[1].upper() if len(parts) > 1 and parts[0] == "gpu" else ""
    return canonical_name(_MODELS.get(model, model))


def _gpu(platform: Platform, preset: Preset, model: str) -> Gpu:
    said = platform.spec.gpu_memory_gigabytes or platform.spec.gpu_memory_gibibytes
    said = said or preset.resources.gpu_memory_gibibytes
    return Gpu(
        name=model,
        type=platform.metadata.name,
        count=preset.resources.gpu_count,
        memory=Bytes(nominal_gb(model, said or _VRAM.get(model, 0)), "GB"),
        interconnect=_built_in(platform.metadata.name, model),
    )


def _built_in(platform: str, model: str) -> str:
    """Read how GPUs are built in off a platform's name."""
    parts = platform.lower().split("-")
    return next((interconnect(part, model) for part in parts if part == "pcie" or part.startswith("sxm")), "")


class Stock:
    """What can be had: quotas of the tenant by region and name, and what the cloud has left, by region and type."""

    def __init__(self, quotas: Sequence[QuotaAllowance] | None, advice: Sequence[ResourceAdvice]) -> None:
        self._quotas = None if quotas is None else dict(_left(quotas))
        self._advice: dict[tuple[str, str, str], int] = {}
        for one in advice:
            if one.spec.compute_instance is not None:
                details = one.spec.compute_instance
                key = (one.spec.region, details.platform, details.preset.name)
                # several fabrics: the one with the most counts
                self._advice[key] = max(self._advice.get(key, 0), _available(one.status.on_demand))

    def left(self, platform: Platform, preset: Preset, region: str) -> int | None:
        """Give how many machines can be had; None where nothing says it, which is for the launch to find out."""
        bounds = [
            have // need
            for name, need in _needs(platform, preset)
            if need and (have := self._quota(region, name, preset)) is not None
        ]
        advised = self._advice.get((region, platform.metadata.name, preset.name))
        return min([*bounds, *([advised] if advised is not None else [])], default=None)

    def _quota(self, region: str, name: str, preset: Preset) -> int | None:
        """Give what is left of a quota. A GPU that there is no quota for cannot be had; CPUs can."""
        if self._quotas is None:
            return None
        return self._quotas.get((region, name), 0 if preset.resources.gpu_count else None)


def _needs(platform: Platform, preset: Preset) -> Iterator[tuple[str, int]]:
    has = preset.resources
    if has.gpu_count:
        model = gpu_model(platform.metadata.name).replace(" ", "").lower()
        yield platform.spec.gpu_count_quota_type or f"compute.instance.gpu.{model}", has.gpu_count
        return
    yield "compute.instance.non-gpu.vcpu", has.vcpu_count
    yield "compute.instance.non-gpu.memory", has.memory_gibibytes * GIB


def _left(quotas: Iterable[QuotaAllowance]) -> Iterator[tuple[tuple[str, str], int]]:
    for quota in quotas:
        is_active = quota.status.state == QuotaAllowanceStatus__State.STATE_ACTIVE
        limit = quota.spec.limit or 0
        yield (quota.spec.region, quota.metadata.name), max(0, limit - quota.status.usage) if is_active else 0


def _available(found: ResourceAdviceStatus__Availability) -> int:
    unknown = found.data_state == ResourceAdviceStatus__Availability__DataState.DATA_STATE_UNKNOWN
    level = ResourceAdviceStatus__Availability__AvailabilityLevel.AVAILABILITY_LEVEL_LIMIT_REACHED
    return 0 if unknown or found.availability_level == level else found.available


def read_price(text: str) -> Money | None:
    """Read USD an hour; what is no number is no price."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return Money(amount) if amount.is_finite() and amount >= 0 else None


def read_images(messages: Iterable[ImageMessage]) -> list[Image]:
    """Give images by id, and each family under its own name: it stands for the newest image in it."""
    found: dict[str, Image] = {}
    for message in messages:
        built_for = _architecture(message.spec.cpu_architecture)
        family, words = message.spec.image_family, message.spec.image_family_human_readable
        name = words or family or message.metadata.name
        found[message.metadata.id] = Image(
            id=message.metadata.id, name=name, architecture=built_for, description=message.spec.description,
            created_at=message.metadata.created_at,
        )  # fmt: skip
        if family:
            known = found.get(family)
            both = known is not None and known.architecture != built_for
            found[family] = Image(id=family, name=name, architecture="" if both else built_for)
    return [found[id_] for id_ in sorted(found)]


def _architecture(given: ImageSpec__CPUArchitecture) -> str:
    return "arm64" if given == ImageSpec__CPUArchitecture.ARM64 else "x86_64"
