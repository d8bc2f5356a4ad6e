"""Serves faces over HTTP: authentication, rate limit and faults before each call, its answer or its failure after it.

What breaks on the wire is broken on the wire: a connection is aborted, a body is cut short or is no JSON. Within a
process (an ASGI transport) an aborted connection is `ConnectionDropped`, raised out of the application.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import replace
from errno import EADDRINUSE
from typing import Any, ClassVar

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.routing import Route as HttpRoute
from uvicorn.protocols.http.h11_impl import H11Protocol

from brevplan.contract.client import Clock
from brevplan.contract.errors import CloudError, RateLimited, Sent
from brevplan.simcloud.faces.face import Face, Reply, Request, Route
from brevplan.simcloud.faults import Call, Fault, Trouble, Way, raised

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_GARBAGE = b'{"data": [{"id": '
"""What an answer begins with that is no JSON."""


class ConnectionDropped(Exception):
    """The connection goes, in the middle of a call, without an answer or with a part of one."""


class Wire:
    """The application that serves faces, each under `/NAME` and its own prefix."""

    def __init__(self, faces: Iterable[Face], clock: Clock) -> None:
        self._clock = clock
        mounts: list[BaseRoute] = [Mount(f"/{face.name}{face.prefix}", routes=self._routes(face)) for face in faces]
        self._app = Starlette(routes=mounts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ConnectionDropped:
            transport = _Protocol.open.get(tuple(scope.get("client") or ()))
            if transport is None:
                raise  # within a process there is no wire to cut
            transport.abort()

    def _routes(self, face: Face) -> list[BaseRoute]:
        # what has a fixed name comes before what has any: `/firewall-rulesets/global` before `/firewall-rulesets/{id}`
        known = sorted(face.routes, key=lambda route: route.path.count("{"))
        served: list[BaseRoute] = [
            HttpRoute(route.path, self._endpoint(face, route), methods=[route.method]) for route in known
        ]

        async def unknown(request: HttpRequest) -> Response:
            return _response(face.no_such_path())

        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [*served, HttpRoute("/{rest:path}", unknown, methods=methods)]

    def _endpoint(self, face: Face, route: Route) -> Callable[[HttpRequest], Awaitable[Response]]:
        async def endpoint(http: HttpRequest) -> Response:
            content = await http.body()
            try:
                body = json.loads(content) if content else None
            except ValueError:
                body = None
            request = Request(dict(http.path_params), dict(http.query_params), dict(http.headers), body)
            return await self._carry(face, route, request)

        return endpoint

    async def _carry(self, face: Face, route: Route, request: Request) -> Response:
        if not face.admits(request):
            return _response(face.unauthorised())
        try:
            fault = face.cloud.enter(Call(route.operation, route.target(request), route.changes))
        except RateLimited as problem:
            return _response(_with_wait(face.refusal(problem, route.operation), problem))
        if fault.delay_s:
            await self._clock.sleep(fault.delay_s)
        if fault.before is not None:
            return self._broken(face, route, fault.before, None)
        reply = self._answer(face, route, request, fault)
        if fault.after is not None:
            return self._broken(face, route, fault.after, reply)
        return _response(reply)

    def _answer(self, face: Face, route: Route, request: Request, fault: Fault) -> Reply:
        try:
            return route.handler(replace(request, fault=fault))
        except CloudError as problem:
            return _with_wait(face.refusal(problem, route.operation), problem)

    def _broken(self, face: Face, route: Route, trouble: Trouble | CloudError, reply: Reply | None) -> Response:
        """Break a call: `reply` is what it would have been answered, None when it never came to that."""
        if isinstance(trouble, CloudError) and trouble.http_status is None and trouble.sent is not Sent.REFUSED:
            raise ConnectionDropped
        if isinstance(trouble, CloudError) or trouble.way is Way.STATUS:
            error = raised(trouble)
            return _response(_with_wait(face.refusal(error, route.operation), error))
        if trouble.way is Way.MALFORMED:
            return Response(_GARBAGE, 200, media_type="application/json")
        if trouble.way is Way.TRUNCATED and reply is not None:
            return _Truncated(reply)
        raise ConnectionDropped


class _Truncated(Response):
    """An answer that promises more than comes."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(_encoded(reply), reply.status, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        raise ConnectionDropped


def _response(reply: Reply) -> Response:
    return Response(_encoded(reply), reply.status, dict(reply.headers), "application/json")


def _encoded(reply: Reply) -> bytes:
    return reply.body if isinstance(reply.body, bytes) else msgspec.json.encode(reply.body)


def _with_wait(reply: Reply, error: CloudError) -> Reply:
    if error.retry_after is None:
        return reply
    return Reply(reply.body, reply.status, {**reply.headers, "Retry-After": f"{error.retry_after:.3f}"})


class _Protocol(H11Protocol):
    """Uvicorn's own, which remembers its connections so that one can be cut."""

    open: ClassVar[dict[tuple[Any, ...], asyncio.Transport]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._peer = tuple(transport.get_extra_info("peername") or ())
        self.open[self._peer] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.pop(self._peer, None)
        super().connection_lost(exc)


class Server:
    """Faces served on 127.0.0.1, from `start` to `stop`. `port` 0 takes a free one."""

    def __init__(self, faces: Sequence[Face], clock: Clock, port: int = 0) -> None:
        config = uvicorn.Config(
            Wire(faces, clock), host="127.0.0.1", port=port, http=_Protocol, log_level="critical", lifespan="off",
            access_log=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Begin to serve; give the port. Raises `OSError` when it is taken."""
        self._server.config.load()
        self._server.lifespan = self._server.config.lifespan_class(self._server.config)
        try:
            await self._server.startup()
        except SystemExit:  # how uvicorn says that it cannot listen
            raise OSError(EADDRINUSE, f"port {self._server.config.port} cannot be listened on") from None
        self._serving = asyncio.create_task(self._server.main_loop())
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        with suppress(asyncio.CancelledError):
            await self._server.shutdown()
