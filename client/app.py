"""The ClientApp for the stock Flower runtime: the same work under `flower-supernode` and in simulation.

One message of the server gives one reply, made by the same code that the site agent runs. What is
lost here: numbers, never code. A stock SuperNode runs whatever Python the server's app bundle carries,
beside the site's keys and images; only our own agent opens no bundle. See docs/flower.md.

No word about a failure leaves: a failed message is refused with a code; one that cannot even be
refused in the site's name (there is no folder, or its ledger does not hold) gets an empty envelope,
which the server takes for an unsigned one.
"""

import os
import traceback
from collections.abc import Mapping
from pathlib import Path

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.egress import Released
from client.in_process import WholeParcel, answer
from client.settings import load_settings
from shared.canonical import digest
from shared.errors import ConfigError

SITES_VARIABLE = "WARDROUND_SITES"
FOLDER_KEY, PARTITION_KEY = "site-folder", "partition-id"

app = ClientApp()


@app.train()
def answer_message(message: Message, context: Context) -> Message:
    """Answer one message of a study; all of them are of Flower's type `train`."""
    try:
        content = _content(answer(site_folder(context.node_config), _parcel(message)))
    except Exception:  # raised, its words would leave in Flower's error reply
        traceback.print_exc()
        content = _content(None)
    return Message(content, reply_to=message)


@app.query()
def name_site(message: Message, context: Context) -> Message:
    """Tell the server of a simulation which site this virtual node plays."""
    try:
        name = load_settings(site_folder(context.node_config) / "site.toml").site.name
    except Exception:  # as above
        traceback.print_exc()
        name = ""
    return Message(RecordDict({"config": ConfigRecord({"site": name})}), reply_to=message)


def site_folder(node_config: Mapping[str, object]) -> Path:
    """The folder of the site that this node is; the server has no say in it.

    Args:
        node_config: `site-folder`, which hospital IT writes; or `partition-id`, which Flower's simulation
            writes: it counts the folders with a site.toml under the folder named by WARDROUND_SITES.

    Raises:
        ConfigError: neither leads to a site.
    """
    if FOLDER_KEY in node_config:
        return Path(str(node_config[FOLDER_KEY]))
    number, sites = node_config.get(PARTITION_KEY), os.environ.get(SITES_VARIABLE)
    folders = sorted(path.parent for path in Path(sites).glob("*/site.toml")) if sites else []
    if not isinstance(number, int) or not 0 <= number < len(folders):
        raise ConfigError(
            "This Flower node does not know which site it is.",
            remedy=f"Name the folder: --node-config '{FOLDER_KEY}=\"...\"'; for a simulation, set {SITES_VARIABLE}.",
        )
    return folders[number]


def _parcel(message: Message) -> WholeParcel:
    records = message.content
    payload = records["payload"]["payload"].data if "payload" in records else b""
    return WholeParcel(message.metadata.message_id, bytes(records["config"]["envelope"]), payload)


def _content(released: Released | None) -> RecordDict:
    content = RecordDict({"config": ConfigRecord({"envelope": released.envelope if released else b""})})
    if released is not None and released.payload is not None:
        data = released.payload.read_bytes()
        if digest(data) != released.payload_sha256:
            raise ValueError("the update changed after the door had checked it")
        array = Array(dtype="uint8", shape=(len(data),), stype="safetensors", data=data)
        content["payload"] = ArrayRecord({"payload": array})
    return content
