"""The simulated cloud as its callers meet it: what an account can ask for, over the model and the store.

Every method is one call and one transaction, and raises the contract's errors. A face (the embedded provider, an HTTP
server) first asks `enter` what befalls the call, then passes the fault's fate of a machine to `create`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from msgspec.structs import replace

from brevplan.contract.bytes import Bytes
from brevplan.contract.client import Clock
from brevplan.contract.errors import InstanceNotFound, OutOfStock, RateLimited, Rejected
from brevplan.contract.model import (
    CreateInstanceAttrs,
    FirewallRules,
    Instance,
    InstanceFilter,
    InstanceType,
    InstanceTypeFilter,
    matches,
    type_matches,
)
from brevplan.simcloud import catalogue, model
from brevplan.simcloud.faults import NO_FAULT, Call, Fault, Faults, NoFaults
from brevplan.simcloud.model import Behaviour, Machine
from brevplan.simcloud.store import Store

_MINUTE_S = 60.0


class SimCloud:
    """One account of the simulated cloud: its store, its behaviour, the clock it lives by and its faults."""

    def __init__(
        self, store: Store | str | Path, clock: Clock, how: Behaviour | None = None, faults: Faults | None = None
    ) -> None:
        self.store = store if isinstance(store, Store) else Store(store)
        self.how = how or Behaviour()
        self.faults: Faults = faults or NoFaults()
        self._clock = clock

    def close(self) -> None:
        self.store.close()

    def now(self) -> datetime:
        """Give the cloud's own time."""
        with self.store.read():
            return datetime.fromtimestamp(self._now(), UTC)

    # Before each call

    def enter(self, call: Call) -> Fault:
        """Let a call in: raise `RateLimited` when there were too many, else say what befalls it."""
        if self.how.requests_per_minute is not None:
            self._count_request(self.how.requests_per_minute)
        return self.faults.draw(call)

    def next_call(self) -> int:
        """Number the calls of this account, over all processes."""
        with self.store.write():
            return self.store.next_number("call")

    def _count_request(self, per_minute: int) -> None:
        """Keep a bucket of a minute's requests that fills up evenly; stored is when it will be full again."""
        now = self._clock.now().timestamp()
        with self.store.write():
            full_at = self.store.number("bucket")
            if not now < full_at <= now + _MINUTE_S:
                full_at = now  # Long full, or the clock was put back.
            full_at += _MINUTE_S / per_minute
            wait = full_at - now - _MINUTE_S
            if wait > 1e-6:
                raise RateLimited(
                    f"more than {per_minute} requests a minute: the next one in {wait:.1f} s",
                    http_status=429,
                    retry_after=wait,
                )
            self.store.set_number("bucket", min(full_at, now + _MINUTE_S))

    # Reading

    def instances(self, wanted: InstanceFilter, fault: Fault = NO_FAULT) -> list[Instance]:
        """Give the machines that the filter lets through, in the order of making."""
        with self.store.read():
            now = self._now()
            found = self._named(wanted, now) if wanted.cloud_ids else self._all(now)
        if fault.leaves_out:
            found = [instance for instance in found if not _is_left_out(instance, fault)]
        return found if wanted == InstanceFilter() else [instance for instance in found if matches(instance, wanted)]

    def _all(self, now: float) -> list[Instance]:
        lag = self.how.list_lag_s
        settled = self.store.settled(now, lag)
        others = self._listed(self.store.unsettled(now, lag), now)
        return sorted([*settled, *others], key=_number) if others else settled

    def _named(self, wanted: InstanceFilter, now: float) -> list[Instance]:
        numbers = (model.number_of(cloud_id) for cloud_id in wanted.cloud_ids)
        return self._listed(self.store.some(number for number in numbers if number is not None), now)

    def _listed(self, machines: list[Machine], now: float) -> list[Instance]:
        shown = (model.listed(machine, now, self.how.list_lag_s) for machine in machines)
        return [instance for instance in shown if instance is not None]

    def get(self, cloud_id: str) -> Instance:
        with self.store.read():
            now = self._now()
            shown = model.seen(self._find(cloud_id, now), now)
        assert shown is not None, "what is not seen is not found"
        return shown

    def present(self) -> list[Machine]:
        """Give the machines that there are now, without the lag of a list; those on their way out are still there."""
        machines = self.store.machines(include_gone=True)
        with self.store.read():
            now = self._now()
        return [machine for machine in machines if model.seen(machine, now) is not None]

    def types(self, wanted: InstanceTypeFilter) -> list[InstanceType]:
        """Give the types with what is left of each. A file that is not there yet is not made for this."""
        taken: Mapping[tuple[str, str], int] = {}
        if self.store.exists():
            with self.store.read():
                taken = self.store.taken()
        return [
            self._with_stock(offer, taken.get((offer.location, offer.type), 0))
            for offer in catalogue.offers()
            if type_matches(offer, wanted)
        ]

    def _with_stock(self, offer: InstanceType, taken: int) -> InstanceType:
        left = self._left(offer, taken)
        return replace(offer, stock=left, is_available=left > 0, deploy_time_s=self.how.boot_s)

    def _left(self, offer: InstanceType, taken: int) -> int:
        return 0 if offer.type in self.how.out_of_stock else max(0, (offer.stock or 0) - taken)

    # Coming and going

    def create(self, attrs: CreateInstanceAttrs, fault: Fault = NO_FAULT) -> Instance:
        """Make a machine. Where the cloud is idempotent, the same ref_id again gives the same machine again."""
        offer = catalogue.find_offer(attrs.instance_type, attrs.location)
        model.check(attrs, offer)
        with self.store.write():
            now = self._pass_time()
            known = self.store.by_ref_id(attrs.ref_id) if self.how.idempotent else None
            if known is not None:
                return self._again(known, attrs, now)
            if self.store.is_fenced(attrs.ref_id):
                raise Rejected(f"{attrs.ref_id} was fenced: nothing can be made under this name any more")
            self._find_place(offer, 2 if fault.twice else 1)
            machine = self._conceive(attrs, offer, now, fault)
            if fault.twice:
                self._conceive(attrs, offer, now, fault)
        return model.standing(machine, now)

    def _conceive(self, attrs: CreateInstanceAttrs, offer: InstanceType, now: float, fault: Fault) -> Machine:
        machine = model.conceive(attrs, offer, self.store.next_number("machine"), now, self.how, fault)
        self.store.add(machine)
        return machine

    def _again(self, known: Machine, attrs: CreateInstanceAttrs, now: float) -> Instance:
        body = known.body
        if known.gone_at is not None or body.ref_id != attrs.ref_id:
            raise Rejected(f"{attrs.ref_id} was the name of {body.cloud_id}, which is gone or not ours: it is used up")
        if (body.instance_type, body.location) != (attrs.instance_type, attrs.location):
            raise Rejected(f"{attrs.ref_id} is the name of {body.cloud_id}, a {body.instance_type} in {body.location}")
        if known.born_at > now:
            early = known.born_at - now
            born = replace(known, born_at=now, ready_at=known.ready_at - early)
            self.store.save(born, known)
            known = born
        return model.standing(known, now)

    def _find_place(self, offer: InstanceType, places: int = 1) -> None:
        if self._left(offer, self.store.taken_of(offer.location, offer.type)) < places:
            raise OutOfStock(f"no {offer.type} is left in {offer.location}", code="insufficient-capacity")

    def terminate(self, cloud_id: str) -> None:
        """End a machine; one that is gone, or never was, is fine."""
        with self.store.write():
            now = self._pass_time()
            number = model.number_of(cloud_id)
            machine = self.store.machine(number) if number is not None else None
            if machine is not None and machine.gone_at is None:
                self.store.bury(machine, now + self.how.end_s)

    def fence(self, ref_id: str) -> None:
        """Make sure that nothing comes under a ref_id any more, also not what was asked for and is late."""
        if not self.how.fences:
            raise Rejected("this cloud has no fences")
        with self.store.write():
            now = self._pass_time()
            self.store.fence(ref_id)
            machine = self.store.by_ref_id(ref_id)
            if machine is not None and machine.gone_at is None and machine.born_at > now:
                self.store.bury(machine, now)

    def call_off(self, ref_id: str) -> None:
        """Let nothing come of launches under a ref_id that are under way; later ones are not kept from coming."""
        with self.store.write():
            now = self._pass_time()
            for machine in self.store.unborn(ref_id, now):
                self.store.bury(machine, now)

    # Changing

    def stop(self, cloud_id: str) -> None:
        self._change(cloud_id, lambda machine, now: model.stop(machine, now, self.how))

    def start(self, cloud_id: str) -> None:
        """Start; raise `OutOfStock` when the place was taken meanwhile."""
        self._change(cloud_id, lambda machine, now: model.start(machine, now, self.how))

    def reboot(self, cloud_id: str) -> None:
        self._change(cloud_id, model.reboot)

    def resize(self, cloud_id: str, size: Bytes) -> None:
        self._change(cloud_id, lambda machine, _: model.resize(machine, size, _offer_of(machine)))

    def retype(self, cloud_id: str, instance_type: str) -> None:
        """Turn a stopped machine into one of another type of its region."""
        if not self.how.retypes:
            raise Rejected("a machine keeps its type here")
        self._change(
            cloud_id,
            lambda machine, now: model.retype(machine, now, catalogue.find_offer(instance_type, machine.body.location)),
        )

    def set_tags(self, cloud_id: str, tags: Mapping[str, str]) -> None:
        self._change(cloud_id, lambda machine, _: model.with_body(machine, tags=dict(tags)))

    def set_options(self, cloud_id: str, options: Mapping[str, str]) -> None:
        """Put other words of an API beside a machine: the model keeps them as they are."""
        self._change(cloud_id, lambda machine, _: model.with_body(machine, options=dict(options)))

    def set_mark(self, cloud_id: str, address: str | None) -> None:
        """Rewrite the address of a machine, or with None make it nobody's."""
        marks = {"address": address} if address is not None else {"address": "", "ref_id": "", "cloud_cred_ref_id": ""}
        self._change(cloud_id, lambda machine, _: model.with_body(machine, **marks))

    def rename(self, cloud_id: str, name: str) -> None:
        self._change(cloud_id, lambda machine, _: model.with_body(machine, name=name or cloud_id))

    def set_rules(self, cloud_id: str, rules: FirewallRules) -> None:
        self._change(cloud_id, lambda machine, _: model.replace_rules(machine, rules))

    def _change(self, cloud_id: str, change: Callable[[Machine, float], Machine]) -> None:
        with self.store.write():
            now = self._pass_time()
            before = self._find(cloud_id, now)
            if before.gone_at is not None:
                raise Rejected(f"{cloud_id} is being terminated")
            after = change(before, now)
            if after.holds_place and not before.holds_place:
                self._find_place(_offer_of(after))
            if after != before:
                self.store.save(after, before)

    def _find(self, cloud_id: str, now: float) -> Machine:
        number = model.number_of(cloud_id)
        machine = self.store.machine(number) if number is not None else None
        if machine is None or model.seen(machine, now) is None:
            raise InstanceNotFound(f'there is no machine "{cloud_id}"')
        return machine

    def _now(self) -> float:
        """Give the cloud's own time, in a transaction: it stands still while its user's clock is put back."""
        return max(self._clock.now().timestamp(), self.store.number("time"))

    def _pass_time(self) -> float:
        now = self._now()
        self.store.set_number("time", now)
        return now


def _offer_of(machine: Machine) -> InstanceType:
    return catalogue.find_offer(machine.body.instance_type, machine.body.location)


def _is_left_out(instance: Instance, fault: Fault) -> bool:
    return crc32(f"{fault.salt}/{instance.cloud_id}".encode()) < fault.leaves_out * 2**32


def _number(instance: Instance) -> int:
    return model.number_of(instance.cloud_id) or 0
