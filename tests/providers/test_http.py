"""The HTTP door over a real server on a real socket: what breaks there, and what the contract's errors say of it."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from brevplan.contract.client import Capability, Connection, Traits, Urgency
from brevplan.contract.errors import AuthFailed, CloudError, NotFound, RateLimited, Rejected, Sent, Unavailable
from brevplan.operations.world import SystemClock
from brevplan.providers import fluidstack_errors, lambda_cloud, launchpad_wire, shadeform
from brevplan.providers.http import Explain, HttpApi, by_status, retry_after, segment, tuned
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
     ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0), ("Thu, 01 Jan 2020 00:00:00 GMT", 0.0),
     ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None), ("Mon, 01 Jan 2026 00:00:00 +99999999", None),
     ("9" * 400, 900.0)],
)  # fmt: skip
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(text, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


# What an API may answer, and what is shown of it


def canned(
    answer: httpx.Response | Callable[[httpx.Request], httpx.Response], *, secrets: tuple[str, ...] = (),
    body: object = None, into: Any = Things, method: str = "GET", explain: Explain = by_status, **settings: object,
) -> Any:  # fmt: skip
    """Make one request at an API that answers so."""

    async def whole() -> Any:
        transport = httpx.MockTransport(answer if callable(answer) else lambda request: answer)
        api = HttpApi(
            Connection(settings, {}, ".", CountingPacer(), SystemClock(), {"transport": transport}), TRAITS,
            base_url="https://x.example/v1", headers={}, secrets=secrets, explain=explain,
        )  # fmt: skip
        try:
            return await api.call(method, "things", into, operation="list", body=body)
        finally:
            await api.aclose()

    return asyncio.run(whole())


def refused(answer: httpx.Response, **how: Any) -> CloudError:
    with pytest.raises(CloudError) as caught:
        canned(answer, **how)
    return caught.value


@pytest.mark.parametrize("before", range(270, 310))
def test_a_secret_at_the_place_where_a_text_is_cut_is_not_shown_in_part(before: int) -> None:
    secret = "key-5a2f9c71d04b8e63"
    error = refused(httpx.Response(400, text="x" * before + secret + "y" * 400), secrets=(secret,))
    assert secret[:6] not in str(error)
    assert secret[-6:] not in str(error)


@pytest.mark.parametrize(
    "explain",
    [fluidstack_errors.explained, lambda_cloud.explain, launchpad_wire.explained, shadeform.explained],
    ids=["fluidstack", "lambda", "launchpad", "shadeform"],
)
def test_a_secret_in_the_words_of_any_provider_is_taken_out_before_they_are_cut(explain: Explain) -> None:
    secret = "key-5a2f9c71d04b8e63"
    for before in (0, 190, 200, 205, 290, 295, 299, 600):
        words = f"{'x' * before}{secret}{'y' * 1000}"
        shapes = ({"message": words}, {"error": words}, {"error": {"code": "odd", "message": words}}, {"detail": words})
        for shape in (*shapes, {"name": [words]}):
            error = refused(httpx.Response(400, json=shape), secrets=(secret,), explain=explain)
            assert not any(secret[at : at + 6] in str(error) for at in range(len(secret) - 5)), (shape, str(error))
            assert len(error.message) <= 300


def test_a_text_is_cut_to_three_hundred_characters_and_keeps_its_end() -> None:
    error = refused(httpx.Response(400, text=f"begin {'x ' * 5000} end"))
    assert len(error.message) == 300
    assert error.message.startswith("begin x x")
    assert error.message.endswith("x x end")


def test_a_secret_is_known_again_in_the_spelling_of_json() -> None:
    secret = 'a"b/c\\dé-9f8e7d'
    for text in (
        json.dumps([secret]),
        json.dumps([secret], ensure_ascii=False),
        json.dumps([secret]).replace("/", "\\/"),
    ):
        assert "9f8e7d" not in str(refused(httpx.Response(400, text=text), secrets=(secret,)))


SCRIPT = "#!/bin/sh\n" + "".join(f"export TOKEN_{number}='canary-{number * 7919}/x'\n" for number in range(200))


@pytest.mark.parametrize("field", ["user_data", "userData", "base64_script", "password"])
@pytest.mark.parametrize(
    "quote",
    [lambda text: text, lambda text: text[:900], lambda text: text[40:90], lambda text: text.replace("\n", " ")],
    ids=["whole", "beginning", "piece", "on one line"],
)  # fmt: skip
@pytest.mark.parametrize("within", ["plain", "message"])
def test_what_users_put_into_a_machine_is_not_quoted_by_an_error(
    field: str, quote: Callable[[str], str], within: str
) -> None:
    text = f"invalid value {quote(SCRIPT)} given"
    answer = httpx.Response(400, text=text) if within == "plain" else httpx.Response(400, json={"message": text})
    error = refused(answer, body={"name": "web", "nested": {field: SCRIPT}}, method="POST")
    assert "canary" not in str(error)
    assert "TOKEN" not in str(error)
    assert "invalid value" in str(error)


def test_user_data_that_went_in_base64_is_known_in_both_forms() -> None:
    from base64 import b64encode

    sent = b64encode(SCRIPT.encode()).decode()
    for quoted in (sent, sent[:200], sent[100:], SCRIPT[50:120]):
        error = refused(httpx.Response(400, text=f"bad: {quoted}"), body={"userData": sent}, method="POST")
        assert error.message == "bad: (secret)"


def test_a_short_text_of_a_user_is_taken_out_whole_and_ordinary_words_stay() -> None:
    error = refused(httpx.Response(400, text="hunter22 is no name"), body={"password": "hunter22", "envs": ["is"]})
    assert error.message == "(secret) is no name"


def test_a_trace_of_an_answer_that_quotes_a_request_shows_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, logger="brevplan.providers.http")
    refused(httpx.Response(400, json={"message": f"bad: {SCRIPT}"}), body={"user_data": SCRIPT}, method="POST")
    shown = "\n".join(record.getMessage() for record in caplog.records)
    assert "bad: (secret)" in shown
    assert "canary" not in shown


def test_what_is_quoted_takes_no_time() -> None:
    long = "ab" * 100_000
    error = refused(httpx.Response(400, text=long * 2), body={"user_data": long[:60_000]}, method="POST")
    assert error.message == "(secret)"


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:99999/x", "http://127.0.0.1:0/x", "http://xn--/x", "http://a..b/x", f"http://{'a' * 64}.example",
     "http://\udc80/x", "http://ok.example/\udc80", "https://x.example/v1?k=hunter2", "https://x.example/v1#hunter2",
     "https://x.example/?", "nonsense?k=hunter2", "http://x:port/"],
)  # fmt: skip
def test_an_endpoint_that_no_request_could_reach_is_refused_and_its_secrets_are_not_shown(endpoint: str) -> None:
    with pytest.raises(Rejected, match="endpoint") as caught:
        canned(httpx.Response(200), endpoint=endpoint)
    assert caught.value.sent is Sent.NO
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:65535/x/", "http://[::1]:80", "https://bücher.example./v1"])
def test_an_endpoint_that_can_be_reached(endpoint: str) -> None:
    assert canned(httpx.Response(200, json={"things": []}), endpoint=endpoint) == Things([])


def test_what_no_connection_can_be_made_to_was_never_sent() -> None:
    for problem in (OverflowError("port must be 0-65535"), UnicodeError("label empty")):

        def fails(request: httpx.Request, problem: Exception = problem) -> httpx.Response:
            raise problem

        with pytest.raises(Rejected, match="check endpoint") as caught:
            canned(fails, method="POST")
        assert (caught.value.sent, caught.value.provider, caught.value.operation) == (Sent.NO, "toy", "list")


def test_an_answer_that_leads_to_no_host_may_have_had_its_effect() -> None:
    error = refused(httpx.Response(302, headers={"Location": "http://xn--/x"}), method="POST", body={})
    assert isinstance(error, Unavailable)
    assert error.sent is Sent.MAYBE


def test_a_request_that_is_no_text_is_never_sent_and_not_shown() -> None:
    with pytest.raises(Rejected) as caught:
        canned(httpx.Response(200), body={"user_data": "hunter2 \udc80"}, method="POST")
    assert caught.value.sent is Sent.NO
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    ("body", "kind"),
    [("[" * 200_000, ""), ('{"things":' * 100_000, ""), ("9" * 10_000, ""), ("\xff", ""),
     ("x", "text/plain; charset=hex"), ("x", "text/plain; charset=idna")],
    ids=["lists", "objects", "digits", "no UTF-8", "hex", "idna"],
)  # fmt: skip
def test_a_body_made_to_break_its_reader_is_an_ordinary_error(
    status: int, body: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(5, logger="brevplan.providers.http")
    error = refused(httpx.Response(status, content=body.encode("latin-1"), headers={"Content-Type": kind}))
    assert error.http_status == status
    assert isinstance(error, Rejected if status == 400 else Unavailable)
    assert len(str(error)) < 500


def test_a_date_of_no_year_is_no_time_to_come_back() -> None:
    error = refused(httpx.Response(429, headers={"Retry-After": "Mon, 01 Jan 99999999999999 00:00:00 GMT"}))
    assert isinstance(error, RateLimited)
    assert error.retry_after is None
