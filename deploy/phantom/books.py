"""Decides who came to a hospital, when, and which exams show an opacity or a device.

Pure: numbers and dates from a generator. Pictures and files are made by others from these books.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from deploy.phantom.dicom import Exam, draw_uid
from deploy.phantom.hospitals import Hospital

FIRST_DAY = date(2019, 1, 1)
LABEL_KEPT = 0.7  # share of second exams that keep the first one's label


@dataclass(frozen=True)
class Books:
    """The exams of one hospital in the order of their numbers.

    Attributes:
        exams: identity and dates, n of them.
        person: index of each exam's patient, int64 of shape (n,).
        female: sex of each patient, bool of shape (patients,).
        opacity: label of each exam, bool of shape (n,).
        device: whether a device is seen, bool of shape (n,).
    """

    exams: tuple[Exam, ...]
    person: npt.NDArray[np.int64]
    female: npt.NDArray[np.bool_]
    opacity: npt.NDArray[np.bool_]
    device: npt.NDArray[np.bool_]


def draw_books(hospital: Hospital, rng: np.random.Generator, *, patients: int) -> Books:
    """The exams of `patients` invented patients of one hospital."""
    female = rng.random(patients) < 0.48
    again = rng.random(patients) < hospital.follow_up
    person = np.concatenate([np.arange(patients), np.flatnonzero(again)])
    opacity = _labels(hospital, rng, again)
    device = rng.random(len(person)) < np.where(opacity, hospital.devices_ill, hospital.devices_healthy)
    exams = _exams(hospital, rng, person, female)
    order = sorted(range(len(person)), key=lambda row: exams[row].number)
    return Books(tuple(exams[row] for row in order), person[order], female, opacity[order], device[order])


def _labels(hospital: Hospital, rng: np.random.Generator, again: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Labels of all first exams, then of the second ones: exactly the prevalence among the first."""
    first = rng.permutation(len(again)) < round(hospital.prevalence * len(again))
    second = first[again]
    return np.concatenate([first, second ^ (rng.random(len(second)) > LABEL_KEPT)])


def _exams(
    hospital: Hospital, rng: np.random.Generator, person: npt.NDArray[np.int64], female: npt.NDArray[np.bool_]
) -> list[Exam]:
    prefix = hospital.name[:2].upper()
    numbers = rng.permutation(len(person)) + 1
    births = [FIRST_DAY - timedelta(days=int(days)) for days in rng.uniform(19 * 365.25, 93 * 365.25, len(female))]
    return [
        Exam(
            patient=f"{prefix}-{patient + 1:05d}",
            birth=births[patient],
            sex="F" if female[patient] else "M",
            accession=f"{prefix}A{number:06d}",
            day=FIRST_DAY + timedelta(days=int(number) * 2),
            number=int(number),
            study_uid=draw_uid(rng),
            series_uid=draw_uid(rng),
            instance_uid=draw_uid(rng),
        )
        for patient, number in zip(person.tolist(), numbers.tolist(), strict=True)
    ]
