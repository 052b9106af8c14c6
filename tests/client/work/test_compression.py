"""What rounding takes from one change comes with the next, and nobody's part is sent who has withdrawn."""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pytest
from lone_site import a_study

from client.imaging.examples import Examples, SiteData
from client.work.compression import compress, joined, kept_table, taken_apart
from client.work.device import ResolvedDevice
from client.work.local_work import LocalWork
from server.launch import start_state
from shared.study import Study
from shared.update import Array, PackedFile, pack, rounded

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32  # keyed hashes
RNG = np.random.default_rng(1)


def changes(count: int) -> list[dict[str, Array]]:
    return [{"w": RNG.normal(0, 1e-3, (3, 5)).astype(np.float32), "n": np.array(i)} for i in range(count)]


def test_what_was_sent_in_all_lacks_one_residual_alone() -> None:
    found, residual, sent = changes(50), {}, []
    for change in found:
        compressed, residual = compress(change, residual, names=["w"])
        assert np.array_equal(compressed["w"], rounded(compressed["w"]))
        assert compressed["n"] == change["n"]
        sent.append(compressed["w"].astype(np.float64))
    whole = sum(change["w"].astype(np.float64) for change in found)
    short = np.abs(whole - sum(sent) - residual["w"]).max()
    assert np.abs(residual["w"]).max() <= 2**-8 * 5e-3
    assert short <= 50 * 2**-16 * 5e-3  # the residuals were rounded, too
    alone = sum(rounded(change["w"]).astype(np.float64) for change in found)
    assert np.abs(whole - sum(sent)).mean() < np.abs(whole - alone).mean() / 2


def test_a_change_too_small_for_its_weight_is_sent_later() -> None:
    """256 times 1 and a little: rounding alone would lose the little each time."""
    residual, total = {}, 0.0
    for _ in range(256):
        sent, residual = compress({"w": np.array([1 + 2**-10], np.float32)}, residual, names=["w"])
        total += float(sent["w"][0])
    assert total == pytest.approx(256 * (1 + 2**-10), abs=2**-8)


def test_the_residual_is_kept_beside_what_the_method_keeps() -> None:
    own, residual = {"norm.bias": np.ones(2, np.float32)}, {"w": rounded(np.full(3, 1e-5, np.float32))}
    kept = joined(own, residual, withdrawn=(A, B))
    assert {t.name: t.dtype for t in kept_table(kept)} == {
        "norm.bias": "float32",
        "residual/w": "bfloat16",
        "withdrawn": "int64",
    }
    again, left = taken_apart(kept, withdrawn=(B, A))
    assert (again.keys(), left.keys()) == (own.keys(), residual.keys())
    assert left["w"].tolist() == residual["w"].tolist()
    assert joined(own, {}, withdrawn=(A, B)) == own


@pytest.mark.parametrize("withdrawn", [(A,), (A, B, C), (A, C)])
def test_the_residual_is_not_used_when_others_have_withdrawn(withdrawn: tuple[bytes, ...]) -> None:
    kept = joined({"own": np.ones(1, np.float32)}, {"w": np.ones(1, np.float32)}, withdrawn=(A, B))
    own, residual = taken_apart(kept, withdrawn=withdrawn)
    assert (list(own), residual) == (["own"], {})


# ------------------------------------------------------------------ in a site's work


def compressing(**training: object) -> Study:
    return a_study(
        images={"size_px": 16},
        model={"name": "basic_cnn", "width": 8, "norm": "none"},
        training={"epochs_per_round": 1, **training},
        transfer={"update_dtype": "bfloat16"},
    )


def images(count: int) -> Examples:
    pixels = np.random.default_rng(count).integers(0, 60000, (count, 1, 16, 16), dtype=np.uint16)
    return Examples(pixels, np.arange(count) % 2, np.arange(count))


def rounds(study: Study, folder: Path, withdrawals: Iterable[Collection[bytes]]) -> list[tuple[bytes, bytes | None]]:
    """Updates and states of rounds on the same start model, each after these have withdrawn."""
    start, kept, found = folder / "start", None, []
    start.write_bytes(pack(start_state(study)))
    data = SiteData(images(8), images(4), images(4), "a" * 64, None)  # type: ignore[arg-type]
    for number, withdrawn in enumerate(withdrawals, start=1):
        device = ResolvedDevice("cpu", "for the test")
        work = LocalWork(study, site="north", data=data, device=device, withdrawn=withdrawn)
        done = work.train(start, kept=kept, model_digest="a" * 64, number=number)
        assert done.update is not None
        found.append((done.update, done.kept))
        if done.kept is not None:
            kept = folder / f"kept-{number}"
            kept.write_bytes(done.kept)
    return found


@pytest.mark.parametrize("method", [{}, {"algorithm": "scaffold", "momentum": 0.0}], ids=["fedavg", "scaffold"])
def test_a_round_goes_on_from_the_residual_and_is_the_same_again(tmp_path: Path, method: dict[str, object]) -> None:
    first = rounds(compressing(**method), tmp_path, ((), ()))
    assert first == rounds(compressing(**method), tmp_path, ((), ()))
    without = rounds(compressing(**method), tmp_path, ((), (A,)))
    assert first[0] == without[0]
    assert first[1][0] != without[1][0]


def test_a_round_of_no_step_says_nothing(tmp_path: Path) -> None:
    study = compressing(epochs_per_round=None, steps_per_round=0)
    [(update, kept)] = rounds(study, tmp_path, ((),))
    path = tmp_path / "update"
    path.write_bytes(update)
    assert kept is None
    assert not any(values.any() for _, values in PackedFile(path).items())
