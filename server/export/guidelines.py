"""Items of two reporting guidelines that a study answers by itself; the rest is for its authors to write.

CLAIM: Mongan, Moy and Kahn, Radiology: Artificial Intelligence 2(2), 2020, by its numbers. TRIPOD+AI: Collins et al.,
BMJ 385, 2024, by its numbers. The topics are in our own words; an answer is what the card says elsewhere, said again
where the guideline asks for it.
"""

from server.report.words import counted, learning, merit_in_words
from shared.model_card import Flow, Item, ModelCard
from shared.study import Study
from shared.tasks import task_for

CLAIM, TRIPOD = "CLAIM (2020)", "TRIPOD+AI (2024)"
NO_MISSING = "An image without a label or a patient is not used; each site has the count in its own account."
NO_VALUE = (
    " Where a clinical column has no value, or one out of its range, the network sees 0 and a mark that it is missing;"
    " nothing is imputed."
)
PARTITION = (
    "By patient: a keyed hash of the patient, the same in all studies of the federation, or the split that the site's"
    " label table names."
)
PSEUDONYMS = "Images and identifiers stay at the sites; patients are known by keyed hashes there, and by counts here."
METRICS = (
    "AUROC with DeLong's interval; sensitivity and specificity at a threshold chosen on validation patients, with"
    " Wilson's interval; Brier score, log loss; calibration slope, offset and error."
)
METRICS_OF_MASKS = (
    "Dice and the 95th percentile of the Hausdorff distance by structure, mean over patients, with a normal interval;"
    " patients in whom neither mask nor model shows the structure are left out and counted."
)
METRICS_OF_DRAWINGS = (
    "Structural similarity (SSIM) of image and reconstruction, mean over patients, with a normal interval; negative"
    " evidence lower bound."
)
METRICS_OF = {"classification": METRICS, "segmentation": METRICS_OF_MASKS, "generation": METRICS_OF_DRAWINGS}


def guidelines_of(study: Study, card: ModelCard) -> dict[str, tuple[Item, ...]]:
    """By guideline, the items that can be answered from a study and the rest of its card."""
    said, performance = _said(study, card), card.performance
    claim = (
        *(("1", "the kind of AI", said["kind"]), ("7", "data sources", said["sources"])),
        *(("9", "preprocessing", said["preprocessing"]), ("12", "de-identification", PSEUDONYMS)),
        *(("13", "missing data", said["missing"]), ("20", "assignment to partitions", PARTITION)),
        *(("21", "level at which partitions are disjoint", "The patient."), ("22", "the model", said["model"])),
        *(("23", "software", said["software"]), ("24", "initial parameters", said["start"])),
        *(("25", "training", said["training"]), ("26", "choice of the final model", card.weights.chosen)),
        *(("27", "ensembling", "None: one model."), ("28", "metrics", said["metrics"])),
        *(("29", "uncertainty", "95 % intervals by the methods named; sites compared by Cochran's Q."),),
        *(("32", "external data", said["external"]), ("33", "flow of patients", said["flow"])),
        *(("35", "performance", performance.sentence), ("36", "precision of the estimates", said["precision"])),
        *(("41", "where the full protocol is", said["protocol"]),),
    )
    tripod = (
        *(("5a", "sources of data", said["sources"]), ("6a", "setting, number of centres", said["sources"])),
        *(("7", "preparation of the data", said["preprocessing"]), ("11", "missing data", said["missing"])),
        *(("12a", "how data were used", PARTITION), ("12c", "type of model", f"{said['model']} {said['training']}")),
        *(("12d", "differences between clusters", performance.between_sites), ("12e", "measures", said["metrics"])),
        *(("13", "class imbalance", said["imbalance"]), ("15", "output of the model", said["output"])),
        *(("16", "training against evaluation", said["external"]), ("20a", "flow of participants", said["flow"])),
        *(("21", "numbers in each analysis", said["flow"]), ("22", "the full model", said["whole"])),
        *(
            ("23a", "performance, also of subgroups", f"{said['precision']} {said['subgroups']}"),
            ("23b", "performance by cluster", performance.between_sites),
        ),
    )
    return {
        name: tuple(Item(number=number, topic=topic, answer=answer) for number, topic, answer in items)
        for name, items in ((CLAIM, claim), (TRIPOD, tripod))
    }


def _said(study: Study, card: ModelCard) -> dict[str, str]:
    """What both guidelines ask, under other numbers."""
    flow, weights, size = card.flow, card.weights, study.images.words
    outputs = {"segmentation": "A mask.", "generation": "Images that it draws, of no patient unless it memorised one."}
    network = f"{study.model.name}, {study.model.norm} norm, {weights.parameters:,} parameters"
    return {
        "kind": f"Deep learning, trained federated: a convolutional network for {study.task.mode} {study.task.kind}.",
        "sources": f"{len(flow.sites)} sites, each with its own images: {', '.join(flow.sites)}.",
        "preprocessing": f"Each image to {size}; the card says how.",
        "missing": NO_MISSING + (NO_VALUE if study.clinical else ""),
        "model": f"{network}, images of {study.images.seen_words}"
        + (f", joined with {', '.join(study.clinical)}." if study.clinical else "."),
        "software": "Versions stand in the card under origin.",
        "start": "From a pinned model file."
        if study.model.start_sha256
        else f"Drawn from the seed {study.study.seed}.",
        "training": _training(study),
        "external": "Test patients come from the sites that trained, and from no other: there is no external test here."
        if study.study.kind == "train"
        else "The model was made elsewhere; all patients here are external to it.",
        "flow": _flow(flow),
        "precision": _precision(study, card),
        "subgroups": _subgroups(card),
        "metrics": METRICS_OF[study.task.kind],
        "protocol": f"The study file with the digest {card.origin.study_sha256}, and the journal that the card names.",
        "imbalance": _imbalance(study),
        "output": outputs.get(study.task.kind, f"A probability per class ({card.calibration.words}).")
        + f" {card.operating.words}",
        "whole": f"The file of the model is part of this package, SHA-256 {weights.sha256}.",
    }


def _imbalance(study: Study) -> str:
    train = study.training
    if train is None:
        return "None in this study: nothing is trained."
    loss = {
        "cross_entropy": "The loss is not weighted by class",
        "weighted": "The loss is weighted by class, each site by its own training images",
        "focal": f"The loss is focal, gamma {train.focal_gamma or 0:g}: what is told apart well weighs less",
    }[train.loss]
    balanced = "is balanced over the classes of each site's own training images"
    return f"{loss}; the sampling {balanced if train.sampling == 'class_balanced' else 'is not weighted by class'}."


def _precision(study: Study, card: ModelCard) -> str:
    merit = task_for(study.task).merit
    found = card.performance.figures[merit]
    if found.value is None:
        return "No test figure."
    range_ = f" (95 % interval {found.low:.3f} to {found.high:.3f})" if found.low is not None else ""
    return f"Test {merit_in_words(merit, classes=len(study.task.classes))} {found.value:.3f}{range_}."


def _subgroups(card: ModelCard) -> str:
    traits = ", ".join(dict.fromkeys(one.trait for one in card.subgroups))
    return f"By {traits} in the card." if traits else f"No subgroups: {card.no_subgroups}"


def _training(study: Study) -> str:
    train = study.training
    if train is None:
        return "None in this study."
    return (
        f"{train.algorithm} over at most {counted(study.rounds.count, 'round')}, {train.optimizer} at"
        f" {train.learning_rate:g}, batches of {train.batch_size}{learning(train)},"
        f" augmentation {study.images.augment}."
    )


def _flow(flow: Flow) -> str:
    if flow.why:
        return f"Counts are not told: {flow.why}."
    totals = {split: counted.total for split, counted in flow.patients.items()}
    told = ", ".join(f"{'few' if n is None else f'{n:,}'} for {split}" for split, n in totals.items())
    aside = "what was set aside is each site's own account"
    if flow.found:
        aside = f"what was found and set aside before the study by {len(flow.found)} of {len(flow.sites)} sites, too"
    return f"Patients used: {told}. By site in the card; {aside}."
