"""Whether the work of a round reaches the floors of the site's policy, as it was done: measured, not as it was asked.

What a study asks is held against the policy when it is opened (`client/policy.py`). How many steps fit into a time,
and whose images they drew, is known when the round's work is done. It is held against the policy then, and whenever any
of it leaves again, because a line may have been raised since:

1. `steps_at_least`: the optimiser's steps;
2. `batch_size_at_least`, `patients_per_step_at_least`: the fewest images, and patients, of a whole step;
3. `patients_per_round_at_least`: the different patients of all steps together.

A round without a step leaves the model as it was, and tells nothing (`client/unmoved.py` looks). Of a private one not
even the agent hears whom it drew: how many a step draws on average is held against the policy when the study is
opened.
"""

from client.jobs import Drawn
from client.policy import Policy
from shared.errors import WireCode
from shared.metrics import Integers
from shared.study import Study
from shared.wire import Counts


def insist_on_floors(policy: Policy, study: Study, *, counts: Counts, drawn: Drawn) -> None:
    """Hold a round's work against the policy.

    Args:
        policy: the site's of today.
        study: the round's.
        counts: what the round's report says.
        drawn: whom its steps drew.

    Raises:
        Refusal: naming the policy's line.
    """
    if study.privacy is not None or not counts.steps:
        return
    few = WireCode.TOO_FEW_PATIENTS
    for key, found, what, code in (
        ("steps_at_least", counts.steps, "steps", WireCode.POLICY),
        ("batch_size_at_least", drawn.step_images, "images in a step", WireCode.POLICY),
        ("patients_per_step_at_least", drawn.step_patients, "patients in a step", few),
        ("patients_per_round_at_least", drawn.patients, "different patients in its steps", few),
    ):
        if found < getattr(policy, key):
            raise policy.refusal(key, f"the round came to {found} {what}", code=code)


class Tally:
    """Counts whom the steps of a round draw.

    Args:
        patients: (n,) int64, the patient of each image.
        batch_size: images of a step; what is left at the end of an epoch is a smaller step, and no whole one.
    """

    def __init__(self, patients: Integers, *, batch_size: int) -> None:
        self._patients = patients
        self._whole = min(batch_size, len(patients))
        self._drawn: set[int] = set()
        self._fewest: tuple[int, int] | None = None  # images and patients

    def note(self, batch: Integers) -> None:
        """A step on these images, by index; one that is drawn twice is one."""
        here = set(self._patients[batch].tolist())
        self._drawn |= here
        if len(batch) >= self._whole:
            images, patients = self._fewest or (len(batch), len(here))
            self._fewest = (min(images, len(set(batch.tolist()))), min(patients, len(here)))

    @property
    def drawn(self) -> Drawn:
        """What the steps so far came to."""
        images, patients = self._fewest or (0, 0)
        return Drawn(patients=len(self._drawn), step_images=images, step_patients=patients)
