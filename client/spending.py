"""What private training costs stands in the ledger before any image is touched.

An entry `privacy_spent` is on the disk before the worker is given the round, and once more before the round is
given to another worker because the first one ended: that one draws new noise, and both count. So a crash can
only make the ledger say too much. An answer from the spool trains nobody and costs nothing. Whether a site
can still afford it is for its budget to say, which reads these entries' fields.
"""

from client.jobs import Question, RoundJob
from shared.ledger import Ledger
from shared.private_training import mechanism_of


def note_spending(ledger: Ledger, job: Question, *, time: str) -> None:
    """Write down what a job will cost each training patient, if it trains privately.

    Raises:
        DiskFull: it cannot be written down, so the job must not begin.
    """
    mechanism = mechanism_of(job.study.privacy, job.study.training) if isinstance(job, RoundJob) else None
    if mechanism is None or not isinstance(job, RoundJob) or job.study.privacy is None:
        return
    place = {"study": job.study.name, "study_digest": job.study.digest(), "round": job.round}
    bound = {"clip_norm": job.study.privacy.clip_norm, "delta": job.study.privacy.delta}
    ledger.append("privacy_spent", {**place, **mechanism.model_dump(), **bound}, time=time)
