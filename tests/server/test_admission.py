"""Each rule refuses what it should, in its order, and a sound update passes."""

import hashlib
import json
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.admission import Admission, AdmissionReason, Claim, Declared, Expected, Refused
from server.norms import NormHistory
from shared import update
from shared.training import STEPS_BOUND, TrainingSpec
from shared.update import pack, payload_limit, table_of

MODEL = {
    "conv.weight": np.zeros((4, 3), np.float32),
    "conv.bias": np.zeros(4, np.float32),
    "bn.num_batches_tracked": np.zeros((), np.int64),
}
TABLE = table_of(MODEL)
TRAINING = TrainingSpec(epochs_per_round=2, batch_size=8)
EXPECTED = Expected(
    declared={"north": Declared(examples=100, patients=60), "south": Declared(examples=10, patients=10)},
    norms=NormHistory(rounds=((1.0, 2.0, 3.0),)),
)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def admission(norm_factor: float = 10.0) -> Admission:
    return Admission(TABLE, norm_factor=norm_factor, training=TRAINING, digest_of=sha256)


def sound(**changed: object) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    state = {
        "conv.weight": random.normal(size=(4, 3)).astype(np.float32),
        "conv.bias": np.ones(4, np.float32),
        "bn.num_batches_tracked": np.array(12, np.int64),
    }
    return state | {name.replace("__", "."): np.asarray(value) for name, value in changed.items()}


def place(folder: Path, data: bytes, **changed: object) -> tuple[Claim, Path]:
    path = folder / "update.safetensors"
    path.write_bytes(data)
    claim = Claim(
        site="north",
        update_digest=hashlib.sha256(data).hexdigest(),
        update_bytes=len(data),
        examples=100,
        patients=60,
        steps=26,
    )
    return replace(claim, **changed), path


def refusal(claim: Claim, path: Path, expected: Expected = EXPECTED) -> tuple[AdmissionReason, ...]:
    with pytest.raises(Refused) as caught:
        admission().admit(claim, path, expected)
    assert caught.value.reason is caught.value.reasons[0]
    assert caught.value.remedy
    return caught.value.reasons


def test_a_sound_update_is_admitted_with_its_norm(tmp_path: Path) -> None:
    state = sound()
    admitted = admission().admit(*place(tmp_path, pack(state)), EXPECTED)
    floats = np.concatenate([state[k].reshape(-1) for k in ("conv.weight", "conv.bias")]).astype(np.float64)
    assert admitted.norm == pytest.approx(np.linalg.norm(floats), rel=1e-12)
    assert (admitted.site, admitted.examples) == ("north", 100)
    np.testing.assert_array_equal(admitted.packed.tensor("conv.bias"), state["conv.bias"])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"site": "west"}, "negative_count"),
        ({"examples": -1}, "negative_count"),
        ({"examples": 101}, "negative_count"),
        ({"patients": -60}, "negative_count"),
        ({"patients": 61}, "negative_count"),
        ({"steps": -1}, "negative_count"),
        ({"steps": 27}, "negative_count"),
        ({"update_digest": "c" * 64}, "digest"),
        ({"update_bytes": 1}, "digest"),
        ({"update_bytes": 1, "examples": -1}, "negative_count"),
    ],
)
def test_a_claim_is_compared_with_what_the_round_awaits(
    tmp_path: Path, changed: dict[str, object], reason: str
) -> None:
    assert refusal(*place(tmp_path, pack(sound()), **changed)) == (reason,)


def test_an_implausible_claim_is_refused_before_its_file_is_looked_at(tmp_path: Path) -> None:
    claim, _ = place(tmp_path, b"", examples=-1)
    assert refusal(claim, tmp_path / "absent") == ("negative_count",)


@pytest.mark.parametrize(
    ("training", "steps"),
    [
        (None, 0),
        (TrainingSpec(steps_per_round=0), 0),
        (TrainingSpec(steps_per_round=7), 7),
        (TrainingSpec(seconds_per_round=9.0), STEPS_BOUND),
        (TrainingSpec(epochs_per_round=3, batch_size=32), 12),
    ],
)
def test_steps_are_bounded_by_the_training(tmp_path: Path, training: TrainingSpec | None, steps: int) -> None:
    rules = Admission(TABLE, norm_factor=10.0, training=training, digest_of=sha256)
    assert rules.admit(*place(tmp_path, pack(sound()), steps=steps), EXPECTED)
    with pytest.raises(Refused, match="counts"):
        rules.admit(*place(tmp_path, pack(sound()), steps=steps + 1), EXPECTED)


def test_nobody_counts_twice(tmp_path: Path) -> None:
    claim, path = place(tmp_path, pack(sound()))
    assert refusal(claim, path, replace(EXPECTED, admitted=frozenset({"north"}))) == ("replay",)
    assert refusal(claim, path, replace(EXPECTED, seen={"north": {claim.update_digest}})) == ("replay",)
    assert admission().admit(claim, path, replace(EXPECTED, seen={"south": {claim.update_digest}}))


def wrong_shape() -> bytes:
    return pack(sound(conv__bias=np.ones(5, np.float32)[:4].reshape(2, 2)))


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (b"\0" * (payload_limit(TABLE) + 1), ["oversize"]),
        (b"", ["malformed"]),
        (b"\xff" * 64, ["malformed"]),
        (pack(sound())[:-4], ["malformed"]),
        (pack({k: v for k, v in sound().items() if k != "conv.bias"}), ["missing_key"]),
        (pack(sound(head=np.ones(2, np.float32))), ["extra_key"]),
        (pack({"other": np.ones(2, np.float32)}), ["missing_key", "extra_key"]),
        (pack(sound(conv__bias=np.ones(4, np.int64))), ["dtype"]),
        (wrong_shape(), ["shape"]),
        (pack(sound(conv__bias=np.ones(3, np.int64))), ["dtype", "shape"]),
        (pack(sound(conv__bias=np.array([1, np.nan, 1, 1], np.float32))), ["not_finite"]),
        (pack(sound(conv__bias=np.array([1, -np.inf, 1, 1], np.float32))), ["not_finite"]),
        (pack(sound(conv__bias=np.array([2.0**22 + 1, 1, 1, 1], np.float32))), ["out_of_range"]),
        (pack(sound(bn__num_batches_tracked=np.array(-1, np.int64))), ["out_of_range"]),
        (pack(sound(bn__num_batches_tracked=np.array(2**40 + 1, np.int64))), ["out_of_range"]),
        (pack(sound(conv__bias=np.array([21, 0, 0, 0], np.float32))), ["norm"]),
    ],
)
def test_a_file_that_must_not_count(tmp_path: Path, data: bytes, reasons: list[str]) -> None:
    assert list(refusal(*place(tmp_path, data))) == reasons


def test_free_text_has_no_place_in_an_update(tmp_path: Path) -> None:
    data = pack(sound())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps({"__metadata__": {"note": "hidden"}, **json.loads(data[8 : 8 + length])}).encode()
    assert refusal(*place(tmp_path, struct.pack("<Q", len(header)) + header + data[8 + length :])) == ("malformed",)


def test_nothing_of_a_file_stands_in_the_refusal(tmp_path: Path) -> None:
    claim, path = place(tmp_path, pack(sound(Mustermann=np.ones(2, np.float32))))
    with pytest.raises(Refused) as caught:
        admission().admit(claim, path, EXPECTED)
    assert "Mustermann" not in f"{caught.value} {caught.value.detail} {caught.value.remedy}"


def test_without_a_history_no_norm_is_too_large(tmp_path: Path) -> None:
    claim, path = place(tmp_path, pack(sound(conv__bias=np.full(4, 2.0**22, np.float32))))
    assert admission().admit(claim, path, replace(EXPECTED, norms=NormHistory())).norm > 2.0**22


@pytest.mark.parametrize("factor", [0.0, 1.0, -3.0])
def test_a_factor_that_would_refuse_the_median_is_an_error(factor: float) -> None:
    with pytest.raises(ValueError):
        admission(factor)


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    state = {"w": np.zeros(6 * update.PIECE_ELEMENTS, np.float32)}
    claim, path = place(tmp_path, pack(state), steps=0)
    rules = Admission(table_of(state), norm_factor=2.0, digest_of=sha256)
    tracemalloc.start()
    rules.admit(claim, path, EXPECTED)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6 * 4 * update.PIECE_ELEMENTS


names = st.sampled_from(["conv.weight", "conv.bias", "bn.num_batches_tracked", "other", "__metadata__"])
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "I64", "F64", "U8", "x", 3]),
        "shape": st.one_of(st.lists(st.sampled_from([0, 1, 3, 4, 2**40, -1, "4", None]), max_size=3), st.just("4")),
        "data_offsets": st.lists(st.sampled_from([0, 4, 8, 16, 24, 64, 72, 2**63, -4]), max_size=3),
    }
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=80),
        st.tuples(
            st.dictionaries(names, st.one_of(entries, st.none(), st.integers()), max_size=4),
            st.binary(max_size=72),
            st.integers(-3, 3),
        ),
    )
)
def test_any_bytes_are_admitted_or_refused_with_a_reason(tmp_path: Path, crafted: object) -> None:
    if isinstance(crafted, tuple):
        header, data, lie = crafted
        text = json.dumps(header).encode()
        crafted = struct.pack("<Q", max(len(text) + lie, 0)) + text + data
    claim, path = place(tmp_path, crafted)
    try:
        admission().admit(claim, path, EXPECTED)
    except Refused as refused:
        assert refused.reason in ("malformed", "missing_key", "extra_key", "dtype", "shape", "oversize")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(width=32, allow_subnormal=True), min_size=4, max_size=4), st.integers(-(2**63), 2**63 - 1))
def test_any_numbers_are_admitted_or_refused_as_the_fold_needs(tmp_path: Path, bias: list[float], seen: int) -> None:
    state = sound(conv__bias=np.array(bias, np.float32), bn__num_batches_tracked=np.array(seen, np.int64))
    claim, path = place(tmp_path, pack(state))
    good = all(np.isfinite(bias)) and max(map(abs, bias)) <= 2**22 and 0 <= seen <= 2**40
    no_bound = replace(EXPECTED, norms=NormHistory())
    if good:
        assert np.isfinite(admission().admit(claim, path, no_bound).norm)
    else:
        expected = "out_of_range" if all(np.isfinite(bias)) else "not_finite"
        assert refusal(claim, path, no_bound) == (expected,)
