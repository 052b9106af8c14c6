"""A site that is stopped in the middle of a round is soon called silent; one that only trains for long is not."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psutil
from live_federation import CalmStudy, LiveFederation, answer


def seat(federation: LiveFederation, study: str, site: str) -> dict[str, Any]:
    """What `study status` says of one site."""
    sites = answer("study", "status", study, "-f", federation.federation)["sites"]
    return next((dict(found) for found in sites if found["site"] == site), {})


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
    federation.reached(folder, commits=1)
    agent, training = psutil.Process(federation.processes["site-3"].pid), federation.worker_pid("site-2")
    with stopped(psutil.Process(training), agent, *agent.children(recursive=True)):
        federation.until(
            lambda: seat(federation, folder.name, "site-3").get("state") == "silent", "a site that is silent"
        )
        silent, busy = (seat(federation, folder.name, site) for site in ("site-3", "site-2"))
        assert (silent["doing"], silent["online"]) == ("silent", False)
        assert 20 <= silent["last_sign_s"] < 25
        assert (busy["doing"], busy["state"]) == ("working", "online")
        assert busy["last_sign_s"] < 20
    assert federation.finished(folder) == calm_study.digest
