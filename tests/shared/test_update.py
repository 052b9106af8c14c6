"""The packed buffer: same bytes as safetensors, read run by run, and no trust in a stranger's header."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from safetensors.torch import load_file

from shared import update
from shared.errors import TrustError
from shared.update import (
    PIECE_ELEMENTS,
    PackedFile,
    Piece,
    TensorSpec,
    cut,
    join,
    pack,
    pack_pieces,
    payload_limit,
    rounded,
    table_of,
    update_table,
)

quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
names = st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
states = st.dictionaries(names, st.tuples(st.sampled_from(["float32", "int64"]), shapes), max_size=6)


def filled(layout: dict[str, tuple[str, tuple[int, ...]]]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: np.asarray(random.normal(size=shape) * 9, dtype) for name, (dtype, shape) in layout.items()}


def write(folder: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "packed"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype: str = "F32", shape: object = (1,), span: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": span}


@quick
@given(states)
def test_pack_gives_the_bytes_of_safetensors(layout: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    state = filled(layout)
    backwards = dict(reversed(state.items()))
    assert pack(state) == pack(backwards) == save(dict(sorted(state.items())))


@quick
@given(states)
def test_what_was_packed_is_read_back(tmp_path: Path, layout: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    state = filled(layout)
    path = tmp_path / "packed"
    path.write_bytes(pack(state))
    packed = PackedFile(path)
    assert packed.table() == table_of(state)
    assert packed.declared() == {name: (str(v.dtype), v.shape) for name, v in state.items()}
    assert not packed.annotated
    assert path.stat().st_size <= payload_limit(packed.table())
    for read in (dict(packed.items()), join(packed.table(), packed.pieces()), load(pack(state))):
        assert {k: (v.dtype, v.shape, v.tobytes()) for k, v in read.items()} == {
            k: (v.dtype, v.shape, v.tobytes()) for k, v in state.items()
        }


def test_a_scalar_keeps_its_empty_shape() -> None:
    state = {"norm.num_batches_tracked": np.array(7, np.int64)}
    assert load(pack(state))["norm.num_batches_tracked"].shape == table_of(state)[0].shape == ()


def test_a_large_tensor_is_cut_and_joined(tmp_path: Path) -> None:
    size = 2 * update.PIECE_ELEMENTS + 3
    state = {"a": np.arange(size, dtype=np.float32).reshape(1, size).T, "b": np.ones((0, 3), np.float32)}
    pieces = list(cut(state))
    assert [(p.name, p.start, p.values.size) for p in pieces] == [
        ("a", 0, update.PIECE_ELEMENTS),
        ("a", update.PIECE_ELEMENTS, update.PIECE_ELEMENTS),
        ("a", 2 * update.PIECE_ELEMENTS, 3),
    ]
    path = tmp_path / "packed"
    path.write_bytes(b"".join(pack_pieces(table_of(state), pieces)))
    assert path.read_bytes() == pack(state)
    np.testing.assert_array_equal(PackedFile(path).tensor("a"), state["a"])
    np.testing.assert_array_equal(PackedFile(path).run("a", size - 2, size), [size - 2, size - 1])


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [Piece("a", 0, np.ones(2, np.float32))],
        [Piece("a", 0, np.ones(3, np.float64))],
        [Piece("b", 0, np.ones(3, np.float32))],
        [Piece("a", 1, np.ones(3, np.float32))],
        [Piece("a", 0, np.ones(3, np.float32))] * 2,
    ],
)
def test_pieces_that_do_not_spell_the_table_are_refused(pieces: list[Piece]) -> None:
    table = (TensorSpec(name="a", dtype="float32", shape=(3,)),)
    with pytest.raises(ValueError):
        b"".join(pack_pieces(table, pieces))


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"", b""),
        (b"[]", b""),
        (b"\xff\xff", b""),
        (b"[" * 3000, b""),
        ({"a": 1}, b""),
        ({"a": {"dtype": "F32"}}, b"\0" * 4),
        ({"a": entry(shape=(-1,))}, b"\0" * 4),
        ({"a": entry(shape=(1.0,))}, b"\0" * 4),
        ({"a": entry(shape=(2**62, 4))}, b"\0" * 4),
        ({"a": entry(span=(0, 8))}, b"\0" * 4),
        ({"a": entry(span=(4, 0))}, b"\0" * 4),
        ({"a": entry()}, b"\0" * 5),
        ({"a": entry(), "b": entry()}, b"\0" * 4),
        (b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2), b"\0" * 4),
    ],
)
def test_a_crafted_header_is_not_believed(tmp_path: Path, header: object, data: bytes) -> None:
    with pytest.raises(TrustError, match="sound safetensors"):
        PackedFile(write(tmp_path, header, data))


def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "packed"
    path.write_bytes(struct.pack("<Q", update.HEADER_LIMIT_BYTES + 1))
    os.truncate(path, 1 << 30)  # sparse: reading it would be felt
    with pytest.raises(TrustError):
        PackedFile(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=64),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["a", "dtype", "shape", "data_offsets", "F32", "__metadata__"]), inner, max_size=4
                )
            ),
            max_leaves=12,
        ),
    ),
    st.binary(max_size=16),
)
def test_any_header_is_refused_or_read_without_surprise(tmp_path: Path, header: object, data: bytes) -> None:
    path = write(tmp_path, header, data)
    try:
        packed = PackedFile(path)
        packed.table()
    except TrustError:
        return
    assert sum(value.nbytes for _, value in packed.items()) == len(data)


def test_free_text_in_the_header_is_seen(tmp_path: Path) -> None:
    assert PackedFile(write(tmp_path, {"__metadata__": {"note": "x"}, "a": entry()}, b"\0" * 4)).annotated


def test_a_foreign_dtype_is_declared_but_not_read(tmp_path: Path) -> None:
    packed = PackedFile(write(tmp_path, {"a": entry("F16", (2,))}, b"\0" * 4))
    assert packed.declared() == {"a": ("F16", (2,))}
    with pytest.raises(TrustError):
        packed.table()
    with pytest.raises(TrustError):
        packed.tensor("a")
    with pytest.raises(KeyError):
        packed.tensor("b")


def test_bfloat16_has_half_the_bytes_and_is_read_as_float32(tmp_path: Path) -> None:
    state = {"w": rounded(np.linspace(-3, 3, 7, dtype=np.float32)), "n": np.array(4, np.int64)}
    table = update_table(table_of(state), "bfloat16")
    path = tmp_path / "packed"
    path.write_bytes(pack(state, table))
    packed = PackedFile(path)
    assert packed.table() == table
    assert packed.declared()["w"] == ("bfloat16", (7,))
    assert sum(t.nbytes for t in table) == 7 * 2 + 8
    for name, value in packed.items():
        assert value.dtype == state[name].dtype
        assert value.tobytes() == state[name].tobytes()
    assert packed.run("w", 2, 5).tolist() == state["w"][2:5].tolist()
    assert join(table, packed.pieces())["w"].tobytes() == state["w"].tobytes()
    assert load_file(path)["w"].float().numpy().tolist() == state["w"].tolist()


def test_what_bfloat16_does_not_hold_is_not_packed_in_it() -> None:
    state = {"w": np.array([0.1], np.float32)}
    with pytest.raises(ValueError, match="rounded"):
        pack(state, update_table(table_of(state), "bfloat16"))


def test_statistics_of_normalisation_layers_stay_float32() -> None:
    state = {
        name: np.zeros(2, np.float32) for name in ("n.weight", "n.running_mean", "n.running_var", "control/n.bias")
    }
    dtypes = {t.name: t.dtype for t in update_table(table_of(state), "bfloat16")}
    assert {name for name, dtype in dtypes.items() if dtype == "float32"} == {"n.running_mean", "n.running_var"}
    assert update_table(table_of(state), "float32") == table_of(state)


def test_rounding_is_to_nearest_even_as_torch_rounds() -> None:
    values = np.random.default_rng(3).integers(0, 2**32, PIECE_ELEMENTS + 5, np.uint32).view(np.float32)
    values[:3] = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000], np.uint32).view(np.float32)  # NaN
    wanted = torch.from_numpy(values.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    assert np.array_equal(rounded(values), wanted, equal_nan=True)
    assert rounded(np.array(1.3, np.float32)).shape == ()


def test_a_file_cut_after_it_was_checked_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "packed"
    path.write_bytes(pack({"a": np.ones(100, np.float32)}))
    packed = PackedFile(path)
    os.truncate(path, path.stat().st_size - 40)
    with pytest.raises(TrustError):
        packed.tensor("a")
