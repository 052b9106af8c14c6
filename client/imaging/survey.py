"""Looks at every image of a site and counts: what a study would find here, before there is one.

Decides the order: index, split, screen, decode, count. Nothing is cached and nothing is kept.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from client.imaging.account import Account, account
from client.imaging.catalogue import Catalogue, Row, crossing_patients
from client.imaging.doubtful import MOST_EXAMS, without_doubtful
from client.imaging.masks import decode, shown, with_shown
from client.imaging.reasons import Reason
from client.imaging.settings import DataSettings
from client.imaging.sources import Source
from client.imaging.unlabelled import named
from shared.study import TaskSpec

T = TypeVar("T")
_EVERY = 1000


def survey(
    source: Source,
    *,
    settings: DataSettings | None,
    task: TaskSpec | None,
    screen: Callable[[Row], Reason | None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Account:
    """Index and decode everything once.

    Args:
        source: the site's images.
        settings: what decides the splits; None splits nothing, and then the salt of the source does not matter.
        task: what the labels mean, if a study says so.
        screen: why a usable image is not used all the same, if it is not.
        say: hears how far it is, now and then.
    """
    most_exams = settings.exams_per_patient if settings else MOST_EXAMS
    rows = without_doubtful(named(_counted(source.rows(), "indexed", say), task), most_exams=most_exams)
    crossing = len(crossing_patients(rows))
    splits = settings is not None and not crossing
    if settings is not None and splits:
        fractions = {"validation": settings.validation_fraction, "test": settings.test_fraction}
        catalogue = Catalogue.of(rows, **fractions, labels_unused=source.labels_unused)
    else:
        catalogue = Catalogue(rows, source.labels_unused)
    catalogue = catalogue.screened(screen) if screen else catalogue
    failed: dict[int, Reason] = {}
    flags: list[tuple[int, ...]] = []
    for number, found in enumerate(_counted(decode(source, catalogue.used, task), "decoded", say)):
        if isinstance(found, Reason):
            failed[number] = found
        elif found.mask is not None and task is not None:
            flags.append(shown(found.mask, task))
    catalogue = catalogue.without(failed)
    if flags:
        catalogue = replace(catalogue, rows=with_shown(catalogue.rows, flags))
    return account(catalogue, task=task, split=splits, crossing=crossing, masks=source.mask_files)


def _counted(things: Iterable[T], done: str, say: Callable[[str], None]) -> Iterator[T]:
    for number, thing in enumerate(things, start=1):
        yield thing
        if number % _EVERY == 0:
            say(f"{number:,} images {done}")
