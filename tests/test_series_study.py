"""A study of volumes from array files, read slice by slice, through the whole engine."""

from pathlib import Path

import drawn_series
import pytest
from memory_ward import MemoryWard

from client.imaging.settings import DataSettings
from deploy.demo.cast import LABELS_STUDY, npz_cast
from server.journal import read_history

pytestmark = pytest.mark.usefixtures("flower_process")


def test_two_sites_learn_from_array_files_what_no_slice_tells_alone(tmp_path: Path) -> None:
    file = drawn_series.write(tmp_path / "series.npz", seed=1)
    cast = npz_cast(tmp_path / "images", file, scheme="iid", sites=2, rounds=3, seed=0, study=LABELS_STUDY)
    assert (cast.study.images.slices, cast.study.images.size_px) == (8, 16)  # as the demo derives them
    text = cast.study_text.replace("basic_cnn", "cnn_gru").replace("batch_size = 32", "batch_size = 4")
    folder = MemoryWard(tmp_path / "ward", _absolute(cast.data)).run(text.replace("0.001", "0.003"))
    scored = read_history(folder.path / "journal.jsonl").scored
    tested = {site: score.figures for site in scored for score in scored[site].scores if score.split == "test"}
    assert min(figures["auroc"] for figures in tested.values()) > 0.9


def _absolute(data: object) -> dict[str, DataSettings]:
    assert isinstance(data, dict)
    return {name: settings.model_copy(update={"file": settings.file.resolve()}) for name, settings in data.items()}
