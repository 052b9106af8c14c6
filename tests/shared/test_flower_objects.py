"""What we cut by hand is what Flower's own classes make and read."""

import hashlib
import json

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message import Array, make_message
from flwr.app.metadata import Metadata
from flwr.common.serde import metadata_to_proto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents, validate_object_content

from shared.errors import TrustError
from shared.flower_objects import (
    CHUNK_BYTES,
    ENVELOPE_LIMIT_BYTES,
    IN_FLIGHT,
    object_id,
    plan_message,
    plan_payload,
    read_chunk,
    read_contents,
    reply_metadata,
)


def metadata(**changes):
    fields = {
        "run_id": 7,
        "message_id": "",
        "src_node_id": 1,
        "dst_node_id": 2**63 + 5,
        "reply_to_message_id": "",
        "group_id": "",
        "created_at": 1.8e9,
        "ttl": 3600.0,
        "message_type": "train",
        "src_task_id": 9,
    }
    return Metadata(**(fields | changes))


def contents_of(plan):
    return {name: content() for name, content in plan.objects()} | {plan.id: plan.root}


@pytest.fixture
def payload(tmp_path):
    path = tmp_path / "payload"
    path.write_bytes(b"".join(bytes([n]) * CHUNK_BYTES for n in (1, 2, 1)) + b"tail")  # one chunk comes twice
    return path


def test_what_a_cut_line_may_send_again_is_less_than_four_mebibytes(payload):
    sizes = [
        len(content())
        for _, content in plan_message(metadata_to_proto(metadata()), b"e", plan_payload(payload)).objects()
    ]
    assert sum(sorted(sizes)[-IN_FLIGHT:]) < 4 * 2**20


def test_the_whole_file_is_hashed_for_whoever_asks_and_every_object_bears_the_name_of_its_bytes(payload):
    assert plan_payload(payload).sha256 is None
    plan = plan_payload(payload, whole=True)
    assert plan.sha256 == hashlib.sha256(payload.read_bytes()).hexdigest()
    for name, content in plan_message(metadata_to_proto(metadata()), b"e", plan).objects():
        assert object_id(content()) == name


def test_stock_flower_reads_what_we_cut(payload):
    plan = plan_message(metadata_to_proto(metadata()), b"envelope", plan_payload(payload))
    contents = contents_of(plan)
    for content in contents.values():
        validate_object_content(content)
    assert {tree.object_id for tree in iterate_object_tree(plan.tree)} == set(contents)

    message = inflate_object_from_contents(plan.id, contents)
    assert isinstance(message, Message)
    assert message.content["config"]["envelope"] == b"envelope"
    array = message.content["payload"]["payload"]
    assert array.data == payload.read_bytes()
    assert (array.dtype, array.shape) == ("uint8", (payload.stat().st_size,))
    assert message.metadata.dst_node_id == 2**63 + 5


def test_objects_have_flower_s_own_names():
    plan = plan_message(metadata_to_proto(metadata()), b"envelope", None)
    stock = make_message(metadata(), RecordDict({"config": ConfigRecord({"envelope": b"envelope"})}))
    assert plan.id == stock.object_id
    assert plan.tree == get_object_tree(stock)
    assert plan.head.metadata.message_id == stock.object_id


def test_we_read_what_stock_flower_makes(payload):
    data = payload.read_bytes()
    record = ArrayRecord({"payload": Array("uint8", (len(data),), "safetensors", data)})
    stock = make_message(metadata(), RecordDict({"config": ConfigRecord({"envelope": b"e"}), "payload": record}))
    objects = {name: item.deflate() for name, item in get_all_nested_objects(stock).items()}
    contents = read_contents(get_object_tree(stock), objects.__getitem__)
    assert (contents.envelope, contents.payload_bytes) == (b"e", len(data))
    assert b"".join(read_chunk(objects[name]) for name in contents.chunks) == data


def test_equal_chunks_are_sent_once_and_read_in_their_places(payload):
    plan = plan_message(metadata_to_proto(metadata()), b"", plan_payload(payload))
    assert len(plan.payload.chunks) == 4
    assert len(set(plan.payload.chunks)) == 3
    names = [name for name, _ in plan.objects()]
    assert len(names) == len(set(names))
    objects = contents_of(plan)
    contents = read_contents(plan.tree, objects.__getitem__)
    assert b"".join(read_chunk(objects[name]) for name in contents.chunks) == payload.read_bytes()


def test_an_empty_payload_has_no_chunks(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    plan = plan_message(metadata_to_proto(metadata()), b"e", plan_payload(path))
    contents = read_contents(plan.tree, contents_of(plan).__getitem__)
    assert (contents.payload_bytes, contents.chunks) == (0, ())


def test_the_same_answer_has_the_same_objects_and_another_payload_shares_nothing_above_it(payload, tmp_path):
    question = metadata_to_proto(metadata())
    question.message_id = "ab" * 32
    first, again = (plan_message(reply_metadata(question), b"e", plan_payload(payload)) for _ in range(2))
    assert (first.id, first.tree) == (again.id, again.tree)
    other = plan_message(reply_metadata(question), b"f", plan_payload(payload))
    assert other.id != first.id
    assert other.payload.tree == first.payload.tree


def test_an_answer_goes_back_to_who_asked():
    question = metadata_to_proto(metadata())
    question.message_id = "ab" * 32
    answer = reply_metadata(question)
    assert (answer.src_node_id, answer.dst_node_id) == (question.dst_node_id, question.src_node_id)
    assert answer.reply_to_message_id == question.message_id
    assert answer.dst_task_id == question.src_task_id
    assert not answer.HasField("src_task_id")


def test_an_envelope_has_a_bound():
    with pytest.raises(ValueError, match="at most"):
        plan_message(metadata_to_proto(metadata()), bytes(ENVELOPE_LIMIT_BYTES + 1), None)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float32"},
        {"shape": [1, 2]},
        {"shape": [-1]},
        {"shape": ["1"]},
        {"arraychunk_ids": [5]},
        {"arraychunk_ids": ["0"]},
    ],
)
def test_a_crafted_array_is_refused(payload, change):
    plan = plan_message(metadata_to_proto(metadata()), b"e", plan_payload(payload))
    objects = contents_of(plan)
    array = next(content for content in plan.payload.small.values() if content.startswith(b"Array "))
    head, body = array.split(b"\0")
    crafted = json.dumps(json.loads(body) | change).encode()
    objects[object_id(array)] = b" ".join([*head.split(b" ")[:2], str(len(crafted)).encode()]) + b"\0" + crafted
    with pytest.raises(TrustError):
        read_contents(plan.tree, objects.__getitem__)


@pytest.mark.parametrize("content", [b"", b"ArrayChunk  0\0", b"Array  1\0x", b"ArrayChunk  9\0x", b"\xff \xff 1\0x"])
def test_a_crafted_chunk_is_refused(content):
    with pytest.raises(TrustError):
        read_chunk(content)


def test_a_message_of_another_app_is_refused():
    stock = make_message(metadata(), RecordDict({"other": ConfigRecord({"x": 1})}))
    objects = {name: item.deflate() for name, item in get_all_nested_objects(stock).items()}
    with pytest.raises(TrustError):
        read_contents(get_object_tree(stock), objects.__getitem__)
