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
from brevplan.providers.shown import bare, cut, on_one_line, spellings, told, without_pieces
from brevplan.version import VERSION

if TYPE_CHECKING:
    # loaded with the first client: who only asks what a provider's arguments are does not wait for it
    import httpx

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)
_TRACE: Final = 5
_ANSWERED: Final = "answered"
"""Where a request notes that an answer to it has begun."""

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
        """Give the text on one line, for an error: not cut yet, for what is secret in it is taken out before."""
        return on_one_line(self.text)

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
        written = {text for secret in secrets if secret for text in (*spellings(secret), quote(secret, safe=""))}
        self._secrets = sorted(written, key=len, reverse=True)
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
            event_hooks={"response": [_mark_answered]},
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
        request = self._request(method, path, operation, body, query)
        try:
            response = await self._exchange(request, operation)
        except httpx.HTTPError as problem:
            raise self._lost(problem, operation) from None
        except (UnicodeError, OverflowError, httpx.InvalidURL) as problem:
            # a host or a port that nothing can connect to; or an answer that leads to one
            raise self._broken(problem, request, operation) from None
        if not response.is_success:
            error = self._explain(self._answer(response, operation))
            error.provider, error.operation = self._provider, error.operation or operation
            error.message, error.code = self._shown(error.message, request.content), self._shown(error.code)
            raise error
        return self._read(response, into, operation)

    async def aclose(self) -> None:
        await self._client.aclose()

    def redacted(self, text: str) -> str:
        """Give a text without the account's secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "(secret)")
        return text

    def _shown(self, text: str, sent: bytes = b"") -> str:
        """Give a text as an error shows it: on one line, without secrets, what was `sent` among them, and then cut."""
        return cut(self._hidden(on_one_line(text), sent))

    def _hidden(self, text: str, sent: bytes) -> str:
        text = self.redacted(text)
        return without_pieces(text, told(sent)) if sent else text

    def _request(
        self, method: str, path: str, operation: str, body: object, query: Mapping[str, str] | None
    ) -> httpx.Request:
        import httpx

        try:
            content = msgspec.json.encode(body) if body is not None else None
            headers = {"Content-Type": "application/json"} if content is not None else None
            return self._client.build_request(
                method, path.lstrip("/"), content=content, headers=headers, params=query or None
            )
        except (UnicodeError, OverflowError, httpx.InvalidURL):
            # what it is that cannot be written is not shown: it may be anything
            raise Rejected(
                "the request cannot be written: something in it is no text that can be sent",
                provider=self._provider, operation=operation, sent=Sent.NO,
            ) from None  # fmt: skip

    async def _exchange(self, request: httpx.Request, operation: str) -> httpx.Response:
        if _LOG.isEnabledFor(_TRACE):
            self._trace(f"{operation}: {request.method} {request.url}", request.content)
        response = await self._client.send(request)
        if _LOG.isEnabledFor(_TRACE):
            self._trace(f"{operation}: answered {response.status_code}", response.content, request.content)
        return response

    def _trace(self, line: str, content: bytes, sent: bytes = b"") -> None:
        shown = bare(content) if content else ""
        _LOG.log(_TRACE, "%s", self._hidden(f"{line} {shown}".rstrip(), sent))

    def _broken(self, problem: Exception, request: httpx.Request, operation: str) -> CloudError:
        text = self._shown(str(problem), request.content)
        if request.extensions.get(_ANSWERED):
            return Unavailable(
                f"the answer leads nowhere: {text}", provider=self._provider, operation=operation, sent=Sent.MAYBE
            )
        return Rejected(
            f"no connection is possible: {text}: check endpoint", provider=self._provider, operation=operation,
            sent=Sent.NO,
        )  # fmt: skip

    def _lost(self, problem: httpx.HTTPError, operation: str) -> CloudError:
        import httpx

        never_left = isinstance(
            problem, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
        )
        text = self._shown(str(problem)) or type(problem).__name__
        prefix = "no connection" if never_left else "the connection was lost"
        sent = Sent.NO if never_left else Sent.MAYBE
        if isinstance(problem, httpx.TimeoutException) and not never_left:
            prefix = "no answer in time"
        return Unavailable(f"{prefix}: {text}", provider=self._provider, operation=operation, sent=sent)

    def _answer(self, response: httpx.Response, operation: str) -> Answer:
        # a header may name any way to read it, and some of them fail
        text = response.content.decode(errors="replace")
        try:
            body = json.loads(text) if text else None
        except (ValueError, RecursionError):
            body = None
        after = retry_after(response.headers.get("Retry-After", ""), self._clock.now())
        return Answer(operation, response.status_code, self.redacted(text), body, after)

    def _read(self, response: httpx.Response, into: type[T], operation: str) -> T:
        try:
            if into is type(None):
                return None
            return msgspec.json.decode(response.content, type=into, strict=False)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            # what happened is not known, whatever was asked for
            raise Unavailable(
                f"the answer is not what the API describes: {self._shown(str(problem), response.request.content)}",
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
    """Raise `Rejected` for what no request could be sent to, or would be sent to in another way than it reads."""
    import httpx

    def wrong(reason: str) -> Rejected:
        return Rejected(reason, provider=provider, sent=Sent.NO)

    # before anything is said that shows it: what stands there may be a key
    if "@" in endpoint:
        raise wrong("endpoint must not hold a credential")
    if "?" in endpoint or "#" in endpoint:
        raise wrong("endpoint must not hold a query or a fragment: leave out what begins with ? or #")
    shown = endpoint.encode(errors="backslashreplace").decode()
    try:
        url = httpx.URL(endpoint)
        is_whole = url.scheme in ("http", "https") and bool(url.host)
        url.raw_host.decode("ascii").encode("idna")
    except httpx.InvalidURL as problem:
        raise wrong(f'endpoint "{shown}" is not a URL: {problem}') from None
    except UnicodeError:
        raise wrong(f'endpoint "{shown}": its host is not a name that can be looked up') from None
    if not is_whole:
        raise wrong(f'endpoint "{shown}" is not a URL such as https://api.example.com/v1')
    if url.port is not None and not 0 < url.port < 65536:
        raise wrong(f'endpoint "{shown}": its port is not one from 1 to 65535')


async def _mark_answered(response: httpx.Response) -> None:
    response.request.extensions[_ANSWERED] = True


def retry_after(text: str, now: datetime) -> float | None:
    """Read `Retry-After`, seconds or a date; None when it says nothing."""
    if not text:
        return None
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return min(float(text), _LONGEST_PAUSE_S)
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return min(max(0.0, (moment - now).total_seconds()), _LONGEST_PAUSE_S)
    except (ValueError, OverflowError):
        return None
