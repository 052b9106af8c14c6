"""A ServerApp that does what a test tells it: a real `ServerLink` in a real run, one JSON line per step.

Run configuration: `socket` (path of the test's listening socket), `nodes` (JSON, site -> node id).
"""

import hashlib
import json
import os
import socket
import time

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.proto.runtime_pb2 import PushAppMessagesRequest
from flwr.serverapp import Grid, ServerApp

from server.link import ServerLink
from shared.errors import WardroundError
from shared.flower_objects import plan_message

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    puppet = Puppet(grid, json.loads(str(context.run_config["nodes"])))
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(context.run_config["socket"]))
        for request in line.makefile("r"):
            name, *arguments = json.loads(request)
            try:
                answer = {"value": getattr(puppet, name)(*arguments)}
            except WardroundError as error:
                answer = {"raised": type(error).__name__, "what": error.what}
            line.sendall(json.dumps(answer).encode() + b"\n")
    puppet.link.close()


class Puppet:
    def __init__(self, grid: Grid, nodes: dict) -> None:
        self.grid, self.nodes, self.link, self.arrivals = grid, nodes, ServerLink(grid, nodes), {}

    def pid(self) -> int:
        return os.getpid()

    def push(self, site, envelope, payload=None) -> str:
        from pathlib import Path

        return self.link.push(site, envelope.encode(), Path(payload) if payload else None)

    def poll(self) -> list:
        arrivals = self.link.poll()
        self.arrivals |= {arrival.message_id: arrival for arrival in arrivals}
        return [
            {
                "site": arrival.site,
                "message_id": arrival.message_id,
                "envelope": arrival.envelope.decode(),
                "payload_bytes": arrival.payload_bytes,
                "error": arrival.error,
            }
            for arrival in arrivals
        ]

    def fetch(self, message_id, limit, patience_s=60.0) -> dict:
        digest, size, empty, deadline = hashlib.sha256(), 0, 0, time.monotonic() + patience_s
        for piece in self.link.fetch(self.arrivals[message_id], limit=limit):
            digest.update(piece)
            size += len(piece)
            if not piece:
                empty += 1
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
        return {"bytes": size, "sha256": digest.hexdigest(), "empty": empty}

    def begin(self, site, envelope, payload, objects) -> str:
        """Push so many objects of a message, and stop."""
        from pathlib import Path

        link = self.link
        plan = plan_message(link._addressing(self.nodes[site]), envelope.encode(), link._planned(Path(payload)))
        request = PushAppMessagesRequest(messages_list=[plan.head], message_object_trees=[plan.tree])
        session, names = link._call("PushMessages", request).session_id, [name for name, _ in plan.objects()]
        link._push_objects(plan, session, set(names[:objects]))
        self.rest = (plan, session, {plan.id, *names[objects:]})
        return plan.id

    def go_on(self) -> None:
        """Push the rest of what `begin` began."""
        self.link._push_objects(*self.rest)

    def withdraw(self, message_id) -> None:
        self.link.withdraw(message_id)

    def drop(self, message_id) -> None:
        self.link.drop(self.arrivals[message_id])

    def online(self) -> list:
        return sorted(self.link.online())

    def pulses(self) -> dict:
        return {site: [pulse.age_s, pulse.alive] for site, pulse in self.link.pulses().items()}

    def foreign(self, site) -> None:
        content = RecordDict({"metrics": MetricRecord({"loss": 1.0})})
        self.grid.push_messages([Message(content, self.nodes[site], "train")])

    def stock(self, message_id) -> dict:
        """Read one reply with Flower's own classes."""
        (message,) = self.grid.pull_messages([message_id])
        payload = message.content["payload"]["payload"]
        return {
            "envelope": message.content["config"]["envelope"].decode(),
            "sha256": hashlib.sha256(payload.data).hexdigest(),
            "shape": list(payload.shape),
        }

    def peak_mb(self) -> int:
        return next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line) // 1024
