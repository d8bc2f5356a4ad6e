"""The security groups of machines: each machine has one of its own, called by its ref_id, which is its firewall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from brevplan.contract.client import Urgency
from brevplan.contract.errors import DuplicateFirewallRule, NotFound, Rejected, Sent
from brevplan.contract.model import FirewallRules
from brevplan.providers.aws_firewall import Difference, GroupRule, GroupRules, Permission, difference, fresh
from brevplan.providers.aws_rows import Group, Groups, MadeGroup, api_tags
from brevplan.providers.aws_wire import FILTER_VALUES, NAME, Wire, chunks, together


class SecurityGroups:
    """The groups of one account."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def made(
        self, region: str, name: str, vpc_id: str, tags: Mapping[str, str], operation: str
    ) -> tuple[str, list[GroupRule]]:
        """Make a group, or find the one that an earlier try made; give its id and what it lets through."""
        place: dict[str, Any] = {"VpcId": vpc_id} if vpc_id else {}
        spec = [{"ResourceType": "security-group", "Tags": api_tags(tags)}]
        labels: dict[str, Any] = {"TagSpecifications": spec} if tags else {}
        try:
            made = await self._wire.call(
                region, "create_security_group", MadeGroup, operation=operation, urgency=Urgency.SETTLE, GroupName=name,
                Description="The firewall of one machine, made by brevplan", **place, **labels,
            )  # fmt: skip
            return made.group_id, [fresh(made.group_id)]
        except Rejected as problem:
            if problem.code != "InvalidGroup.Duplicate":
                raise
            found = await self.named(region, name, operation)
            same = [group.group_id for group in found if not vpc_id or group.vpc_id == vpc_id]
            if not same:
                raise
            return same[0], await self.rules(region, same[:1], operation, Urgency.SETTLE)

    async def named(self, region: str, name: str, operation: str) -> list[Group]:
        pages = await self._wire.pages(
            region, "describe_security_groups", Groups, operation=operation, urgency=Urgency.SETTLE,
            Filters=[{"Name": "group-name", "Values": [name]}],
        )  # fmt: skip
        return [group for page in pages for group in page.security_groups]

    async def rules(
        self, region: str, groups: Iterable[str], operation: str, urgency: Urgency = Urgency.POLL
    ) -> list[GroupRule]:
        pages = await together(
            [
                self._wire.pages(
                    region, "describe_security_group_rules", GroupRules, operation=operation, urgency=urgency,
                    Filters=[{"Name": "group-id", "Values": some}], MaxResults=1000,
                )
                for some in chunks(sorted(set(groups)), FILTER_VALUES)
            ]
        )  # fmt: skip
        return [rule for found in pages for page in found for rule in page.security_group_rules]

    async def set_rules(
        self, region: str, group: str, rules: FirewallRules, present: Sequence[GroupRule], operation: str
    ) -> None:
        try:
            change = difference(rules, present)
        except ValueError as problem:
            raise Rejected(f"firewalls: {problem}", provider=NAME, operation=operation, sent=Sent.NO) from None
        if present == [fresh(group)] and rules.egress is None:
            # a new group lets everything out by IPv4, and by IPv6 where the network has it
            change = Difference(tuple(item for item in change.add if not item[0].is_egress))
        for is_egress, way in ((False, "ingress"), (True, "egress")):
            await self._authorize(region, group, way, _of(change.add, is_egress), operation)
            described = _of(change.describe, is_egress)
            if described:
                await self._wire.call(
                    region, f"update_security_group_rule_descriptions_{way}", type(None), operation=operation,
                    urgency=Urgency.SETTLE, GroupId=group, IpPermissions=[one.api(text) for one, text in described],
                )  # fmt: skip
            await self._revoke(region, group, way, [one for one in change.revoke if one.is_egress is is_egress],
                               operation)  # fmt: skip

    async def _authorize(
        self, region: str, group: str, way: str, permissions: Sequence[tuple[Permission, str]], operation: str
    ) -> None:
        if not permissions:
            return
        method = f"authorize_security_group_{way}"
        try:
            await self._wire.call(
                region, method, type(None), operation=operation, urgency=Urgency.SETTLE, GroupId=group,
                IpPermissions=[permission.api(text) for permission, text in permissions],
            )  # fmt: skip
        except DuplicateFirewallRule:
            # all or nothing: with one that is there already, none of the others was made
            if len(permissions) > 1:
                for one in permissions:
                    await self._authorize(region, group, way, [one], operation)

    async def _revoke(self, region: str, group: str, way: str, rules: Sequence[GroupRule], operation: str) -> None:
        if not rules:
            return
        ids = [rule.security_group_rule_id for rule in rules if rule.security_group_rule_id]
        first = Permission(True, "-1", -1, -1, "0.0.0.0/0")
        what: dict[str, Any] = {"SecurityGroupRuleIds": ids} if ids else {"IpPermissions": [first.api()]}
        try:
            await self._wire.call(
                region, f"revoke_security_group_{way}", type(None), operation=operation, urgency=Urgency.SETTLE,
                GroupId=group, **what,
            )  # fmt: skip
        except NotFound:
            # somebody else took one of them away, and then none was: the others go one by one
            if len(rules) > 1:
                for one in rules:
                    await self._revoke(region, group, way, [one], operation)


def _of(found: Iterable[tuple[Permission, str]], is_egress: bool) -> list[tuple[Permission, str]]:
    return [item for item in found if item[0].is_egress is is_egress]
