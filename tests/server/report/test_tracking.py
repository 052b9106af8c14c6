"""A study's figures on a real MLflow server, and what is said where there is none."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.report.evidence import read_evidence
from server.report.facts import facts_of
from server.report.table import rows
from server.report.tracking import EXPERIMENT, Tracker, send_figures
from shared.errors import ResourceError
from shared.loopback import free_port

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own imports


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not os.environ.get("CI"):
        pytest.importorskip("mlflow.server", reason="the full MLflow is not installed; CI installs it")
    folder: Path = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "artifacts")]
    variables = {"MLFLOW_DISABLE_TELEMETRY": "true", "TMPDIR": str(folder)}  # where it leaves a lock file for good
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, *store], cwd=folder, stdout=log, stderr=log, env=os.environ | variables, start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        _await(uri, server)
        yield uri
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _await(uri: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{uri}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise AssertionError("the MLflow server did not start")


def runs(uri: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id]))


@pytest.mark.slow
def test_every_number_of_the_table_arrives_once_as_the_study_goes_on(wards: Any, mlflow_server: str) -> None:
    from mlflow import MlflowClient

    ward, tracker = wards.new().begin().whole_round(1), Tracker(mlflow_server)
    run = send_figures(ward.folder, tracker, follow=False)
    assert [(r.info.run_id, r.info.status) for r in runs(mlflow_server)] == [(run, "RUNNING")]
    ward.whole_round(2).whole_round(3).closing_trip(3).finish(3)
    assert send_figures(ward.folder, tracker, follow=True) == run
    (found,) = runs(mlflow_server)
    assert (found.info.status, found.data.tags["wardround.state"]) == ("FINISHED", "finished")
    assert found.data.params["study.name"] == "chest"
    numbers = [row for row in rows(facts_of(read_evidence(ward.folder))) if isinstance(row[4], int | float)]
    assert {key: value for key, value in found.data.metrics.items() if key == "pooled/test.auroc"} == {
        "pooled/test.auroc": next(r[4] for r in numbers if r[0] == "pooled" and r[3] == "test.auroc")
    }
    curve = MlflowClient(tracking_uri=mlflow_server).get_metric_history(run, "model/validation.auroc")
    expected = [(r[2], r[4]) for r in numbers if (r[0], r[1], r[3]) == ("model", "", "validation.auroc")]
    assert sorted((point.step, point.value) for point in curve) == sorted(expected)
    assert tracker.figures >= len(numbers)


@pytest.mark.slow
def test_a_study_that_is_tracked_again_replaces_its_run(wards: Any, mlflow_server: str) -> None:
    ward = wards.finished()
    first = send_figures(ward.folder, Tracker(mlflow_server), follow=True)
    second = send_figures(ward.folder, Tracker(mlflow_server), follow=True)
    assert first != second
    assert [run.info.run_id for run in runs(mlflow_server)] == [second]


def test_a_server_that_is_not_there_is_named(wards: Any) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed (extra: tracking)")
    with pytest.raises(ResourceError, match=r"127\.0\.0\.1:9 does not answer"):
        send_figures(wards.finished().folder, Tracker("http://127.0.0.1:9"), follow=False)
