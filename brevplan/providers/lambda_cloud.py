"""Lambda Cloud: translates the contract's calls to its API, and its answers and errors back.

A launch is known by its SSH key: the key is registered under the ref_id, and a launch that names a key that is not
there any more fails. Firewall rules are a ruleset of the machine's own, named like the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec

from brevplan.contract.client import Capability, Connection, FirewallReach, Traits, Urgency
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
from brevplan.contract.model import (
    EVERY_INSTANCE,
    EVERY_TYPE,
    CloudId,
    CreateInstanceAttrs,
    FirewallPattern,
    FirewallRules,
    Image,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    LifecycleStatus,
    Location,
    RefId,
    SideObject,
    matches,
    type_matches,
)
from brevplan.contract.provider import Argument, ProviderSpec
from brevplan.providers import lambda_wire as wire
from brevplan.providers.http import Answer, HttpApi, by_status, segment, tuned
from brevplan.providers.lambda_wire import PROVIDER, Data

T = TypeVar("T")

BASE_URL: Final = "https://cloud.lambda.ai/api/v1"


ARGUMENTS: Final = (
    Argument(
        "api_key", sensitive=True, required=True, environment="LAMBDA_API_KEY", description="The account's API key."
    ),
)

OPTIONS: Final = {
    "hostname": "The machine's own host name: lower-case letters, digits and dashes, at most 63.",
    "image_family": "The newest image of this family, in place of image_id.",
}

TRAITS: Final = Traits(
    provider=PROVIDER,
    capabilities=frozenset(
        {
            Capability.CREATE,
            Capability.CREATE_TERMINATE,
            Capability.IMAGES,
            Capability.MODIFY_FIREWALL,
            Capability.REBOOT,
            Capability.TERMINATE,
            Capability.USER_DATA,
        }
    ),
    # Images, start-up scripts and keys are not shown; file systems are, in an order that nobody promises.
    reports=frozenset(
        {"disk_size", "firewall_rules", "instance_type", "location", "name", "power_state", "spot", "tags"}
    ),
    firewall_pattern=FirewallPattern.NATIVE,
    firewall=FirewallReach(ipv6=False, egress=False),
    recoverable="partial",
    catalogue_poll_s=300.0,
    creates_per_minute=5,
    requests_per_minute=60,
    grace_window_s=60.0,
    option_names=frozenset(OPTIONS),
)

_OURS: Final = "bp-"
"""What the names of everything that we make begin with."""

_TAG_KEY: Final = re.compile(r"[a-z][a-z0-9:-]{1,54}")
_TAG_VALUE: Final = 128
_HOSTNAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LONGEST_KEY_NAME: Final = 64
_LONGEST_CRED: Final = 39
"""What a machine's name of 64 characters leaves beside the time."""
_LONGEST_PUBLIC_KEY: Final = 4096
_LONGEST_USER_DATA: Final = 1_000_000

_LAUNCH: Final = "create_instance"
_ADD_RULESET: Final = "add_ruleset"
_DELETE_KEY: Final = "delete_ssh_key"


class LambdaClient:
    """The client of one account."""

    def __init__(self, connection: Connection) -> None:
        self.traits = tuned(TRAITS, connection.settings)
        self._clock = connection.clock
        key = _api_key(connection)
        # in the form of Brev's SDK, so that both call one account the same
        self._tenant = f"lambdalabs-{sha256(key.encode()).hexdigest()}"
        self._api = HttpApi(
            connection, TRAITS, base_url=BASE_URL, headers={"Authorization": f"Bearer {key}"}, secrets=[key],
            explain=explain,
        )  # fmt: skip

    # The account

    async def tenant_id(self) -> str:
        """Give what the key makes of the account: the API names it nowhere, so another key is another account."""
        return self._tenant

    async def aclose(self) -> None:
        await self._api.aclose()

    # Reading

    async def list_instances(
        self, wanted: InstanceFilter = EVERY_INSTANCE, *, urgency: Urgency = Urgency.POLL
    ) -> list[Instance]:
        """Give the machines; where one has rules of its own, one more request reads those of all."""
        found = await self._get("instances", Data[list[wire.Machine]], "list_instances", urgency)
        machines = await self._with_rules(found, urgency)
        return [machine for machine in machines if matches(machine, wanted)]

    async def get_instance(self, cloud_id: CloudId) -> Instance:
        found = await self._get(f"instances/{segment(cloud_id)}", Data[wire.Machine], "get_instance")
        return (await self._with_rules([found], Urgency.POLL))[0]

    async def _with_rules(self, found: Sequence[wire.Machine], urgency: Urgency) -> list[Instance]:
        rulesets: dict[str, wire.Ruleset] = {}
        if any(machine.firewall_rulesets for machine in found):
            rulesets = {one.id: one for one in await self._rulesets(urgency)}
        return [wire.read_machine(machine, rulesets) for machine in found]

    async def get_instance_types(self, wanted: InstanceTypeFilter = EVERY_TYPE) -> list[InstanceType]:
        entries = await self._catalogue("get_instance_types")
        return [item for item in wire.read_types(entries) if type_matches(item, wanted)]

    async def get_locations(self, *, include_unavailable: bool = False) -> list[Location]:
        return wire.read_locations(await self._catalogue("get_locations"))

    async def get_images(self, *, architectures: Sequence[str] = (), names: Sequence[str] = ()) -> list[Image]:
        entries = await self._get("images", Data[list[wire.ImageEntry]], "get_images")
        return wire.read_images(entries, architectures, names)

    async def _catalogue(self, operation: str) -> dict[str, msgspec.Raw]:
        return await self._get("instance-types", Data[dict[str, msgspec.Raw]], operation)

    async def _keys(self) -> list[wire.SshKey]:
        return await self._get("ssh-keys", Data[list[wire.SshKey]], "list_ssh_keys", Urgency.SETTLE)

    async def _rulesets(self, urgency: Urgency = Urgency.SETTLE) -> list[wire.Ruleset]:
        return await self._get("firewall-rulesets", Data[list[wire.Ruleset]], "list_rulesets", urgency)

    # Coming and going

    async def create_instance(self, attrs: CreateInstanceAttrs) -> Instance:
        """Register the key, make the ruleset, and launch. What fails before the launch was never sent."""
        with _never_sent(_LAUNCH):
            launch = _launch_of(attrs, wire.machine_name(attrs.cloud_cred_ref_id, self._clock.now()))
            rules = wire.write_rules(attrs.firewall_rules)
            if attrs.filesystems:
                launch["file_system_names"] = await self._file_system_names(attrs)
            await self._register(attrs.ref_id, attrs.public_key)
            ruleset = await self._add_ruleset(attrs, rules)
            launch["firewall_rulesets"] = [{"id": ruleset}]
        answer = await self._post(
            "instance-operations/launch", launch, Data[wire.Launched], _LAUNCH, urgency=Urgency.CREATE
        )
        if not answer.instance_ids:
            raise Unavailable(
                "the launch was answered without an id", provider=PROVIDER, operation=_LAUNCH, sent=Sent.MAYBE
            )
        return Instance(
            cloud_id=CloudId(answer.instance_ids[0]),
            ref_id=attrs.ref_id,
            cloud_cred_ref_id=attrs.cloud_cred_ref_id,
            name=attrs.name,
            status=LifecycleStatus.PENDING,
            instance_type=attrs.instance_type,
            location=attrs.location,
            ssh_user="ubuntu",
            tags=dict(attrs.tags),
            rebootable=True,
        )

    async def _file_system_names(self, attrs: CreateInstanceAttrs) -> list[str]:
        """Give the names by which a launch asks for file systems: each is mounted at its own usual place."""
        there = await self._get("file-systems", Data[list[wire.FileSystem]], "list_file_systems", Urgency.SETTLE)
        by_id = {one.id: one for one in there}
        names = []
        for wanted in attrs.filesystems:
            found = by_id.get(wanted)
            if found is None:
                known = ", ".join(sorted(f"{one.id} ({one.name})" for one in there)) or "none"
                raise _rejected(f'there is no file system with the id "{wanted}"; known are: {known}')
            if found.region is not None and found.region.name != attrs.location:
                raise _rejected(
                    f"the file system {wanted} ({found.name}) is in {found.region.name}, and the machine is to be in "
                    f"{attrs.location}: both have to be in one region"
                )
            names.append(found.name)
        return names

    async def _register(self, ref_id: str, public_key: str) -> None:
        """Make sure that the key stands there under the ref_id: the launch names it, by name."""
        for key in await self._keys():
            if key.name == ref_id:
                if _same_key(key.public_key, public_key):
                    return
                raise _rejected(f"another SSH key is registered under the name {ref_id} already: delete it at Lambda")
        # without `public_key` the API would make a pair of its own and say nothing
        body = {"name": ref_id, "public_key": public_key.strip()}
        await self._post("ssh-keys", body, Data[wire.SshKey], "add_ssh_key")

    async def _add_ruleset(self, attrs: CreateInstanceAttrs, rules: list[dict[str, Any]]) -> str:
        body = {"name": attrs.ref_id, "region": attrs.location, "rules": rules}
        return (await self._post("firewall-rulesets", body, Data[wire.Reference], _ADD_RULESET)).id

    async def terminate_instance(self, cloud_id: CloudId) -> None:
        """Start the end. A refusal of a machine that is there is for now: it may be booting."""
        operation = "terminate_instance"
        try:
            done = await self._post(
                "instance-operations/terminate", {"instance_ids": [cloud_id]}, Data[wire.Terminated], operation
            )
        except InstanceNotFound:
            return
        except Rejected as problem:
            if "vm-is-terminating" in f"{problem.code} {problem.message}":
                return
            raise _not_yet(problem.message, operation, problem) from None
        if all(one.id != cloud_id for one in done.terminated_instances):
            raise _not_yet(f"{cloud_id} is not among those that the answer calls terminated", operation)

    async def reboot_instance(self, cloud_id: CloudId) -> None:
        operation = "reboot_instance"
        done = await self._post(
            "instance-operations/restart", {"instance_ids": [cloud_id]}, Data[wire.Restarted], operation
        )
        if all(one.id != cloud_id for one in done.restarted_instances):
            raise _not_yet(f"{cloud_id} is not among those that the answer calls restarted", operation)

    # What stands beside machines

    async def fence(self, ref_id: RefId) -> bool:
        """Delete the key of an attempt: a launch that is late names what is not there, and fails.

        A key in use is `NotReady`: the attempt has a machine, which a list is going to show.
        """
        await self._delete_keys(ref_id)
        return True

    async def release(self, ref_id: RefId) -> None:
        # the ref_id of a machine that others made may be the name of a key that they still need
        if not ref_id.startswith(_OURS):
            return
        for ruleset in await self._rulesets():
            if ruleset.name == ref_id:
                await self._delete("firewall-rulesets", ruleset.id, "delete_ruleset")
        await self._delete_keys(ref_id)

    async def side_objects(self) -> list[SideObject]:
        keys = [SideObject(kind="ssh-key", id=one.id, ref_id=one.name) for one in await self._keys()]
        rulesets = [SideObject(kind="firewall-ruleset", id=one.id, ref_id=one.name) for one in await self._rulesets()]
        ours = [one for one in (*keys, *rulesets) if one.ref_id.startswith(_OURS)]
        return sorted(ours, key=lambda one: (one.ref_id, one.kind, one.id))

    async def _delete_keys(self, ref_id: str) -> None:
        for key in await self._keys():
            if key.name == ref_id:
                await self._delete("ssh-keys", key.id, _DELETE_KEY)

    async def _delete(self, kind: str, id_: str, operation: str) -> None:
        try:
            await self._api.call(
                "DELETE", f"{kind}/{segment(id_)}", Data[dict[str, Any]], operation=operation, urgency=Urgency.SETTLE
            )
        except NotFound:
            return  # somebody was quicker

    # Changing

    async def replace_firewall_rules(self, cloud_id: CloudId, rules: FirewallRules) -> None:
        """Change the machine's own ruleset. One that other machines share is left alone."""
        operation = "replace_firewall_rules"
        with _never_sent(operation):
            written = wire.write_rules(rules)
        found = await self._get(f"instances/{segment(cloud_id)}", Data[wire.Machine], "get_instance")
        ids = [one.id for one in found.firewall_rulesets or ()]
        attached = [one for one in await self._rulesets() if one.id in ids] if ids else []
        if not attached:
            raise _rejected(
                f"{cloud_id} was launched without a firewall ruleset, and Lambda attaches one at launch only: "
                "replace the machine, or change the account's rules at Lambda",
                operation,
            )
        own = attached[0]
        if len(attached) > 1 or set(own.instance_ids or ()) - {cloud_id}:
            raise _rejected(
                f"the firewall rulesets of {cloud_id} ({', '.join(one.name or one.id for one in attached)}) are not "
                "its own alone: brevplan changes no rules that other machines share; change them at Lambda",
                operation,
            )
        if wire.same_rules(written, own.rules):
            return
        await self._api.call(
            "PATCH", f"firewall-rulesets/{segment(own.id)}", Data[wire.Reference], operation=operation,
            urgency=Urgency.SETTLE, body={"rules": written},
        )  # fmt: skip

    # Every call

    async def _get(self, path: str, into: type[Data[T]], operation: str, urgency: Urgency = Urgency.POLL) -> T:
        return (await self._api.call("GET", path, into, operation=operation, urgency=urgency)).data

    async def _post(
        self, path: str, body: object, into: type[Data[T]], operation: str, *, urgency: Urgency = Urgency.SETTLE
    ) -> T:
        return (await self._api.call("POST", path, into, operation=operation, urgency=urgency, body=body)).data


# Launching


def _launch_of(attrs: CreateInstanceAttrs, name: str) -> dict[str, Any]:
    """Give the body of a launch, without what has to be made for it first; raise `Rejected` for what cannot be."""
    _check_names(attrs)
    _check_request(attrs)
    launch: dict[str, Any] = {
        "region_name": attrs.location,
        "instance_type_name": attrs.instance_type,
        "ssh_key_names": [attrs.ref_id],
        "name": name,
        "tags": _tags_of(attrs),
    }
    family = attrs.options.get("image_family")
    if attrs.image_id or family:
        launch["image"] = {"id": attrs.image_id} if attrs.image_id else {"family": family}
    if hostname := attrs.options.get("hostname"):
        launch["hostname"] = hostname
    if attrs.user_data:
        launch["user_data"] = attrs.user_data
    return launch


def _check_names(attrs: CreateInstanceAttrs) -> None:
    if not 1 <= len(attrs.ref_id) <= _LONGEST_KEY_NAME:
        raise _rejected(f'the ref_id "{attrs.ref_id}" must have 1 to {_LONGEST_KEY_NAME} characters: it names a key')
    cred = attrs.cloud_cred_ref_id
    if not 1 <= len(cred) <= _LONGEST_CRED or "--" in cred or cred.endswith("-"):
        raise _rejected(
            f'"{cred}" cannot mark a machine: 1 to {_LONGEST_CRED} characters without "--", the last one no dash, fit '
            "into its name"
        )


def _check_request(attrs: CreateInstanceAttrs) -> None:
    if not 1 <= len(attrs.public_key.strip()) <= _LONGEST_PUBLIC_KEY:
        raise _rejected(f"public_key: a public key of 1 to {_LONGEST_PUBLIC_KEY} characters is needed")
    if attrs.spot:
        raise _rejected("spot: Lambda has no spot machines, leave it out")
    if attrs.sub_location:
        raise _rejected("sub_location: Lambda has no zones, leave it out")
    for name in attrs.options:
        if name not in OPTIONS:
            raise _rejected(f'options: there is no "{name}": known are {", ".join(sorted(OPTIONS))}')
    if attrs.image_id and attrs.options.get("image_family"):
        raise _rejected("image_id: the option image_family names an image too, leave one out")
    hostname = attrs.options.get("hostname", "")
    if hostname and not _HOSTNAME.fullmatch(hostname):
        raise _rejected(f'options: hostname "{hostname[:80]}" must be {OPTIONS["hostname"].partition(": ")[2]}')
    if len(attrs.user_data.encode()) > _LONGEST_USER_DATA:
        raise _rejected(f"user_data: it is longer than the {_LONGEST_USER_DATA:,} bytes that Lambda takes")


def _tags_of(attrs: CreateInstanceAttrs) -> list[dict[str, str]]:
    """Give the user's tags and ours; raise `Rejected` for one that the API would not take, saying which and why."""
    for key, value in attrs.tags.items():
        reason = ""
        if key.startswith(wire.OUR_TAGS):
            reason = f'keys that begin with "{wire.OUR_TAGS}" are brevplan\'s own'
        elif not _TAG_KEY.fullmatch(key):
            reason = (
                "a key has 2 to 55 characters, the first a lower-case letter, then lower-case letters, digits, "
                "dashes and colons"
            )
        elif len(value) > _TAG_VALUE:
            reason = f"its value has {len(value)} characters, and {_TAG_VALUE} are the most"
        if reason:
            raise _rejected(f'tags: "{key[:80]}" cannot be written at Lambda: {reason}')
    if len(attrs.name) > _TAG_VALUE:
        raise _rejected(f"name: it has {len(attrs.name)} characters, and {_TAG_VALUE} are the most")
    marks = {wire.REF_TAG: attrs.ref_id, wire.CRED_TAG: attrs.cloud_cred_ref_id, wire.NAME_TAG: attrs.name}
    every = {**attrs.tags, **{key: value for key, value in marks.items() if value}}
    return [{"key": key, "value": value} for key, value in sorted(every.items())]


def _same_key(one: str, other: str) -> bool:
    """Compare type and key; the comment behind them is nobody's concern."""
    return one.split()[:2] == other.split()[:2]


def _rejected(reason: str, operation: str = _LAUNCH) -> Rejected:
    return Rejected(reason, provider=PROVIDER, operation=operation, sent=Sent.NO)


def _not_yet(reason: str, operation: str, cause: CloudError | None = None) -> NotReady:
    return NotReady(
        reason, provider=PROVIDER, operation=operation, http_status=cause.http_status if cause else None,
        code=cause.code if cause else "",
    )  # fmt: skip


@contextmanager
def _never_sent(operation: str) -> Iterator[None]:
    """Let every failure inside say that nothing was sent: whatever became of a call here, no machine came of it."""
    try:
        yield
    except CloudError as problem:
        problem.sent = Sent.NO
        problem.operation = problem.operation or operation
        raise


# Errors

_MISSING: Final = "global/object-does-not-exist"

_KINDS: Final[dict[str, type[CloudError]]] = {
    "global/account-inactive": AuthFailed,
    "global/duplicate": Rejected,
    "global/internal-error": Unavailable,
    "global/invalid-address": AuthFailed,
    "global/invalid-api-key": AuthFailed,
    "global/invalid-parameters": Rejected,
    _MISSING: NotFound,
    "global/quota-exceeded": OutOfQuota,
    "filesystems/filesystem-in-use": NotReady,
    "firewall-rulesets/firewall-ruleset-in-use": NotReady,
    "instance-operations/launch/file-system-in-wrong-region": Rejected,
    "instance-operations/launch/insufficient-capacity": OutOfStock,
    "ssh-keys/key-in-use": NotReady,
}

_REFUSALS: Final = frozenset(
    {
        "global/account-inactive",
        "global/invalid-address",
        "global/invalid-api-key",
        "global/invalid-parameters",
        _MISSING,
        "global/quota-exceeded",
        "instance-operations/launch/file-system-in-wrong-region",
        "instance-operations/launch/insufficient-capacity",
    }
)
"""The codes documented for a launch: they prove that nothing was made."""

_OF_MACHINES: Final = frozenset({"get_instance", "terminate_instance", "reboot_instance"})
_OF_OTHERS: Final = frozenset({_DELETE_KEY, "delete_ruleset", "replace_firewall_rules"})
"""The calls that are about one thing which may not exist."""

_BANNED: Final = "banned you temporarily"
"""What the proxy before the API says, in HTML, to those who ask too often."""

_ABOUT_TAGS: Final = re.compile(r"\btags?\b", re.IGNORECASE)


def explain(answer: Answer) -> CloudError:
    """Read a failure by its code; by its status where it has none, for some bodies are a proxy's and no JSON."""
    code, message = answer.field("error", "code"), _message(answer)
    error = by_status(answer, message, code)
    kind = _kind(answer, code, message)
    if kind is not None:
        error = kind(error.message, http_status=answer.status, code=code, retry_after=answer.retry_after)
    if answer.operation == _LAUNCH:
        proven = code in _REFUSALS and answer.status < 500
        error.sent = Sent.REFUSED if proven or answer.status in (401, 429) else Sent.MAYBE
    return error


def _kind(answer: Answer, code: str, message: str) -> type[CloudError] | None:
    """Give what an answer is, None where its status says enough."""
    if answer.status == 429:
        return RateLimited
    if answer.status >= 500 or _BANNED in answer.text:
        return Unavailable
    if answer.status == 404 and code != _MISSING:
        return Unavailable  # a proxy's, or a wrong endpoint's: it says of no machine that it is gone
    if code.startswith("provider/"):
        return OutOfQuota if "quota" in code else Unavailable
    kind = _KINDS.get(code)
    if kind is NotFound:
        return _missing(answer.operation, message)
    if kind is Rejected:
        return _by_text(answer.operation, message)
    return kind


def _missing(operation: str, message: str) -> type[CloudError]:
    """Tell what it is that does not exist."""
    if operation in _OF_MACHINES:
        return InstanceNotFound
    if operation in _OF_OTHERS:
        return NotFound
    if operation != _LAUNCH:
        return Unavailable  # what is asked for always is there
    # The code is the same for a type, a key, an image and a file system; only the text tells which is missing.
    return ImageNotFound if "image" in message.lower() else Rejected


def _by_text(operation: str, message: str) -> type[CloudError]:
    """Tell apart what one code, `global/invalid-parameters`, stands for: nothing but the text does."""
    # "Region abc-1 does not exist": that place sells nothing
    if operation in (_LAUNCH, _ADD_RULESET) and "Region" in message and "does not exist" in message:
        return OutOfStock
    if operation == _DELETE_KEY:
        # "SSH key is in use by one or more instances."
        if "in use" in message:
            return NotReady
        # "SSH key does not exist."
        if "does not exist" in message or "not found" in message:
            return NotFound
    return Rejected


def _message(answer: Answer) -> str:
    """Give the text of an error with what the API suggests, and what it says of single fields."""
    message, suggestion = answer.field("error", "message"), answer.field("error", "suggestion")
    parts = [message, *_field_errors(answer), suggestion]
    if answer.operation == _LAUNCH and _ABOUT_TAGS.search(message):
        parts.append("brevplan marks its machines with tags: an account that has none cannot be used with it")
    text = ". ".join(part.rstrip(". ") for part in parts if part.strip())
    if text:
        return text
    if _BANNED in answer.text:
        return f"Lambda keeps us away for a while: {answer.excerpt}"
    if answer.status == 404:
        return (
            f"this is not Lambda's API: check endpoint, which ends in /api/v1 ({answer.excerpt or 'an empty answer'})"
        )
    return ""


def _field_errors(answer: Answer) -> list[str]:
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    fields = error.get("field_errors") if isinstance(error, dict) else None
    if not isinstance(fields, dict):
        return []
    return [f"{name}: {text}" for name in sorted(fields) if (text := _text_of(fields[name]))]


def _text_of(found: object) -> str:
    text = found.get("message") if isinstance(found, dict) else found
    return text if isinstance(text, str) else ""


# Introduction


def _api_key(connection: Connection) -> str:
    key = str(connection.settings.get("api_key") or "").strip()
    if not key:
        raise AuthFailed("it needs api_key, or LAMBDA_API_KEY in the environment", provider=PROVIDER, sent=Sent.NO)
    if not (key.isascii() and key.isprintable() and " " not in key):
        # not shown: it may be nearly right
        raise AuthFailed("api_key holds a character that no key has", provider=PROVIDER, sent=Sent.NO)
    return key


def connect(connection: Connection) -> LambdaClient:
    return LambdaClient(connection)


def check_launch(attrs: CreateInstanceAttrs) -> None:
    """Raise `Rejected` for what Lambda cannot be asked for."""
    _launch_of(attrs, attrs.name)
    try:
        wire.write_rules(attrs.firewall_rules)
    except Rejected as problem:
        raise _rejected(f"firewalls: {problem.message}") from None


SPEC: Final = ProviderSpec(PROVIDER, ARGUMENTS, TRAITS, connect, OPTIONS, check_launch=check_launch)
