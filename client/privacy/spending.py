"""What private training costs is charged before any image is touched.

The budget and the ledger are on the disk before the worker is given a round, and once more before the round is
given to another worker because the first one ended: that one draws new noise, and both count. So a crash can
only make them say too much. An answer from the spool trains nobody and costs nothing. Who can still afford it
is for the budget to say (`client/privacy/purse.py`).
"""

from client.jobs import Question, RoundJob
from client.site import Site
from shared.wire import FromServer, Work


def charge(site: Site, job: Question, message: FromServer) -> None:
    """Charge what a job that answers a message will cost each training patient, if it trains privately.

    Raises:
        DiskFull: it cannot be written down, so the job must not begin.
        Refusal: a patient could not afford it, or nobody knows.
    """
    if isinstance(job, RoundJob) and isinstance(message, Work):
        counted = message.counted_round
        answered = site.spool.answered(job.study.name, counted)
        site.purse.charge(job.study, job.round, counted=counted, answered=answered)
