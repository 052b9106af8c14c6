"""Which section of the page is evidence towards what the law asks. No claim of compliance is made.

Short words for what each article asks; its own text decides. Sources: Regulation (EU) 2016/679, 45 CFR
164.312, Regulation (EU) 2024/1689.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mapping:
    """One article: what it asks in short, the sections that show something of it, and what they leave open."""

    law: str
    asks: str
    sections: tuple[str, ...]
    open: str


MAPPINGS: tuple[Mapping, ...] = (
    Mapping(
        "GDPR Art. 25",
        "data protection by design and by default: minimisation built into the processing",
        ("contracts", "releases", "privacy"),
        "whether the study needed what was agreed, and what reaches the images inside the site",
    ),
    Mapping(
        "GDPR Art. 30",
        "a record of processing: purposes, categories, recipients, time limits",
        ("studies", "releases", "contracts"),
        "purposes, categories of persons, transfers and time limits: see docs/templates/record-of-processing.md",
    ),
    Mapping(
        "GDPR Art. 32",
        "security fitting the risk: confidentiality, integrity, and testing of the measures",
        ("chain", "anchors", "refusals"),
        "encryption of disks, access to the machine, backups and restoring them",
    ),
    Mapping(
        "45 CFR 164.312(b)",
        "audit controls: record and examine activity in systems with ePHI",
        ("releases", "refusals", "human"),
        "activity in other systems, and who read the images",
    ),
    Mapping(
        "45 CFR 164.312(c)(1)",
        "integrity: protect from improper alteration or destruction",
        ("chain", "anchors"),
        "the images themselves: an entry holds one keyed hash over a study's images, for the site alone to recompute",
    ),
    Mapping(
        "45 CFR 164.312(d)",
        "person or entity authentication",
        ("chain", "human"),
        "persons: a name in an entry is what was typed",
    ),
    Mapping(
        "45 CFR 164.312(e)(1)",
        "transmission security",
        ("releases",),
        "the ledger says what was sent, not over which line; TLS is a matter of the set-up",
    ),
    Mapping(
        "EU AI Act Art. 12",
        "high-risk systems record events automatically over their lifetime",
        ("releases", "receipts", "refusals", "other"),
        "use of the finished model, whose own system has to record it",
    ),
)
