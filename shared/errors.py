"""Every way Wardround fails, and the exit code and remedy that go with it.

    WardroundError                      exit
    ├── NotReady                        1    a check found something to be mended first
    ├── ConfigError                     3    a file or option is wrong
    ├── TrustError                      4    a key, signature, certificate or chain does not hold
    │   └── ProtocolError               4    the peer speaks another protocol, or a record has another format
    ├── Refusal                         5    a site or the server said no, with a wire code
    ├── LinkError                       6    the line to the peer does not work
    ├── StudyError                      7    a study cannot start, go on or finish
    │   └── StaleEpoch                  7    another process owns the study now
    └── ResourceError                   8    disk, memory, device or data is missing
        └── DiskFull                    8    the disk has no room

A bad argument from our own code is a ``ValueError``; a bad world is one of these. Messages say
what happened and what to do; they never hold a patient value, a path of a patient file, a key or
tensor content. Between site and server only a `WireCode` and its fixed template travel.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar


class WardroundError(Exception):
    """What went wrong and what to do about it.

    Attributes:
        what: one sentence, what happened (expected against found where that helps).
        remedy: one sentence, what the reader should do now.
    """

    exit_code: ClassVar[int] = 70
    code: ClassVar[str] = "internal"

    def __init__(self, what: str, *, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class NotReady(WardroundError):
    """A check found something that is to be mended first."""

    exit_code = 1
    code = "not_ready"


class ConfigError(WardroundError):
    """A configuration file, study file or option cannot be used as it is."""

    exit_code = 3
    code = "config"


class TrustError(WardroundError):
    """A signature, key, certificate, digest or chain does not verify."""

    exit_code = 4
    code = "trust"


class ProtocolError(TrustError):
    """The peer speaks another protocol, or a record has another format."""

    code = "protocol"


class LinkError(WardroundError):
    """The line to the peer cannot be opened or was refused."""

    exit_code = 6
    code = "link"


class StudyError(WardroundError):
    """A study cannot start, go on or finish."""

    exit_code = 7
    code = "study"


class StaleEpoch(StudyError):
    """Another process took over the study; this one must stop."""

    code = "stale_epoch"


class ResourceError(WardroundError):
    """Disk, memory, device or data that the work needs is not there."""

    exit_code = 8
    code = "resource"


class DiskFull(ResourceError):
    """The disk has no room."""

    code = "disk_full"


@contextmanager
def naming_disk_full(what: str = "The disk is full.") -> Iterator[None]:
    """Turn a system error that means a full disk, or a full quota, into `DiskFull`; others go on.

    Raises:
        DiskFull: with `what` as its sentence.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(what, remedy="Make room on it, or raise the quota.") from None


class WireCode(StrEnum):
    """The only words about a failure that cross between site and server."""

    BAD_SIGNATURE = "bad_signature"
    PROTOCOL = "protocol"
    STALE_EPOCH = "stale_epoch"
    UNKNOWN_STUDY = "unknown_study"
    MODEL_SWITCHED = "model_switched"
    MODEL_UNSOUND = "model_unsound"
    MODEL_JUMPED = "model_jumped"
    CONTRACT = "contract"
    CONTRACT_EXPIRED = "contract_expired"
    POLICY = "policy"
    DENIED = "denied"
    AWAITS_APPROVAL = "awaits_approval"
    OUT_OF_HOURS = "out_of_hours"
    PAUSED = "paused"
    LEFT = "left"
    OVER_QUOTA = "over_quota"
    NO_DATA = "no_data"
    TOO_FEW_PATIENTS = "too_few_patients"
    DEVICE = "device"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    WORKER_CRASHED = "worker_crashed"
    SUPERSEDED = "superseded"
    STATE_LOST = "state_lost"
    FOREIGN_HEAD = "foreign_head"
    TOO_OFTEN = "too_often"
    OVER_BUDGET = "over_budget"
    BUDGET_STALE = "budget_stale"
    WITHDRAWN_DAMAGED = "withdrawn_damaged"
    SOFTWARE_CHANGED = "software_changed"
    INTERNAL = "internal"


TEMPLATES: dict[WireCode, str] = {
    WireCode.BAD_SIGNATURE: "The message was not signed by the key on the roster.",
    WireCode.PROTOCOL: "Wardround or a library of it is too old on one side for this study; upgrade it there.",
    WireCode.STALE_EPOCH: "The message came from an owner of the study that was replaced.",
    WireCode.UNKNOWN_STUDY: "The site has not opened this study.",
    WireCode.MODEL_SWITCHED: "This round was already answered for another incoming model.",
    WireCode.MODEL_UNSOUND: "The incoming model is not finite or does not match its digest.",
    WireCode.MODEL_JUMPED: "The incoming model is farther from the last one than the site's policy allows.",
    WireCode.CONTRACT: "The answer did not match the contract, so nothing was released.",
    WireCode.CONTRACT_EXPIRED: "The site's contract for this study is no longer in force.",
    WireCode.POLICY: "The site's policy does not allow this study.",
    WireCode.DENIED: "A person at the site has denied this study.",
    WireCode.AWAITS_APPROVAL: "It waits for a person at the site to approve the study.",
    WireCode.OUT_OF_HOURS: "It waits for the hours in which the site works on studies.",
    WireCode.PAUSED: "It waits: the site is paused by its own IT.",
    WireCode.LEFT: "The site has left the federation.",
    WireCode.OVER_QUOTA: "The site's quota for decoded images is too small for this study beside those that are open.",
    WireCode.NO_DATA: "The site has no usable images for this study; `wardround site data` there says why.",
    WireCode.TOO_FEW_PATIENTS: "The site has fewer patients than the study or policy asks for.",
    WireCode.DEVICE: "The device named in the site's configuration cannot be used.",
    WireCode.OUT_OF_MEMORY: "The site's worker ran out of memory; lower the batch size.",
    WireCode.DISK_FULL: "The site's disk is full.",
    WireCode.WORKER_CRASHED: "The site's worker crashed repeatedly; see the site's own log.",
    WireCode.SUPERSEDED: "A newer message replaced this piece of work.",
    WireCode.STATE_LOST: "The site no longer has what it kept from its last round in this study.",
    WireCode.FOREIGN_HEAD: "The server names a head of the site's ledger that this ledger does not have.",
    WireCode.TOO_OFTEN: "The site has answered as many rehearsals as it answers within a day.",
    WireCode.OVER_BUDGET: "A patient of the site would pay more privacy than the site allows for life.",
    WireCode.BUDGET_STALE: "The site's privacy budget is not in step with its ledger; its IT has to reconcile it.",
    WireCode.WITHDRAWN_DAMAGED: "The list of patients who have withdrawn at a site may lack some; nobody trains there.",
    WireCode.SOFTWARE_CHANGED: "The site's software was changed while its agent ran; its IT has to restart the agent.",
    WireCode.INTERNAL: "The site's software failed; see the site's own log.",
}


# not yet, rather than no: the site is asked again
NOT_YET = frozenset({WireCode.AWAITS_APPROVAL, WireCode.OUT_OF_HOURS, WireCode.PAUSED})


ELSEWHERE = "See the log on the side that refused."


class Refusal(WardroundError):
    """A site or the server said no; only its `wire_code` may cross the line, and `rule`.

    Attributes:
        wire_code: what for.
        rule: the key of the site's policy that says so, if one does.
    """

    exit_code = 5
    code = "refused"

    def __init__(self, wire_code: WireCode, *, remedy: str = ELSEWHERE, rule: str | None = None) -> None:
        super().__init__(TEMPLATES[wire_code], remedy=remedy)
        self.wire_code = wire_code
        self.rule = rule


@contextmanager
def refusing_disk_full() -> Iterator[None]:
    """Turn a full disk into the refusal that names it; other system errors go on."""
    try:
        with naming_disk_full():
            yield
    except DiskFull:
        raise Refusal(WireCode.DISK_FULL) from None
