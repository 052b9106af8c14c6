"""A study and its contract in the plain words that a person at the site reads before they agree."""

from collections.abc import Iterator

from shared.cohort_rule import rule_in_words
from shared.contract import Contract
from shared.metrics import COARSE_FIGURES
from shared.patch import PatchSpec
from shared.privacy import epsilon_of
from shared.private_training import history_of
from shared.site_terms import Floors, SiteTerms
from shared.study import Study
from shared.task_words import asked_in_words
from shared.training import TrainingSpec
from shared.wire import Open


def explain(message: Open, contract: Contract, *, terms: SiteTerms, coordinator: str) -> Iterator[str]:
    """What is asked of the site, by whom, and which numbers leave it, one sentence each.

    Args:
        message: the opening, as the coordinator signed it.
        contract: what follows from it for this site.
        terms: what this site adds; its floors say how much of its scores is told.
        coordinator: the fingerprint of the coordinator's key.
    """
    study = message.study
    yield f"The coordinator with the fingerprint {coordinator} asks {contract.site} for the study {study.name}."
    yield f"Together with: {', '.join(site for site in message.cohort if site != contract.site) or 'nobody else'}."
    yield from rule_in_words(study.rounds)
    if study.study.description:
        yield f'The coordinator says of it: "{" ".join(study.study.description.split())}"'
    does = "trains" if contract.rounds else "scores"
    asked = asked_in_words(study.task)
    yield f"It {does} the network {study.model.name} of the installed wheel, to tell {asked}."
    if study.clinical:
        yield f"Beside each image it takes from the site's table: {', '.join(study.clinical)}."
    if study.training is not None and contract.rounds:
        yield from _training(study.training, contract, patch=study.images.patch)
    yield from what_leaves(study, contract, terms.floors)
    floors = ", ".join(f"{key} = {value}" for key, value in sorted(terms.floors.items()))
    yield f"The agreement ends on {terms.expires}, and holds as long as this software and these floors do: {floors}."


def what_leaves(study: Study, contract: Contract, floors: Floors) -> Iterator[str]:
    """Which numbers would leave the site under a contract, and what they may tell, one sentence each."""
    yield from _leaving(contract, floors)
    if study.rounds.keep_updates and contract.rounds:
        yield "The coordinator keeps this site's updates after their round, for an auditor to make the models again."
    yield from _privacy(study, contract)


def _training(training: TrainingSpec, contract: Contract, *, patch: PatchSpec | None) -> Iterator[str]:
    if training.epochs_per_round is not None:
        length = f"{training.epochs_per_round} times over all training images"
    elif training.steps_per_round is not None:
        length = f"{training.steps_per_round} steps"
    else:
        length = f"as many steps as fit into {training.seconds_per_round:g} s"
    seen = f"{training.batch_size} images a step" + (f", in {patch.words}" if patch else "")
    yield f"In each of {contract.rounds} rounds it trains here: {length}, {seen}."


def _leaving(contract: Contract, floors: Floors) -> Iterator[str]:
    if contract.rounds:
        whole = contract.payload_bytes * contract.rounds
        rounded = sum(tensor.dtype == "bfloat16" for tensor in contract.tensors)
        values = f"an update of {len(contract.tensors)} tensors"
        values += f", {rounded} of them rounded to bfloat16" if rounded else ""
        yield f"In each round there leaves {values}, at most {contract.payload_bytes:,} bytes; {whole:,} bytes in all."
        if rounded:
            yield "What rounding takes from an update stays at this site, and is added to its next one."
    agreed = {rule.name for rule in contract.metrics}
    metrics = ", ".join(sorted(agreed if floors.get("score_histograms") else agreed & set(COARSE_FIGURES)))
    if contract.privacy is None:
        yield f"There leave, of validation patients in each round and of test patients in the end: {metrics}."
        if (cell := floors.get("smallest_cell", 1)) > 1:
            yield f"Of fewer than {cell} patients, or of a class with fewer, no score leaves."
        if contract.subgroups:
            yield _subgroups(contract, floors)
        yield "There leave also the numbers of patients, images and steps. No image, name or path ever leaves."
    if contract.own_models:
        yield f"In the end the own models of these go to all the others: {', '.join(contract.own_models)}."


def _subgroups(contract: Contract, floors: Floors) -> str:
    traits = ", ".join(contract.subgroups)
    if not floors.get("subgroup_scores"):
        return f"It asks how test patients are scored by {traits}; the policy tells nothing of that."
    cell = floors.get("smallest_cell", 1)
    few = f"; of fewer than {cell} nothing leaves" if cell > 1 else ""
    return f"Of test patients there leaves the same, and how many they are, by {traits}{few}."


def _privacy(study: Study, contract: Contract) -> Iterator[str]:
    privacy = study.privacy
    if privacy is None:
        if contract.rounds:
            yield "It is not private: who sees an update may learn something of the images that it was made from."
        return
    epsilon = epsilon_of(history_of(privacy, study.training, rounds=contract.rounds), delta=privacy.delta)
    yield f"It is private: all rounds cost a training patient an epsilon of {epsilon:.2f} at delta {privacy.delta:g}."
    scores = "Scores of test patients leave, exactly." if privacy.test_scores == "released" else "No score leaves."
    yield f"{scores} No image, name, path or number of patients ever leaves."
