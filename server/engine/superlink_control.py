"""Calls to a SuperLink's Control API: admit keys, start and watch runs; milliseconds each.

The API is HTTP over TLS on the loopback address and has no authentication of its own.
"""

import contextlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient

from server.engine.flower_bundle import RunValue, build_bundle
from shared.errors import LinkError


@dataclass(frozen=True)
class RunStatus:
    """How a run is.

    Attributes:
        phase: pending, starting, running or finished.
        outcome: of a finished run: completed, failed or stopped; else empty.
        detail: Flower's words; may hold the text of an exception of the ServerApp.
    """

    phase: Literal["pending", "starting", "running", "finished"]
    outcome: Literal["", "completed", "failed", "stopped"]
    detail: str


class Control:
    """The Control API at an address.

    Args:
        address: ``host:port`` of the SuperLink's HTTP APIs.
        ca_pem: the CA that signed its certificate.
    """

    def __init__(self, address: str, ca_pem: bytes) -> None:
        self._client = ControlHttpClient.from_server_address(
            address, insecure=False, root_certificates=ca_pem, interceptors=[]
        )

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            self._client.ListNodes(ListNodesRequest())
        except httpx.HTTPError:
            return False
        return True

    def register(self, public_key_pem: bytes, name: str) -> int:
        """As `server.engine.superlink.SuperLink.register`."""
        for node in self._call("ListNodes", ListNodesRequest()).nodes_info:
            if node.public_key == public_key_pem:
                return int(node.node_id)
        return int(self._call("RegisterNode", RegisterNodeRequest(public_key=public_key_pem, name=name)).node_id)

    def keep_only(self, public_keys_pem: Set[str]) -> None:
        """As `server.engine.superlink.SuperLink.keep_only`."""
        for node in self._call("ListNodes", ListNodesRequest()).nodes_info:
            if node.status != "unregistered" and node.public_key.decode() not in public_keys_pem:
                # flwr 1.39 fails after it has taken out a node that never was on line
                with contextlib.suppress(LinkError) if node.status == "registered" else contextlib.nullcontext():
                    self._call("UnregisterNode", UnregisterNodeRequest(node_id=node.node_id))

    def held_until(self) -> Mapping[str, float]:
        """As `server.engine.superlink.SuperLink.held_until`."""
        nodes = self._call("ListNodes", ListNodesRequest()).nodes_info
        return {node.public_key.decode(): node.online_until for node in nodes if node.status == "online"}

    def start_run(self, run_config: Mapping[str, RunValue], *, serverapp: str) -> int:
        """As `server.engine.superlink.SuperLink.start_run`."""
        request = StartRunRequest(
            fab=build_bundle(run_config, serverapp=serverapp), override_config=user_config_to_proto(dict(run_config))
        )
        answer = self._call("StartRun", request)
        if not answer.run_id:
            raise LinkError("The SuperLink did not start the run.", remedy="See superlink.log in the run folder.")
        return int(answer.run_id)

    def run_status(self, run_id: int) -> RunStatus:
        """As `server.engine.superlink.SuperLink.run_status`."""
        status = self._call("ListRuns", ListRunsRequest(run_id=run_id)).run_dict[run_id].status
        return RunStatus(status.status, status.sub_status, status.details)

    def stop_run(self, run_id: int) -> None:
        """As `server.engine.superlink.SuperLink.stop_run`."""
        if self.run_status(run_id).phase != "finished":
            self._call("StopRun", StopRunRequest(run_id=run_id))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _call(self, name: str, request: Any) -> Any:
        try:
            return getattr(self._client, name)(request)
        except httpx.HTTPStatusError as error:
            raise LinkError(
                f"The SuperLink refused {name} (HTTP {error.response.status_code}).",
                remedy="See superlink.log in the run folder.",
            ) from None
        except httpx.HTTPError:
            raise LinkError("The SuperLink does not answer.", remedy="Start `wardround federation serve`.") from None
