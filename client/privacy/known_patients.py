"""Whether anybody here carries the identifier that a person typed: one that is mistyped would withdraw nobody.

Decides where to look: first in the lists of images that studies were opened with, which is quick; then in the site's
images themselves, whose headers or label table are read anew. Nothing is decoded, written or said but how far it is.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from client.image_lists import ImageLists
from client.imaging.sources import open_source
from client.privacy.patients import keyed, patient_key, patient_salt, pseudonym_here
from client.settings import FILE_NAME, load_settings

_EVERY = 1000


def is_known(folder: Path, identifier: str, *, say: Callable[[str], None] = lambda _: None) -> bool:
    """Whether an image of the site in `folder`, or of a list of one of its studies, is of a patient.

    Args:
        folder: the site's.
        identifier: as the images carry it.
        say: hears how far it is, now and then.

    Raises:
        ConfigError: site.toml, the label table or the array file cannot be used.
        ResourceError: the images are not there.
    """
    patient = pseudonym_here(folder, identifier)
    return ImageLists(folder).name(keyed(patient_key(folder), patient)) or patient in _patients(folder, say)


def _patients(folder: Path, say: Callable[[str], None]) -> Iterator[str | None]:
    """The pseudonym of each image, as a study would have it."""
    salt = bytes.fromhex(patient_salt(folder))
    settings = load_settings(folder / FILE_NAME)
    source = open_source(settings.data, task=None, salt=salt, base=folder, labels=settings.labels)
    for number, row in enumerate(source.rows(), start=1):
        yield row.patient
        if number % _EVERY == 0:
            say(f"{number:,} images looked through")
