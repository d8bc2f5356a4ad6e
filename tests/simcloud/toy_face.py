"""A face of no provider: the smallest API that shows what the server does around every call."""

from __future__ import annotations

from brevplan.contract.errors import CloudError
from brevplan.simcloud.cloud import SimCloud
from brevplan.simcloud.faces.face import Reply, Request, Route, text_of


class ToyFace:
    name = "toy"
    prefix = "/v1"

    def __init__(self, cloud: SimCloud) -> None:
        self.cloud = cloud
        self.made: list[str] = []
        self.routes = (
            Route("GET", "/things", "list_instances", lambda request: Reply({"things": self.made})),
            Route(
                "POST", "/things", "create_instance", self.make, changes=True,
                target=lambda request: text_of(request.body, "name"),
            ),
        )  # fmt: skip

    def make(self, request: Request) -> Reply:
        self.made.append(text_of(request.body, "name"))
        return Reply({"id": str(len(self.made))})

    def admits(self, request: Request) -> bool:
        return request.headers.get("x-key") == "right"

    def refusal(self, error: CloudError, operation: str) -> Reply:
        return Reply({"error": error.message}, error.http_status or 400)

    def unauthorised(self) -> Reply:
        return Reply({"error": "who are you"}, 401)

    def no_such_path(self) -> Reply:
        return Reply({"error": "no such path"}, 404)
