"""What a demo may be asked for, and a study of one's own that it measures."""

from pathlib import Path

import numpy as np
import pytest
from live_federation import wardround

from client.imaging.cache import prepare
from deploy.demo.cast import LABELS_STUDY, npz_cast, own_cast
from shared.errors import ConfigError
from shared.study import Study, parse_study

METHODS = sorted((Path(__file__).parents[2] / "docs" / "methods").glob("*.toml"))


@pytest.mark.parametrize("study", METHODS, ids=lambda path: path.stem)
def test_a_study_of_the_documents_can_be_read(study: Path) -> None:
    assert isinstance(parse_study(study.read_text(encoding="utf-8")), Study)


def test_a_study_of_ones_own_sees_the_table_beside_the_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (90, 16, 16, 3), dtype=np.uint8)
    names = np.array([f"image-{number}" for number in range(90)])
    np.savez(tmp_path / "whole.npz", images=images, labels=np.arange(90) % 7, image_id=names)
    lines = "".join(f"{name},{5 + number},female,back\n" for number, name in enumerate(names))
    (tmp_path / "meta.csv").write_text(f"image_id,age,sex,localization\n{lines}", encoding="utf-8")
    study = next(path for path in METHODS if path.stem == "fusion")
    cast = own_cast(
        tmp_path / "images",
        tmp_path / "whole.npz",
        study=study,
        scheme="iid",
        sites=2,
        seed=0,
        beside=tmp_path / "meta.csv",
    )
    assert cast.study == parse_study(study.read_text(encoding="utf-8"))
    ages: list[float] = []
    for name, data in cast.data.items():
        made = prepare(
            data,
            task=cast.study.task,
            images=cast.study.images,
            salt=bytes(16),
            base=tmp_path,
            cache=tmp_path / f"cache-{name}",
            clinical=cast.study.clinical,
        )
        for part in (made.train, made.validation, made.test):
            assert part.clinical is not None
            ages += part.clinical[:, 0].tolist()
    assert sorted(ages) == [5.0 + number for number in range(90)]


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("--study", "study.toml"), "--npz"),
        (("--npz", "a.npz", "--beside", "meta.csv"), "--study"),
        (("--npz", "a.npz", "--study", "study.toml", "--rounds", "3"), "rounds.count"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_made(
    tmp_path: Path, words: tuple[str, ...], missing: str
) -> None:
    answer = wardround("demo", *words, "--keep", tmp_path / "demo")
    assert answer.exit_code == 3
    assert missing in answer.output
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("instead", "named"),
    [
        (("[model]\n", f'[model]\nstart_sha256 = "{"a" * 64}"\n'), "start_sha256"),
        (("epochs_per_round = 2", "seconds_per_round = 2"), "seconds_per_round"),
        (("[training]\n", '[training]\nalgorithm = "fedbn"\n'), "fedbn"),
    ],
)
def test_a_study_that_nobody_could_train_alone_in_the_same_way_is_no_demos(
    tmp_path: Path, instead: tuple[str, str], named: str
) -> None:
    fusion = next(path for path in METHODS if path.stem == "fusion")
    (tmp_path / "study.toml").write_text(fusion.read_text(encoding="utf-8").replace(*instead), encoding="utf-8")
    with pytest.raises(ConfigError, match=named):
        own_cast(tmp_path, tmp_path / "a.npz", study=tmp_path / "study.toml", scheme="iid", sites=2, seed=0)


@pytest.mark.parametrize(
    ("channels", "augment", "sampling"), [(1, "none", "uniform"), (3, "dermoscopy", "class_balanced")]
)
def test_pictures_in_colour_are_mirrored_and_their_classes_balanced(
    tmp_path: Path, channels: int, augment: str, sampling: str
) -> None:
    """Those in grey may be of a chest, which has a side."""
    shape = (60, 32, 32) if channels == 1 else (60, 32, 32, 3)
    np.savez(tmp_path / "a.npz", images=np.zeros(shape, np.uint8), labels=np.arange(60) % 4)
    cast = npz_cast(tmp_path, tmp_path / "a.npz", scheme="iid", sites=2, rounds=3, seed=0, study=LABELS_STUDY)
    training = cast.study.training
    assert training is not None
    assert (cast.study.images.channels, cast.study.images.augment) == (channels, augment)
    assert training.sampling == sampling
