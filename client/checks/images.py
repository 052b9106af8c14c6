"""The site's images and labels, by themselves and against a study."""

from client.checks.grounds import Grounds
from client.imaging.absent import MANY_ASIDE
from client.imaging.account import SMALL_CLASS, Account
from client.imaging.examples import Split
from client.policy import permit, permit_patients
from shared.contract import contract_of
from shared.preflight import Finding, fix, passed, warn
from shared.study import Study


def look_at_labels(grounds: Grounds) -> Finding:
    """Are images and labels where site.toml says, with the columns and words that the study needs?"""
    from client.imaging.sources import open_source

    settings, study = grounds.settings, grounds.study
    open_source(
        settings.data,
        task=study.task if study else None,
        salt=bytes.fromhex(grounds.invitation.patient_salt),
        base=grounds.folder,
        images=study.images if study else None,
        labels=settings.labels,
        clinical=study.clinical if study else None,
    )
    return passed("Images and label table are there" + (", in the study's words." if study else "."))


def look_at_permission(grounds: Grounds) -> Finding:
    """Does the policy permit the study?"""
    study, policy = grounds.asked, grounds.settings.policy
    contract = contract_of(study, grounds.tensors, site=grounds.invitation.site)
    if (refusal := permit(policy, study, contract)) is not None:
        return fix(
            refusal.remedy, "Change the policy, if the site wants to; else ask the coordinator for another study."
        )
    return passed("The policy permits it" + ("; a person approves it first." if policy.studies == "ask" else "."))


def look_at_images(grounds: Grounds) -> Finding:
    """How many images and patients has the site for the study, and why not the rest?"""
    from client.site_account import account_of_site

    study = grounds.asked
    found = account_of_site(grounds.folder, study).account
    trains = study.study.kind == "train"
    patients = found.splits[Split.TRAIN].patients if trains and found.splits else found.patients
    facts = {"files": found.files, "images": found.images, "patients": found.patients, "training_patients": patients}
    if trouble := _unusable(found, patients if trains else found.patients):
        return fix(f"{_counted(found)} {trouble}", "See `wardround site data --study`: it counts by reason.", **facts)
    if (refusal := permit_patients(grounds.settings.policy, study, patients=patients)) is not None:
        return fix(refusal.remedy, "Bring more patients, or lower that line of the policy if the site may.", **facts)
    if trouble := _doubtful(found, study):
        return warn(f"{_counted(found)} {trouble}", "See `wardround site data --study`: it counts by reason.", **facts)
    return passed(_counted(found), **facts)


def _counted(found: Account) -> str:
    kinds = ", ".join(found.modalities) if found.modalities else ""
    parts = found.splits or {}
    split = ", ".join(f"{part.patients:,} for {name}" for name, part in parts.items())
    said = f"{found.images:,} images of {found.patients:,} patients" + (f" ({split})" if split else "")
    return f"{said}{f'; {kinds}' if kinds else ''}."


def _unusable(found: Account, patients: int) -> str:
    if not found.used:
        most = found.set_aside[0].meaning if found.set_aside else "there are none"
        return f"None can be used: {most}."
    if found.patients_across_splits:
        return f"The labels put {found.patients_across_splits:,} patients into more than one split."
    return "" if patients else "No patient is for training."


def _doubtful(found: Account, study: Study) -> str:
    aside, trains = sum(part.files for part in found.set_aside), study.study.kind == "train"
    if found.files and aside > MANY_ASIDE * found.files:
        return f"{aside:,} of {found.files:,} files are set aside, most as {found.set_aside[0].reason}."
    if trains and found.absent_classes:
        return f"No patient to train on is {', '.join(found.absent_classes)}."
    if found.small_classes:
        part, name = found.small_classes[0]
        return f"Fewer than {SMALL_CLASS} patients of {name} are for {part}."
    if found.splits and not found.splits[Split.VALIDATION].patients:
        return "No patient is for validation, so that no model is scored here."
    return ""
