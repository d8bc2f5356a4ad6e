"""The one door to AWS: a client a service and region, the pacer before every request, errors in the contract's words.

A request is made once: botocore's own retries are off. Its configuration files are not read, nor are the environment
variables that lead it to other credentials, regions or addresses; those of proxies and certificates are. What is wrong
is told by the error's code, never by the HTTP status alone: EC2 answers nearly everything with 400, and what is out of
stock with 500.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from brevplan.contract.client import Connection, Urgency
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    DuplicateFirewallRule,
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
from brevplan.providers.http import request_timeout
from brevplan.version import VERSION

T = TypeVar("T")

NAME: Final = "aws"
PRICING_REGION: Final = "us-east-1"
"""Prices are told in three regions only, whatever region they are of."""

_LOG: Final = logging.getLogger(__name__)
_TRACE: Final = 5
FILTER_VALUES: Final = 200
"""How many values a filter takes."""
_MOST_PAGES: Final = 10_000
_SHOWN: Final = 400
"""How many characters of a failure nobody understands are shown."""

_CODES: Final[Mapping[type[CloudError], str]] = {
    OutOfStock: "InsufficientInstanceCapacity InsufficientHostCapacity InsufficientReservedInstanceCapacity "
    "InsufficientCapacity SpotMaxPriceTooLow Unsupported",
    OutOfQuota: "InstanceLimitExceeded VcpuLimitExceeded MaxSpotInstanceCountExceeded VolumeLimitExceeded "
    "AddressLimitExceeded SecurityGroupLimitExceeded RulesPerSecurityGroupLimitExceeded KeyPairLimitExceeded "
    "SecurityGroupsPerInstanceLimitExceeded TagLimitExceeded",
    InstanceNotFound: "InvalidInstanceID.NotFound InvalidInstanceID.Malformed",
    ImageNotFound: "InvalidAMIID.NotFound InvalidAMIID.Malformed InvalidAMIID.Unavailable",
    NotFound: "InvalidGroup.NotFound InvalidGroupId.Malformed InvalidVolume.NotFound InvalidSubnetID.NotFound "
    "InvalidVpcID.NotFound InvalidKeyPair.NotFound InvalidPermission.NotFound ParameterNotFound "
    "InvalidSecurityGroupRuleId.NotFound",
    DuplicateFirewallRule: "InvalidPermission.Duplicate",
    NotReady: "DependencyViolation IncorrectInstanceState IncorrectState InvalidGroup.InUse",
    Rejected: "IncorrectModificationState VolumeModificationRateExceeded InvalidInstanceType InvalidParameterValue "
    "InvalidInstanceType.NotFound InvalidGroup.Duplicate InvalidKeyPair.Duplicate InvalidKey.Format "
    "IdempotentParameterMismatch InvalidParameterCombination MissingParameter OperationNotPermitted "
    "UnsupportedOperation VPCIdNotSpecified InvalidBlockDeviceMapping ValidationException DryRunOperation",
    RateLimited: "RequestLimitExceeded Throttling ThrottlingException ThrottledException EC2ThrottledException "
    "RequestThrottled RequestThrottledException TooManyRequestsException",
    Unavailable: "Unavailable ServiceUnavailable InternalError InternalFailure InternalServerError "
    "InternalErrorException RequestTimeout",
    AuthFailed: "AuthFailure UnauthorizedOperation InvalidClientTokenId SignatureDoesNotMatch ExpiredToken "
    "ExpiredTokenException RequestExpired OptInRequired Blocked PendingVerification AccessDenied "
    "AccessDeniedException UnrecognizedClientException MissingAuthenticationToken IncompleteSignature "
    "InvalidAccessKeyId",
}
_KINDS: Final[Mapping[str, type[CloudError]]] = {code: kind for kind, codes in _CODES.items() for code in codes.split()}

_HINTS: Final[Mapping[str, str]] = {
    "UnauthorizedOperation": "this key may not do that: see the permissions in the documentation of the provider",
    "OptInRequired": "the region or service is not enabled for this account",
    "RequestExpired": "the clock of this machine is wrong",
    "OperationNotPermitted": "switch off its termination or stop protection first",
    "VPCIdNotSpecified": 'the region has no default VPC: name a subnet, options = { subnet_id = "subnet-…" }',
    "VolumeModificationRateExceeded": "a volume can be changed once in six hours",
    "InvalidKey.Format": "EC2 takes keys of the kinds ed25519 and rsa",
}


class Wire:
    """One account's connections, made on first use and kept."""

    def __init__(self, connection: Connection) -> None:
        settings = connection.settings
        self._pacer = connection.pacer
        self._key_id = _text(settings, "access_key_id")
        self._secret = _text(settings, "secret_access_key")
        self._token = _text(settings, "session_token")
        if not self._key_id or not self._secret:
            raise AuthFailed(
                "access_key_id or secret_access_key is empty: set them, or $AWS_ACCESS_KEY_ID and "
                "$AWS_SECRET_ACCESS_KEY", provider=NAME, sent=Sent.NO,
            )  # fmt: skip
        _need_library()
        self._endpoint = _endpoint(settings, "endpoint")
        self._pricing_endpoint = _endpoint(settings, "pricing_endpoint") or self._endpoint
        self._timeout = request_timeout(settings)
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._clients: dict[tuple[str, str], Any] = {}

    @property
    def key_id(self) -> str:
        return self._key_id

    @property
    def is_temporary(self) -> bool:
        """Tell whether the key is one of a few hours, so that it does not name the account for long."""
        return bool(self._token)

    async def call(
        self,
        region: str,
        method: str,
        into: type[T],
        *,
        operation: str,
        urgency: Urgency = Urgency.POLL,
        service: str = "ec2",
        **parameters: Any,
    ) -> T:
        """Make one request in a region and read its answer as `into`; raise `CloudError`.

        An answer of success that cannot be read is `Unavailable`, `maybe`: what was asked for may have happened.
        """
        answer = await self._ask(region, method, operation, urgency, service, parameters)
        return self._read(answer, into, operation)

    async def pages(
        self,
        region: str,
        method: str,
        into: type[T],
        *,
        operation: str,
        urgency: Urgency = Urgency.POLL,
        service: str = "ec2",
        **parameters: Any,
    ) -> list[T]:
        """Make requests until there is no further page; all of them or an error."""
        found: list[T] = []
        seen: set[str] = set()
        token: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            answer = await self._ask(region, method, operation, urgency, service, {**parameters, **token})
            found.append(self._read(answer, into, operation))
            following = answer.get("NextToken")
            if not following:
                return found
            if following in seen:
                break
            seen.add(following)
            token = {"NextToken": following}
        raise Unavailable("the pages of the answer do not end", provider=NAME, operation=operation)

    async def aclose(self) -> None:
        self._clients.clear()
        await self._open.aclose()

    def redacted(self, text: str) -> str:
        """Give a text without the account's secrets."""
        for secret in (self._token, self._secret):
            text = text.replace(secret, "(secret)") if secret else text
        return text

    async def _ask(
        self, region: str, method: str, operation: str, urgency: Urgency, service: str, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        await self._pacer.admit(urgency)
        # names only: among the values is what users put into a machine
        _LOG.log(_TRACE, "%s: %s %s in %s (%s)", operation, service, method, region, ", ".join(sorted(parameters)))
        try:
            client = await self._client(service, region)
        except (BotoCoreError, ValueError, OSError) as problem:
            raise Rejected(
                f"the library for AWS cannot be set up: {self.redacted(str(problem))[:_SHOWN]}",
                provider=NAME, operation=operation, sent=Sent.NO,
            ) from None  # fmt: skip
        try:
            answer: dict[str, Any] = await getattr(client, method)(**parameters)
        except ClientError as problem:
            raise self._refused(problem.response, operation) from None
        except BotoCoreError as problem:
            raise self._lost(problem, operation) from None
        except ResponseParserError:
            raise _of_somebody_else(operation) from None
        if service == "ec2" and not (answer.get("ResponseMetadata") or {}).get("RequestId"):
            # every answer of EC2 has one; a page that some gateway serves with 200 has not, and reads as empty
            raise _of_somebody_else(operation)
        return answer

    async def _client(self, service: str, region: str) -> Any:
        key = (service, region)
        async with self._opening:
            if key not in self._clients:
                self._clients[key] = await self._open.enter_async_context(self._made(service, region))
        return self._clients[key]

    def _made(self, service: str, region: str) -> Any:
        from aiobotocore.config import AioConfig

        return _session().create_client(
            service,
            region_name=region,
            endpoint_url=(self._pricing_endpoint if service == "pricing" else self._endpoint) or None,
            aws_access_key_id=self._key_id,
            aws_secret_access_key=self._secret,
            aws_session_token=self._token or None,
            config=AioConfig(
                retries={"mode": "standard", "total_max_attempts": 1},
                connect_timeout=min(self._timeout, 10.0),
                read_timeout=self._timeout,
                max_pool_connections=32,
                user_agent_extra=f"brevplan/{VERSION}",
                ignore_configured_endpoint_urls=True,
                use_fips_endpoint=False,
                use_dualstack_endpoint=False,
                defaults_mode="legacy",
            ),
        )

    def _refused(self, response: Mapping[str, Any], operation: str) -> CloudError:
        """Read a failure that the API tells."""
        error, meta = response.get("Error") or {}, response.get("ResponseMetadata") or {}
        code, status = str(error.get("Code") or ""), int(meta.get("HTTPStatusCode") or 0)
        text = self.redacted(str(error.get("Message") or "no reason given"))
        hint = _HINTS.get(code)
        made = kind_of(code, status)(
            f"{text} ({hint})" if hint else text,
            provider=NAME, operation=operation, http_status=status or None, code=code,
        )  # fmt: skip
        if code == "IdempotentParameterMismatch":
            made.sent = Sent.MAYBE  # the token is known: a machine was made with it, under other parameters
        return made

    def _lost(self, problem: Exception, operation: str) -> CloudError:
        """Read a failure of the way there or back."""
        from botocore import exceptions

        text = self.redacted(" ".join(str(problem).split()))[:_SHOWN] or type(problem).__name__
        made: CloudError
        if isinstance(problem, (exceptions.ParamValidationError, exceptions.InvalidRegionError)):
            made = Rejected(text, sent=Sent.NO)
        elif isinstance(problem, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
            made = AuthFailed(text, sent=Sent.NO)
        elif isinstance(
            problem,
            (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError, exceptions.ProxyConnectionError),
        ):
            made = Unavailable(f"no connection: {text}", sent=Sent.NO)
        elif isinstance(problem, exceptions.ReadTimeoutError):
            made = Unavailable(f"no answer in time: {text}", sent=Sent.MAYBE)
        else:
            made = Unavailable(text, sent=Sent.MAYBE)
        made.provider, made.operation = NAME, operation
        return made

    def _read(self, answer: Mapping[str, Any], into: type[T], operation: str) -> T:
        if into is type(None):
            return None
        try:
            return msgspec.convert(answer, type=into, strict=False)
        except msgspec.ValidationError as problem:
            raise Unavailable(
                f"the answer is not what the API describes: {self.redacted(str(problem))}",
                provider=NAME, operation=operation, sent=Sent.MAYBE,
            ) from None  # fmt: skip


def kind_of(code: str, status: int) -> type[CloudError]:
    """Give the contract's error for a code; one that nobody knows goes by the status, which says little."""
    known = _KINDS.get(code)
    if known is not None:
        return known
    # without a code of the API's own it was somebody on the way there who answered
    if status >= 500 or status < 400 or not code or code.isdigit() or code == "Unknown":
        return Unavailable
    return Rejected


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut into lists of at most `size`: a filter takes 200 values."""
    held: list[T] = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


async def together(calls: Sequence[Awaitable[T]]) -> list[T]:
    """Await all, or raise the first failure, and leave nothing running."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _text(settings: Mapping[str, object], name: str) -> str:
    text = str(settings.get(name) or "").strip()
    if text and not (text.isascii() and text.isprintable()):
        raise AuthFailed(f"{name} holds characters that no key has", provider=NAME, sent=Sent.NO)
    return text


def _of_somebody_else(operation: str) -> Unavailable:
    return Unavailable(
        "the answer cannot be read: it was cut short, or somebody else answered",
        provider=NAME, operation=operation, sent=Sent.MAYBE,
    )  # fmt: skip


def _endpoint(settings: Mapping[str, object], name: str) -> str:
    from urllib.parse import urlsplit

    text = str(settings.get(name) or "")
    if not text:
        return ""
    from botocore.utils import is_valid_endpoint_url

    try:
        url = urlsplit(text)
        is_good = url.scheme in ("http", "https") and url.username is None and url.port != 0
    except ValueError:
        is_good = False
    if not is_good or not is_valid_endpoint_url(text):
        raise Rejected(
            f"{name} is not a URL such as https://ec2.example.com: without a credential in it, and with a host whose "
            "name is made of letters, digits and hyphens",
            provider=NAME, sent=Sent.NO,
        )  # fmt: skip
    return text.rstrip("/")


def _need_library() -> None:
    try:
        import aiobotocore  # noqa: F401  # the smallest part of it: the rest follows with the first request
    except ImportError:
        raise Rejected(
            'the library for AWS is not installed: pip install "brevplan[aws]"', provider=NAME, sent=Sent.NO
        ) from None


@lru_cache(maxsize=1)
def _session() -> Any:
    """Give a session that knows nothing but what it is told: no files, no profile.

    It holds the descriptions of the services, which are long, and no credential: one serves every account.
    """
    from aiobotocore.session import AioSession

    # its name in a file, its environment variable, its value, how that is read
    return AioSession(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
