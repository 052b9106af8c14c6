"""A site that is stopped in the middle of a round is soon called silent; one that only trains for long is not."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psutil
from live_federation import CalmStudy, LiveFederation, answer

from shared.clock import utc_now


def seats(federation: LiveFederation, study: str, *, after: str) -> dict[str, dict[str, Any]]:
    """What `study status` says of each site, if it was written after a time."""
    said = answer("study", "status", study, "-f", federation.federation)
    return {str(site["site"]): site for site in said["sites"]} if said.get("updated", "") > after else {}


@contextlib.contextmanager
def stopped(*processes: psutil.Process) -> Iterator[None]:
    """Stop processes as SIGSTOP does, and let them go on in the end."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_a_stopped_site_is_silent_and_a_long_step_is_not(federation: LiveFederation, calm_study: CalmStudy) -> None:
    folder = federation.launch("one-is-stopped")
    federation.wrote(folder, "round_opened")
    seen: dict[str, dict[str, Any]] = {}

    def until(word: str, **said: str) -> None:
        """Wait until the sites are said to be so, from now on."""
        now = utc_now()

        def is_so() -> bool:
            seen.update(found := seats(federation, folder.name, after=now))
            return bool(found) and all(found[site.replace("_", "-")][word] == state for site, state in said.items())

        federation.until(is_so, f"{word}: {said}")

    first, second, third = (psutil.Process(federation.worker_pid(f"site-{n}")) for n in (1, 2, 3))
    agent = psutil.Process(federation.processes["site-3"].pid)
    with contextlib.ExitStack() as stack:
        with stopped(first):  # so that the round waits for it, and the others are not at work
            until("phase", site_1="asked", site_2="admitted", site_3="admitted")
            stack.enter_context(stopped(second, third))
        until("phase", site_1="admitted", site_2="asked", site_3="asked")
        stack.enter_context(stopped(agent))
        began = time.monotonic()
        until("state", site_3="silent")
        silent, busy = seen["site-3"], seen["site-2"]
        assert (silent["doing"], silent["online"]) == ("silent", False)
        assert 20 <= silent["last_sign_s"] < 20 + time.monotonic() - began  # it was online when it was stopped
        assert (busy["doing"], busy["state"]) == ("working", "online")
        assert busy["last_sign_s"] < 20
    assert federation.finished(folder) == calm_study.digest
