"""What each patient of a site has paid for private training, and what is put aside for it: pure rules, no files.

1. A patient is a keyed hash (`client/privacy/patients.py`). Its past are the mechanisms that its images entered, in all
   studies of the site, for life.
2. Opening a study reserves the rounds that it may still ask for, for every patient who trains. What several
   studies reserve adds up. Who no longer trains is in none of the study's later rounds.
3. A round is charged to all who train before it begins. It takes one of the reserved rounds, and those before
   it that passed without this site lapse; a round that begins once more, or beyond them, is an additional one.
4. Closing a study gives back what did not begin.

Patients with the same past share a group: a hundred thousand of them are a few histories. What a past costs is
`shared/privacy.py`'s matter, how much it may cost `client/privacy/budget_settings.py`'s, the file
`client/privacy/budget_file.py`'s.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from client.privacy.patients import KEYED_BYTES
from shared.fields import Digest, Name
from shared.privacy import History, Mechanism
from shared.section import Section

Patients = frozenset[bytes]  # keyed hashes of patients
Rounds = Annotated[int, Field(ge=0)]


class Account(Section):
    """One study, in rounds.

    `mechanism` is what a round costs each patient; of the `reserved` rounds none has begun. `charged` counts every
    beginning, `last_round` is the highest that began, `returned` were given back. So the highest that is reserved is
    `last_round` + `reserved`.
    """

    study_digest: Digest
    mechanism: Mechanism
    reserved: Rounds
    charged: Rounds = 0
    returned: Rounds = 0
    last_round: Rounds = 0
    open: bool = True


class Group(Section):
    """Patients with the same past, in the same open studies; `patients` is their keyed hashes, sorted and joined."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    history: History = ()
    studies: tuple[Name, ...] = ()
    patients: bytes

    @property
    def count(self) -> int:
        """How many patients."""
        return len(self.patients) // KEYED_BYTES


class Budget(Section):
    """All patients of a site. `everyone` is charged to each, known or not; who is in no group has no other past."""

    accounts: dict[Name, Account] = Field(default_factory=dict)
    everyone: History = ()
    groups: tuple[Group, ...] = ()

    @property
    def patients(self) -> int:
        """How many patients are known."""
        return sum(group.count for group in self.groups)

    def training(self, study: str) -> Patients:
        """Who is in a study."""
        return frozenset[bytes]().union(*(unpacked(group.patients) for group in self.groups if study in group.studies))

    def reserve(self, study: str, digest: str, mechanism: Mechanism, *, rounds: int, training: Patients) -> "Budget":
        """Rule 2; a study that is opened anew, amended or not, keeps what it was charged.

        Args:
            study: its name.
            digest: of the study as it is opened.
            mechanism: what one round costs.
            rounds: the highest round that may be asked for.
            training: who trains.
        """
        before = self.accounts.get(study) or Account(study_digest=digest, mechanism=mechanism, reserved=0)
        account = before.model_copy(
            update={
                "study_digest": digest,
                "mechanism": mechanism,
                "reserved": max(rounds - before.last_round, 0),
                "open": True,
            }
        )
        return self._with(study, account, groups=_joined(self.groups, study, training))

    def charge(self, study: str, number: int) -> "Budget":
        """Rule 3, for round `number` of an open study."""
        account = self.accounts[study]
        passed = max(number - account.last_round, 0)  # 0 of a round that begins again
        account = account.model_copy(
            update={
                "reserved": max(account.reserved - passed, 0),
                "charged": account.charged + 1,
                "last_round": max(account.last_round, number),
            }
        )
        return self._with(study, account, groups=(_charged(group, study, account.mechanism) for group in self.groups))

    def give_back(self, study: str) -> "Budget":
        """Rule 4."""
        account = self.accounts[study]
        returned = {"reserved": 0, "returned": account.returned + account.reserved, "open": False}
        return self._with(study, account.model_copy(update=returned), groups=_joined(self.groups, study, frozenset()))

    def pasts(self, study: str | None = None) -> dict[History, int]:
        """What was paid by and is reserved for patients, with how many they are; with `study`, those in it.

        Patients that are not known are not counted: their past is `everyone`.
        """
        found: dict[History, int] = defaultdict(int)
        for group in self.groups:
            if study is None or study in group.studies:
                found[self._whole(group)] += group.count
        return dict(found)

    def _whole(self, group: Group) -> History:
        accounts = (self.accounts[study] for study in group.studies)
        reserved = (times(account.mechanism, account.reserved) for account in accounts if account.reserved)
        return together([*self.everyone, *group.history, *reserved])

    def _with(self, study: str, account: Account, *, groups: Iterable[Group]) -> "Budget":
        update: Mapping[str, Any] = {"accounts": {**self.accounts, study: account}, "groups": tuple(groups)}
        return self.model_copy(update=update)


def times(mechanism: Mechanism, rounds: int) -> Mechanism:
    """So many rounds of a mechanism."""
    return mechanism.model_copy(update={"steps": mechanism.steps * rounds})


def together(mechanisms: Iterable[Mechanism]) -> History:
    """The mechanisms as one history, in one form whatever their order: what they cost adds up all the same."""
    steps: dict[Mechanism, int] = defaultdict(int)
    for mechanism in mechanisms:
        steps[mechanism.model_copy(update={"steps": 1})] += mechanism.steps
    kinds = sorted(steps, key=lambda kind: (kind.noise_multiplier, kind.sampling_rate, kind.images_per_patient))
    return tuple(kind.model_copy(update={"steps": steps[kind]}) for kind in kinds)


def _charged(group: Group, study: str, mechanism: Mechanism) -> Group:
    if study not in group.studies:
        return group
    return group.model_copy(update={"history": together([*group.history, mechanism])})


def _joined(groups: Iterable[Group], study: str, training: Patients) -> tuple[Group, ...]:
    """The groups once these patients, and no others, are in the study."""
    split: dict[tuple[History, tuple[str, ...]], set[bytes]] = defaultdict(set)
    new = set(training)
    for group in groups:
        mine, others = unpacked(group.patients), tuple(name for name in group.studies if name != study)
        new -= mine
        split[group.history, tuple(sorted((*others, study)))] |= mine & training
        split[group.history, others] |= mine - training
    split[(), (study,)] |= new
    return tuple(
        Group(history=history, studies=studies, patients=packed(patients))
        for (history, studies), patients in split.items()
        if patients
    )


def packed(patients: Iterable[bytes]) -> bytes:
    """Keyed hashes, sorted and joined."""
    return b"".join(sorted(patients))


def unpacked(patients: bytes) -> Patients:
    """What `packed` joined.

    Raises:
        ValueError: the bytes are no whole number of keyed hashes.
    """
    if len(patients) % KEYED_BYTES:
        raise ValueError("not a whole number of keyed hashes")
    return frozenset(patients[start : start + KEYED_BYTES] for start in range(0, len(patients), KEYED_BYTES))
