"""The sites' own models: made of the last round's updates, sent to all, scored once, whoever dies or stays away."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_ward import EXAMPLES, SITES, PowerCut, Reply, Run, Ward, change, ranked, ready, trained

from server.history import StudyHistory
from shared.address import Stage
from shared.update import PackedFile, pack
from shared.wire import Late, Work

ROUNDS = {"count": 2, "quorum": 2, "sites": SITES}
CROSS = {"cross_site": True}
OWN = {site: 2 + n for n, site in enumerate(SITES, start=1)}  # the numbers of the trips


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


class Script:
    """Sites that train as usual, and score whatever they are sent; `received` keeps the models."""

    def __init__(self, hook: Any = lambda site, work: None) -> None:
        self.hook = hook

    def __call__(self, site: str, message: Any) -> Reply:
        if not isinstance(message, Work):
            return None
        if (reply := self.hook(site, message)) is not None:
            return None if reply == "silence" else reply
        if message.address.stage is Stage.TRAIN:
            return trained(site, message, scores=(ranked(message, 2),))
        both = ("validation", "test") if message.address.stage is Stage.EVALUATE else ("validation",)
        return ready(message, None, examples=0, scores=tuple(ranked(message, 3, split) for split in both))


def own_trips(run: Run) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for work in run.asked(Stage.VALIDATE):
        found.setdefault(work.address.round, set()).add(work.model_digest)
    return found


def scored(history: StudyHistory) -> set[tuple[str, str]]:
    return {(said.of, said.site) for said in history.own_scores}


def test_each_own_model_is_the_rounds_start_moved_by_one_update_and_goes_to_every_site(ward: Ward) -> None:
    done = ward.run(Script(), rounds=ROUNDS, selection=CROSS)
    history, before = done.history, done.model(1)
    for site, number in OWN.items():
        moved = before + PackedFile(_file(ward, change(site, 2))).tensor("w")
        assert history.own_models[site] == _digest(moved)
        assert own_trips(done)[number] == {history.own_models[site]}
    assert scored(history) == {(of, site) for of in SITES for site in SITES}
    assert {w.address.round for w in done.asked(Stage.EVALUATE)} == {6}
    assert {w.model_digest for w in done.asked(Stage.EVALUATE)} == {history.model_digest}
    assert len(set(history.own_models.values()) | {history.model_digest}) == 4
    assert [said.missing for said in history.compared.values()] == [{}, {}, {}]
    assert not (ward.root / "studies/lungs/models/own-east.safetensors").exists()
    assert not list((ward.root / "studies/lungs/spool").glob("round-*"))


def test_the_models_form_one_chain_also_where_one_was_chosen_before(ward: Ward) -> None:
    done = ward.run(Script(), rounds=ROUNDS, selection=CROSS | {"model": "best"})
    order = [*done.asked(Stage.VALIDATE), *done.asked(Stage.EVALUATE)]
    seen = dict(sorted((work.address.round, (work.previous_digest, work.model_digest)) for work in order))
    assert list(seen) == [3, 4, 5, 6, 7]
    assert all(seen[number][0] == seen[number - 1][1] for number in (4, 5, 6, 7))
    assert (seen[3][1], seen[7][1]) == (done.history.model_digest, done.history.final_digest)


def test_by_default_no_own_model_leaves_the_server(ward: Ward) -> None:
    done = ward.run(Script(), rounds=ROUNDS)
    assert done.asked(Stage.VALIDATE) == []
    assert done.history.own_models == {}


def test_a_site_that_did_not_count_has_no_own_model_and_its_number_stays_unused(ward: Ward) -> None:
    def hook(site: str, work: Work) -> Any:
        return "silence" if (site, work.address.round) == ("north", 2) else None

    done = ward.run(Script(hook), rounds=ROUNDS | {"deadline_s": 1.5, "grace_s": 0.2}, selection=CROSS)
    assert sorted(own_trips(done)) == [OWN["east"], OWN["south"]]
    assert sorted(done.history.own_models) == ["east", "south"]
    assert scored(done.history) == {(of, site) for of in ("east", "south") for site in SITES}
    previous = {w.address.round: w.previous_digest for w in done.asked(Stage.VALIDATE)}
    assert previous[OWN["south"]] is None


def test_late_work_makes_no_own_model(ward: Ward) -> None:
    asked: dict[int, Work] = {}

    def hook(site: str, work: Work) -> Any:
        if site != "south" or work.address.stage is not Stage.TRAIN:
            return None
        asked[work.address.round] = work
        if work.address.round == 1:
            return "silence"
        late = Late(round=1, model_digest=asked[1].model_digest)
        return ready(work, change("south", 1), examples=EXAMPLES["south"], late=late), change("south", 1)

    rounds = ROUNDS | {"grace_s": 0.2, "late": "next"}
    history = ward.run(Script(hook), rounds=rounds, selection=CROSS).history
    assert history.commits[1].counted == SITES
    assert sorted(history.own_models) == ["east", "north"]


def test_a_site_that_scores_no_foreign_model_is_named_and_costs_its_column_alone(ward: Ward) -> None:
    def hook(site: str, work: Work) -> Any:
        if site == "north" and work.address.stage is Stage.VALIDATE:
            return ready(work, None, examples=0, scores=(ranked(work, 3, "test"),))
        return None

    history = ward.run(Script(hook), rounds=ROUNDS, selection=CROSS).history
    assert scored(history) == {(of, site) for of in SITES for site in ("east", "south")}
    assert {said.missing["north"] for said in history.compared.values()} == {"contract"}
    assert history.scored.keys() == set(SITES)


@pytest.mark.parametrize("number", [*OWN.values(), 6])
@pytest.mark.parametrize("site", ["east", "south"])
def test_a_server_that_dies_makes_and_sends_the_same_models(ward: Ward, number: int, site: str) -> None:
    calm = ward.run(Script(), name="calm", rounds=ROUNDS, selection=CROSS).history

    def cut(asked: str, work: Work) -> None:
        if (asked, work.address.round) == (site, number) and work.address.stage is not Stage.TRAIN:
            raise PowerCut

    first = ward.run(Script(cut), name="cut", rounds=ROUNDS, selection=CROSS)
    again = ward.run(Script(), name="cut", rounds=ROUNDS, selection=CROSS)
    assert again.history.own_models == calm.own_models
    assert scored(again.history) == scored(calm)
    assert min(own_trips(again), default=6) == number  # what was over is not asked anew
    for run in (first, again):
        assert all(len(digests) == 1 for digests in own_trips(run).values())
    assert again.history.final_digest == calm.final_digest


def _file(ward: Ward, update: bytes) -> Path:
    path = ward.root / "update"
    path.write_bytes(update)
    return path


def _digest(values: np.ndarray) -> str:
    from shared.canonical import digest

    return digest(pack({"w": values}))
