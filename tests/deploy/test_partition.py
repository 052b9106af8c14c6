"""One array file becomes several sites."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.imaging.cache import prepare
from client.imaging.settings import DataSettings
from deploy.partition import PartitionedSite, partition
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.study import TaskSpec

SCHEMES = ["iid", "dirichlet:1.0", "dirichlet:0.05"]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def build(**arrays: np.ndarray) -> Path:
        np.savez(tmp_path / "whole.npz", **arrays)
        return tmp_path / "whole.npz"

    return build


@pytest.fixture
def medmnist(write: Write) -> Path:
    """400 train, 40 validation and 80 test images; the first pixels hold split and index."""
    arrays = {}
    for number, (name, count) in enumerate({"train": 400, "val": 40, "test": 80}.items()):
        images = np.zeros((count, 8, 8), dtype=np.uint16)
        images[:, 0, 0], images[:, 0, 1] = number, np.arange(count)
        arrays[f"{name}_images"] = images
        arrays[f"{name}_labels"] = (np.arange(count) % 4 == 0).astype(np.uint8)[:, None]
    return write(**arrays)


@pytest.fixture
def flat(write: Write) -> Path:
    """300 images of 100 patients at two natural sites."""
    images = np.zeros((300, 8, 8), dtype=np.uint16)
    images[:, 0, 1] = np.arange(300)
    patients = np.arange(300) // 3
    return write(
        images=images,
        labels=patients % 5,
        patient=np.array([f"p{number}" for number in patients]),
        split=(patients % 10 == 0).astype(np.uint8),
        site=(patients % 3 == 0).astype(np.uint8),
        site_names=np.array(["North_Clinic", "South clinic"]),
    )


def _arrays(site: PartitionedSite) -> dict[str, np.ndarray]:
    with np.load(site.file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_what_is_known_beside_an_image_goes_with_it(tmp_path: Path, write: Write) -> None:
    images, age = np.zeros((40, 8, 8), dtype=np.uint8), np.arange(40.0)
    images[:, 0, 0] = np.arange(40)
    beside = {"age": age, "masks": images[:, :, 0], "curve": np.zeros((40, 3), dtype=np.uint8)}
    whole = write(images=images, labels=np.arange(40) % 2, **beside)
    for site in partition(whole, scheme="iid", sites=2, seed=0, out=tmp_path / "out"):
        arrays = _arrays(site)
        np.testing.assert_array_equal(arrays["age"], arrays["images"][:, 0, 0])
        np.testing.assert_array_equal(arrays["masks"], arrays["images"][:, :, 0])
        assert "curve" not in arrays


def _identities(site: PartitionedSite) -> list[tuple[int, int]]:
    return [(int(image[0, 0]), int(image[0, 1])) for image in _arrays(site)["images"]]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_image_goes_to_one_site(tmp_path: Path, medmnist: Path, scheme: str) -> None:
    sites = partition(medmnist, scheme=scheme, sites=4, seed=0, out=tmp_path / "out")
    assert [site.name for site in sites] == ["site-1", "site-2", "site-3", "site-4"]
    assert [site.file for site in sites] == [tmp_path / "out" / site.name / "images.npz" for site in sites]
    found = sorted(identity for site in sites for identity in _identities(site))
    counts = {0: 400, 1: 40, 2: 80}
    assert found == [(split, index) for split, count in counts.items() for index in range(count)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_labels_and_splits_stay_with_their_images(tmp_path: Path, medmnist: Path, scheme: str) -> None:
    for site in partition(medmnist, scheme=scheme, sites=3, seed=1, out=tmp_path / "out"):
        arrays = _arrays(site)
        np.testing.assert_array_equal(arrays["labels"], arrays["images"][:, 0, 1] % 4 == 0)
        names = np.array(["train", "validation", "test"])[arrays["images"][:, 0, 0]]
        np.testing.assert_array_equal(arrays["split"], names)
        assert len(set(arrays["patient"])) == len(arrays["patient"])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_site_has_patients_of_every_split(tmp_path: Path, medmnist: Path, scheme: str) -> None:
    for seed in range(3):
        for site in partition(medmnist, scheme=scheme, sites=8, seed=seed, out=tmp_path / f"out{seed}"):
            assert sum(site.counts["train"].values()) >= 8
            assert sum(site.counts["validation"].values()) >= 2
            assert sum(site.counts["test"].values()) == 10


def test_counts_are_those_of_the_file(tmp_path: Path, medmnist: Path) -> None:
    for site in partition(medmnist, scheme="dirichlet:0.5", sites=3, seed=0, out=tmp_path / "out"):
        arrays = _arrays(site)
        for split, classes in site.counts.items():
            for number, count in classes.items():
                assert ((arrays["split"] == split) & (arrays["labels"] == number)).sum() == count


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_seed_decides_the_bytes(tmp_path: Path, medmnist: Path, scheme: str) -> None:
    files = [
        [site.file.read_bytes() for site in partition(medmnist, scheme=scheme, sites=3, seed=seed, out=tmp_path / out)]
        for seed, out in ((0, "a"), (0, "b"), (1, "c"))
    ]
    assert files[0] == files[1]
    assert files[0] != files[2]


def _imbalance(sites: list[PartitionedSite]) -> float:
    shares = [site.counts["train"].get(1, 0) / sum(site.counts["train"].values()) for site in sites]
    return float(np.std(shares))


def test_a_small_alpha_is_less_even(tmp_path: Path, medmnist: Path) -> None:
    def mean(scheme: str) -> float:
        runs = [partition(medmnist, scheme=scheme, sites=4, seed=s, out=tmp_path / f"{scheme}{s}") for s in range(5)]
        return float(np.mean([_imbalance(sites) for sites in runs]))

    iid, mild, wild = mean("iid"), mean("dirichlet:100"), mean("dirichlet:0.1")
    assert max(iid, mild) < 0.1 < wild


def test_train_and_validation_of_a_site_are_alike(tmp_path: Path, medmnist: Path) -> None:
    for site in partition(medmnist, scheme="dirichlet:0.5", sites=3, seed=2, out=tmp_path / "out"):
        for number, count in site.counts["train"].items():
            assert abs(site.counts["validation"].get(number, 0) - count / 10) <= 3


def test_natural_sites(tmp_path: Path, flat: Path) -> None:
    sites = partition(flat, scheme="natural", sites=2, seed=0, out=tmp_path / "out")
    assert [site.name for site in sites] == ["north-clinic", "south-clinic"]
    south = _arrays(sites[1])
    assert all(int(patient.removeprefix("p")) % 3 == 0 for patient in south["patient"])
    assert sum(sum(classes.values()) for site in sites for classes in site.counts.values()) == 300


@pytest.mark.parametrize("scheme", ["iid", "dirichlet:0.3", "natural"])
def test_images_of_a_patient_stay_together(tmp_path: Path, flat: Path, scheme: str) -> None:
    homes: dict[str, set[tuple[str, str]]] = {}
    for site in partition(flat, scheme=scheme, sites=2, seed=0, out=tmp_path / "out"):
        arrays = _arrays(site)
        for patient, split in zip(arrays["patient"], arrays["split"], strict=True):
            homes.setdefault(str(patient), set()).add((site.name, str(split)))
    assert len(homes) == 100
    assert all(len(home) == 1 for home in homes.values())


def test_codes_of_splits_and_carved_validation(tmp_path: Path, flat: Path) -> None:
    tests, validations = set(), set()
    for site in partition(flat, scheme="iid", sites=2, seed=0, out=tmp_path / "out"):
        arrays = _arrays(site)
        tests |= set(arrays["patient"][arrays["split"] == "test"])
        validations |= set(arrays["patient"][arrays["split"] == "validation"])
    assert tests == {f"p{number}" for number in range(0, 100, 10)}
    assert len(validations) == 15


def test_a_file_without_splits_gets_them(tmp_path: Path, write: Write) -> None:
    file = write(images=np.zeros((200, 8, 8), dtype=np.uint8), labels=np.arange(200) % 2)
    (site,) = partition(file, scheme="iid", sites=1, seed=0, out=tmp_path / "out")
    assert {split: sum(classes.values()) for split, classes in site.counts.items()} == {
        "train": 140,
        "validation": 30,
        "test": 30,
    }


def test_multilabel_images_are_dealt_by_their_first_finding(tmp_path: Path, write: Write) -> None:
    labels = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 1]] * 30, dtype=np.uint8)
    file = write(images=np.zeros((120, 8, 8), dtype=np.uint8), labels=labels, split=np.array(["train"] * 120))
    sites = partition(file, scheme="dirichlet:1", sites=2, seed=0, out=tmp_path / "out")
    assert _arrays(sites[0])["labels"].shape[1] == 3
    assert {number for site in sites for number in site.counts["train"]} == {-1, 0, 1, 2}


def test_few_patients_are_shared_as_far_as_they_go(tmp_path: Path, write: Write) -> None:
    file = write(images=np.zeros((20, 8, 8), dtype=np.uint8), labels=np.arange(20) % 2, split=np.array(["train"] * 20))
    sites = partition(file, scheme="dirichlet:0.05", sites=3, seed=0, out=tmp_path / "out")
    assert all(sum(site.counts["train"].values()) >= 4 for site in sites)


@pytest.mark.parametrize(
    "scheme", ["natural", "dirichlet", "dirichlet:0", "dirichlet:-1", "dirichlet:x", "pathological"]
)
def test_schemes_that_do_not_fit_are_refused(tmp_path: Path, medmnist: Path, scheme: str) -> None:
    with pytest.raises(ConfigError) as caught:
        partition(medmnist, scheme=scheme, sites=2, seed=0, out=tmp_path / "out")
    assert "dirichlet:ALPHA" in caught.value.remedy


def test_another_number_of_natural_sites_is_refused(tmp_path: Path, flat: Path) -> None:
    with pytest.raises(ConfigError, match="2 natural sites; 4"):
        partition(flat, scheme="natural", sites=4, seed=0, out=tmp_path / "out")


def test_no_sites_is_a_mistake_of_the_caller(tmp_path: Path, flat: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        partition(flat, scheme="iid", sites=0, seed=0, out=tmp_path / "out")


def test_a_patient_in_two_splits_is_refused(tmp_path: Path, write: Write) -> None:
    file = write(
        images=np.zeros((2, 8, 8), dtype=np.uint8),
        labels=np.zeros(2),
        patient=np.array(["a", "a"]),
        split=np.array([0, 1]),
    )
    with pytest.raises(ConfigError, match="more than one split"):
        partition(file, scheme="iid", sites=1, seed=0, out=tmp_path / "out")


@pytest.mark.parametrize("content", [None, b"", b"hello", b"PK\x03\x04 cut off"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ConfigError, match="absent or in neither"):
        partition(tmp_path / "a.npz", scheme="iid", sites=1, seed=0, out=tmp_path / "out")


def test_objects_are_not_unpickled(tmp_path: Path, write: Write) -> None:
    file = write(images=np.zeros((2, 8, 8), dtype=np.uint8), labels=np.array([{}, None], dtype=object))
    with pytest.raises(ConfigError):
        partition(file, scheme="iid", sites=1, seed=0, out=tmp_path / "out")


def test_a_site_reads_what_was_written(tmp_path: Path, shared_data: Path) -> None:
    file = shared_data / "pneumoniamnist" / "pneumoniamnist.npz"
    sites = partition(file, scheme="dirichlet:1.0", sites=4, seed=0, out=tmp_path / "out")
    assert sum(sum(site.counts["test"].values()) for site in sites) == 624
    for site in sites:
        data = prepare(
            DataSettings(kind="npz", file=site.file),
            task=TaskSpec(classes=("pneumonia",)),
            images=ImageSpec(size_px=28),
            salt=bytes(32),
            base=tmp_path,
            cache=tmp_path / site.name,
        )
        expected = {split: sum(classes.values()) for split, classes in site.counts.items()}
        assert dict(data.counts.examples) == expected
        assert dict(data.counts.patients) == expected


def test_ham10000_by_its_sources(tmp_path: Path, shared_data: Path) -> None:
    file = shared_data / "ham10000_sites" / "images.npz"
    sites = partition(file, scheme="natural", sites=3, seed=0, out=tmp_path / "out")
    assert {site.name: sum(sum(c.values()) for c in site.counts.values()) for site in sites} == {
        "rosendahl": 1767,
        "vidir-modern": 2736,
        "vidir-molemax": 3155,
    }
    assert sum(sum(site.counts["test"].values()) for site in sites) == 997


# ------------------------------------------------------------------ a table beside the file


def _beside(folder: Path, text: str) -> Path:
    (folder / "beside.csv").write_text(text, encoding="utf-8")
    return folder / "beside.csv"


@pytest.fixture
def named(write: Write) -> Path:
    """Sixty images that have names."""
    numbers = np.arange(60)
    images = np.zeros((60, 8, 8), dtype=np.uint8)
    return write(images=images, labels=numbers % 2, split=(numbers % 6 == 0).astype(np.uint8), image_id=numbers)


def test_what_a_table_says_of_an_image_goes_with_it(named: Path, tmp_path: Path) -> None:
    lines = "".join(f"{30 + number},{number},{number % 2}\n" for number in range(1, 60))
    table = _beside(tmp_path, f"age,image_id,split\n{lines}")
    sites = partition(named, scheme="iid", sites=3, seed=0, out=tmp_path / "sites", beside=table)
    said = {}
    for arrays in map(_arrays, sites):
        said |= dict(zip(arrays["image_id"].tolist(), arrays["age"].tolist(), strict=True))
        assert set(arrays["split"].tolist()) <= {"train", "validation", "test"}
    assert said == {number: str(30 + number) if number else "" for number in range(60)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age,name\n40,1\n", "called as an array"),
        ("image_id,age\n1,40\n1,50\n", "twice"),
        ("image_id,age\n77,40\n", "names no image"),
        ("", "called as an array"),
        ('image_id,age\n1,"40\n', "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used(named: Path, tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        partition(named, scheme="iid", sites=3, seed=0, out=tmp_path / "sites", beside=_beside(tmp_path, text))
    with pytest.raises(ConfigError, match="cannot be read"):
        partition(named, scheme="iid", sites=3, seed=0, out=tmp_path / "sites", beside=tmp_path / "nowhere.csv")
