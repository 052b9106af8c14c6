"""What the worker finds when a study is opened, of which the site's own console speaks."""

from pathlib import Path

import numpy as np
import pytest
from few_patients import site_of_few
from lone_site import a_study

from client.jobs import OpenJob
from client.work.workbench import Workbench
from server.launch import start_state
from shared.update import table_of


@pytest.mark.parametrize(("word", "absent", "unknown"), [(1, (), 0), (0, ("opacity",), 0), (7, ("opacity",), 8)])
def test_labels_that_are_not_the_studys_are_found(
    tmp_path: Path, word: int, absent: tuple[str, ...], unknown: int
) -> None:
    site, study = site_of_few(tmp_path), a_study()
    held = dict(np.load(site.folder / "images.npz"))
    np.savez(site.folder / "images.npz", **held | {"labels": held["labels"] * word})
    done = Workbench(site.folder).open(OpenJob(study=study, tensors=table_of(start_state(study))))
    site.close()
    assert (done.absent_classes, done.unknown_labels) == (absent, unknown)
