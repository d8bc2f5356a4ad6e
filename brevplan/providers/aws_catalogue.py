"""What EC2 sells in each region: its GPU types, where they are offered, and what they cost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from brevplan.contract.client import Urgency
from brevplan.contract.errors import CloudError, Rejected
from brevplan.contract.model import InstanceType
from brevplan.providers.aws_types import Offerings, PriceList, TypeRow, TypeRows, instance_type, price_filters, prices
from brevplan.providers.aws_wire import FILTER_VALUES, NAME, PRICING_REGION, Wire, chunks

_LOG: Final = logging.getLogger(__name__)
_NAMES_A_PRICE_REQUEST: Final = 50
_GPU_FAMILIES: Final = ("p*", "g*")


class Catalogue:
    """The types of one account. Rows of types and prices are read once."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._rows: dict[str, TypeRow] = {}
        self._prices: dict[str, Mapping[str, Decimal]] = {}

    async def sold(self, region: str) -> list[InstanceType]:
        pages = await self._wire.pages(
            region, "describe_instance_types", TypeRows, operation="get_instance_types",
            # there is no filter for GPUs; their families begin with these letters
            Filters=[{"Name": "instance-type", "Values": list(_GPU_FAMILIES)}],
        )  # fmt: skip
        rows = {row.instance_type: row for page in pages for row in page.instance_types if row.gpu_info}
        self._rows |= rows
        names = sorted(rows)
        zones, known = await asyncio.gather(self._zones(region, names), self._priced(region, names))
        return [instance_type(rows[name], region, zones.get(name, ()), known.get(name)) for name in names]

    async def _zones(self, region: str, names: Sequence[str]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for some in chunks(names, FILTER_VALUES):
            pages = await self._wire.pages(
                region, "describe_instance_type_offerings", Offerings, operation="get_instance_types",
                LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": some}],
            )  # fmt: skip
            for offering in (item for page in pages for item in page.instance_type_offerings):
                found.setdefault(offering.instance_type, set()).add(offering.location)
        return found

    async def _priced(self, region: str, names: Sequence[str]) -> Mapping[str, Decimal]:
        """Give prices, asked for once. Where nobody may ask for them they are not known, and never nothing."""
        if region not in self._prices:
            texts: list[str] = []
            try:
                for some in chunks(names, _NAMES_A_PRICE_REQUEST):
                    pages = await self._wire.pages(
                        PRICING_REGION, "get_products", PriceList, operation="get_instance_types", service="pricing",
                        ServiceCode="AmazonEC2", Filters=price_filters(region, some),
                    )  # fmt: skip
                    texts += [text for page in pages for text in page.price_list]
            except CloudError as problem:
                _LOG.info("prices in %s are not known: %s", region, problem)
                return {}
            self._prices[region] = prices(texts)
        return self._prices[region]

    async def row(self, region: str, name: str) -> TypeRow:
        """Give what EC2 says of a type; raise `Rejected` where it does not know it."""
        if name not in self._rows:
            found = await self._wire.call(
                region, "describe_instance_types", TypeRows, operation="create_instance", urgency=Urgency.SETTLE,
                InstanceTypes=[name],
            )  # fmt: skip
            self._rows |= {row.instance_type: row for row in found.instance_types}
        if name not in self._rows:
            raise Rejected(f"there is no type {name} in {region}", provider=NAME, operation="create_instance")
        return self._rows[name]
