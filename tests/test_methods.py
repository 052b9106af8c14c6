"""Each method through the whole engine: real doors, ledgers, spools and journals, two sites that differ."""

from pathlib import Path

import numpy as np
import pytest
from memory_ward import MemoryWard

from client.imaging.cache import prepare
from client.imaging.settings import DataSettings
from client.settings import load_settings
from client.spool import STATE_FILE
from deploy.bench.trial import Trial
from server.journal import read_history
from shared.canonical import digest
from shared.enrolment import read_invitation
from shared.study import parse_study
from shared.update import PackedFile

pytestmark = pytest.mark.usefixtures("flower_process")

STUDY = """\
[study]
name = "{name}"
seed = 5
[task]
classes = ["bright"]
[images]
size_px = 16
[model]
width = 8
norm = "batch"
[training]
batch_size = 4
epochs_per_round = 1
momentum = {momentum}
algorithm = "{algorithm}"
[rounds]
count = 3
quorum = 2
deadline_s = 600
"""


@pytest.fixture
def ward(tmp_path: Path) -> MemoryWard:
    """Two sites; one has three times the images, and brighter ones."""
    data = {}
    for name, count, light in (("east", 12, 20), ("west", 36, 90)):
        rng, arrays = np.random.default_rng(count), {}
        for split, images in {"train": count, "val": 8, "test": 8}.items():
            labels = np.arange(images) % 2
            noise = rng.integers(0, 60, (images, 16, 16)) + light
            arrays[f"{split}_images"] = (noise + 80 * labels[:, None, None]).astype(np.uint8)
            arrays[f"{split}_labels"] = labels
        np.savez(tmp_path / f"{name}.npz", **arrays)
        data[name] = DataSettings(kind="npz", file=tmp_path / f"{name}.npz")
    return MemoryWard(tmp_path / "ward", data)


def text(algorithm: str, *, name: str | None = None, momentum: float = 0.0) -> str:
    return STUDY.format(name=name or algorithm, algorithm=algorithm, momentum=momentum)


def test_fednova_weighs_the_busier_site_less(ward: MemoryWard) -> None:
    folders = [ward.run(text(name)) for name in ("fedavg", "fednova")]
    ready = read_history(folders[1].path / "journal.jsonl").readies
    assert {record.site: record.steps for record in ready} == {"east": 3, "west": 9}
    models = [dict(PackedFile(folder.path / "model.safetensors").items()) for folder in folders]
    assert models[0].keys() == models[1].keys()
    assert not np.array_equal(models[0]["head.weight"], models[1]["head.weight"])


@pytest.mark.parametrize("model_dtype", ["float32", "bfloat16"])
def test_numbers_in_bfloat16_have_half_the_bytes_and_teach_as_much(ward: MemoryWard, model_dtype: str) -> None:
    narrow = f'[transfer]\nupdate_dtype = "bfloat16"\nmodel_dtype = "{model_dtype}"\n'
    names = (("plain", ""), ("first", narrow), ("again", narrow))
    plain, first, again = (ward.run(text("fedavg", name=name) + more) for name, more in names)
    readies = [read_history(folder.path / "journal.jsonl").readies for folder in (plain, first)]
    sizes = [{record.update_bytes for record in history} for history in readies]
    assert max(sizes[1]) < 0.6 * min(sizes[0])  # the header stays
    models = [dict(PackedFile(folder.path / "model.safetensors").items()) for folder in (plain, first)]
    finals = [(folder.path / "model.safetensors").read_bytes() for folder in (first, again)]
    start = PackedFile(first.path / "models" / "start.safetensors")
    assert start.declared()["head.weight"][0] == model_dtype
    assert finals[0] == finals[1]
    one, other = (np.concatenate([value.ravel() for value in model.values()]) for model in models)
    assert np.linalg.norm(one - other) < 0.02 * np.linalg.norm(one)
    states = {place: list((folder / "spool" / "first").glob(f"*/{STATE_FILE}")) for place, folder in ward.sites.items()}
    for found in states.values():
        assert [state.parent.name for state in found] == ["round-000003"]
        residual = PackedFile(found[0])
        assert residual.declared()["residual/head.weight"][0] == "bfloat16"
        assert np.abs(residual.tensor("residual/head.weight")).max() > 0


def test_a_study_in_bfloat16_that_another_owner_goes_on_with_ends_in_the_same_model(ward: MemoryWard) -> None:
    """What rounding took, from the model and from updates, is there again after the cut."""
    narrow = '[transfer]\nupdate_dtype = "bfloat16"\nmodel_dtype = "bfloat16"\n'
    whole = ward.run(text("fedavg", name="whole") + narrow)
    cut = ward.run(text("fedavg", name="cut") + narrow, cut_after=9)
    histories = [read_history(folder.journal) for folder in (whole, cut)]
    assert [history.epoch for history in histories] == [1, 2]
    assert len({history.final_digest for history in histories}) == 1


def norms(state: dict[str, np.ndarray]) -> set[str]:
    return {name for name in state if name.startswith("features") and state[name].ndim < 2}


def test_fedbn_keeps_each_sites_norm_layers_at_the_site(ward: MemoryWard) -> None:
    folder = ward.run(text("fedbn"))
    final = dict(PackedFile(folder.path / "model.safetensors").items())
    assert not {name for name in final if "running" in name or "num_batches" in name}
    own = {}
    for site, place in ward.sites.items():
        states = sorted((place / "spool" / "fedbn").glob(f"round-*/{STATE_FILE}"))
        assert [state.parent.name for state in states] == ["round-000003"]  # of the last round that counted
        own[site] = dict(PackedFile(states[0]).items())
    assert own["east"].keys() == own["west"].keys()
    assert not own["east"].keys() & final.keys()
    means = {site: state["features.1.running_mean"] for site, state in own.items()}
    assert np.abs(means["east"] - means["west"]).max() > 1e-3
    assert own["east"]["features.1.num_batches_tracked"] == 9
    assert own["west"]["features.1.num_batches_tracked"] == 27


def test_scaffolds_server_variate_is_the_mean_of_the_sites(ward: MemoryWard) -> None:
    folder = ward.run(text("scaffold"))
    final = dict(PackedFile(folder.path / "model.safetensors").items())
    states = {site: place / "spool" / "scaffold" / "round-000003" / STATE_FILE for site, place in ward.sites.items()}
    own = {site: dict(PackedFile(state).items()) for site, state in states.items()}
    assert {name for name in final if name.startswith("control/")} == own["east"].keys()
    for name in own["east"]:
        mean = 0.25 * own["east"][name].astype(float) + 0.75 * own["west"][name].astype(float)
        np.testing.assert_allclose(final[name], mean, atol=1e-5)
    assert np.abs(final["control/head.weight"]).max() > 1e-3


@pytest.mark.parametrize("algorithm", ["fedbn", "scaffold"])
def test_a_study_that_keeps_state_is_the_same_twice(ward: MemoryWard, algorithm: str) -> None:
    digests = {ward.model_digest(ward.run(text(algorithm, name=f"{algorithm}-{n}"))) for n in (1, 2)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("algorithm", "optimizer"), [("fednova", "fedadam"), ("fedbn", "fedavgm"), ("scaffold", "fedavg")]
)
def test_a_trial_computes_what_the_engine_computes(
    ward: MemoryWard, tmp_path: Path, algorithm: str, optimizer: str
) -> None:
    """Byte for byte, moments and states included: the benchmark's trial stands for a federation."""
    asked = text(algorithm, name="trial") + f'[server]\noptimizer = "{optimizer}"\n'
    study, data = parse_study(asked), {}
    for name, place in ward.sites.items():
        settings = load_settings(place / "site.toml")
        salt = bytes.fromhex(read_invitation((place / "invitation.json").read_bytes()).patient_salt)
        data[name] = prepare(
            settings.data, task=study.task, images=study.images, salt=salt, base=place, cache=place / "cache"
        )
    digest_of_engine = ward.model_digest(ward.run(asked))
    (tmp_path / "trial").mkdir()
    trial = Trial(study, data, tmp_path / "trial")
    trial.run()
    assert digest(trial.model.read_bytes()) == digest_of_engine
    for name, state in trial.kept.items():
        engines = ward.sites[name] / "spool" / "trial" / "round-000003" / STATE_FILE
        assert state.read_bytes() == engines.read_bytes()
