"""A study's figures in MLflow: the numbers of report.csv, sent as they come.

Reads the journal and writes elsewhere. The study does not know of it, so a tracking server that is slow or
away costs no round. One study is one run of the experiment `wardround`; an earlier run of the same study is
replaced, so that a run always says what the journal says and no more. Which figures there are is decided by
`server/report/table.py`.

Names: a figure's MLflow key is `scope/site/metric` (without a site, `scope/metric`), its step the round.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from server.report.evidence import Evidence, read_evidence
from server.report.facts import facts_of
from server.report.table import Row, rows
from server.study_folder import ENDED, StudyFolder, StudyState
from shared.errors import ConfigError, ResourceError

EXPERIMENT = "wardround"
TURN_S = 2.0
_STUDY_TAG, _DIGEST_TAG, _STATE_TAG = "wardround.study", "wardround.study_digest", "wardround.state"
_BATCH = 500  # MLflow takes at most 1000 figures in one call
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


class Tracker:
    """One study's run on one tracking server.

    Args:
        uri: the server's address, as MLflow takes it.
        clock: Unix seconds.

    Raises:
        ConfigError: MLflow is not installed.
    """

    def __init__(self, uri: str, *, clock: Callable[[], float] = time.time) -> None:
        self._mlflow, self._uri, self._clock = _client(uri), uri, clock
        self._run: str | None = None
        self._sent: set[Row] = set()

    def send(self, evidence: Evidence) -> str:
        """Send what was not sent yet.

        Returns:
            MLflow's id of the run.

        Raises:
            ResourceError: the server does not take it.
        """
        from mlflow.exceptions import MlflowException

        try:
            if self._run is None:
                self._run = self._begin(evidence)
            self._send(row for row in rows(facts_of(evidence)) if row not in self._sent)
            self._mlflow.set_tag(self._run, _STATE_TAG, evidence.standing.state.value)
            if evidence.standing.state in ENDED:
                self._mlflow.set_terminated(self._run, _ending(evidence.standing.state))
        except MlflowException:
            raise ResourceError(
                f"The tracking server at {self._uri} does not answer or does not take the figures.",
                remedy="Look whether it runs and whether the address is right; the study itself goes on.",
            ) from None
        return self._run

    @property
    def figures(self) -> int:
        """How many numbers were sent."""
        return sum(isinstance(row[4], int | float) for row in self._sent)

    def _begin(self, evidence: Evidence) -> str:
        mlflow, study = self._mlflow, evidence.study
        found = mlflow.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else mlflow.create_experiment(EXPERIMENT)
        same = f"tags.`{_STUDY_TAG}` = '{study.name}' and tags.`{_DIGEST_TAG}` = '{study.digest()}'"
        for run in mlflow.search_runs([experiment], same):
            mlflow.delete_run(run.info.run_id)
        tags = {_STUDY_TAG: study.name, _DIGEST_TAG: study.digest()}
        run_id = str(mlflow.create_run(experiment, run_name=study.name, tags=tags).info.run_id)
        for key, value in _settings(study.model_dump(mode="json")):
            mlflow.log_param(run_id, key, value)
        return run_id

    def _send(self, fresh: Iterable[Row]) -> None:
        from mlflow.entities import Metric

        now = int(self._clock() * 1000)
        while part := list(islice(fresh, _BATCH)):
            numbers = [row for row in part if isinstance(row[4], int | float)]
            metrics = [
                Metric(_key(row), float(row[4]), now, row[2] if isinstance(row[2], int) else 0) for row in numbers
            ]
            self._mlflow.log_batch(self._run, metrics=metrics)
            self._sent |= set(part)


def send_figures(folder: StudyFolder, tracker: Tracker, *, follow: bool, turn_s: float = TURN_S) -> str:
    """Send a study's figures, and go on until it ends if asked to; returns MLflow's id of the run.

    Raises:
        ResourceError: as `Tracker.send`.
        StudyError: the folder holds no sound study.
    """
    while True:
        evidence = read_evidence(folder)
        run = tracker.send(evidence)
        if not follow or evidence.standing.state in ENDED:
            return run
        time.sleep(turn_s)


def _client(uri: str) -> Any:
    os.environ.update({key: os.environ.get(key, value) for key, value in _QUIET.items()})
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise ConfigError("MLflow is not installed.", remedy="Install it: pip install 'wardround[tracking]'.") from None
    return MlflowClient(tracking_uri=uri)


def _key(row: Row) -> str:
    scope, site, _, metric, _ = row
    return "/".join(part for part in (scope, site, metric) if part)


def _settings(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """The study's keys with their sections, as MLflow's flat parameters."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _ending(state: StudyState) -> str:
    return {StudyState.FINISHED: "FINISHED", StudyState.FAILED: "FAILED"}.get(state, "KILLED")
