"""The one door to Nebius' API: the vendor's library with its retries off, the pacer before every request, and errors.

The library runs its connections in a thread of its own; what it gives can be awaited from any loop. Tokens are its
business too: it exchanges the service account's key for one, and renews it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid5

import grpc
from grpc import StatusCode
from nebius.aio.service_error import RequestError, RequestStatusExtended
from nebius.aio.token.options import (
    OPTION_MAX_RETRIES,
    OPTION_RENEW_REQUEST_TIMEOUT,
    OPTION_REPORT_ERROR,
)
from nebius.base.error import SDKError
from nebius.base.options import INSECURE
from nebius.base.resolver import Constant
from nebius.base.service_account.credentials_file import ServiceAccountCredentials
from nebius.base.service_account.pk_file import WrongKeyTypeError
from nebius.base.service_account.service_account import ServiceAccount
from nebius.base.service_account.static import Reader
from nebius.sdk import SDK

from brevplan.contract.client import Connection, Urgency
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
from brevplan.providers.http import request_timeout
from brevplan.providers.nebius_launch import NAME
from brevplan.version import VERSION

Answer = TypeVar("Answer")

_KEY_SPACE: Final = UUID("6b6c3b52-2f0f-4b7e-9d0c-0f6a54f6a3c1")
"""What the keys of launches are derived in: the same ref_id gives the same key in every process."""

_DETAILS: Final[tuple[tuple[str, type[CloudError]], ...]] = (
    ("not_enough_resources", OutOfStock),
    ("quota_failure", OutOfQuota),
    ("too_many_requests", RateLimited),
)
"""What a detail of an error says, whatever the code beside it; the first that is there counts."""

_CODES: Final[Mapping[StatusCode, type[CloudError]]] = {
    StatusCode.RESOURCE_EXHAUSTED: OutOfQuota,
    StatusCode.NOT_FOUND: NotFound,
    StatusCode.UNAUTHENTICATED: AuthFailed,
    StatusCode.PERMISSION_DENIED: AuthFailed,
    StatusCode.FAILED_PRECONDITION: NotReady,
    StatusCode.ABORTED: NotReady,
    StatusCode.INVALID_ARGUMENT: Rejected,
    StatusCode.OUT_OF_RANGE: Rejected,
    StatusCode.ALREADY_EXISTS: Rejected,
}
"""All others are `Unavailable`: an endpoint that is not this API answers UNIMPLEMENTED."""

_OF_INSTANCES: Final = frozenset(
    {"get_instance", "rename_instance", "replace_firewall_rules", "resize_volume", "start_instance", "stop_instance"}
    | {"terminate_instance", "update_mark", "update_tags"}
)
"""Operations whose requests are about a machine: what such a request does not find is the machine."""

_TOO_LARGE: Final = re.compile(
    r"(?:\b(client|server): )?(received|sent|send) message larger than max|message exceeds maximum size", re.IGNORECASE
)
"""What gRPC says of a message that one of the two ends does not take; it comes without any detail."""

EXISTS: Final = StatusCode.ALREADY_EXISTS.name
"""The code of a refusal because the name is taken."""


class NebiusApi:
    """One account's API."""

    def __init__(self, connection: Connection) -> None:
        text = _key_text(str(connection.settings.get("service_account_key") or ""), connection.directory)
        account = _service_account(text)
        self._pacer = connection.pacer
        self._timeout = request_timeout(connection.settings)
        self._secrets = sorted({text, json.loads(text)["subject-credentials"]["private-key"]}, key=len, reverse=True)
        # it logs failures with a traceback, and the engine tells them in its own words
        quiet = logging.getLogger("nebius")
        quiet.propagate = False
        if not quiet.handlers:
            quiet.addHandler(logging.NullHandler())
        self.sdk = SDK(
            # given here, neither credentials nor keepalive are looked for in the environment
            credentials=Reader(account), keepalive=True, user_agent_prefix=f"brevplan/{VERSION}",
            **_address(str(connection.settings.get("endpoint") or "")),
        )  # fmt: skip

    async def call(
        self,
        method: Callable[..., Awaitable[Answer]],
        request: object,
        operation: str,
        urgency: Urgency = Urgency.POLL,
        *,
        key: str = "",
    ) -> Answer:
        """Make one request; raise `CloudError`. `key` makes that the same request again has no second effect."""
        await self._pacer.admit(urgency)
        headers = [("x-idempotency-key", str(uuid5(_KEY_SPACE, key)))] if key else []
        try:
            return await method(
                request,
                metadata=headers,
                retries=1,
                timeout=self._timeout,
                per_retry_timeout=self._timeout,
                auth_timeout=2 * self._timeout,
                auth_options={
                    OPTION_MAX_RETRIES: "0",
                    OPTION_REPORT_ERROR: "1",
                    OPTION_RENEW_REQUEST_TIMEOUT: str(self._timeout),
                },
            )
        except RequestError as problem:
            raise self.explained(problem.status, operation) from None
        except TimeoutError:
            raise Unavailable(
                f"no answer within {self._timeout:g} s", provider=NAME, operation=operation, sent=Sent.MAYBE
            ) from None
        except (SDKError, grpc.RpcError, OSError, ValueError, TypeError) as problem:
            # an answer that cannot be read, or a connection that broke: what was asked for may have happened
            raise Unavailable(
                self.redacted(str(problem) or type(problem).__name__),
                provider=NAME, operation=operation, sent=Sent.MAYBE,
            ) from None  # fmt: skip

    def explained(self, status: RequestStatusExtended, operation: str) -> CloudError:
        """Read a failure, of a call or of an operation."""
        error = explain(status, operation)
        error.message = self.redacted(error.message)
        return error

    async def aclose(self) -> None:
        await self.sdk.close()

    def redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "(secret)")
        return text


def explain(status: RequestStatusExtended, operation: str) -> CloudError:
    """Read a failure: by the details of the error first, and by its code where they say nothing."""
    details = {_field(error): error for error in status.service_errors}
    kind = next((kind for name, kind in _DETAILS if name in details), None)
    kind = kind or (NotFound if "resource_not_found" in details else _CODES.get(status.code, Unavailable))
    message = status.message or "no reason given"
    if not details and status.code is StatusCode.RESOURCE_EXHAUSTED and (found := _TOO_LARGE.search(message)):
        kind, message = _too_large(found, message)
    if kind is NotFound:
        kind = _not_found(operation, message)
    if kind is AuthFailed:
        message = f"{message}: check service_account_key, and what the service account may do in the tenant"
    sent = None
    if operation == "create_instance" and status.code is StatusCode.ABORTED:
        # broken off in the middle
        sent = Sent.MAYBE
    named = f" (request {status.request_id})" if status.request_id else ""
    return kind(f"{message}{named}", provider=NAME, operation=operation, code=status.code.name, sent=sent)


def _field(error: Any) -> str:
    details = error.details
    return details.field if details is not None else ""


def _too_large(found: re.Match[str], message: str) -> tuple[type[CloudError], str]:
    """Tell a request that is too large from an answer that is: this end takes answers of any size."""
    who, did = (found[1] or "").lower(), (found[2] or "received").lower()
    is_request = did == "received" if who != "client" else did != "received"
    if is_request:
        return Rejected, f"the request is larger than Nebius takes ({message}): make user_data or tags smaller"
    return Unavailable, f"the answer is too large to come through ({message})"


def _not_found(operation: str, message: str) -> type[CloudError]:
    if operation in _OF_INSTANCES:
        return InstanceNotFound
    # no detail tells what it is that is not there: `image family "ubuntu20" is not found`
    return ImageNotFound if operation == "create_instance" and "image" in message.lower() else NotFound


# The credential and the address


def _key_text(given: str, directory: str) -> str:
    """Give the JSON text of a key that is given as such or as the path of a file."""
    if given.lstrip().startswith("{"):
        return given
    if not given.strip():
        raise _unusable("it is empty")
    try:
        return Path(directory, Path(given.strip()).expanduser()).read_text()
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
    except ValueError:
        reason = "it is not text"
    except RuntimeError:
        reason = "its ~ leads nowhere"
    raise _unusable(f"it is neither JSON nor a file that can be read ({reason})")


def _service_account(text: str) -> ServiceAccount:
    try:
        found = ServiceAccountCredentials.from_json(json.loads(text)).subject_credentials
        return ServiceAccount(found.parse_private_key(), found.kid, found.sub)
    except KeyError as problem:
        raise _unusable(f"{problem} is missing from it") from None
    except json.JSONDecodeError:
        raise _unusable("it is not JSON") from None
    except (ValueError, TypeError, AttributeError):
        # their words may hold a part of the key
        raise _unusable("its alg has to be RS256, iss and sub the same, and private-key a PEM of an RSA key") from None
    except WrongKeyTypeError:
        raise _unusable("its private-key is not an RSA key") from None


def _unusable(reason: str) -> AuthFailed:
    return AuthFailed(
        f"service_account_key cannot be used: {reason}. Make a key of the service account at Nebius, and give the "
        "credentials file's text or path, or set $NEBIUS_SERVICE_ACCOUNT_KEY",
        provider=NAME, sent=Sent.NO,
    )  # fmt: skip


def _address(endpoint: str) -> dict[str, Any]:
    """Give options of the channels, and what leads to another address for all of the API; `http://` is without TLS."""
    options: list[tuple[str, Any]] = [("grpc.max_receive_message_length", -1)]
    if not endpoint:
        return {"options": options}
    try:
        url = urlsplit(endpoint)
        host, port = url.hostname, url.port
    except ValueError:
        host, port, url = None, None, urlsplit("")
    if url.scheme not in ("http", "https") or not host or url.username or url.password or url.path not in ("", "/"):
        raise Rejected(
            f'endpoint "{endpoint}" is not a URL such as https://api.example.com:443, without path and credential',
            provider=NAME, sent=Sent.NO,
        )  # fmt: skip
    shown = f"[{host}]" if ":" in host else host
    if url.scheme == "http":
        options.append((INSECURE, True))
    return {"resolver": Constant(f"{shown}:{port or (443 if url.scheme == 'https' else 80)}"), "options": options}
