"""What Nebius' messages mean in the contract's nouns, and back. Pure: no request is made here.

The marks of a machine are labels. What a label may hold is not documented, so what is no tag of the user's is written
in letters, digits, `.`, `-` and `_`, and in pieces of at most 63.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from hashlib import blake2s
from string import ascii_letters, digits
from typing import Any, Final, TypeVar

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
    SecurityGroup,
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
from brevplan.contract.gpu import architectures_beside
from brevplan.contract.model import (
    CloudId,
    CreateInstanceAttrs,
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
from brevplan.contract.openings import Opening, openings
from brevplan.providers.nebius import MOST_PORTS, NAME

T = TypeVar("T")

OURS: Final = "bp-"
DISK_SUFFIX: Final = "-boot-disk"

REF_LABEL: Final = "environment-id"
USER_LABEL: Final = "brev-user"
"""Where Brev's SDK looks for the ref_id of a machine."""
CRED_LABEL: Final = "cloud-cred-ref-id"
MAKER_LABEL: Final = "created-by"
TYPE_LABEL: Final = "instance-type-id"
NAME_LABEL: Final = "brevplan-name"
ADDRESS_LABEL: Final = "brevplan-address"
DISK_LABEL: Final = "brevplan-disk-size"

MARKS: Final = frozenset({REF_LABEL, USER_LABEL, CRED_LABEL, MAKER_LABEL})
INTERNAL: Final = MARKS | {TYPE_LABEL, NAME_LABEL, DISK_LABEL}

_GIB: Final = 2**30
_LABEL_LENGTH: Final = 63
_PLAIN: Final = (ascii_letters + digits + ".-").encode()
_MOST_IN_A_RULE: Final = 8
"""How many ports, and how many address ranges, one rule of a security group takes."""

_EVERY_PORT: Final = range(1, 65536)

DEFAULT_DISK: Final = Bytes(1280, "GiB")
SMALLEST_DISK: Final = Bytes(50, "GiB")
LARGEST_DISK: Final = Bytes(2560, "GiB")
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

_VRAM: Final = {
    "A10": 24, "A100": 80, "B200": 192, "B300": 270, "GB200": 192, "GB300": 270, "H100": 80, "H200": 141, "L4": 24,
    "L40S": 48, "RTX 6000": 96, "T4": 16, "V100": 32,
}  # fmt: skip
"""GB of a GPU, for platforms that do not say it."""

_SXM: Final = {"A100": "SXM4", "B200": "SXM6", "B300": "SXM6", "H100": "SXM5", "H200": "SXM5", "V100": "SXM2"}

_COUNTRIES: Final = {
    "asia-east1": "TWN", "eu-north1": "FIN", "eu-west1": "NLD", "eu-west2": "BEL", "eu-west3": "DEU", "eu-west4": "FRA",
}  # fmt: skip


def country_of(region: str) -> str:
    return "USA" if region.startswith("us-") else _COUNTRIES.get(region, "")


# Labels


def labels_of(attrs: CreateInstanceAttrs) -> dict[str, str]:
    """Write the labels of a new machine; raise `ValueError` for tags that could not be told from marks."""
    return {
        **checked_tags(attrs.tags),
        **marks_of(attrs.ref_id),
        USER_LABEL: attrs.ref_id,
        CRED_LABEL: attrs.cloud_cred_ref_id,
        TYPE_LABEL: attrs.instance_type,
        **({NAME_LABEL: attrs.name} if attrs.name else {}),
        **address_labels(attrs.address),
        **disk_label(attrs.disk_size),
    }


def marks_of(ref_id: str) -> dict[str, str]:
    """Give the labels of everything that is made for an attempt."""
    return {MAKER_LABEL: "brevplan", REF_LABEL: ref_id}


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for tag in tags:
        if is_internal(tag) or not tag:
            raise ValueError(f'tags: "{tag}" is a name that brevplan marks machines with: choose another one')
    return dict(tags)


def is_internal(label: str) -> bool:
    return label in INTERNAL or label.startswith(ADDRESS_LABEL)


def address_labels(address: str) -> dict[str, str]:
    """Write an address in pieces: `instance.m[0]` is `instance.m_5b0_5d`."""
    text = "".join(chr(byte) if byte in _PLAIN else f"_{byte:02x}" for byte in address.encode())
    pieces = [text[start : start + _LABEL_LENGTH] for start in range(0, len(text), _LABEL_LENGTH)]
    return {ADDRESS_LABEL + (f"-{number}" if number else ""): piece for number, piece in enumerate(pieces)}


def read_address(labels: Mapping[str, str]) -> str:
    pieces: list[str] = []
    while (piece := labels.get(ADDRESS_LABEL + (f"-{len(pieces)}" if pieces else ""))) is not None:
        pieces.append(piece)
    text = re.sub(r"_([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), "".join(pieces))
    # each byte stands as one character until here
    return text.encode("latin-1", "replace").decode(errors="replace")


def disk_label(size: Bytes | None) -> dict[str, str]:
    """Keep a size that is not whole GiB as it was asked for: the disk is larger by less than one."""
    return {DISK_LABEL: f"{size.value}{size.unit}"} if size is not None and size.total % _GIB else {}


def whole_gib(size: Bytes) -> int:
    """Give the GiB of a disk that holds so much."""
    return -(-size.total // _GIB)


# A launch


def launch_spec(attrs: CreateInstanceAttrs, project: str, subnet: str, security_group: str) -> InstanceSpec:
    """Write what a machine is asked for with; raise `ValueError` for what cannot be asked for."""
    platform, cut, preset = attrs.instance_type.partition(".")
    if not (platform and cut and preset):
        raise ValueError(
            f'instance_type: "{attrs.instance_type}" is not PLATFORM.PRESET, such as gpu-h100-sxm.1gpu-16vcpu-200gb'
        )
    if attrs.sub_location:
        raise ValueError("sub_location: there are no zones here; leave it out")
    spec = InstanceSpec(
        resources=ResourcesSpec(platform=platform, preset=preset),
        network_interfaces=[
            NetworkInterfaceSpec(
                name="eth0",
                subnet_id=subnet,
                ip_address=IPAddress(),
                public_ip_address=PublicIPAddress(static=False),
                security_groups=[SecurityGroup(id=security_group)],
            )
        ],
        # the disk is made and ended with the machine: nothing is left of a launch that fails
        boot_disk=AttachedDiskSpec(
            attach_mode=AttachedDiskSpec__AttachMode.READ_WRITE,
            device_id="boot-disk",
            managed_disk=ManagedDisk(
                name=f"{attrs.ref_id}{DISK_SUFFIX}", labels=marks_of(attrs.ref_id), spec=_disk_spec(attrs, project)
            ),
        ),
        filesystems=[
            AttachedFilesystemSpec(
                attach_mode=AttachedFilesystemSpec__AttachMode.READ_WRITE,
                mount_tag=f"filesystem-{number}",
                existing_filesystem=ExistingFilesystem(id=filesystem),
            )
            for number, filesystem in enumerate(attrs.filesystems)
        ],
        cloud_init_user_data=start_data(attrs.public_key, attrs.user_data),
        hostname=attrs.options.get("hostname", ""),
    )
    if attrs.spot:
        spec.preemptible = PreemptibleSpec(on_preemption=PreemptibleSpec__PreemptionPolicy.STOP)
        spec.recovery_policy = InstanceRecoveryPolicy.FAIL
    return spec


def _disk_spec(attrs: CreateInstanceAttrs, project: str) -> DiskSpec:
    size = attrs.disk_size or DEFAULT_DISK
    if not SMALLEST_DISK.total <= size.total <= LARGEST_DISK.total:
        raise ValueError(f"disk_size: a disk can be {SMALLEST_DISK} to {LARGEST_DISK}, not {size}")
    spec = DiskSpec(type=DiskSpec__DiskType.NETWORK_SSD, size_gibibytes=whole_gib(size))
    image = attrs.image_id or default_family(attrs.instance_type)
    if image.startswith("computeimage-"):
        spec.source_image_id = image
    else:
        spec.source_image_family = SourceImageFamily(image_family=image, parent_id=public_images(project))
    return spec


def default_family(instance_type: str) -> str:
    return "ubuntu24.04-cuda13.0" if instance_type.startswith("gpu-") else "ubuntu24.04-driverless"


def public_images(project: str) -> str:
    """Give the project of the public images: its name holds the routing code, the three letters behind `project-`."""
    routing = project.removeprefix("project-")[:3] if project.startswith("project-") else ""
    return f"project-{routing if len(routing) == 3 else 'e00'}public-images"


def start_data(public_key: str, user_data: str) -> str:
    """Write cloud-init's configuration as JSON, which is YAML too: nothing in a user's text can break out of it."""
    config: dict[str, Any] = {}
    text = user_data.lstrip()
    if text.startswith("#cloud-config"):
        config = _configuration(text)
    elif text.startswith("#!"):
        path = "/var/lib/brevplan/user-data"
        script = b64encode(text.encode()).decode()
        config["write_files"] = [{"path": path, "permissions": "0700", "encoding": "b64", "content": script}]
        config["runcmd"] = [[path]]
    elif text:
        raise ValueError("user_data must be a script that begins with #!, such as #!/bin/sh, or with #cloud-config")
    keys = config.get("ssh_authorized_keys") or []
    if not isinstance(keys, list):
        raise ValueError("user_data: ssh_authorized_keys is not a list")
    config["ssh_authorized_keys"] = [public_key.strip(), *keys]
    return f"#cloud-config\n{json.dumps(config)}\n"


def _configuration(text: str) -> dict[str, Any]:
    import yaml  # only a start-up text of this form needs it

    try:
        found = yaml.safe_load(text)
        json.dumps(found)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        raise ValueError("user_data begins with #cloud-config and is not YAML that cloud-init can read") from None
    if found is not None and not isinstance(found, dict):
        raise ValueError("user_data begins with #cloud-config and is no mapping of names to values")
    return found or {}


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
        + (spec.size_gibibytes or 0) * _GIB
    )
    return _whole(total)


def _whole(total: int) -> Bytes:
    return Bytes(total // _GIB, "GiB") if total % _GIB == 0 else Bytes(total, "B")


def _asked_size(labels: Mapping[str, str], size: Bytes) -> Bytes:
    text = labels.get(DISK_LABEL, "")
    try:
        asked = Bytes.parse(text) if text else size
    except ValueError:
        return size
    return asked if whole_gib(asked) * _GIB == size.total else size


# Firewall rules


def written_rules(rules: FirewallRules) -> dict[str, SecurityRuleSpec]:
    """Write rules by name; raise `ValueError` for what a security group cannot hold. A name says what its rule is."""
    wanted = openings(rules, (22,))
    found: dict[str, SecurityRuleSpec] = {}
    for opening in (*wanted.ssh, *wanted.ingress):
        for protocol, ranges, ports in _pieces(opening):
            spec = _rule(protocol)
            spec.ingress = RuleIngress(source_cidrs=ranges, destination_ports=ports)
            found[_rule_name("ingress", protocol, ranges, ports)] = spec
    # a name can be looked up wherever else the way out is closed
    outward = [Opening(1, 65535)] if wanted.egress is None else [Opening(53, 53), *wanted.egress]
    for opening in outward:
        for protocol, ranges, ports in _pieces(opening, any_protocol=wanted.egress is None):
            spec = _rule(protocol)
            spec.egress = RuleEgress(destination_cidrs=ranges, destination_ports=ports)
            found[_rule_name("egress", protocol, ranges, ports)] = spec
    return found


def _rule(protocol: RuleProtocol) -> SecurityRuleSpec:
    return SecurityRuleSpec(access=RuleAccessAction.ALLOW, protocol=protocol, type=RuleType.STATEFUL)


def _pieces(opening: Opening, *, any_protocol: bool = False) -> Iterator[tuple[RuleProtocol, list[str], list[int]]]:
    """Cut an opening into what one rule takes. No ports are all of them, no ranges anywhere."""
    if any(":" in text for text in opening.ranges):
        raise ValueError("firewalls: Nebius' security groups have no rules for IPv6")
    everything = (opening.low, opening.high) == (1, 65535)
    if not everything and opening.high - opening.low >= MOST_PORTS:
        raise ValueError(
            f"firewalls: ports {opening.low} to {opening.high} are more than {MOST_PORTS}, and Nebius' security groups "
            "know no ranges: name fewer, or all from 1 to 65535"
        )
    ports = [] if everything else list(range(opening.low, opening.high + 1))
    protocols = [RuleProtocol.ANY] if any_protocol else [RuleProtocol[name.upper()] for name in opening.protocols]
    for protocol in protocols:
        for some_ranges in _parts(list(opening.ranges)):
            for some_ports in _parts(ports):
                yield protocol, some_ranges, some_ports


def _parts(items: Sequence[T]) -> Iterator[list[T]]:
    """Cut a list into parts that one rule takes; an empty list is one part, and means everything."""
    for start in range(0, max(len(items), 1), _MOST_IN_A_RULE):
        yield list(items[start : start + _MOST_IN_A_RULE])


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


def _rule_name(direction: str, protocol: RuleProtocol, ranges: Iterable[str], ports: Iterable[int]) -> str:
    text = json.dumps([direction, protocol.name, sorted(ranges), sorted(ports)])
    return f"{OURS}{direction}-{blake2s(text.encode(), digest_size=8).hexdigest()}"


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
    """Read the model off a platform's name: `gpu-h100-sxm` has an H100, `gpu-rtx6000` an RTX 6000."""
    parts = platform.split("-")
    model = parts[1].upper() if len(parts) > 1 and parts[0] == "gpu" else ""
    return f"RTX {model[3:]}" if model.startswith("RTX") and model[3:] else model


def _gpu(platform: Platform, preset: Preset, model: str) -> Gpu:
    said = platform.spec.gpu_memory_gigabytes or platform.spec.gpu_memory_gibibytes
    said = said or preset.resources.gpu_memory_gibibytes
    return Gpu(
        name=model,
        type=platform.metadata.name,
        count=preset.resources.gpu_count,
        memory=Bytes(said or _VRAM.get(model, 0), "GB"),
        interconnect=_interconnect(platform.metadata.name, model),
    )


def _interconnect(platform: str, model: str) -> str:
    """Read how GPUs are built in: a bare `sxm` is the generation that the model has."""
    for part in platform.lower().split("-"):
        if part == "pcie":
            return "PCIe"
        if part.startswith("sxm"):
            return part.upper() if part != "sxm" else _SXM.get(model, "SXM")
    return ""


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
    yield "compute.instance.non-gpu.memory", has.memory_gibibytes * _GIB


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
