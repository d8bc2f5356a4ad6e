"""NVIDIA LaunchPad: the client of one account. What its words mean stands in `launchpad_wire`.

A launch bears its ref_id as `request_id`, which LaunchPad takes once: the same launch again finds the machine of the
first. Nothing stands beside a machine: its SSH key and the addresses that it lets in are part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network
from typing import Any, Final, TypeVar
from uuid import UUID

from brevplan.contract.client import Capability, Connection, FirewallReach, Traits, Urgency
from brevplan.contract.errors import CloudError, InstanceNotFound, Rejected, Sent, Unavailable
from brevplan.contract.model import (
    DEAD,
    EVERY_INSTANCE,
    EVERY_TYPE,
    CloudId,
    CreateInstanceAttrs,
    FirewallPattern,
    FirewallRules,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    Location,
    RefId,
    SideObject,
    matches,
    type_id,
    type_matches,
)
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.providers import launchpad_wire as wire
from brevplan.providers.http import HttpApi, api_key, tuned
from brevplan.providers.launchpad_wire import PROVIDER

Row = TypeVar("Row", wire.Deployment, wire.Offer)

BASE_URL: Final = "https://launchpad.api.nvidia.com"

# every path ends in a slash: without it the API redirects, and a redirected launch is none
_DEPLOYMENTS: Final = "v1/catalog/deployments/"
_TYPES: Final = "v1/catalog/instance-types/"
_EXPAND: Final = "cluster.nodes.location.provider,cluster.nodes.gpu"
_DEPLOYMENTS_A_PAGE: Final = 500
_TYPES_A_PAGE: Final = 100
_DELIVERIES: Final = ("fast", "slow")

ARGUMENTS: Final = (
    Argument(
        "api_token", sensitive=True, required=True, environment="LAUNCHPAD_API_TOKEN",
        description="A user's API token.",
    ),
    Argument(
        "org_name", required=True, environment="LAUNCHPAD_ORG_NAME",
        description="The organisation that deployments are requested for.",
    ),
    Argument(
        "requester_email", required=True, environment="LAUNCHPAD_REQUESTER_EMAIL",
        description="The e-mail address of who requests deployments.",
    ),
    Argument("requester_name", description="The name of who requests them; the e-mail address where it is left out."),
    Argument(
        "ip_allowlist", "list(string)",
        description="Single addresses that every machine lets in, beside those of its firewalls: yours.",
    ),
    Argument("experience_id", description="What is deployed onto machines; a minimal system where it is left out."),
    Argument("delivery", default="fast", description="`fast` or `slow`: how soon types of the catalogue can be had."),
    Argument("api_url", description="Base URL in place of the documented one, such as that of staging."),
)  # fmt: skip

TRAITS: Final = Traits(
    provider=PROVIDER,
    capabilities=frozenset(
        {
            Capability.CREATE,
            Capability.CREATE_IDEMPOTENT,
            Capability.TERMINATE,
            Capability.CREATE_TERMINATE,
            Capability.TAGS,
            Capability.MODIFY_FIREWALL,
        }
    ),
    reports=frozenset({"firewall_rules", "instance_type", "location", "name", "power_state", "tags"}),
    firewall_pattern=FirewallPattern.ALLOWLIST,
    firewall=FirewallReach(ports=False, egress=False, networks=False),
    mutable_tags=True,
    in_place=frozenset({"name"}),
    # a machine takes up to a quarter of an hour; this is a list of everything each time
    instance_poll_s=10.0,
    catalogue_poll_s=60.0,
    creates_per_minute=10,
    # none is documented
    requests_per_minute=30,
    grace_window_s=60.0,
    promises=frozenset({"public_ip"}),
    option_names=frozenset(wire.OPTIONS),
)


class LaunchpadClient:
    """The client of one account."""

    def __init__(self, connection: Connection) -> None:
        settings = connection.settings
        token = api_key(settings, PROVIDER, "LAUNCHPAD_API_TOKEN", "api_token")
        self._requester = _requester(settings)
        self._allowed = _allowed(settings.get("ip_allowlist"))
        self._experience = _text(settings, "experience_id")
        self._delivery = _text(settings, "delivery") or "fast"
        if self._delivery not in _DELIVERIES:
            raise _unusable(f'delivery: "{self._delivery}" is neither fast nor slow')
        # Without an address of the block's, a machine that no rule names one for could be reached by nobody.
        always = tuple(str(ip_network(text)) for text in self._allowed)
        reach = replace(TRAITS.firewall, ssh_from_anywhere=bool(always), always=always)
        self.traits = tuned(replace(TRAITS, firewall=reach, catalogue=self._delivery), settings)
        url = _text(settings, "api_url") or BASE_URL
        # another server is another account; `endpoint` is told apart by whoever asks for the tenant
        seed = token if url.rstrip("/") == BASE_URL else f"{token}\n{url.rstrip('/')}"
        self._tenant = f"{PROVIDER}-{sha256(seed.encode()).hexdigest()}"
        self._api = HttpApi(
            connection, TRAITS, base_url=url, headers={"Authorization": f"Token {token}"}, secrets=[token],
            explain=wire.explained,
        )  # fmt: skip

    # The account

    async def tenant_id(self) -> str:
        """Give what follows from the token alone: that the token is wrong shows at the first list."""
        return self._tenant

    async def aclose(self) -> None:
        await self._api.aclose()

    # Reading

    async def list_instances(
        self, wanted: InstanceFilter = EVERY_INSTANCE, *, urgency: Urgency = Urgency.POLL
    ) -> list[Instance]:
        # destroyed deployments stay in the list for ever: they are gone. In the order of making, what comes while the
        # pages are read comes at the end.
        query = {"expand": _EXPAND, "state_not": "destroyed", "ordering": "created"}
        found = (wire.instance(row) for row in await self._deployments(query, "list_instances", urgency))
        return [instance for instance in found if matches(instance, wanted)]

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        return wire.instance(await self._deployment(cloud_id, "get_instance"))

    async def get_instance_types(self, wanted: InstanceTypeFilter = EVERY_TYPE) -> list[InstanceType]:
        return [item for item in wire.types(await self._offers("get_instance_types")) if type_matches(item, wanted)]

    async def get_locations(self, *, include_unavailable: bool = False) -> list[Location]:
        left: dict[str, int] = {}
        for offer in await self._offers("get_locations"):
            for region, count in offer.places().items():
                left[region] = max(count, left.get(region, 0))
        found = [Location(name=region, available=count > 0) for region, count in sorted(left.items())]
        return [place for place in found if include_unavailable or place.available]

    # Coming and going

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        request = wire.launch(attrs, self._requester, self._allowed)
        self._choose_experience(request, attrs)
        try:
            made = await self._api.call(
                "POST", _DEPLOYMENTS, wire.Made, operation="create_instance", urgency=Urgency.CREATE, body=request
            )
        except Rejected as problem:
            if problem.code != wire.REF_TAKEN:
                raise
            return await self._made_before(attrs.ref_id, problem)
        return Instance(
            cloud_id=CloudId(made.made_id),
            ref_id=attrs.ref_id,
            cloud_cred_ref_id=attrs.cloud_cred_ref_id,
            address=attrs.address,
            name=attrs.name,
            status=LifecycleStatus.PENDING,
            instance_type=attrs.instance_type,
            instance_type_id=type_id(attrs.location, "", attrs.instance_type),
            location=attrs.location,
            tags=dict(attrs.tags),
        )

    def _choose_experience(self, request: wire.Launch, attrs: CreateInstanceAttrs) -> None:
        """Say what is to be deployed: as the machine's options say, else the provider block, else a minimal system."""
        usual = {"experience_id": self._experience or wire.usual_experience(attrs.instance_type)}
        for name, value in (wire.experience(attrs.options) or usual).items():
            setattr(request, name, value)

    async def _made_before(self, ref_id: RefId, problem: Rejected) -> Instance:
        """Give the machine that has a ref_id already; the refusal does not name it.

        This is the second half of one launch, for the answer of the first is all that makes it go by the name.
        """
        query = {"expand": _EXPAND, "request_id": ref_id, "ordering": "created"}
        try:
            rows = await self._deployments(query, "create_instance", Urgency.SETTLE)
        except CloudError as failure:
            failure.sent = Sent.MAYBE  # there is a machine, whatever the reason why it is not seen
            raise
        found = [machine for row in rows if (machine := wire.instance(row)).ref_id == ref_id]
        for machine in sorted(found, key=lambda machine: machine.status in DEAD):
            return machine
        raise Unavailable(
            f"a deployment of this name is said to exist, and is not in the list yet: {problem.message}",
            provider=PROVIDER, operation="create_instance", http_status=problem.http_status, sent=Sent.MAYBE,
        )  # fmt: skip

    async def terminate_instance(self, cloud_id: CloudId) -> None:
        try:
            path = _path(cloud_id, "terminate_instance")
            await self._api.call("DELETE", path, type(None), operation="terminate_instance", urgency=Urgency.SETTLE)
        except InstanceNotFound:
            return
        except Rejected as problem:
            if problem.code != wire.ALREADY_ENDING:
                raise

    async def fence(self, ref_id: RefId) -> bool:
        """Give False: nothing keeps a launch that is under way from landing."""
        return False

    async def release(self, ref_id: RefId) -> None:
        """Do nothing: no attempt leaves anything beside its machine."""

    async def side_objects(self) -> list[SideObject]:
        return []

    # Changing. An update replaces all tags, and tags without the marks would orphan the machine. So each of the three
    # reads what is there first.

    async def update_tags(self, cloud_id: CloudId, tags: Mapping[str, str]) -> None:
        wanted = wire.checked(tags)
        present = await self._tags(cloud_id, "update_tags")
        kept = {key: value for key, value in present.items() if key in wire.RESERVED_TAGS}
        await self._set_tags(cloud_id, {**kept, **wanted}, "update_tags")

    async def update_mark(self, cloud_id: CloudId, *, address: str | None) -> None:
        present = await self._tags(cloud_id, "update_mark")
        gone = wire.MARKS if address is None else (wire.ADDRESS_TAG,)
        kept = {key: value for key, value in present.items() if key not in gone}
        written = {} if address is None else {wire.ADDRESS_TAG: address}
        await self._set_tags(cloud_id, {**kept, **written}, "update_mark")

    async def rename_instance(self, cloud_id: CloudId, name: str) -> None:
        present = await self._tags(cloud_id, "rename_instance")
        await self._set_tags(cloud_id, {**present, wire.NAME_TAG: name}, "rename_instance")

    async def replace_firewall_rules(self, cloud_id: CloudId, rules: FirewallRules) -> None:
        """Let in the addresses of the rules and those of the block, and nobody else."""
        path = _path(cloud_id, "replace_firewall_rules")
        update = wire.AllowlistUpdate(wire.allowlist(rules, self._allowed))
        await self._api.call("PATCH", path, type(None), operation="replace_firewall_rules", body=update)

    async def _tags(self, cloud_id: CloudId, operation: str) -> dict[str, Any]:
        return wire.present_tags(await self._deployment(cloud_id, operation))

    async def _set_tags(self, cloud_id: CloudId, tags: dict[str, Any], operation: str) -> None:
        path = _path(cloud_id, operation)
        await self._api.call("PATCH", path, type(None), operation=operation, body=wire.TagUpdate(tags))

    # Every call

    async def _deployment(self, cloud_id: CloudId, operation: str) -> wire.Deployment:
        path = _path(cloud_id, operation)
        return await self._api.call("GET", path, wire.Deployment, operation=operation, query={"expand": _EXPAND})

    async def _deployments(self, query: Mapping[str, str], operation: str, urgency: Urgency) -> list[wire.Deployment]:
        given = {**query, "page_size": str(_DEPLOYMENTS_A_PAGE)}
        rows = await self._pages(_DEPLOYMENTS, wire.Page[wire.Deployment], given, operation, urgency)
        if len({row.deployment_id for row in rows}) != len(rows):
            raise _partial(operation)
        return rows

    async def _offers(self, operation: str) -> list[wire.Offer]:
        query = {"delivery": self._delivery, "page_size": str(_TYPES_A_PAGE)}
        return await self._pages(_TYPES, wire.Page[wire.Offer], query, operation, Urgency.POLL)

    async def _pages(
        self, path: str, into: type[wire.Page[Row]], query: Mapping[str, str], operation: str, urgency: Urgency
    ) -> list[Row]:
        """Read all pages, or raise: a list that has moved between two of its pages may lack somebody.

        The URL of the next page is not followed, for it may lead anywhere: pages are asked for by number.
        """
        found: list[Row] = []
        total, number = None, 1
        while True:
            page = await self._api.call(
                "GET", path, into, operation=operation, urgency=urgency, query={**query, "page": str(number)}
            )
            total = page.count if total is None else total
            found += page.results
            is_last = not page.next
            if page.count != total or len(found) > total or (is_last and len(found) < total):
                raise _partial(operation)
            if is_last:
                return found
            if not page.results:
                raise _partial(operation)
            number += 1


def _partial(operation: str) -> Unavailable:
    return Unavailable(
        "the pages of the list do not fit together: it has changed while it was read",
        provider=PROVIDER, operation=operation,
    )  # fmt: skip


def _path(cloud_id: CloudId, operation: str) -> str:
    """Give the path of a deployment; what is no UUID is the id of none."""
    try:
        is_id = str(UUID(cloud_id)) == cloud_id.lower()
    except ValueError:
        is_id = False
    if not is_id:
        raise InstanceNotFound(
            f'"{cloud_id}" is not the UUID of a deployment', provider=PROVIDER, operation=operation, sent=Sent.NO
        )
    return f"{_DEPLOYMENTS}{cloud_id.lower()}/"


# Settings


def _text(settings: Mapping[str, object], name: str) -> str:
    return str(settings.get(name) or "").strip()


def _requester(settings: Mapping[str, object]) -> dict[str, str]:
    email, organisation = _text(settings, "requester_email"), _text(settings, "org_name")
    if not organisation or "@" not in email:
        raise _unusable("org_name and requester_email say who requests deployments: a name and an e-mail address")
    return {
        "org_name": organisation,
        "requester_email": email,
        "requester_name": _text(settings, "requester_name") or email,
    }


def _allowed(given: object) -> tuple[str, ...]:
    texts: Iterable[object] = given if isinstance(given, (list, tuple)) else ()
    return tuple(sorted({wire.address(str(text), "ip_allowlist") for text in texts}))


def _unusable(reason: str) -> Rejected:
    return Rejected(reason, provider=PROVIDER, sent=Sent.NO)


def connect(connection: Connection) -> LaunchpadClient:
    return LaunchpadClient(connection)


SPEC: Final = ProviderSpec(
    name=PROVIDER,
    arguments=ARGUMENTS,
    traits=TRAITS,
    connect=connect,
    options=wire.OPTIONS,
    check_launch=wire.check_launch,
)
