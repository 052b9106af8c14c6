"""A queued study in Flower's own simulation: every site a virtual node of its Ray engine.

Runs the ServerApp and the ClientApp that a deployment runs; nobody serves the federation meanwhile.
Ray is started from this process and ends with it, unless a running cluster is named; every machine of a
cluster must see the folders under the same paths.
"""

import os
from pathlib import Path
from typing import Any


def simulate(federation: Path, sites: Path, study: str, *, cores_per_node: int = 1, cluster: str | None = None) -> None:
    """Run one study to its end.

    Args:
        federation: the federation's folder.
        sites: holds one folder per site that was provisioned and has a site.toml.
        study: the name of a study that was launched.
        cores_per_node: how many CPU cores each running node gets; as many run at once as fit.
        cluster: the address of a Ray cluster, such as `10.0.0.1:6379`; None starts Ray here.

    Raises:
        WardroundError: the study cannot be run.
    """
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}  # read when Flower is imported
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    from client.app import SITES_VARIABLE
    from client.app import app as client_app
    from server.app import serve

    os.environ[SITES_VARIABLE] = str(sites.resolve())
    server_app = ServerApp()

    def main(grid: Grid, context: Context) -> None:
        serve(grid, federation.resolve(), study)

    server_app.main()(main)
    resources: dict[str, Any] = {"client_resources": {"num_cpus": cores_per_node, "num_gpus": 0.0}}
    if cluster is not None:
        variables = {SITES_VARIABLE: os.environ[SITES_VARIABLE]}
        resources["init_args"] = {"address": cluster, "runtime_env": {"env_vars": variables}}
    run_simulation(
        server_app,
        client_app,
        num_supernodes=len(list(sites.glob("*/site.toml"))),
        backend_config=resources,
    )
