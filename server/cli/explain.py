"""What a study's rounds mean for the sites, in plain words."""

from server.report.privacy import privacy_of, rounded_up
from server.report.words import METRICS, counted, size
from shared.backbone import BackboneSpec
from shared.images import Augmentation
from shared.metrics import MERITS
from shared.schedule import RoundsSpec
from shared.selection import SelectionSpec
from shared.study import Study, TransferSpec
from shared.tasks import task_for
from shared.training import TrainingSpec

_FIGURES = {"Dice": "Dice, HD95 and loss", "SSIM": "SSIM and loss"}
SITE_SIZES = (100, 300, 1000, 3000)  # training patients
_BOUNDED = "but no image more than about ten times as much; it goes by its own training images, and no count leaves."


def explain_rounds(rounds: RoundsSpec) -> list[str]:
    """How long a round waits for whom, and what becomes of those who come too late."""
    lines = []
    if rounds.sample is not None:
        who = f"{rounds.sample:.0%} of the sites" if rounds.sample < 1 else f"{rounds.sample} sites"
        lines.append(f"Each round asks {who} alone, drawn anew from the seed; the closing trip asks all of them.")
    if rounds.grace_s is not None:
        lines.append(
            f"Once {rounds.quorum} counted, the round waits {rounds.grace_s:g} s more for the others;"
            " whoever is still at work then is late, and is told so."
        )
    half = 2**-rounds.staleness_exponent
    if rounds.buffer is not None:
        lines += [
            f"A round closes as soon as {counted(rounds.buffer, 'site')} counted; nobody is waited for. A slow site"
            " goes on with its work, which counts once, in the round that is open when it is done.",
            f"Such work moves the model by less: one round late by {half:.0%} of its change, nine rounds late by"
            f" {10**-rounds.staleness_exponent:.0%}. Let the buffer be at most the number of fast sites.",
            "The study cannot be repeated byte for byte unless updates come in the same rounds.",
        ]
    elif rounds.late == "next":
        lines.append(
            "Work that is late counts once in the next round, in the place of new work: one round late,"
            f" it weighs {half:.0%} of its examples, and less the later it is."
        )
    if rounds.keep_updates:
        lines.append("The server keeps every update that counted: an auditor can make each model again from them.")
    return lines


def explain_size(backbone: BackboneSpec | None, *, model_bytes: int, frozen_bytes: int) -> list[str]:
    """How large the model is, and what of it travels: what trains, in every round, and what is frozen, once."""
    if backbone is None or not backbone.frozen:
        lines = [f"The model has {model_bytes:,} bytes; a site sends as much per round, and never an image."]
        if backbone is not None:
            lines.append(
                f"Its backbone starts from a pinned file and trains at {backbone.rate:g} of the learning rate."
            )
        return lines
    return [
        f"The model has {model_bytes + frozen_bytes:,} bytes, of which {model_bytes:,} are its head and train; a site"
        " sends as much per round, and never an image.",
        f"The other {frozen_bytes:,} are its backbone, frozen as it is in the pinned file. It travels when the study is"
        " opened, and only to sites that do not have it.",
    ]


def explain_length(training: TrainingSpec) -> str:
    """How much a site does in one round."""
    if training.seconds_per_round is not None:
        return f"as many steps as fit into {training.seconds_per_round:g} s of its own clock (and says how many)"
    if training.epochs_per_round:
        return counted(training.epochs_per_round, "epoch")
    return counted(training.steps_per_round or 0, "step")


def explain_transfer(transfer: TransferSpec) -> list[str]:
    """In how many bits numbers travel, where that is not as usual."""
    said = (
        (transfer.update_dtype, "Updates travel", "what rounding takes from one stays at its site"),
        (transfer.model_dtype, "The model travels", "what rounding takes from it stays at the server"),
    )
    return [
        f"{what} as {dtype}, in half of the bytes; {kept}, and is added to the next one."
        for dtype, what, kept in said
        if dtype != "float32"
    ]


def explain_learning(training: TrainingSpec) -> list[str]:
    """How rare classes count, what is mixed, and how the learning rate falls, where that is not as usual."""
    gamma, rate = training.focal_gamma or 0, training.learning_rate
    said = (
        (training.loss == "weighted", f"In the loss each class that a site has weighs alike, {_BOUNDED}"),
        (training.loss == "focal", f"The loss is focal (gamma {gamma:g}): what the model is sure of counts little."),
        (training.sampling == "class_balanced", f"Each class that a site has is drawn alike often, {_BOUNDED}"),
        (
            training.mixup > 0,
            f"Images are mixed two by two, at shares from Beta({training.mixup:g}, {training.mixup:g}).",
        ),
        (training.schedule == "cosine", f"The learning rate falls from {rate:g} along a cosine, towards 0."),
    )
    return [words for asked, words in said if asked]


def explain_augmentation(name: Augmentation) -> list[str]:
    """How training images are varied, if they are."""
    if name == "none":
        return []
    mirrored = name in ("dermoscopy", "pathology")
    moved = "mirrored and turned by quarters" if mirrored else "turned, shifted and zoomed a little, never mirrored"
    return [f"Training images are varied at random, by the set {name}: {moved}, and their light is changed."]


def explain_selection(
    selection: SelectionSpec, *, rounds: int, model_bytes: int, sites: tuple[str, ...] = ()
) -> list[str]:
    """Which model will be the final one, and what may end the training before the last round."""
    lines, metric = [], METRICS[selection.metric]
    if selection.patience_rounds is not None:
        gain = f" by more than {selection.min_gain:g}" if selection.min_gain else ""
        models = counted(selection.patience_rounds, "model")
        lines.append(
            f"Training ends early after {models} in a row that did not beat the best before{gain}"
            f" ({metric} of the validation patients of all sites together)."
        )
    if selection.model == "last":
        kept = [_explain_kept(selection)] if lines else []
        return [*lines, *kept, "The final model is the last one.", *_explain_cross_site(selection, sites)]
    return [
        *lines,
        f"The final model is the one with the best {metric} on the validation patients of all sites together, by the"
        " scores of the same sites for every model; the last model is sent out once more to be scored for that.",
        f"Until it is chosen the server keeps the model of every round, up to {size(rounds * model_bytes)}.",
        _explain_kept(selection),
        *_explain_cross_site(selection, sites),
    ]


def _explain_kept(selection: SelectionSpec) -> str:
    """What becomes of the comparison where a site's policy keeps its statistics."""
    if selection.metric in MERITS:
        instead = f"the plain mean of the sites' own {METRICS[selection.metric]} takes its place"
    else:
        instead = f"no model can be compared by {METRICS[selection.metric]}, and the last one is taken"
    return f"Where the policy of a site does not release statistics (score_histograms), {instead}."


def _explain_cross_site(selection: SelectionSpec, sites: tuple[str, ...]) -> list[str]:
    if not selection.cross_site:
        return []
    return [
        f"In the end {counted(len(sites), 'further model')} {'goes' if len(sites) == 1 else 'go'} to every site, to be"
        f" scored on its validation patients: the own models of {', '.join(sites)}. A site's own model is the one that"
        " the last round started from, moved by its update alone: from it the other sites can work out that update."
    ]


def explain_privacy(study: Study) -> list[str]:
    """What a private study costs a patient, how its steps fit sites of several sizes, and what it withholds."""
    cost, privacy = privacy_of(study, committed=0), study.privacy
    if cost is None or privacy is None:
        return []
    sizes = [size for size in SITE_SIZES if size * privacy.sampling_rate >= 1] or [SITE_SIZES[-1]]
    drawn = ", ".join(f"{size * privacy.sampling_rate:g} of {size}" for size in sizes)
    deviation = privacy.noise_multiplier * privacy.clip_norm / privacy.patients_per_step
    scores = "validation scores" if privacy.test_scores == "released" else "all scores"
    return [
        f"It trains privately: all rounds together cost each training patient, with all of its images, at most epsilon"
        f" {rounded_up(cost.planned_epsilon)} at delta {cost.delta:g}, at every site, whatever its size.",
        f"A step draws each patient with probability {privacy.sampling_rate:g}, on average {drawn} training patients;"
        f" at every site their sum is divided by {privacy.patients_per_step}, and its noise is {deviation:.3g} then.",
        f"Withheld are {scores}, counts of images and patients, and durations; each site weighs alike.",
    ]


def explain_scores(study: Study) -> str:
    """What is known of the final model in the end."""
    if study.privacy is not None and study.privacy.test_scores == "withheld":
        return "The final model is not scored here: a study of kind evaluate scores it, with exact figures."
    name = METRICS[task_for(study.task).merit]
    such_as = _FIGURES.get(name, "thresholds, Brier score and log loss")
    return (
        "The final model is scored once on test patients of every site. What a site tells of scores is its policy's"
        f" matter: by default its own {name} with interval, rounded, and nothing of fewer than 11 patients or of a"
        " class with fewer (smallest_cell), which is then named as withheld. Figures of all sites' patients together,"
        f" such as {such_as}, need sites that release statistics (score_histograms).{_by_subgroup(study)}"
    )


def _by_subgroup(study: Study) -> str:
    asked = ", ".join(study.task.subgroups)
    return f" By {asked} a site tells the same only if its policy says subgroup_scores." if asked else ""
