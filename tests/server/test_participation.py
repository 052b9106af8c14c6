"""k of n: a round goes on with its quorum, weighs those who counted, and tells the others what they were."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_ward import SITES, PowerCut, Reply, Ward, ready, trained

from shared.address import Stage
from shared.wire import Grant, Refused, Work


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


def test_weights_are_renormalised_over_who_counted_and_the_late_one_is_told(ward: Ward) -> None:
    def script(site: str, message: Any) -> Reply:
        if not isinstance(message, Work) or message.address.stage is not Stage.TRAIN:
            return None
        if site == "south" and message.address.round == 1:
            return None  # at work, and not heard of
        return trained(site, message)

    done = ward.run(script, rounds={"count": 2, "quorum": 2, "grace_s": 0.2})
    first, second = done.history.commits
    assert (first.counted, first.late) == (("east", "north"), {"south": "asked"})
    assert (second.counted, second.late) == (SITES, {})
    np.testing.assert_allclose(done.model(1), (1 * 0.1 + 2 * 1.1) / 3, rtol=1e-6)
    (told,) = done.works("south")[1].receipts
    assert (told.round, told.outcome, told.update_digest) == (1, "late", None)
    assert [receipt.outcome for receipt in done.works("east")[1].receipts] == ["counted"]


def test_each_kind_of_who_did_not_count_is_named_with_its_cause(ward: Ward) -> None:
    def script(site: str, message: Any) -> Reply:
        if not isinstance(message, Work) or message.address.stage is not Stage.TRAIN:
            return None
        if site == "north":
            return Refused(address=message.address, refusal="device")
        if site == "south":
            _, update = trained(site, message)
            return ready(message, update, examples=5, uploaded=False)  # and then it does not take its slot
        return trained(site, message)

    (only,) = ward.run(script, rounds={"count": 1, "quorum": 1, "grace_s": 0.2}).history.commits
    assert (only.counted, only.refused, only.late) == (("east",), {"north": "device"}, {"south": "granted"})


def test_a_sample_asks_the_same_sites_after_a_restart_and_others_in_other_rounds(ward: Ward) -> None:
    def script(site: str, message: Any) -> Reply:
        training = isinstance(message, Work) and message.address.stage is Stage.TRAIN
        return trained(site, message) if training else None

    def cut(site: str, message: Any) -> Reply:
        """South asks for its slot; when that is granted, the round is open."""
        if isinstance(message, Grant):
            raise PowerCut
        reply = script(site, message)
        return (reply[0].model_copy(update={"uploaded": False}), b"") if isinstance(reply, tuple) else reply

    rounds = {"count": 12, "sample": 1, "quorum": 1}
    calm = ward.run(script, name="calm", rounds=rounds)
    counted = [commit.counted for commit in calm.history.commits]
    assert {len(sites) for sites in counted} == {1}
    assert {site for sites in counted for site in sites} == set(SITES)
    assert len(ward.run(cut, name="cut", rounds=rounds).history.commits) == 0
    resumed = ward.run(script, name="cut", rounds=rounds)
    assert [commit.counted for commit in resumed.history.commits] == counted
    assert resumed.history.model_digest == calm.history.model_digest
