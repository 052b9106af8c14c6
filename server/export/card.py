"""A finished study's card: what the study's folder says of its model, and how its output is to be read.

Decides which model is told of and in which words. Figures and counts are those of the study's report
(`server/report/`), joined here with what a report does not need: the weights, the calibration, the use.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from server.export.counts import SiteCounts, site_counts
from server.export.flow import flow_of, performance_of
from server.export.guidelines import guidelines_of
from server.export.overlap import calibration_of_masks, operating_of_masks, with_structures
from server.export.preprocessing import columns_in_words, preprocessing_of
from server.export.reading import Reading
from server.export.subgroups import none_because, subgroups_of
from server.export.surveys import Surveyed
from server.report.evidence import Evidence
from server.report.facts import Facts, facts_of
from server.report.scores import final_scores
from shared.errors import ConfigError
from shared.model_card import Calibration, Inputs, ModelCard, Operating, Origin, Performance, Weights
from shared.small_cells import SMALLEST_CELL
from shared.update import PackedFile, Tensors

PACKAGES = ("wardround", "torch", "monai", "numpy", "safetensors")
INTENDED = (
    "Research on the task named here, on images prepared as named here, by people who can judge both. Research use"
    " only, not for diagnosis: not for triage, treatment or any decision about a patient. It is not a medical device."
)
LIMITS = (
    "The figures hold for patients like those counted here. Other hospitals, scanners, populations or another share of"
    " patients with the finding may give other figures, and another calibration.",
    "Labels are as each site had them; nobody has read the images again for this study.",
    "What the model itself gives away about the patients it was trained on is not measured here.",
    "Patients of two sites count at each.",
)
DRAWN = "the model draws images, and no patient has a probability by it"
NOTHING_CALLED = "Nothing is called: the model draws images."
MEMORISED = (
    "It was trained to draw images such as those of the patients counted here. It may have memorised some and give them"
    " back, to whoever has this file."
)


@dataclass(frozen=True)
class Asked:
    """What the coordinator wants of an export.

    Attributes:
        federation: its name; empty by letter.
        made: the time (RFC 3339).
        specificity: of the operating point on validation patients; None takes Youden's.
        smallest: the least count of patients that is told.
        surveyed: what the sites told before the study, named as they are in the card.
    """

    federation: str
    made: str
    specificity: float | None = None
    smallest: int = SMALLEST_CELL
    surveyed: Surveyed | None = None


def card_of(evidence: Evidence, asked: Asked, *, packed: PackedFile, sha256: str, size: int) -> ModelCard:
    """The card of a finished study's model.

    Args:
        evidence: the study's folder, by letter if its sites are not to be named.
        asked: what is wanted.
        packed: the model as it is exported.
        sha256, size: of that file.

    Raises:
        ConfigError: a specificity is asked of a model that finds masks or draws images.
    """
    study, facts = evidence.study, facts_of(evidence)
    calibration, operating = _reading(evidence, asked)
    counts, test = site_counts(facts, evidence.history, smallest=asked.smallest), final_scores(evidence.history, "test")
    subgroups = subgroups_of(study.task, test, counts, smallest=asked.smallest)
    card = ModelCard(
        made=asked.made,
        by_letter=evidence.by_letter,
        inputs=Inputs(task=study.task, images=study.images, model=study.model, clinical=study.clinical),
        preprocessing=(*preprocessing_of(study.images), *columns_in_words(study.clinical)),
        weights=_weights(facts, packed.table(), sha256=sha256, size=size),
        origin=_origin(evidence, facts, asked),
        flow=flow_of(facts, asked.surveyed, counts, smallest=asked.smallest),
        performance=_performance(evidence, facts, counts, asked),
        calibration=calibration,
        operating=operating,
        subgroups=subgroups,
        no_subgroups=None if subgroups else none_because(study),
        privacy=_privacy(facts),
        intended_use=INTENDED,
        limits=(MEMORISED, *LIMITS) if study.task.kind == "generation" else LIMITS,
    )
    return card.model_copy(update={"guidelines": guidelines_of(study, card)})


def _reading(evidence: Evidence, asked: Asked) -> tuple[Calibration, Operating]:
    """How the model's output is to be read."""
    task, history = evidence.study.task, evidence.history
    if task.kind != "classification" and asked.specificity is not None:
        what = "A mask" if task.kind == "segmentation" else "A model that draws images"
        raise ConfigError(f"{what} has no cut that a specificity chooses.", remedy="Leave --specificity out.")
    if task.kind == "segmentation":
        return calibration_of_masks(), operating_of_masks(task)
    if task.kind == "generation":
        return Calibration(kind="none", why=DRAWN), Operating(rule="likeliest", words=NOTHING_CALLED, at=())
    validation, test = final_scores(history, "validation"), final_scores(history, "test")
    reading = Reading(task, validation, test, smallest=asked.smallest)
    calibration = reading.calibration()
    return calibration, reading.operating(calibration, specificity=asked.specificity)


def _performance(evidence: Evidence, facts: Facts, counts: SiteCounts, asked: Asked) -> Performance:
    found, task = performance_of(facts, counts), evidence.study.task
    if task.kind != "segmentation":
        return found
    return with_structures(found, task, evidence.history, smallest=asked.smallest, counting=facts.privacy is None)


def _weights(facts: Facts, tensors: Tensors, *, sha256: str, size: int) -> Weights:
    proof = facts.integrity
    assert proof.model_digest is not None  # the study is finished
    return Weights(
        sha256=sha256,
        bytes=size,
        tensors=len(tensors),
        parameters=sum(tensor.size for tensor in tensors if tensor.dtype == "float32"),
        study_sha256=proof.model_digest,
        rounds=proof.model_round,
        chosen=_chosen(facts),
    )


def _chosen(facts: Facts) -> str:
    choice = facts.choice
    if choice is None or choice.why is None:
        return "The last model: the study compares none." if facts.about.kind == "train" else "The model under study."
    return f"{choice.model[:1].upper()}{choice.model[1:]}: {choice.why}."


def _origin(evidence: Evidence, facts: Facts, asked: Asked) -> Origin:
    about, proof = facts.about, facts.integrity
    assert proof.start_digest is not None  # the study is finished
    return Origin(
        study=about.name,
        federation=asked.federation,
        description=about.description,
        kind=about.kind,
        study_sha256=proof.study_digest,
        start_sha256=proof.start_digest,
        journal_entries=evidence.chain.entries,
        journal_head=evidence.chain.head,
        seed=about.seed,
        rounds=about.rounds_committed,
        training=about.training,
        began=about.started,
        ended=about.last_entry,
        software=_versions(PACKAGES),
    )


def _versions(packages: Iterable[str]) -> dict[str, str]:
    return {name: version(name) for name in packages}


def _privacy(facts: Facts) -> str:
    if facts.privacy is not None:
        return f"Trained with differential privacy at the sites, by patient: {facts.privacy.words}."
    return "Trained without differential privacy: nothing bounds what the model holds of a single patient."
