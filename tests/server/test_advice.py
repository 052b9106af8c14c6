"""Which method is advised, from the sites' label counts alone."""

from pathlib import Path

import pytest

from server.advice import advise, read_labels, skew_of
from shared.errors import ConfigError
from shared.training import TrainingSpec

ALIKE = {"a": {"yes": 50, "no": 50}, "b": {"yes": 60, "no": 60}}


def test_the_skew_is_the_mean_distance_from_the_federations_mix() -> None:
    assert skew_of(ALIKE) == 0
    assert skew_of({"a": {"yes": 10}, "b": {"no": 10}}) == pytest.approx(0.5)
    assert skew_of({"a": {"yes": 30, "no": 10}, "b": {"yes": 10, "no": 30}}) == pytest.approx(0.25)
    assert skew_of({"a": {"yes": 30}, "b": {}}) == 0


@pytest.mark.parametrize(
    ("labels", "algorithm"),
    [
        (ALIKE, "fedavg"),
        ({"a": {"yes": 50, "no": 50}, "b": {"yes": 500, "no": 500}}, "fednova"),
        ({"a": {"yes": 90, "no": 10}, "b": {"yes": 10, "no": 90}}, "scaffold"),
        ({"a": {"yes": 5}, "b": {"yes": 100, "no": 100}, "c": {"no": 300, "yes": 20}}, "scaffold"),
    ],
)
def test_the_method_follows_from_the_skew_and_the_sizes(labels: dict[str, dict[str, int]], algorithm: str) -> None:
    advice = advise(labels)
    assert advice.training["algorithm"] == algorithm
    TrainingSpec.model_validate({"epochs_per_round": 1} | advice.training)  # can be written into the study
    assert advice.words().startswith(f"Advised for these sites: algorithm = {algorithm}")


def test_counts_are_read_from_a_table_per_site(tmp_path: Path) -> None:
    path = tmp_path / "labels.toml"
    path.write_text("[ward-a]\nopacity = 12\nnegative = 30\n[ward-b]\nopacity = 1\n")
    assert read_labels(path) == {"ward-a": {"opacity": 12, "negative": 30}, "ward-b": {"opacity": 1}}


@pytest.mark.parametrize(
    "text",
    ["", "[ward-a]\nopacity = 12\n", "[ward-a]\nx = 0\n[ward-b]\nx = 0\n", "[a]\nx = -1\n[b]\nx = 1\n", "a = 3", "["],
)
def test_a_file_without_counts_of_two_sites_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.toml").write_text(text)
    with pytest.raises(ConfigError, match="no label counts of two sites"):
        read_labels(tmp_path / "labels.toml")
    with pytest.raises(ConfigError):
        read_labels(tmp_path / "absent")
