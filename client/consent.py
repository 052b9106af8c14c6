"""The policy at work: every study that is opened, worked for or rehearsed at the site is held against it first.

What it says is `client/policy.py`'s; the site reads it when it starts, so that a line that was changed binds
studies that are open already.
"""

from collections.abc import Mapping

from client.jobs import Split
from client.policy import permit, permit_patients
from client.site import Site
from client.study_store import StudyRecord
from shared.contract import contract_of, derive_contract
from shared.errors import Refusal
from shared.study import Study
from shared.wire import Open, Rehearse


class Consent:
    """Says no to what the policy of a site does not permit."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._policy = site.settings.policy

    def to_open(self, message: Open) -> None:
        """A study is to be opened; raises `Refusal`, naming the policy's line."""
        _insist(permit(self._policy, message.study, derive_contract(message, site=self._site.name)))

    def to_work(self, record: StudyRecord) -> None:
        """A round of an open study is to be worked on; raises as `to_open`."""
        _insist(permit(self._policy, record.open.study, record.contract(self._site.name)))

    def to_rehearse(self, message: Rehearse) -> None:
        """A study is to be rehearsed, which nobody has approved; raises as `to_open`."""
        contract = contract_of(message.study, message.tensors, site=self._site.name)
        _insist(permit(self._policy, message.study, contract))

    def with_patients(self, study: Study, patients: Mapping[Split, int]) -> None:
        """The images are read; raises as `to_open`.

        Args:
            study: as it is opened.
            patients: how many the site has, by split.
        """
        trains = study.study.kind == "train"
        count = patients.get("train", 0) if trains else sum(patients.values())
        _insist(permit_patients(self._policy, study, patients=count))


def _insist(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise refusal
