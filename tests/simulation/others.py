"""Machines in the same account that are none of ours."""

from __future__ import annotations

from brevplan.contract.model import CreateInstanceAttrs, RefId
from brevplan.simcloud import catalogue, model
from brevplan.simcloud.model import Behaviour, Machine


def stranger(number: int, mark: str, now: float) -> Machine:
    """Make a machine that bears another project's mark, or none."""
    attrs = CreateInstanceAttrs(
        ref_id=RefId(f"{mark or 'theirs'}-aaaaaaaaaaaa-{number:06d}"),
        cloud_cred_ref_id=mark,
        instance_type="gpu_1x_a10",
        location="us-west-1",
        public_key="ssh-ed25519 AAAA theirs",
    )
    return model.conceive(attrs, catalogue.find_offer("gpu_1x_a10", "us-west-1"), number, now, Behaviour())
