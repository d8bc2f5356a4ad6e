"""Nebius AI Cloud: how the provider introduces itself. Its client stands in `nebius_client` and needs an extra.

The vendor's library is loaded with the first client only: whoever uses other clouds neither needs nor waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brevplan.contract.client import Capability, Connection, FirewallReach, Traits
from brevplan.contract.errors import Rejected, Sent
from brevplan.contract.model import ApiType, FirewallPattern
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.providers.nebius_launch import MOST_PORTS, NAME, OPTIONS, check_launch

if TYPE_CHECKING:
    from brevplan.providers.nebius_client import NebiusClient

ARGUMENTS: Final = (
    Argument(
        "service_account_key", sensitive=True, required=True, environment="NEBIUS_SERVICE_ACCOUNT_KEY",
        description="The service account's key: the JSON text of its credentials file, or a path to it.",
    ),
    Argument("tenant_id", required=True, environment="NEBIUS_TENANT_ID", description="The id of the tenant."),
    Argument(
        "project_id", environment="NEBIUS_PROJECT_ID",
        description="The one project to work in, and so the one region; all of the tenant's where it is left out.",
    ),
)  # fmt: skip

TRAITS: Final = Traits(
    provider=NAME,
    capabilities=frozenset(
        {
            Capability.CREATE,
            Capability.CREATE_IDEMPOTENT,
            Capability.CREATE_TERMINATE,
            Capability.IMAGES,
            Capability.MODIFY_FIREWALL,
            Capability.RESIZE_VOLUME,
            Capability.STOP_START,
            Capability.TAGS,
            Capability.TERMINATE,
            Capability.USER_DATA,
        }
    ),
    # The rules of a machine take one request each to read, so a list does not hold them.
    reports=frozenset(
        {"disk_size", "filesystems", "image_id", "instance_type", "location", "name", "power_state", "spot", "tags"}
    ),
    api_type=ApiType.LOCATIONAL,
    firewall_pattern=FirewallPattern.NATIVE,
    firewall=FirewallReach(ipv6=False, most_ports=MOST_PORTS),
    mutable_tags=True,
    in_place=frozenset({"name"}),
    instance_poll_s=5.0,
    catalogue_poll_s=300.0,
    creates_per_minute=10,
    # none is documented: ten a second leave room for a catalogue, whose prices are asked for one by one
    requests_per_minute=600,
    grace_window_s=60.0,
    promises=frozenset({"public_ip"}),
    option_names=frozenset(OPTIONS),
)


def connect(connection: Connection) -> NebiusClient:
    """Make the client of an account; raise `Rejected` where the vendor's library is not installed."""
    try:
        from brevplan.providers.nebius_client import NebiusClient  # an extra, and slow to load
    except ModuleNotFoundError as problem:
        raise Rejected(
            f"Nebius' own library is not installed ({problem.name}): pip install 'brevplan[nebius]'",
            provider=NAME, sent=Sent.NO,
        ) from None  # fmt: skip
    return NebiusClient(connection)


SPEC: Final = ProviderSpec(
    name=NAME, arguments=ARGUMENTS, traits=TRAITS, connect=connect, options=OPTIONS, check_launch=check_launch
)
