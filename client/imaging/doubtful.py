"""Which patient ids cannot be one patient's.

Exports, test systems and careless de-identification leave ids that many people share. A split by such an id puts
several people on one side, or one on both, and a privacy budget is charged to nobody. Decides by these rules, the
first that applies, about ids that stand in image headers alone; a patient whom the label table names is believed:

1. An id that is another word for nobody counts as none (`says_nobody`).
2. One id on everything, in several exams, is the export's, not a patient's.
3. More exams than one patient has.
4. Two birth dates, or two sexes.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from client.imaging.catalogue import Row
from client.imaging.reasons import Reason

MOST_EXAMS = 50  # of one patient; a child with a shunt, or years on a ward, may have some dozens
_SEVERAL = 5  # exams under the only id there is
_NOBODY = re.compile(
    r"(anon(ym(ous|i[sz]ed))?|de-?identified|removed|unknown|unbekannt|inconnu|none|null|nan?|n/a|no ?(id|name)"
    r"|test|patient|[0x?*.\-_ ]+)?",
    re.IGNORECASE,
)


def says_nobody(patient: str) -> bool:
    """Whether an id of a header is empty or a word that stands for no patient."""
    return _NOBODY.fullmatch(patient.strip()) is not None


def without_doubtful(rows: Iterable[Row], *, most_exams: int = MOST_EXAMS) -> tuple[Row, ...]:
    """The same rows, those set aside whose patient id several people seem to share.

    Args:
        rows: of the whole site, because only the whole shows it.
        most_exams: beyond which an id is nobody's.
    """
    rows = tuple(rows)
    said: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.set_aside is None and row.patient is not None and row.by_header:
            said[row.patient].append(row)
    reasons = {patient: _reason(theirs, most_exams) for patient, theirs in said.items()}
    if _constant(said, rows):
        reasons = dict.fromkeys(said, Reason.PATIENT_CONSTANT)
    return tuple(_judged(row, reasons) for row in rows)


def _judged(row: Row, reasons: Mapping[str, Reason | None]) -> Row:
    if row.set_aside is not None or row.patient is None or not row.by_header:
        return row
    return replace(row, set_aside=reasons[row.patient])


def _constant(said: Mapping[str, Sequence[Row]], rows: Sequence[Row]) -> bool:
    others = any(row.patient not in said for row in rows if row.patient is not None)
    return len(said) == 1 and not others and all(len(_exams(theirs)) >= _SEVERAL for theirs in said.values())


def _reason(rows: Sequence[Row], most_exams: int) -> Reason | None:
    if len(_exams(rows)) > most_exams:
        return Reason.PATIENT_CROWDED
    births, sexes = ({getattr(row, name) for row in rows} - {None} for name in ("birth", "sex"))
    return Reason.PATIENT_CONFLICT if len(births) > 1 or len(sexes) > 1 else None


def _exams(rows: Sequence[Row]) -> set[str | None]:
    return {row.exam for row in rows}
