"""A queued study in Flower's own simulation: every site a virtual node of its Ray engine, on this machine.

    python -m deploy.simulation FEDERATION SITES STUDY

Runs the ServerApp and the ClientApp that a deployment runs; nobody serves the federation meanwhile.
Everything is started from this process and ends with it.
"""

import os
import sys
from pathlib import Path


def simulate(federation: Path, sites: Path, study: str, *, cores_per_node: int = 1) -> None:
    """Run one study to its end.

    Args:
        federation: the federation's folder.
        sites: holds one folder per site that was provisioned and has a site.toml.
        study: the name of a study that was launched.
        cores_per_node: how many CPU cores each running node gets; as many run at once as fit.

    Raises:
        WardroundError: the study cannot be run.
    """
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}  # read when Flower is imported
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    from client.app import SITES_VARIABLE
    from client.app import app as client_app
    from server.app import FEDERATION_VARIABLE
    from server.app import main as serve_study

    os.environ |= {FEDERATION_VARIABLE: str(federation.resolve()), SITES_VARIABLE: str(sites.resolve())}
    server_app = ServerApp()

    def main(grid: Grid, context: Context) -> None:
        context.run_config["study"] = study  # Flower's function takes no run configuration
        serve_study(grid, context)

    server_app.main()(main)
    run_simulation(
        server_app,
        client_app,
        num_supernodes=len(list(sites.glob("*/site.toml"))),
        backend_config={"client_resources": {"num_cpus": cores_per_node, "num_gpus": 0.0}},
    )


if __name__ == "__main__":
    simulate(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
