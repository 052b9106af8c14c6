"""A Flower app as its documentation writes one: FedAvg over one array, and a client that sends it back.

The client adds a number of its own to the array. Flower stores equal objects once, so an array that
came back unchanged would not travel at all.
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

client = ClientApp()
server = ServerApp()


@client.train()  # type: ignore[untyped-decorator]  # Flower's own
def train(message: Message, context: Context) -> Message:
    """Answer at once."""
    (array,) = message.content["arrays"].to_numpy_ndarrays()
    changed = array + np.float32(1 + context.node_id % 997)
    record = RecordDict({"arrays": ArrayRecord([changed]), "metrics": MetricRecord({"num-examples": 1})})
    return Message(content=record, reply_to=message)


class Timed(FedAvg):  # type: ignore[misc]  # Flower tells no types
    """FedAvg that writes down when each round opens, and when the last is over (Unix seconds, one a line)."""

    def __init__(self, stamps: Path, **options: Any) -> None:
        super().__init__(**options)
        self._stamps = stamps

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """A round opens."""
        self.stamp()
        messages: Iterable[Message] = super().configure_train(server_round, arrays, config, grid)
        return messages

    def stamp(self) -> None:
        """Write the time down."""
        with self._stamps.open("a", encoding="utf-8") as file:
            file.write(json.dumps(time.time()) + "\n")


@server.main()  # type: ignore[untyped-decorator]  # Flower's own
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    asked = context.run_config
    sites = int(asked["sites"])
    strategy = Timed(
        Path(str(asked["stamps"])), fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites
    )
    start = np.random.default_rng(0).random(int(asked["array-bytes"]) // 4, dtype=np.float32)
    strategy.start(grid=grid, initial_arrays=ArrayRecord([start]), num_rounds=int(asked["rounds"]))
    strategy.stamp()
