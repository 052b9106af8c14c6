"""Every figure of the page, and each site's work in each round, as one CSV: scope, site, round, metric, value.

A figure that is missing has no row of its own; a row named `METRIC.why` says why. What is true or false
is written 1 or 0.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict

from server.report.choice import Choice
from server.report.facts import Facts, SiteFacts
from server.report.fairness import Fairness, SiteFairness
from server.report.habits import Drift
from server.report.matrix import MatrixRow
from server.report.participation import RoundFacts
from server.report.privacy import WITHHELD
from server.report.scores import Estimate, Point, Pooled
from server.report.work import RoundWork

COLUMNS = ("scope", "site", "round", "metric", "value")
Row = tuple[str, str, int | str, str, float | int | str]


def as_csv(facts: Facts) -> str:
    """The table, with a header; lines end in LF."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows(facts))
    return out.getvalue()


def rows(facts: Facts) -> Iterator[Row]:
    """The rows of the table: the study, its models, its sites, its rounds, what was refused."""
    yield from _study(facts)
    for split, scored in (("validation", facts.validation), ("test", facts.test)):
        yield from _pooled(split, scored, facts.about.measure)
    cuts, names = facts.threshold.probabilities, facts.about.classes
    yield from (("pooled", "", "", f"threshold.{name}", cut) for name, cut in zip(names, cuts, strict=False))
    yield from (("pooled", "", "", f"test.at_threshold.{k}", v) for k, v in facts.threshold.figures.items())
    if facts.threshold.why:
        yield "pooled", "", "", "threshold.why", facts.threshold.why
    yield from _models(facts)
    for site in facts.sites:
        yield from _site(site, facts.about.measure)
        yield from _proof(site.site, facts)
    yield from _fairness(facts.fairness, facts.about.measure)
    yield from _drift(facts.drift)
    for opened in facts.rounds:
        yield from _round(opened, facts)
    for work in facts.work:
        yield from _work(work, private=facts.privacy is not None)
    for refusal in facts.refusals:
        for number in refusal.rounds:
            yield "refusal", refusal.site, number, f"{refusal.by}.{refusal.codes[0]}", refusal.words
            if refusal.detail:
                yield "refusal", refusal.site, number, f"{refusal.by}.{refusal.codes[0]}.detail", refusal.detail
    for loss in facts.losses:
        yield "loss", loss.site, "", f"times.{loss.words}", loss.times
        yield from (("loss", loss.site, number, "line", loss.words) for number in loss.rounds)


def _models(facts: Facts) -> Iterator[Row]:
    if facts.choice:
        yield from _choice(facts.choice)
    for point in facts.curve:
        yield from _point(point, facts.about.measure)
    for shown in facts.matrix.rows if facts.matrix else ():
        yield from _matrix(shown, facts.about.measure)
    for shown in facts.own_models.rows if facts.own_models else ():
        yield from _own_model(shown, facts.about.measure)


def _study(facts: Facts) -> Iterator[Row]:
    about, proof = facts.about, facts.integrity
    said: dict[str, str | int | float | None] = {
        "name": about.name,
        "state": about.state,
        "kind": about.kind,
        "task": about.task,
        "mode": about.mode,
        "image": about.image,
        "model": about.model,
        "training": about.training,
        "seed": about.seed,
        "started": about.started,
        "last_entry": about.last_entry,
        "rounds_planned": about.rounds_planned,
        "rounds_committed": about.rounds_committed,
        "seconds": about.seconds,
        "study_digest": proof.study_digest,
        "study_holds": _flag(proof.study_holds),
        "start_digest": proof.start_digest,
        "model_digest": proof.model_digest,
        "model_round": proof.model_round,
        "model_holds": _flag(proof.model_holds),
        "model_file": proof.model_file.path,
        "journal_entries": proof.chain.entries,
        "journal_head": proof.chain.head,
        "journal_signed_entries": proof.chain.signed_entries,
        "journal_signed_head": proof.chain.signed_head,
        "epochs": len(proof.epochs),
        "by_letter": int(about.by_letter),
    }
    yield from (("study", "", "", name, value) for name, value in said.items() if value is not None)
    yield from (("study", "", "", f"class.{n}", name) for n, name in enumerate(about.classes, start=1))
    yield from (("study", "", "", f"epoch.{epoch.epoch}.since", epoch.since) for epoch in proof.epochs)
    for name, value in asdict(facts.privacy).items() if facts.privacy else ():
        yield "study", "", "", f"privacy.{name}", value
    yield from (("study", "", "", f"patients.{split}", number) for split, number in facts.patients.items())


def _estimate(scope: str, site: str, number: int | str, metric: str, found: Estimate) -> Iterator[Row]:
    ends = ((metric, found.value), (f"{metric}.low", found.low), (f"{metric}.high", found.high))
    yield from ((scope, site, number, name, value) for name, value in ends if value is not None)
    if found.why:
        yield scope, site, number, f"{metric}.why", found.why


def _pooled(split: str, scored: Pooled, measure: str) -> Iterator[Row]:
    yield "pooled", "", "", f"{split}.patients", scored.patients
    yield "pooled", "", "", f"{split}.sites", len(scored.sites)
    yield "pooled", "", "", f"{split}.how", scored.how
    yield "pooled", "", "", f"{split}.releasing", len(scored.releasing)
    yield from (("pooled", site, "", f"{split}.withheld", 1) for site in scored.withheld)
    yield from _estimate("pooled", "", "", f"{split}.{measure}", scored.merit)
    yield from (("pooled", "", "", f"{split}.{name}", value) for name, value in scored.figures.items())
    for name, value in scored.classes.items():
        yield "pooled", "", "", f"{split}.{measure}.{name}", "" if value is None else value


def _choice(choice: Choice) -> Iterator[Row]:
    said = {
        "stopped": choice.stopped,
        "chosen.round": choice.round,
        "chosen.why": choice.why,
        "chosen.metric": choice.metric,
        "chosen.how": choice.how,
        "chosen.value": choice.value,
        "chosen.sites": ", ".join(choice.cohort) or None,
    }
    yield from (("study", "", "", name, value) for name, value in said.items() if value is not None)
    yield from (("model", "", number, "candidate", 1) for number in choice.candidates)


def _point(point: Point, measure: str) -> Iterator[Row]:
    """`round` is the number of rounds behind the model, 0 for the start model."""
    yield "model", "", point.model, "validation.patients", point.patients
    yield "model", "", point.model, "validation.sites", point.sites
    yield from _estimate("model", "", point.model, f"validation.{measure}", point.merit)
    if point.loss is not None:
        yield "model", "", point.model, "validation.loss", point.loss
    yield from (("model", site, point.model, f"validation.{measure}", v) for site, v in point.by_site.items())


def _matrix(shown: MatrixRow, measure: str) -> Iterator[Row]:
    """The intervals; the figures themselves stand there of every model."""
    if shown.role:
        yield "model", "", shown.model, "role", shown.role
    for site, scored in shown.by_site.items():
        found = Estimate(None, scored.merit.low, scored.merit.high, scored.merit.why)
        yield from _estimate("model", site, shown.model, f"validation.{measure}", found)


def _own_model(shown: MatrixRow, measure: str) -> Iterator[Row]:
    """`site` is whose patients they are; without one, those of all sites."""
    whose = f"{shown.of or shown.role}.validation"
    metric = f"{whose}.{measure}"
    yield from _estimate("own_model", "", shown.model, metric, shown.pooled)
    for site, scored in shown.by_site.items():
        yield from _estimate("own_model", site, shown.model, metric, scored.merit)
        yield "own_model", site, shown.model, f"{whose}.patients", scored.patients


def _site(found: SiteFacts, measure: str) -> Iterator[Row]:
    name, work = found.site, found.work
    for split, number in (found.patients or {}).items():
        yield "site", name, "", f"patients.{split}", number
    for split, number in (found.examples or {}).items():
        yield "site", name, "", f"examples.{split}", number
    yield from _estimate("site", name, "", f"validation.{measure}", found.validation.merit)
    yield from _estimate("site", name, "", f"test.{measure}", found.test.merit)
    yield "site", name, "", "validation.patients", found.validation.patients
    yield "site", name, "", "test.patients", found.test.patients
    if found.machine:
        yield "site", name, "", "device", found.machine.device
        yield "site", name, "", "threads", found.machine.threads
        yield "site", name, "", "fell_back", int(found.machine.fell_back)
        yield from (("site", name, "", f"software.{k}", v) for k, v in found.machine.software.items())
    yield "site", name, "", "updates", work.updates
    yield "site", name, "", "update_bytes", work.update_bytes
    yield "site", name, "", "replays", work.replays
    yield from (("site", name, "", f"median_seconds.{phase}", s) for phase, s in work.seconds.items())
    yield from (("site", name, "", f"rounds.{state}", n) for state, n in found.seats.items())


def _fairness(found: Fairness, measure: str) -> Iterator[Row]:
    """Under `fairness` and the split; of the federation without a site."""
    said: dict[str, str | int | float | None] = {
        "split": found.split,
        "best": found.best,
        "worst": found.worst,
        "gap": found.gap,
        "gap_by_chance": found.gap_by_chance,
        "compared": found.compared,
        "why": found.why,
    }
    for name, value in (said | (asdict(found.heterogeneity) if found.heterogeneity else {})).items():
        if value is not None:
            yield "fairness", "", "", name, value
    for site in found.sites:
        yield from _site_fairness(site, measure)


def _site_fairness(found: SiteFairness, measure: str) -> Iterator[Row]:
    said: dict[str, str | int | float | None] = {"patients": found.patients, f"others.{measure}": found.others}
    if found.versus:
        less = found.versus
        said |= {"difference": less.value, "difference.low": less.low, "difference.high": less.high}
        said |= {"difference.p": less.p, "difference.p_holm": found.p_holm}
    said |= {f"at_threshold.{name}": value for name, value in found.at_threshold.items()}
    said |= {"difference.why": found.why}
    yield from _estimate("fairness", found.site, "", measure, found.merit)
    yield from (("fairness", found.site, "", name, value) for name, value in said.items() if value is not None)


def _drift(found: Drift) -> Iterator[Row]:
    """All that is watched, and under `unusual` what was; `alike` is 1 where all sites moved so."""
    for one in found.watched:
        yield from (("watched", one.site, number, one.figure, value) for number, value in one.values.items())
    for finding in found.findings:
        said = {key: value for key, value in asdict(finding).items() if key not in ("site", "figure", "round")}
        for name, value in said.items():
            cell = int(value) if isinstance(value, bool) else value
            yield "unusual", finding.site, finding.round, f"{finding.figure}.{name}", cell


def _round(opened: RoundFacts, facts: Facts) -> Iterator[Row]:
    number = opened.number
    yield "round", "", number, "attempts", opened.attempts
    yield "round", "", number, "committed", int(opened.committed)
    if opened.seconds is not None:
        yield "round", "", number, "seconds", opened.seconds
    phases = facts.seconds.get(number, {})
    yield from (("round", "", number, f"median_seconds.{phase}", s) for phase, s in phases.items())
    yield from (("round", site, number, "participation", seat.state) for site, seat in opened.seats.items())
    yield from (("round", site, number, "participation.why", s.why) for site, s in opened.seats.items() if s.why)


def _work(work: RoundWork, *, private: bool) -> Iterator[Row]:
    said: dict[str, int | float | None] = {
        "examples": None if private else work.examples,
        "patients": None if private else work.patients,
        "steps": work.steps,
        "update_bytes": work.update_bytes,
        "replayed": int(work.replayed),
        "norm": work.norm,
    }
    yield from (("round", work.site, work.round, name, value) for name, value in said.items() if value is not None)
    yield from (("round", work.site, work.round, f"seconds.{phase}", s) for phase, s in work.seconds.items())
    if private:
        yield from (("round", work.site, work.round, f"{name}.why", WITHHELD) for name in ("examples", "patients"))


def _proof(site: str, facts: Facts) -> Iterator[Row]:
    digests = {"contract_digest": facts.integrity.contracts.get(site), "ledger_head": facts.integrity.heads.get(site)}
    yield from (("site", site, "", name, value) for name, value in digests.items() if value is not None)


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)
