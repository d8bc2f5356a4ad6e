"""Checks requests and answers against a provider's own OpenAPI file, on their way between a client and a face."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from brevplan.simcloud.faces.server import ConnectionDropped, Wire

SHARED = Path(os.environ.get("BREVPLAN_SHARED") or Path(__file__).parents[2].parent / "shared")
"""Where the providers' OpenAPI files lie, beside the project; it may be absent."""


def spec_file(name: str) -> Path:
    """Give an OpenAPI file; skip the test, saying so, where there is none."""
    path = SHARED / "specs" / name
    if not path.exists():
        pytest.skip(f"the OpenAPI file {name} is not here: nothing is checked against it")
    return path


@cache
def _openapi(path: Path) -> Any:
    from openapi_core import OpenAPI

    return OpenAPI.from_file_path(str(path))


class SpecTransport(httpx.AsyncBaseTransport):
    """Carries requests to an application in this process; each request and each answer has to fit the file.

    `host` and `prefix` are what stands before a path in the file (its `servers`); the part of the URL before `mount`
    ends is cut off. `calls` counts what was checked, by method and path; `violations` must stay empty. `describes`
    tells which statuses of answers the file says anything about. Answers may have a file of their own. Without a file
    nothing is checked.
    """

    def __init__(
        self, app: Wire, path: Path | None, *, mount: str, server: str,
        describes: Callable[[int], bool] = lambda status: status < 500, answers: Path | None = None,
    ) -> None:  # fmt: skip
        self._inner = httpx.ASGITransport(app=app)
        self._path, self._mount, self._server, self._describes = path, mount, server, describes
        self._answers = answers or path
        self.calls: list[str] = []
        self.violations: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        target = request.url.path.removeprefix(self._mount)
        self.calls.append(f"{request.method} {target}")
        mocked = self._request(request, target, content)
        self._check("request", request.method, target, lambda api: api.validate_request(mocked))
        try:
            response = await self._inner.handle_async_request(request)
            body = await response.aread()
        except ConnectionDropped:
            raise httpx.ReadError("the connection was lost") from None
        if self._describes(response.status_code):
            self._check(
                "answer", request.method, target,
                lambda api: api.validate_response(mocked, self._response(response, body)),
            )  # fmt: skip
        return httpx.Response(response.status_code, headers=response.headers, content=body)

    def _request(self, request: httpx.Request, target: str, content: bytes) -> Any:
        from openapi_core.testing import MockRequest

        return MockRequest(
            self._server, request.method.lower(), target, args=dict(request.url.params),
            headers=dict(request.headers), data=content or None,
            content_type=request.headers.get("content-type", "application/json"),
        )  # fmt: skip

    def _response(self, response: httpx.Response, body: bytes) -> Any:
        from openapi_core.testing import MockResponse

        return MockResponse(
            data=body, status_code=response.status_code,
            content_type=response.headers.get("content-type", "").split(";")[0],
        )  # fmt: skip

    def _check(self, what: str, method: str, target: str, check: Any) -> None:
        path = self._path if what == "request" else self._answers
        if path is None:
            return
        try:
            check(_openapi(path))
        except Exception as problem:  # openapi-core has many kinds of errors: each is a violation
            detail = "; ".join(str(item) for item in getattr(problem.__cause__, "schema_errors", ())) or repr(
                problem.__cause__ or problem
            )
            self.violations.append(f"{what} of {method} {target}: {problem}: {detail}")


def pretty(data: object) -> str:
    return json.dumps(data, indent=2, default=str)
