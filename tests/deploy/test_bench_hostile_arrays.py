"""Hostile array files, before the code that a site reads its one file with."""

from pathlib import Path

import numpy as np
import pytest

from client.imaging.npz import ArraySource
from client.imaging.vocabulary import Vocabulary
from deploy.bench.hostile import missed, run
from deploy.bench.hostile_arrays import KINDS, sound_arrays
from deploy.bench.hostile_site import TASK
from shared.errors import ConfigError


def test_a_site_outlives_hostile_arrays(tmp_path: Path) -> None:
    (tmp_path / "sound.npz").write_bytes(sound_arrays(np.random.default_rng(1)))
    data = run(tmp_path, seconds=600, seed=3, most=20)
    assert list(missed(data | {"over_limit": 0})) == []  # how long a file takes, a busy machine decides
    assert (data["format"], data["inputs"]) == ("npz", 21)
    assert data["images"] == data["used"] + sum(data["set_aside"].values())
    assert data["set_aside"]["refused"] > 5 and data["used"] >= 12


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"member_bomb"}))
def test_each_kind_of_damage_is_refused_in_words_or_read(tmp_path: Path, kind: str) -> None:
    chance, file = np.random.default_rng(4), tmp_path / "a.npz"
    sound, refused = sound_arrays(chance), 0
    for _ in range(12):
        file.write_bytes(KINDS[kind](sound, sound, chance))
        try:
            source = ArraySource(file, vocabulary=Vocabulary(TASK, {}), salt=bytes(32))
            list(source.decode(row for row in source.rows() if row.set_aside is None))
        except ConfigError as error:
            assert error.remedy.startswith("Correct data.file")
            refused += 1
    assert refused > 0
