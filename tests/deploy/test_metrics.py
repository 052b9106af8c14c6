"""The real Prometheus reads the figures of a live federation, and none of them names a patient or a path."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from live_federation import CalmStudy, LiveFederation
from prometheus_client.parser import text_string_to_metric_families

from client.figures import FAMILIES as OF_SITE
from server.figures import FAMILIES as OF_SERVER
from shared.loopback import free_port

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "wardround.json"
OURS = re.compile(r"\bwardround_[a-z_]+")
KNOWN = {family.name for family in (*OF_SITE, *OF_SERVER)}


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have {name}: apt-get install prometheus")
        pytest.skip(f"no {name} here: apt-get install prometheus")
    return found


def page(federation: LiveFederation, name: str) -> str:
    return httpx.get(f"http://127.0.0.1:{federation.pages[name]}/metrics", timeout=60).text


@pytest.fixture(scope="module")
def prometheus(federation: LiveFederation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real one, with our rules, on the pages of the server and of every site; its API."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = (RULES / "wardround.yml").read_text().replace("15s", "1s")
    sites = ", ".join(f'"127.0.0.1:{federation.pages[name]}"' for name in federation.sites)
    config = config.replace('"127.0.0.1:9464"', f'"127.0.0.1:{federation.pages["server"]}"')
    (folder / "wardround.yml").write_text(config.replace('"127.0.0.1:9465"', sites))
    shutil.copy(RULES / "wardround.rules.yml", folder)
    arguments = [f"--config.file={folder}/wardround.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program("prometheus"), *arguments, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    yield f"http://127.0.0.1:{port}/api/v1"
    process.terminate()
    process.wait(30)


def asked(api: str, query: str) -> list[dict[str, Any]]:
    try:
        found = httpx.get(f"{api}/query", params={"query": query}, timeout=30).raise_for_status().json()
    except httpx.HTTPError:  # it is starting
        return []
    return list(found.get("data", {}).get("result", ()))


def values(api: str, query: str) -> dict[tuple[str, ...], float]:
    """The values of a query, by the labels that are ours."""
    own = ("study", "site", "code")
    return {
        tuple(one["metric"][name] for name in own if name in one["metric"]): float(one["value"][1])
        for one in asked(api, query)
    }


def test_prometheus_reads_both_sides(federation: LiveFederation, prometheus: str) -> None:
    folder = federation.launch("counted")  # agents that were started anew since another study have forgotten it
    federation.finished(folder)
    committed, name, sites = len(federation.commits(folder)), folder.name, sorted(federation.sites)
    by_site = {(site,) for site in sites}

    def until(query: str, awaited: dict[tuple[str, ...], float]) -> None:  # what it has read last may be older
        federation.until(lambda: values(prometheus, query) == awaited, query)

    until(f'wardround_study_rounds_total{{study="{name}"}}', {(name,): committed})
    until(f'wardround_study_updates_admitted_total{{study="{name}"}}', {(name, site): committed for site in sites})
    until(f'wardround_study_state{{study="{name}",code="finished"}}', {(name, "finished"): 1})
    until("wardround_roster_site_online == 1", dict.fromkeys(by_site, 1))
    until("wardround_site_connected == 1", dict.fromkeys(by_site, 1))
    enough = f"wardround_site_updates_released_total >= {committed}"
    federation.until(lambda: values(prometheus, enough).keys() == by_site, enough)
    expiry = "wardround_site_certificate_expiry_timestamp_seconds"
    federation.until(lambda: values(prometheus, expiry).keys() == by_site, expiry)
    assert all(at > time.time() for at in values(prometheus, expiry).values())


def test_the_alert_rules_are_loaded(federation: LiveFederation, prometheus: str) -> None:
    federation.until(lambda: len(asked(prometheus, "up == 1")) == 4, "up")
    groups = httpx.get(f"{prometheus}/rules", timeout=30).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == (RULES / "wardround.rules.yml").read_text().count("- alert:")
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}


@pytest.mark.parametrize("name", ["server", "site"])
def test_promtool_has_nothing_to_say(federation: LiveFederation, calm_study: CalmStudy, name: str) -> None:
    shown = page(federation, name if name == "server" else min(federation.sites))
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=shown, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_promtool_takes_the_configuration_and_its_rules() -> None:
    done = subprocess.run(
        [program("promtool"), "check", "config", "--lint-fatal", str(RULES / "wardround.yml")],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_page_names_a_patient_or_a_path(federation: LiveFederation, calm_study: CalmStudy) -> None:
    for name in federation.pages:
        shown = page(federation, name)
        assert "patient" not in shown.lower()  # as the test images name theirs
        assert str(federation.root) not in shown and ".npz" not in shown
        samples = [s for family in text_string_to_metric_families(shown) for s in family.samples]
        ours = [s for s in samples if s.name.startswith("wardround_")]
        assert ours
        for sample in ours:
            assert sample.labels.keys() <= {"study", "site", "code"}
            assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,47}", value) for value in sample.labels.values()), sample
        assert {s.name for s in ours} <= KNOWN


def test_life_over_http_and_grpc(federation: LiveFederation, calm_study: CalmStudy) -> None:
    answer = httpx.get(f"http://127.0.0.1:{federation.pages['server']}/healthz", timeout=30)
    assert (answer.status_code, answer.text) == (200, "serving\n")
    answer = httpx.get(f"http://127.0.0.1:{federation.pages[min(federation.sites)]}/healthz", timeout=30)
    assert answer.status_code == 200
    with grpc.insecure_channel(f"127.0.0.1:{federation.health_port}") as channel:
        assert HealthStub(channel).Check(HealthCheckRequest(), timeout=30).status == 1  # SERVING


def test_the_dashboard_and_the_rules_ask_for_what_there_is() -> None:
    asked_for = set(OURS.findall(json.dumps(json.loads(DASHBOARD.read_text()))))
    asked_for |= set(OURS.findall((RULES / "wardround.rules.yml").read_text()))
    assert asked_for - {"wardround_"} <= KNOWN


def test_the_guide_names_every_figure() -> None:
    assert set(OURS.findall((ROOT / "docs" / "operation.md").read_text())) == KNOWN
