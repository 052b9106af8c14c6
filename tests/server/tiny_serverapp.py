"""A ServerApp for tests: every round sends a file to every site and writes what came back.

Run configuration: `nodes` (JSON site -> node id), `payload` (file or ""), `rounds`, `folder` (where the
replies and `result.json` go), `until` (a file: go on polling until it exists; "" = until all replied).
"""

import hashlib
import json
import os
import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.link import ServerLink

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    folder = Path(str(config["folder"]))
    nodes = json.loads(str(config["nodes"]))
    payload = Path(str(config["payload"])) if config["payload"] else None
    link = ServerLink(grid, nodes)
    rounds = []
    (folder / "serverapp.pid").write_text(str(os.getpid()))
    for number in range(int(config["rounds"])):
        start = time.monotonic()
        expected = {link.push(site, f"round {number} {site}".encode(), payload): site for site in nodes}
        replies: dict[str, dict] = {}
        while set(replies) != set(nodes):
            for arrival in link.poll():
                assert expected[arrival.message_id] == arrival.site
                replies[arrival.site] = take(link, arrival)
            time.sleep(0.1)
        rounds.append({"seconds": time.monotonic() - start, "replies": replies})
        part = folder / "result.json.part"
        part.write_text(json.dumps({"rounds": rounds, "online": sorted(link.online())}))
        part.replace(folder / "result.json")
    link.close()


def take(link: ServerLink, arrival) -> dict:
    digest, size = hashlib.sha256(), 0
    if arrival.payload_bytes:
        for piece in link.fetch(arrival, limit=2**31):
            digest.update(piece)
            size += len(piece)
            if not piece:
                time.sleep(0.05)
    return {
        "envelope": arrival.envelope.decode(),
        "error": arrival.error,
        "bytes": size,
        "sha256": digest.hexdigest(),
    }
