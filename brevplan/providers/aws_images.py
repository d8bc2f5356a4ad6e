"""Which image a machine at EC2 is made from: by id, by SSM parameter, by name, or the default of its type."""

from __future__ import annotations

from typing import Any, Final

from brevplan.contract.client import Urgency
from brevplan.contract.errors import ImageNotFound, NotFound
from brevplan.contract.model import CreateInstanceAttrs
from brevplan.providers.aws_catalogue import Catalogue
from brevplan.providers.aws_rows import Image, Images, Parameter
from brevplan.providers.aws_wire import NAME, Wire

DEEP_LEARNING_IMAGE: Final = (
    "/aws/service/deeplearning/ami/{architecture}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
)


class ImageFinder:
    """Finds images of one account; once found, one stays the same for as long as this lives."""

    def __init__(self, wire: Wire, catalogue: Catalogue) -> None:
        self._wire, self._catalogue = wire, catalogue
        self._found: dict[tuple[str, ...], Image] = {}

    async def find(self, attrs: CreateInstanceAttrs, region: str) -> Image:
        """Find the image of a launch; once found, it stays the same for as long as this client lives."""
        options = attrs.options
        asked = (attrs.image_id, *(options.get(name, "") for name in ("image_parameter", "image_name", "image_owner")))
        key = (region, *asked, "" if any(asked[:3]) else attrs.instance_type)
        if key not in self._found:
            self._found[key] = await self._search(attrs, region)
        return self._found[key]

    async def _search(self, attrs: CreateInstanceAttrs, region: str) -> Image:
        options = attrs.options
        if attrs.image_id:
            return await self._newest_image(region, attrs.image_id, ImageIds=[attrs.image_id])
        if options.get("image_parameter"):
            return await self._image_of_parameter(region, options["image_parameter"])
        if options.get("image_name"):
            filters = [{"Name": "name", "Values": [options["image_name"]]}, {"Name": "state", "Values": ["available"]}]
            return await self._newest_image(
                region, options["image_name"], Owners=[options.get("image_owner", "self")], Filters=filters
            )
        row = await self._catalogue.row(region, attrs.instance_type)
        architecture = row.architectures[0] if row.architectures else "x86_64"
        return await self._image_of_parameter(region, DEEP_LEARNING_IMAGE.format(architecture=architecture))

    async def _image_of_parameter(self, region: str, name: str) -> Image:
        try:
            found = await self._wire.call(
                region, "get_parameter", Parameter, operation="create_instance", urgency=Urgency.SETTLE,
                service="ssm", Name=name,
            )  # fmt: skip
        except NotFound as problem:
            raise ImageNotFound(
                f"there is no parameter {name} in {region} that names an image: set image_id",
                provider=NAME, operation="create_instance", http_status=problem.http_status, code=problem.code,
            ) from None  # fmt: skip
        return await self._newest_image(region, found.parameter.value, ImageIds=[found.parameter.value])

    async def _newest_image(self, region: str, what: str, **asked: Any) -> Image:
        pages = await self._wire.pages(
            region, "describe_images", Images, operation="create_instance", urgency=Urgency.SETTLE, **asked
        )
        found = [image for page in pages for image in page.images]
        if not found:
            raise ImageNotFound(f'no image "{what}" in {region}', provider=NAME, operation="create_instance")
        return max(found, key=lambda image: (image.creation_date or "", image.image_id))
