"""The HTTP door over a real server on a real socket: what breaks there, and what the contract's errors say of it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from brevplan.contract.client import Capability, Connection, Traits, Urgency
from brevplan.contract.errors import AuthFailed, CloudError, NotFound, RateLimited, Rejected, Sent, Unavailable
from brevplan.operations.world import SystemClock
from brevplan.providers.http import HttpApi, retry_after, segment, tuned
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.server import Server
from brevplan.simcloud.faults import Fault, Trouble, Way
from brevplan.simcloud.model import Behaviour
from tests.simcloud.toy_face import ToyFace
from tests.world import ChosenFaults

TRAITS = Traits("toy", frozenset({Capability.CREATE}), frozenset())


class Things(msgspec.Struct):
    things: list[str]


class Made(msgspec.Struct):
    id: str


class CountingPacer:
    def __init__(self) -> None:
        self.admitted: list[Urgency] = []

    async def admit(self, urgency: Urgency) -> None:
        self.admitted.append(urgency)


class Bench:
    """A served face, its faults, and a client of it."""

    def __init__(self, folder: Path) -> None:
        self.faults = ChosenFaults()
        cloud = SimCloud(folder / "toy.db", SystemClock())
        cloud.faults = self.faults
        self.face = ToyFace(cloud)
        self.pacer = CountingPacer()

    @asynccontextmanager
    async def api(self, key: str = "right", timeout: float = 5.0) -> AsyncIterator[HttpApi]:
        server = Server([self.face], SystemClock())
        port = await server.start()
        settings = {"endpoint": f"http://127.0.0.1:{port}/toy/v1", "request_timeout": timeout}
        api = HttpApi(
            Connection(settings, {}, ".", self.pacer, SystemClock()), TRAITS,
            base_url="https://api.example.com", headers={"X-Key": key}, secrets=[key],
        )  # fmt: skip
        try:
            yield api
        finally:
            await api.aclose()
            await server.stop()

    def make(self, key: str = "right", timeout: float = 5.0) -> Made:
        return run(self, lambda api: api.call("POST", "things", Made, operation="create", urgency=Urgency.CREATE,
                                              body={"name": "a"}), key, timeout)  # fmt: skip


def run(bench: Bench, call: Callable[[HttpApi], Awaitable[Made]], key: str = "right", timeout: float = 5.0) -> Made:
    async def whole() -> Made:
        async with bench.api(key, timeout) as api:
            return await call(api)

    return asyncio.run(asyncio.wait_for(whole(), 30))


def fault(bench: Bench, given: Fault) -> Bench:
    bench.faults.choose = lambda call: given
    return bench


def test_a_call_is_paced_and_read(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.make() == Made("1")
    assert bench.pacer.admitted == [Urgency.CREATE]
    assert bench.faults.calls[0].target == "a"
    assert bench.faults.calls[0].changes


@pytest.mark.parametrize(
    ("given", "kind", "sent", "effect"),
    [
        (Fault(before=Trouble(Way.DROPPED)), Unavailable, Sent.MAYBE, False),
        (Fault(after=Trouble(Way.DROPPED)), Unavailable, Sent.MAYBE, True),
        (Fault(after=Trouble(Way.TRUNCATED)), Unavailable, Sent.MAYBE, True),
        (Fault(after=Trouble(Way.MALFORMED)), Unavailable, Sent.MAYBE, True),
        (Fault(before=Trouble(Way.STATUS, 500)), Unavailable, Sent.MAYBE, False),
        (Fault(after=Trouble(Way.STATUS, 503)), Unavailable, Sent.MAYBE, True),
        (Fault(before=Trouble(Way.STATUS, 429, 2.5)), RateLimited, Sent.REFUSED, False),
        (Fault(before=Unavailable("lost", sent=Sent.MAYBE)), Unavailable, Sent.MAYBE, False),
    ],
    ids=["dropped before", "dropped after", "truncated", "malformed", "500", "503 after", "429", "lost"],
)
def test_what_breaks_on_the_wire(
    tmp_path: Path, given: Fault, kind: type[CloudError], sent: Sent, effect: bool
) -> None:
    bench = fault(Bench(tmp_path), given)
    with pytest.raises(kind) as caught:
        bench.make()
    assert caught.value.sent is sent
    assert caught.value.retryable
    assert bool(bench.face.made) is effect
    if kind is RateLimited:
        assert caught.value.retry_after == 2.5


def test_a_connection_that_is_refused_was_never_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    settings = {"endpoint": f"http://127.0.0.1:{port}"}

    async def whole() -> None:
        api = HttpApi(Connection(settings, {}, ".", CountingPacer(), SystemClock()), TRAITS,
                      base_url="https://x.example", headers={}, secrets=[])  # fmt: skip
        try:
            await api.call("GET", "things", Things, operation="list")
        finally:
            await api.aclose()

    with pytest.raises(Unavailable) as caught:
        asyncio.run(whole())
    assert caught.value.sent is Sent.NO


def test_an_answer_that_does_not_come_in_time_may_have_had_its_effect(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        fault(Bench(tmp_path), Fault(delay_s=3.0)).make(timeout=0.3)
    assert caught.value.sent is Sent.MAYBE


def test_a_wrong_key_is_refused_and_never_shown(tmp_path: Path) -> None:
    with pytest.raises(AuthFailed) as caught:
        Bench(tmp_path).make(key="who-are-you-7c1f")
    assert caught.value.http_status == 401
    assert "7c1f" not in str(caught.value)


def test_too_many_requests_say_when_to_come_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.face.cloud.how = Behaviour(requests_per_minute=1)

    async def whole() -> RateLimited:
        async with bench.api() as api:
            await api.call("GET", "things", Things, operation="list")
            with pytest.raises(RateLimited) as caught:
                await api.call("GET", "things", Things, operation="list")
            return caught.value

    error = asyncio.run(whole())
    assert error.retry_after is not None
    assert 50 < error.retry_after <= 60


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        run(Bench(tmp_path), lambda api: api.call("GET", "nothing", Made, operation="look"))


def test_a_trace_shows_requests_and_answers_without_secrets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path)
    caplog.set_level(5, logger="brevplan")
    body = {"name": "right", "user_data": "the-canary", "nested": [{"private_key": "the-canary"}]}
    run(bench, lambda api: api.call("POST", "things", Made, operation="create", body=body))
    text = "\n".join(record.getMessage() for record in caplog.records if record.levelno < logging.DEBUG)
    assert "POST" in text
    assert "answered 200" in text
    assert "the-canary" not in text
    assert "right" not in text, "the account's own key, wherever it stands"


@pytest.mark.parametrize("endpoint", ["ftp://x", "nonsense", "http://", "https://user:pass@x.example"])
def test_an_endpoint_that_is_none(endpoint: str) -> None:
    with pytest.raises(Rejected) as caught:
        HttpApi(Connection({"endpoint": endpoint}, {}, ".", CountingPacer(), SystemClock()), TRAITS,
                base_url="https://x.example", headers={}, secrets=[])  # fmt: skip
    assert caught.value.sent is Sent.NO


def test_an_id_stays_one_segment_of_a_path() -> None:
    assert segment("a/../b?c") == "a%2F..%2Fb%3Fc"
    with pytest.raises(Rejected):
        segment("..")


def test_the_block_of_a_provider_changes_its_rates() -> None:
    traits = tuned(Traits("toy", frozenset(), frozenset(), requests_per_minute=60, instance_poll_s=5.0), {})
    assert traits.instance_poll_s == 5.0
    quick = tuned(traits, {"requests_per_minute": 3000, "creates_per_minute": 600, "grace_window": 2.0})
    assert (quick.requests_per_minute, quick.creates_per_minute, quick.grace_window_s) == (3000, 600, 2.0)
    assert quick.instance_poll_s == 0.25


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("1e9", None), ("nan", None), ("inf", None), ("99999999", 900.0), ("soon", None),
     ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0), ("Thu, 01 Jan 2020 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(text, datetime(2026, 1, 1, tzinfo=UTC)) == seconds
