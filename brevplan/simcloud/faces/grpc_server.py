"""Serves Nebius' face over gRPC: authentication, rate limit and faults before each call, then its answer or failure.

What breaks is seen by the client as a status of the connection, or as an answer that cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc import StatusCode
from nebius.aio.service_error import RequestStatusExtended
from nebius.api.nebius.common import v1 as common

from brevplan.contract.client import Clock
from brevplan.contract.errors import (
    AuthFailed,
    CloudError,
    NotFound,
    NotReady,
    OutOfQuota,
    OutOfStock,
    RateLimited,
    Rejected,
)
from brevplan.simcloud.faces.nebius import REGISTRY, Asked, Method, NebiusFace, Taken
from brevplan.simcloud.faults import Call, Trouble, Way, raised

_CODES: Final[tuple[tuple[type[CloudError], StatusCode], ...]] = (
    (NotFound, StatusCode.NOT_FOUND),
    (OutOfStock, StatusCode.RESOURCE_EXHAUSTED),
    (OutOfQuota, StatusCode.RESOURCE_EXHAUSTED),
    (RateLimited, StatusCode.RESOURCE_EXHAUSTED),
    (AuthFailed, StatusCode.UNAUTHENTICATED),
    (NotReady, StatusCode.FAILED_PRECONDITION),
)
_BY_STATUS: Final = {
    403: StatusCode.PERMISSION_DENIED, 500: StatusCode.INTERNAL, 504: StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip


class GrpcServer:
    """A face served on 127.0.0.1, from `start` to `stop`, on the loop that runs then. `port` 0 takes a free one."""

    def __init__(self, face: NebiusFace, clock: Clock, port: int = 0) -> None:
        self._face, self._clock, self._port = face, clock, port

    async def start(self) -> int:
        """Begin to serve; give the port. Raises `OSError` when it is taken."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        for method in self._face.methods:
            service = method.client.get_descriptor()
            known = next(one for one in service.methods if one.name == method.name)
            handlers.setdefault(service.full_name, {})[method.name] = grpc.unary_unary_rpc_method_handler(
                self._handler(method),
                request_deserializer=REGISTRY.message_class(known.input_type.full_name).FromString,
                response_serializer=_serialized,
            )
        self._server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers.items())
        )
        try:
            port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        except RuntimeError as problem:
            raise OSError(str(problem)) from None
        await self._server.start()
        return int(port)

    async def stop(self) -> None:
        await self._server.stop(None)

    def _handler(self, method: Method) -> Callable[[Any, Any], Any]:
        async def handle(message: Any, context: Any) -> Any:
            headers = {name: str(value) for name, value in context.invocation_metadata() or ()}
            try:
                return await self._carry(method, Asked(message, headers))
            except _Broken as broken:
                return broken.content
            except CloudError as problem:
                await _refuse(context, problem)

        return handle

    async def _carry(self, method: Method, asked: Asked) -> Any:
        face = self._face
        if not face.admits(asked, method.operation):
            raise AuthFailed("the token is not known")
        call = Call(method.operation, face.target(asked.message), method.changes)
        fault = face.cloud.enter(call)
        if fault.delay_s:
            await self._clock.sleep(fault.delay_s)
        if fault.before is not None:
            raise _broken(fault.before, None)
        answer = self._answer(method, Asked(asked.message, asked.headers, fault))
        if fault.after is not None:
            raise _broken(fault.after, answer)
        return answer

    def _answer(self, method: Method, asked: Asked) -> Any:
        try:
            return method.handler(asked)
        except CloudError as problem:
            status = _status(problem).to_rpc_status(registry=REGISTRY)
            if self._face.fails_later(method):
                return self._face.failing(asked, status.SerializeToString())
            if not (method.changes and self._face.fails_in_operations):
                raise
            return common.Operation(id="operation-failed", status=status)


class _Broken(Exception):
    """An answer that nobody can read."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content


def _broken(trouble: Trouble | CloudError, answer: Any) -> Exception:
    if isinstance(trouble, Trouble) and trouble.way is Way.MALFORMED:
        return _Broken(b"\xff\xff\xff")
    if isinstance(trouble, Trouble) and trouble.way is Way.TRUNCATED and answer is not None:
        content = answer.SerializeToString()
        return _Broken(content[: len(content) // 2 + 1])
    return raised(trouble)


def _serialized(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


async def _refuse(context: Any, error: CloudError) -> None:
    status = _status(error)
    content = status.to_rpc_status(registry=REGISTRY).SerializeToString()
    await context.abort(status.code, error.message, trailing_metadata=(("grpc-status-details-bin", content),))


def _status(error: CloudError) -> RequestStatusExtended:
    """Word an error as the API does: a code, and details that say more."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    if isinstance(error, Taken):
        code = StatusCode.ALREADY_EXISTS
    elif isinstance(error, Rejected):
        code = StatusCode.INVALID_ARGUMENT
    code = _BY_STATUS.get(error.http_status or 0) or code or StatusCode.UNAVAILABLE
    detail = _detail(error)
    return RequestStatusExtended(
        code=code, message=error.message, details=[], service_errors=[detail] if detail else [], request_id="",
        trace_id="", registry=REGISTRY,
    )  # fmt: skip


def _detail(error: CloudError) -> Any:
    named: dict[str, Any] = {"service": "compute", "code": type(error).__name__}
    if isinstance(error, OutOfStock):
        lacking = common.NotEnoughResources__Violation(resource_type="gpu", message=error.message)
        return common.ServiceError(**named, not_enough_resources=common.NotEnoughResources(violations=[lacking]))
    if isinstance(error, OutOfQuota):
        exceeded = common.QuotaFailure__Violation(quota="compute.instance.count", message=error.message)
        return common.ServiceError(**named, quota_failure=common.QuotaFailure(violations=[exceeded]))
    if isinstance(error, RateLimited):
        return common.ServiceError(**named, too_many_requests=common.TooManyRequests(violation=error.message))
    if isinstance(error, NotFound):
        return common.ServiceError(**named, resource_not_found=common.ResourceNotFound(resource_id=error.message))
    return None
