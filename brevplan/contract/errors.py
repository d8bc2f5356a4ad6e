"""What can go wrong at a cloud.

    CloudError
    ├── NotFound
    │   ├── InstanceNotFound
    │   └── ImageNotFound
    ├── OutOfStock            the type cannot be had there now
    ├── OutOfQuota            the account may not have more
    ├── AuthFailed            the credential is wrong or may not do this
    ├── RateLimited           too many requests; `retry_after` when the provider says
    ├── Unavailable           the API does not answer or fails: timeout, connection lost, 5xx
    ├── Rejected              the request is wrong and will be wrong again
    ├── NotReady              the machine's state does not allow it yet; a retry later will
    ├── DuplicateFirewallRule
    └── NotImplemented_       a declared ability that is not there: a defect of the provider's module

`sent` answers, for a launch request: can there be a machine? `no` (never left), `refused` (the answer proves that
nothing was made), `maybe` (anything else).
"""

from __future__ import annotations

from enum import StrEnum


class Sent(StrEnum):
    NO = "no"
    REFUSED = "refused"
    MAYBE = "maybe"


class CloudError(Exception):
    """A call to a cloud failed. The text is for a person and holds no secret."""

    retryable = False
    default_sent = Sent.MAYBE

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        operation: str = "",
        http_status: int | None = None,
        code: str = "",
        sent: Sent | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.operation = operation
        self.http_status = http_status
        self.code = code
        self.sent = sent if sent is not None else self.default_sent
        self.retry_after = retry_after

    def __str__(self) -> str:
        origin = " ".join(part for part in (self.provider, self.operation) if part)
        status = f" (HTTP {self.http_status}{f', {self.code}' if self.code else ''})" if self.http_status else ""
        return f"{origin}: {self.message}{status}" if origin else f"{self.message}{status}"


class NotFound(CloudError):
    default_sent = Sent.REFUSED


class InstanceNotFound(NotFound):
    pass


class ImageNotFound(NotFound):
    pass


class OutOfStock(CloudError):
    default_sent = Sent.REFUSED


class OutOfQuota(CloudError):
    default_sent = Sent.REFUSED


class AuthFailed(CloudError):
    default_sent = Sent.REFUSED


class RateLimited(CloudError):
    retryable = True
    default_sent = Sent.REFUSED


class Unavailable(CloudError):
    retryable = True


class Rejected(CloudError):
    default_sent = Sent.REFUSED


class NotReady(CloudError):
    retryable = True
    default_sent = Sent.REFUSED


class DuplicateFirewallRule(CloudError):
    default_sent = Sent.REFUSED


class NotImplemented_(CloudError):
    default_sent = Sent.NO
