"""The fold: right to rounding, the same for every order of sites, flat in memory."""

import itertools
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.aggregate import CHANGE_BOUND, SITES_BOUND, Folded, fold
from shared import update
from shared.update import PackedFile, pack

State = Mapping[str, np.ndarray]
quick = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, state: State) -> PackedFile:
    path.write_bytes(pack(state))
    return PackedFile(path)


def written(folder: Path, sites: Sequence[tuple[int, State]]) -> list[tuple[int, PackedFile]]:
    return [(n, write(folder / f"site-{i}", state)) for i, (n, state) in enumerate(sites)]


def whole(pieces: list[Folded]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(p.name for p in pieces)
    return {name: np.concatenate([p.values for p in pieces if p.name == name]) for name in names}


def spelled(pieces: list[Folded]) -> list[tuple[str, int, bytes, str, bool]]:
    return [(p.name, p.start, p.values.tobytes(), str(p.values.dtype), p.replaces) for p in pieces]


def normalised(means: Sequence[float], variances: Sequence[float], batches: int) -> dict[str, np.ndarray]:
    return {
        "bn.running_mean": np.array(means, np.float32),
        "bn.running_var": np.array(variances, np.float32),
        "bn.num_batches_tracked": np.array(batches, np.int64),
    }


def test_weighted_mean_of_changes(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    model = {"w": random.normal(size=(7, 5)).astype(np.float32), "b": np.zeros((), np.float32)}
    changes = [{k: np.asarray(random.normal(size=v.shape), np.float32) for k, v in model.items()} for _ in range(3)]
    updates = written(tmp_path, list(zip([10, 30, 60], changes, strict=True)))
    pieces = list(fold(updates, write(tmp_path / "model", model)))
    assert [(p.name, p.replaces, p.values.dtype) for p in pieces] == [("b", False, float), ("w", False, float)]
    for name, value in whole(pieces).items():
        exact = sum(p * c[name].astype(np.float64) for p, c in zip([0.1, 0.3, 0.6], changes, strict=True))
        np.testing.assert_allclose(value, exact.reshape(-1), rtol=0, atol=3 * 2.0**-41 + 1e-15)


@quick
@given(
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**32)), min_size=1, max_size=5),
    st.sampled_from([1e-6, 1.0, CHANGE_BOUND]),
)
def test_any_order_of_sites_gives_the_same_bytes(tmp_path: Path, sites: list[tuple[int, int]], scale: float) -> None:
    def site(seed: int) -> State:
        random = np.random.default_rng(seed)
        wide = {
            "w": random.uniform(-scale, scale, 9),
            "bn.running_mean": random.uniform(-scale, scale, 4),
            "bn.running_var": random.uniform(-1, scale, 4),
        }
        return {k: v.astype(np.float32) for k, v in wide.items()} | {
            "bn.num_batches_tracked": random.integers(0, 99, ())
        }

    updates = written(tmp_path, [(n, site(seed)) for n, seed in sites])
    model = write(tmp_path / "model", site(7))
    orders = itertools.islice(itertools.permutations(updates), 24)
    assert len({tuple(spelled(list(fold(order, model)))) for order in orders}) == 1


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_largest_admitted_changes_do_not_overflow(tmp_path: Path, sign: float) -> None:
    one = write(tmp_path / "one", {"w": np.full(3, sign * CHANGE_BOUND, np.float32)})
    sites = [(1 + i % 7, one) for i in range(SITES_BOUND)]
    (piece,) = fold(sites, one)
    np.testing.assert_allclose(piece.values, sign * CHANGE_BOUND, rtol=1e-12)


def test_running_statistics_equal_those_of_the_pooled_values(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    parts = [random.normal(loc, 2.0, (n, 6)) for loc, n in [(-3.0, 40), (0.0, 100), (900.0, 60)]]
    model = normalised([0.5] * 6, [1.0] * 6, 5)
    sites = [(len(x), normalised(list(x.mean(0) - 0.5), list(x.var(0) - 1.0), 5 + i)) for i, x in enumerate(parts)]
    pieces = list(fold(written(tmp_path, sites), write(tmp_path / "model", model)))
    assert all(p.replaces for p in pieces)
    pooled, found = np.concatenate(parts), whole(pieces)
    np.testing.assert_allclose(found["bn.running_mean"], pooled.mean(0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(found["bn.running_var"], pooled.var(0), rtol=1e-6)
    assert found["bn.running_mean"].dtype == found["bn.running_var"].dtype == np.float32
    assert found["bn.num_batches_tracked"].tolist() == [7]


def test_the_extreme_spread_of_means_is_summed(tmp_path: Path) -> None:
    sites = [(1, normalised([sign * CHANGE_BOUND], [0.0], 1)) for sign in (-1, 1)]
    pieces = list(fold(written(tmp_path, sites), write(tmp_path / "model", normalised([0.0], [0.0], 0))))
    assert whole(pieces)["bn.running_var"].tolist() == [2.0**44]


def test_a_variance_never_falls_below_zero(tmp_path: Path) -> None:
    sites = [(1, normalised([0.0], [-9.0], 1))]
    pieces = list(fold(written(tmp_path, sites), write(tmp_path / "model", normalised([0.0], [1.0], 0))))
    assert whole(pieces)["bn.running_var"].tolist() == [0.0]


def test_a_variance_without_its_mean_is_averaged(tmp_path: Path) -> None:
    state = {"running_var": np.ones(2, np.float32), "other.running_mean": np.ones(2, np.float32)}
    sites = [(1, state), (3, {k: 5 * v for k, v in state.items()})]
    found = whole(list(fold(written(tmp_path, sites), write(tmp_path / "model", state))))
    assert found["running_var"].tolist() == found["other.running_mean"].tolist() == [5.0, 5.0]


def test_other_integers_take_the_largest(tmp_path: Path) -> None:
    sites = [(9, {"steps": np.array([3, 8], np.int64)}), (1, {"steps": np.array([5, 2], np.int64)})]
    model = write(tmp_path / "model", {"steps": np.zeros(2, np.int64)})
    (piece,) = fold(written(tmp_path, sites), model)
    assert piece.replaces
    assert piece.values.tolist() == [5, 8]


def test_sites_without_examples_weigh_the_same(tmp_path: Path) -> None:
    sites = [(0, {"w": np.array([1.0], np.float32)}), (0, {"w": np.array([3.0], np.float32)})]
    (piece,) = fold(written(tmp_path, sites), write(tmp_path / "model", {"w": np.zeros(1, np.float32)}))
    assert piece.values.tolist() == [2.0]


@pytest.mark.parametrize("weights", [[], [-1], [3, -1], [1] * (SITES_BOUND + 1)])
def test_impossible_cohorts_are_refused(tmp_path: Path, weights: list[int]) -> None:
    model = write(tmp_path / "model", {"w": np.zeros(1, np.float32)})
    with pytest.raises(ValueError):
        list(fold([(n, model) for n in weights], model))


def test_memory_depends_neither_on_sites_nor_on_size(tmp_path: Path) -> None:
    def peak(sites: int, pieces: int) -> int:
        state = write(tmp_path / f"{pieces}", {"w": np.ones(pieces * update.PIECE_ELEMENTS, np.float32)})
        tracemalloc.start()
        for _ in fold([(1, state)] * sites, state):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few = peak(sites=2, pieces=3)
    assert few < 12 * 4 * update.PIECE_ELEMENTS
    assert peak(sites=16, pieces=6) < 1.1 * few


# ------------------------------------------------------------------ efforts (FedNova)


def test_changes_are_normalised_by_their_efforts(tmp_path: Path) -> None:
    """Equation 6 of Wang et al. 2020: the mean effort times the mean of change / effort."""
    random = np.random.default_rng(3)
    changes = [{"w": random.normal(size=40).astype(np.float32)} for _ in range(3)]
    examples, efforts = (10, 30, 60), (4.0, 100.0, 7.5)
    updates = written(tmp_path, list(zip(examples, changes, strict=True)))
    pieces = list(fold(updates, write(tmp_path / "model", changes[0]), efforts=efforts))
    share = np.array(examples) / 100
    mean_effort = share @ np.array(efforts)
    exact = sum(mean_effort * p * c["w"].astype(float) / a for p, c, a in zip(share, changes, efforts, strict=True))
    np.testing.assert_allclose(whole(pieces)["w"], exact, rtol=0, atol=1e-9)
    again = list(fold(updates[::-1], write(tmp_path / "model", changes[0]), efforts=efforts[::-1]))
    assert spelled(again) == spelled(pieces)


def test_equal_efforts_are_a_plain_mean(tmp_path: Path) -> None:
    changes = [{"w": np.array([1.0, -2.0], np.float32)}, {"w": np.array([3.0, 0.5], np.float32)}]
    updates, model = written(tmp_path, [(1, changes[0]), (3, changes[1])]), write(tmp_path / "model", changes[0])
    plain, equal = list(fold(updates, model)), list(fold(updates, model, efforts=(7.0, 7.0)))
    np.testing.assert_allclose(whole(equal)["w"], whole(plain)["w"], rtol=1e-12)


def test_a_site_without_a_step_does_not_weigh_and_buffers_do_as_before(tmp_path: Path) -> None:
    model = write(tmp_path / "model", normalised([0.0], [1.0], 0) | {"w": np.zeros(1, np.float32)})
    sites = [
        (1, normalised([1.0], [1.0], 3) | {"w": np.ones(1, np.float32)}),
        (1, normalised([0.0], [0.0], 0) | {"w": np.zeros(1, np.float32)}),
    ]
    updates = written(tmp_path, sites)
    folded = whole(list(fold(updates, model, efforts=(4.0, 0.0))))
    assert folded["w"].tolist() == [0.25]  # half the effort on average, half the weight
    assert folded["bn.running_mean"].tolist() == [0.5]
    assert whole(list(fold(updates, model, efforts=(0.0, 0.0))))["w"].tolist() == [0.0]


def test_a_tiny_effort_overflows_nothing(tmp_path: Path) -> None:
    """The largest change of a site that claims the smallest effort among many is still represented."""
    site = {"w": np.full(1, CHANGE_BOUND, np.float32)}
    updates = written(tmp_path, [(1, site), (1, site)])
    folded = whole(list(fold(updates, write(tmp_path / "model", site), efforts=(1.0, 1e6))))
    assert folded["w"][0] == pytest.approx(CHANGE_BOUND * (0.25 * (1e6 + 1) * (1 + 1e-6)), rel=1e-9)


def test_a_negative_effort_is_refused(tmp_path: Path) -> None:
    updates = written(tmp_path, [(1, {"w": np.zeros(1, np.float32)})])
    with pytest.raises(ValueError, match="effort"):
        list(fold(updates, updates[0][1], efforts=(-1.0,)))


# ------------------------------------------------------------------ control variates (SCAFFOLD)


def test_control_variates_stay_the_mean_of_all_sites_own(tmp_path: Path) -> None:
    """Two of three sites take part: theirs move, the third's is as it was."""
    random, examples = np.random.default_rng(4), (10, 30, 60)
    own = [random.normal(size=5).astype(np.float32) for _ in examples]
    share = np.array(examples) / 100
    before = sum(p * c.astype(float) for p, c in zip(share, own, strict=True)).astype(np.float32)
    model = write(tmp_path / "model", {"control/w": before, "w": np.zeros(5, np.float32)})
    changes = [random.normal(size=5).astype(np.float32) for _ in range(2)]
    sites = [(n, {"control/w": c, "w": c}) for n, c in zip(examples, changes, strict=False)]
    pieces = list(fold(written(tmp_path, sites), model, share=0.4))
    assert [(piece.name, piece.replaces) for piece in pieces] == [("control/w", True), ("w", False)]
    own[:2] = [c + change for c, change in zip(own, changes, strict=False)]
    after = sum(p * c.astype(float) for p, c in zip(share, own, strict=True))
    np.testing.assert_allclose(whole(pieces)["control/w"], after, atol=1e-6)
    assert whole(pieces)["control/w"].dtype == np.float32


# ------------------------------------------------------------------ buffered rounds (FedBuff)


def test_a_buffer_moves_the_model_as_fedbuff_does(tmp_path: Path) -> None:
    """Algorithm 1 of Nguyen et al. 2022, K updates of as many examples: the sum of s(tau) * change over K."""
    random = np.random.default_rng(5)
    changes = [random.normal(size=50).astype(np.float32) for _ in range(3)]
    discounts = (1 + np.array([0, 3, 24])) ** -0.5
    sites = written(tmp_path, [(1, {"w": change}) for change in changes])
    weighed = [(40 * s, file) for s, (_, file) in zip(discounts, sites, strict=True)]
    folded = list(fold(weighed, sites[0][1], total=120))
    exact = sum(s * change.astype(float) for s, change in zip(discounts, changes, strict=True)) / 3
    np.testing.assert_allclose(whole(folded)["w"], exact, rtol=0, atol=1e-11)
    assert spelled(list(fold(weighed[::-1], sites[0][1], total=120))) == spelled(folded)


def test_one_stale_update_alone_moves_the_model_by_its_discount(tmp_path: Path) -> None:
    ((_, site),) = written(tmp_path, [(1, {"w": np.array([8.0], np.float32)})])
    assert whole(list(fold([(10 * 0.5, site)], site, total=10)))["w"].tolist() == [4.0]
    assert whole(list(fold([(10 * 0.5, site)], site)))["w"].tolist() == [8.0]


def test_statistics_of_a_stale_update_stay_a_mean(tmp_path: Path) -> None:
    model = write(tmp_path / "model", normalised([1.0], [4.0], 3))
    sites = written(tmp_path, [(1, normalised([2.0], [0.0], 5)), (1, normalised([0.0], [0.0], 9))])
    found = whole(list(fold([(10 * 0.5, sites[0][1]), (10, sites[1][1])], model, total=20)))
    assert found["bn.running_mean"][0] == pytest.approx(1 + 2 / 3)
    assert found["bn.running_var"][0] == pytest.approx(4 + 1 / 3 * (4 / 3) ** 2 + 2 / 3 * (2 / 3) ** 2)


def test_nothing_stale_is_the_plain_mean(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    sites = written(tmp_path, [(n, {"w": random.normal(size=9).astype(np.float32)}) for n in (10, 30, 60)])
    model = write(tmp_path / "model", {"w": np.zeros(9, np.float32)})
    assert spelled(list(fold(sites, model, total=100))) == spelled(list(fold(sites, model)))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_largest_changes_do_not_overflow_a_buffer(tmp_path: Path, sign: float) -> None:
    one = write(tmp_path / "one", {"w": np.full(3, sign * CHANGE_BOUND, np.float32)})
    sites = [((1 + i % 7) * 0.999, one) for i in range(SITES_BOUND)]
    (piece,) = fold(sites, one, total=sum(1 + i % 7 for i in range(SITES_BOUND)))
    np.testing.assert_allclose(piece.values, sign * CHANGE_BOUND * 0.999, rtol=1e-9)


def test_a_total_below_the_weights_is_refused(tmp_path: Path) -> None:
    updates = written(tmp_path, [(3, {"w": np.zeros(1, np.float32)})])
    with pytest.raises(ValueError, match="total"):
        list(fold(updates, updates[0][1], total=2))
    with pytest.raises(ValueError, match="total"):
        list(fold(updates, updates[0][1], total=3, efforts=(1.0,)))
