"""Exams on their way into the study, and the model at each site: counts and figures with the small cells hidden."""

from server.export.counts import SiteCounts
from server.export.surveys import Surveyed
from server.report.facts import SPLITS, Facts, SiteFacts
from server.report.fairness import SiteFairness
from server.report.privacy import WITHHELD
from server.report.scores import Estimate, SiteScore
from server.report.words import METRICS, merit_in_words, share
from shared.model_card import Counted, Figure, Flow, Performance, SitePerformance, Split
from shared.small_cells import Told
from shared.survey import Survey, cells_of, covered

FOUND = "found, and set aside by reason"
NO_SURVEY = (
    "The sites were not asked before the study (wardround study cohort), or none tells. Each has its own account of"
    " what it found and what it set aside, by reason (wardround site data)."
)
SILENT = "Not told by {sites}."
DAMAGED = "Surveys that are not what the coordinator signed, so that nothing of them is told: {surveys}."
UNKNOWN = {
    "lost between inclusion and analysis": "None is lost: whatever a site uses is trained on, validated on or tested.",
}
FIGURES = {
    "accuracy": "accuracy at probability 0.5, or of the likeliest class",
    "balanced_accuracy": "balanced accuracy at probability 0.5, or of the likeliest class",
    "brier": "Brier score, as the network gives its probabilities",
    "loss": "log loss in nats per patient, as the network gives its probabilities",
}
FIGURES_OF_MASKS = {
    "hd95": "HD95 as a share of the image's diagonal, mean over structures",
    "loss": "soft Dice loss and cross-entropy in nats, mean over patients",
}
FIGURES_OF_DRAWINGS = {
    "loss": "negative evidence lower bound in nats per value of an image, but for a constant",
    "error": "of which the error of the reconstruction",
    "divergence": "of which the divergence of the code",
}
NO_INTERVAL = "no interval is computed"
NO_SCORE = "The model has no score."


def flow_of(facts: Facts, surveyed: Surveyed | None, counts: SiteCounts, *, smallest: int) -> Flow:
    """What every site used of its exams, by split, and what it told of the others before the study, if it was asked."""
    sites = tuple(site.site for site in facts.sites)
    if facts.privacy is not None:
        flow: dict[str, object] = {"patients": {}, "images": {}, "why": WITHHELD}
    else:
        told = counts.by_split
        patients = {split: Counted(by_site=told[split].counts, total=told[split].total) for split in SPLITS}
        flow = {"patients": patients, "images": {split: _images(facts, split, told[split]) for split in SPLITS}}
    flow |= _found(sites, None if facts.privacy else surveyed, counts, smallest)
    return Flow.model_validate({"sites": sites, "smallest_cell": smallest, **flow})


def _found(sites: tuple[str, ...], surveyed: Surveyed | None, counts: SiteCounts, smallest: int) -> dict[str, object]:
    """Each site's survey, with more cells hidden than it hides itself if the card asks for that."""
    if surveyed is None:
        return {"unknown": {FOUND: NO_SURVEY} | UNKNOWN}
    by_site = {site: surveyed.by_site[site] for site in sites if site in surveyed.by_site}
    told = {site: _hiding(survey, smallest, whole=counts.hides(site)) for site, survey in by_site.items()}
    silent = [site for site in sites if site not in told]
    missing = [SILENT.format(sites=", ".join(silent))] if silent else []
    missing += [DAMAGED.format(surveys=", ".join(surveyed.damaged))] if surveyed.damaged else []
    unknown = {FOUND: " ".join(missing)} if missing else {}
    names = ("found", "set_aside", "used", "vendors", "missing")
    found = [{"site": site, **{name: getattr(survey, name) for name in names}} for site, survey in told.items()]
    return {"surveyed": surveyed.day or None, "found": found, "unknown": unknown | UNKNOWN}


def _hiding(survey: Survey, smallest: int, *, whole: bool) -> Survey:
    """As the site tells it, if no cell is smaller; what it withholds is safe already.

    Of a site that has a split hidden the `whole`, from which that split would follow, is hidden, too.
    """
    if any(cell and cell < smallest for cell in cells_of(survey)):
        survey = covered(survey, smallest=smallest)
    if whole:
        survey = survey.model_copy(update={"found": None, "used": None, "vendors": dict.fromkeys(survey.vendors)})
    return survey


def performance_of(facts: Facts, counts: SiteCounts) -> Performance:
    """The pooled figures, and each site beside the others."""
    test = facts.test
    known = {"dice": FIGURES_OF_MASKS, "ssim": FIGURES_OF_DRAWINGS}.get(facts.about.measure, FIGURES)
    figures: dict[str, Figure] = {facts.about.measure: _figure(test.merit)}
    figures |= {known[name]: Figure(value=v, why=NO_INTERVAL) for name, v in test.figures.items() if name in known}
    hidden = facts.privacy is not None or counts.by_split["test"].total is None
    return Performance(
        sentence=_sentence(facts, counts),
        sites=test.sites,
        patients=None if hidden else test.patients,
        how=test.how,
        figures=figures,
        classes=test.classes,
        by_site=_sites(facts, counts),
        between_sites=_between(facts),
    )


def _sentence(facts: Facts, counts: SiteCounts) -> str:
    """The study's result in one sentence, without the counts where one of them is hidden."""
    if all(counts.by_split[split].total is not None for split in ("train", "test")):
        return facts.headline.sentence
    found, measure = facts.test.merit, merit_in_words(facts.about.measure, classes=len(facts.about.classes))
    return f"The model's test {measure} is {share(found.value)}." if found.value is not None else NO_SCORE


def _images(facts: Facts, split: Split, told: Told) -> Counted:
    """Images are told where the patients are: their number would tell the patients'."""
    counts = {site.site: (site.examples or {}).get(split, 0) for site in facts.sites}
    shown = {site: None if told.counts[site] is None else count for site, count in counts.items()}
    return Counted(by_site=shown, total=None if told.total is None else sum(counts.values()))


def _sites(facts: Facts, counts: SiteCounts) -> tuple[SitePerformance, ...]:
    at, split = {site.site: site for site in facts.fairness.sites}, facts.fairness.split
    return tuple(_site(site, facts, at.get(site.site), hidden=counts.hides(site.site, split)) for site in facts.sites)


def _scored(site: SiteFacts, facts: Facts) -> SiteScore:
    return site.test if facts.fairness.split == "test" else site.validation


def _site(site: SiteFacts, facts: Facts, found: SiteFairness | None, *, hidden: bool) -> SitePerformance:
    at = found.at_threshold if found and not hidden else {}  # shares of few would tell how many they are
    scored = _scored(site, facts)
    merit = _figure(scored.merit)
    return SitePerformance(
        site=site.site,
        split=facts.fairness.split,
        patients=None if facts.privacy or hidden else scored.patients,
        auroc=merit if facts.about.measure == "auroc" else None,
        dice=merit if facts.about.measure == "dice" else None,
        ssim=merit if facts.about.measure == "ssim" else None,
        sensitivity=at.get("sensitivity"),
        specificity=at.get("specificity"),
    )


def _between(facts: Facts) -> str:
    found, measure = facts.fairness, METRICS[facts.about.measure]
    if found.heterogeneity is None or found.gap is None:
        return f"Not tested: {found.why or f'no two sites tell their {measure}'}."
    how = "differ by more than chance" if found.differ else "do not differ by more than chance"
    apart = f"; apart from all others: {', '.join(found.apart)}" if found.apart else ""
    return f"The sites {how} (Cochran's Q, p {found.heterogeneity.p:.3f}; gap {share(found.gap)}{apart})."


def _figure(found: Estimate) -> Figure:
    return Figure(value=found.value, low=found.low, high=found.high, why=found.why)
