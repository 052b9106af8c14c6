"""A message as Flower 1.39 stores it: a tree of objects, each named by the SHA-256 of its bytes.

    Message ─ RecordDict ┬ ConfigRecord  "config"   {"envelope": bytes}
                         └ ArrayRecord   "payload"  ─ Array "payload" ─ ArrayChunk ...

This module cuts an envelope and a payload file into such objects, and reads them back, without
Flower's own classes, which hold a whole message in memory. What it makes, stock Flower reads:
``message.content["config"]["envelope"]`` and ``message.content["payload"]["payload"].data``.
It moves nothing, and decides nothing about who may send what.

Source: ``flwr.supercore.inflatable.inflatable_object`` and ``flwr.app.message`` of flwr 1.39.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata, ObjectTree
from flwr.proto.recorddict_pb2 import ConfigRecord
from google.protobuf.message import DecodeError

from shared.errors import TrustError

CHUNK_BYTES = 2_000_000  # Flower takes up to 5 MiB; an object is the unit of resending and of memory
IN_FLIGHT = 2  # objects under way at a time; after a cut, whether they arrived is not known
ENVELOPE_LIMIT_BYTES = 4 * 2**20
OBJECT_LIMIT_BYTES = 5 * 2**20 + 64 * 1024  # any object of ours, with its head and its call

_CONFIG, _PAYLOAD, _ENVELOPE = "config", "payload", "envelope"


@dataclass(frozen=True)
class PayloadPlan:
    """A payload file as an ArrayRecord: the ids of its chunks and the small objects above them.

    Attributes:
        path: the file.
        size: its length in bytes.
        sha256: of the whole file, hex; None where nobody asked for it.
        chunks: object ids in the order of the file; equal chunks have equal ids.
        small: id -> bytes of the Array and the ArrayRecord.
        tree: the ArrayRecord's object tree.
    """

    path: Path
    size: int
    sha256: str | None
    chunks: tuple[str, ...]
    small: dict[str, bytes]
    tree: ObjectTree


@dataclass(frozen=True)
class MessagePlan:
    """A whole message, ready to be pushed.

    Attributes:
        id: the Message object's id, which is also Flower's message id.
        head: what PushMessages announces: addressing with that id, no content.
        root: the Message object's bytes.
        tree: the object tree to announce.
        small: id -> bytes of every object between the root and the chunks.
        payload: the payload's plan, or None.
    """

    id: str
    head: MessageProto
    root: bytes
    tree: ObjectTree
    small: dict[str, bytes]
    payload: PayloadPlan | None

    def objects(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Every object but the root once, what describes before the chunks; push the root after all.

        The bytes of a chunk are read when its function is called, which must be before the next is taken.
        """
        for name, content in self.small.items():
            yield name, partial(bytes, content)
        if self.payload is not None:
            yield from _chunk_objects(self.payload)


@dataclass(frozen=True)
class Contents:
    """What a message carries, its chunks not read yet.

    Attributes:
        envelope: the signed envelope.
        payload_bytes: the payload's length as declared; 0 without one.
        chunks: object ids of the payload in its order.
    """

    envelope: bytes
    payload_bytes: int
    chunks: tuple[str, ...]


def plan_payload(path: Path, *, whole: bool = False) -> PayloadPlan:
    """Name the objects of a payload file; reads it once, a chunk at a time.

    Args:
        path: the file.
        whole: whether the digest of the whole file is wanted, too, of the very bytes that were named.
    """
    chunks, hashed, size = [], hashlib.sha256() if whole else None, 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            chunks.append(_chunk_id(piece))
            size += len(piece)
            if hashed is not None:
                hashed.update(piece)
    unique = list(dict.fromkeys(chunks))
    order = [unique.index(chunk) for chunk in chunks]
    about = {"dtype": "uint8", "shape": [size], "stype": "safetensors", "arraychunk_ids": order}
    array = _wrap("Array", unique, json.dumps(about).encode())
    record = _wrap("ArrayRecord", [object_id(array)], json.dumps({_PAYLOAD: object_id(array)}).encode())
    leaves = [ObjectTree(object_id=chunk) for chunk in unique]
    tree = _node(record, [_node(array, leaves)])
    small = {object_id(item): item for item in (array, record)}
    return PayloadPlan(path, size, hashed.hexdigest() if hashed else None, tuple(chunks), small, tree)


def plan_message(metadata: Metadata, envelope: bytes, payload: PayloadPlan | None) -> MessagePlan:
    """Put an envelope and a planned payload under one Message object.

    Args:
        metadata: Flower's addressing; its `message_id` stays out of the object.
        envelope: at most `ENVELOPE_LIMIT_BYTES`.
        payload: from `plan_payload`.

    Raises:
        ValueError: the envelope is too large.
    """
    if len(envelope) > ENVELOPE_LIMIT_BYTES:
        raise ValueError(f"an envelope holds at most {ENVELOPE_LIMIT_BYTES} bytes")
    fields = ConfigRecord()
    item = fields.items.add(key=_ENVELOPE)
    item.value.bytes = envelope
    config = _wrap("ConfigRecord", (), fields.SerializeToString())
    names = {_CONFIG: object_id(config)} | ({_PAYLOAD: payload.tree.object_id} if payload else {})
    record = _wrap("RecordDict", list(names.values()), json.dumps(names).encode())
    record_tree = _node(record, [_node(config, []), *([payload.tree] if payload else [])])
    head = MessageProto(metadata=metadata)
    head.metadata.message_id = ""
    root = _wrap("Message", [object_id(record)], head.SerializeToString(deterministic=True))
    head.metadata.message_id = object_id(root)
    head.content.SetInParent()
    small = {object_id(config): config, object_id(record): record} | (payload.small if payload else {})
    return MessagePlan(object_id(root), head, root, _node(root, [record_tree]), small, payload)


def reply_metadata(metadata: Metadata) -> Metadata:
    """The addressing of the one answer to a message.

    It is a function of the message alone (same creation time, same time to live), so that the same
    answer given twice, also after a crash, has the same objects and is resumed, not doubled.
    """
    reply = Metadata(
        run_id=metadata.run_id,
        src_node_id=metadata.dst_node_id,
        dst_node_id=metadata.src_node_id,
        reply_to_message_id=metadata.message_id,
        group_id=metadata.group_id,
        created_at=metadata.created_at,
        ttl=metadata.ttl,
        message_type=metadata.message_type,
    )
    if metadata.HasField("dst_task_id"):
        reply.src_task_id = metadata.dst_task_id
    if metadata.HasField("src_task_id"):
        reply.dst_task_id = metadata.src_task_id
    return reply


def read_contents(tree: ObjectTree, get: Callable[[str], bytes]) -> Contents:
    """Read a message's small objects: two of them, for where each stands, the tree says already.

    Args:
        tree: the Message's object tree.
        get: object id -> bytes; what it raises passes through.

    Raises:
        TrustError: the message does not have the shape that this module makes.
    """
    try:
        config, *payload = tree.children[0].children  # of the RecordDict
        fields = ConfigRecord.FromString(_body(get(config.object_id), "ConfigRecord"))
        envelope = next(item.value.bytes for item in fields.items if item.key == _ENVELOPE)
        if not payload:
            return Contents(envelope, 0, ())
        array = get(payload[0].children[0].object_id)
        about: dict[str, Any] = json.loads(_body(array, "Array"))
        unique = _head(array)[1].split(",")
        chunks = tuple(unique[index] for index in about["arraychunk_ids"])
        return Contents(envelope, _size(about), chunks)
    except (ValueError, KeyError, IndexError, TypeError, StopIteration, RecursionError, DecodeError):
        raise _foreign() from None


def read_chunk(content: bytes) -> memoryview:
    """The payload bytes of an ArrayChunk object.

    Raises:
        TrustError: another kind of object, or an empty one.
    """
    try:
        body: memoryview = _body(content, "ArrayChunk")
    except ValueError:
        raise _foreign() from None
    if not body:
        raise _foreign()
    return body


def object_id(content: bytes) -> str:
    """Flower's name for an object: the SHA-256 of its bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def _chunk_id(piece: bytes) -> str:
    """The name of an ArrayChunk, which is not put together for it."""
    digest = hashlib.sha256(_opening("ArrayChunk", (), len(piece)))
    digest.update(piece)
    return digest.hexdigest()


def _chunk_objects(payload: PayloadPlan) -> Iterator[tuple[str, Callable[[], bytes]]]:
    first = {chunk: index for index, chunk in reversed(list(enumerate(payload.chunks)))}
    with payload.path.open("rb") as file:
        for name, index in reversed(first.items()):
            yield name, partial(_read_chunk_at, file.fileno(), index)


def _read_chunk_at(descriptor: int, index: int) -> bytes:
    return _wrap("ArrayChunk", (), os.pread(descriptor, CHUNK_BYTES, index * CHUNK_BYTES))


def _wrap(kind: str, children: list[str] | tuple[str, ...], body: bytes) -> bytes:
    return _opening(kind, children, len(body)) + body


def _opening(kind: str, children: list[str] | tuple[str, ...], size: int) -> bytes:
    return f"{kind} {','.join(children)} {size}\0".encode()


def _node(content: bytes, children: list[ObjectTree]) -> ObjectTree:
    return ObjectTree(object_id=object_id(content), children=children)


def _head(content: bytes) -> tuple[str, str, int]:
    kind, children, length = content[: content.index(b"\x00")].decode("ascii").split(" ")
    return kind, children, int(length)


def _body(content: bytes, kind: str) -> Any:
    found, _, length = _head(content)
    body = memoryview(content)[content.index(b"\x00") + 1 :]
    if found != kind or length != len(body):
        raise ValueError(kind)
    return body if kind == "ArrayChunk" else bytes(body)


def _size(about: dict[str, Any]) -> int:
    (size,) = about["shape"]
    if not isinstance(size, int) or size < 0 or about["dtype"] != "uint8":
        raise ValueError("shape")
    return size


def _foreign() -> TrustError:
    return TrustError(
        "A Flower message does not have Wardround's form.", remedy="Let only Wardround send messages here."
    )
