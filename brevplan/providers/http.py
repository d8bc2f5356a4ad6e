"""The one door to a cloud's HTTP API: pooled connections, the pacer before every request, nothing secret in a text.

A request is made once: retries, waiting and rate limits are the engine's. What goes wrong is told by the contract's
errors, whose `sent` says whether the request can have had an effect: `no` when no connection came about, `refused` or
`maybe` as the vendor reads its answers, `maybe` for everything else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from brevplan.contract.client import Connection, Traits, Urgency
from brevplan.contract.errors import AuthFailed, CloudError, NotFound, RateLimited, Rejected, Sent, Unavailable
from brevplan.version import VERSION

if TYPE_CHECKING:
    # loaded with the first client: who only asks what a provider's arguments are does not wait for it
    import httpx

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)
_TRACE: Final = 5
_SHOWN: Final = 300
"""How many characters of an answer nobody understands are shown in an error."""

_SECRET_FIELDS: Final = frozenset(
    {"api_key", "authorization", "jupyter_token", "jupyter_url", "password", "private_key", "user_data", "envs"}
    | {"userdata", "base64_script", "x-api-key", "proxy-authorization", "cookie", "set-cookie"}
)
"""What is left out of a trace wherever it stands: credentials, and what users put into a machine."""

_LONGEST_PAUSE_S: Final = 900.0
"""However long a provider asks us to stay away, we look again after this."""

_POLL_SHARE: Final = 0.2
"""The part of an account's request rate that waiting for machines may take."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not a success, as its vendor reads it. `body` is JSON data, or None when it is none."""

    operation: str
    status: int
    text: str
    body: Any
    retry_after: float | None

    @property
    def excerpt(self) -> str:
        """Give the beginning of the text on one line, for an error."""
        line = " ".join(self.text.split())
        return f"{line[:_SHOWN]}…" if len(line) > _SHOWN else line

    def field(self, *names: str) -> str:
        """Give the text at a path of names in the body; empty where there is none."""
        found = self.body
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, str) else ""


Explain = Callable[[Answer], CloudError]
"""How a vendor reads a failure."""


def by_status(answer: Answer, message: str = "", code: str = "") -> CloudError:
    """Read a failure by its HTTP status alone: what most vendors fall back on."""
    text = message or answer.excerpt or "no reason given"
    kinds: dict[int, type[CloudError]] = {401: AuthFailed, 403: AuthFailed, 404: NotFound, 429: RateLimited}
    kind = kinds.get(answer.status) or (Unavailable if answer.status >= 500 or answer.status < 400 else Rejected)
    if answer.status in (408, 425):
        kind = Unavailable
    return kind(text, http_status=answer.status, code=code, retry_after=answer.retry_after)


class HttpApi:
    """One account's API. `secrets` are texts that no log and no error ever shows."""

    def __init__(
        self,
        connection: Connection,
        traits: Traits,
        *,
        base_url: str,
        headers: Mapping[str, str],
        secrets: Iterable[str],
        explain: Explain = by_status,
    ) -> None:
        import httpx

        self._provider = traits.provider
        self._pacer = connection.pacer
        self._clock = connection.clock
        self._explain = explain
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        endpoint = str(connection.settings.get("endpoint") or base_url)
        _check_endpoint(endpoint, self._provider)
        transport = connection.extra.get("transport")
        assert transport is None or isinstance(transport, httpx.AsyncBaseTransport)
        self._client = httpx.AsyncClient(
            base_url=endpoint.rstrip("/") + "/",
            headers={"User-Agent": f"brevplan/{VERSION}", "Accept": "application/json", **headers},
            timeout=httpx.Timeout(request_timeout(connection.settings)),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=16),
            follow_redirects=False,
            transport=transport,
        )

    async def call(
        self,
        method: str,
        path: str,
        into: type[T],
        *,
        operation: str,
        urgency: Urgency = Urgency.POLL,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> T:
        """Make one request and read its answer as `into`; raise `CloudError`.

        `path` is relative to the base URL. Fields that `into` does not name are ignored. An answer of success that
        cannot be read is `Unavailable`, `maybe`: what was asked for may have happened.
        """
        import httpx

        await self._pacer.admit(urgency)
        try:
            response = await self._exchange(method, path, operation, body, query)
        except httpx.HTTPError as problem:
            raise self._lost(problem, operation) from None
        if not response.is_success:
            error = self._explain(self._answer(response, operation))
            error.provider, error.operation = self._provider, error.operation or operation
            error.message = self.redacted(error.message)
            raise error
        return self._read(response, into, operation)

    async def aclose(self) -> None:
        await self._client.aclose()

    def redacted(self, text: str) -> str:
        """Give a text without the account's secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "(secret)")
        return text

    async def _exchange(
        self, method: str, path: str, operation: str, body: object, query: Mapping[str, str] | None
    ) -> httpx.Response:
        content = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if content is not None else None
        request = self._client.build_request(
            method, path.lstrip("/"), content=content, headers=headers, params=query or None
        )
        if _LOG.isEnabledFor(_TRACE):
            self._trace(f"{operation}: {method} {request.url}", content)
        response = await self._client.send(request)
        if _LOG.isEnabledFor(_TRACE):
            self._trace(f"{operation}: answered {response.status_code}", response.content)
        return response

    def _trace(self, line: str, content: bytes | None) -> None:
        shown = _bare(content) if content else ""
        _LOG.log(_TRACE, "%s", self.redacted(f"{line} {shown}".rstrip()))

    def _lost(self, problem: httpx.HTTPError, operation: str) -> CloudError:
        import httpx

        never_left = isinstance(
            problem, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
        )
        text = self.redacted(str(problem)) or type(problem).__name__
        prefix = "no connection" if never_left else "the connection was lost"
        sent = Sent.NO if never_left else Sent.MAYBE
        if isinstance(problem, httpx.TimeoutException) and not never_left:
            prefix = "no answer in time"
        return Unavailable(f"{prefix}: {text}", provider=self._provider, operation=operation, sent=sent)

    def _answer(self, response: httpx.Response, operation: str) -> Answer:
        text = response.text
        try:
            body = json.loads(text) if text else None
        except ValueError:
            body = None
        after = retry_after(response.headers.get("Retry-After", ""), self._clock.now())
        return Answer(operation, response.status_code, self.redacted(text), body, after)

    def _read(self, response: httpx.Response, into: type[T], operation: str) -> T:
        try:
            if into is type(None):
                return None
            return msgspec.json.decode(response.content, type=into, strict=False)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as problem:
            # what happened is not known, whatever was asked for
            raise Unavailable(
                f"the answer is not what the API describes: {self.redacted(str(problem))}",
                provider=self._provider, operation=operation, http_status=response.status_code, sent=Sent.MAYBE,
            ) from None  # fmt: skip


def segment(name: str) -> str:
    """Give a name as one segment of a path: nothing in it leads anywhere else."""
    if name in (".", ".."):
        raise Rejected(f'"{name}" is not an id', sent=Sent.NO)
    return quote(name, safe="")


def tuned(traits: Traits, settings: Mapping[str, object]) -> Traits:
    """Give a provider's traits as the common arguments of its block change them: rates, and what follows from them."""
    requests = _whole(settings.get("requests_per_minute")) or traits.requests_per_minute
    poll = traits.instance_poll_s
    if requests is not None:
        # waiting takes a fifth of the rate at most, and no more than is of use
        poll = min(poll, max(0.25, 60.0 / (_POLL_SHARE * requests)))
    grace = settings.get("grace_window")
    return replace(
        traits,
        requests_per_minute=requests,
        creates_per_minute=_whole(settings.get("creates_per_minute")) or traits.creates_per_minute,
        instance_poll_s=poll,
        grace_window_s=traits.grace_window_s if grace is None else _seconds(grace, traits.grace_window_s),
    )


def api_key(settings: Mapping[str, object], provider: str, variable: str, argument: str = "api_key") -> str:
    """Give the key of a provider block; raise `AuthFailed` for what no header could hold, without showing it."""
    key = str(settings.get(argument) or "").strip()
    if not key or not (key.isascii() and key.isprintable()) or " " in key:
        raise AuthFailed(
            f"{argument} is empty or holds characters that no key has: set it, or ${variable}",
            provider=provider, sent=Sent.NO,
        )  # fmt: skip
    return key


def request_timeout(settings: Mapping[str, object]) -> float:
    """Give the seconds that one request may take."""
    return _seconds(settings.get("request_timeout"), 30.0)


def _whole(value: object) -> int | None:
    return int(float(str(value))) if value is not None and not isinstance(value, bool) else None


def _seconds(value: object, default: float) -> float:
    return float(str(value)) if value is not None and not isinstance(value, bool) else default


def _check_endpoint(endpoint: str, provider: str) -> None:
    import httpx

    if "@" in endpoint:  # before anything is said that shows it: what stands before it may be a key
        raise Rejected("endpoint must not hold a credential", provider=provider, sent=Sent.NO)
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL as problem:
        raise Rejected(f'endpoint "{endpoint}" is not a URL: {problem}', provider=provider, sent=Sent.NO) from None
    if url.scheme not in ("http", "https") or not url.host:
        raise Rejected(
            f'endpoint "{endpoint}" is not a URL such as https://api.example.com/v1', provider=provider, sent=Sent.NO
        )


def retry_after(text: str, now: datetime) -> float | None:
    """Read `Retry-After`, seconds or a date; None when it says nothing."""
    if not text:
        return None
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return min(float(text), _LONGEST_PAUSE_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), _LONGEST_PAUSE_S)


def _bare(content: bytes) -> str:
    """Give JSON text with the values of secret fields left out; of anything else only its length."""
    try:
        data = json.loads(content)
    except ValueError:
        return f"({len(content)} bytes that are no JSON)"
    return json.dumps(_without_secrets(data), ensure_ascii=False)


def _without_secrets(data: Any) -> Any:
    if isinstance(data, dict):
        return {
            name: "(secret)" if name.lower() in _SECRET_FIELDS and value else _without_secrets(value)
            for name, value in data.items()
        }
    return [_without_secrets(item) for item in data] if isinstance(data, list) else data
