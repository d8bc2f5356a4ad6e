"""The first Ctrl-C does not wait for the next list of a slow poll: boots are not waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from brevplan.engine.apply import Apply
from tests.world import Lab, configuration


def test_a_stop_is_heard_between_two_lists(tmp_path: Path) -> None:
    lab = Lab(tmp_path, configuration(2, provider='boot_time = "1h"'))  # a list every 5 seconds
    stopped: list[float] = []

    def stop_soon(running: Apply) -> None:
        async def stop() -> None:
            await lab.clock.sleep(6.0)
            stopped.append(lab.clock.elapsed)
            running.stop()

        tasks.append(asyncio.ensure_future(stop()))

    tasks: list[object] = []
    done = lab.apply(on_run=stop_soon)
    assert done.result is not None
    assert done.result.interrupted
    assert lab.clock.elapsed - stopped[0] < 1.0
