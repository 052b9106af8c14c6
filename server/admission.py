"""Admission: which update counts in a round, and why another does not.

An update is admitted if, in this order:

 1. replay           its site has not counted in this round, nor with the same bytes in an earlier one;
 2. negative_count   its counts are not negative, nor above what the site declared when the study
                     opened and what its steps per round allow;
 3. oversize         the file is no larger than the tensor table allows;
 4. digest           the file has the bytes and the SHA-256 that the site signed;
 5. malformed        the file is a sound safetensors buffer without free text;
 6. missing_key      it holds every tensor of the table,
 7. extra_key        no other,
 8. dtype            each in the table's dtype
 9. shape            and shape;
10. not_finite       every number is finite;
11. out_of_range     every change lies within +-2**22 (the bound of the fold's fixed point) and every
                     integer in [0, 2**40];
12. norm             the L2 norm of all its changes is at most `norm_factor` times the median admitted
                     norm of the last three rounds (no bound before the first); for late work, if that
                     is larger, of its own round and the two before (`server/lateness.py`).

Cheap rules come first and the first that fails is the primary reason; of rules 6 to 9 all that fail
are told. Nothing of a file is looked at before rule 3, nothing of its data before rule 10. The data
is read once, run by run, so memory does not grow with the model.

That an update is its site's answer to this owner, round and model was found when the answer was read
(`server/reception.py`). Admission remembers nothing: what counted earlier comes in as `Expected`.
Whether two updates are the same delivery twice, the order of commit, and how a refusal is told are left
to the rounds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from server.claim import AdmissionReason, Admitted, Claim, Declared, Expected, Refused
from server.norms import Measured, measure
from shared.errors import TrustError
from shared.training import STEPS_BOUND, TrainingSpec
from shared.update import PackedFile, Tensors, payload_limit

__all__ = ["Admission", "AdmissionReason", "Admitted", "Claim", "Declared", "Expected", "Refused"]


class Admission:
    """The rules of one study.

    Args:
        tensors: the table that every update must have.
        norm_factor: see rule 12.
        training: bounds the steps a site may claim; None if the study does not train.
        alike: every site weighs as if it had one example, because a private study says no counts.
        digest_of: SHA-256 (hex) of an update on disk; the spool has found it already while writing.
    """

    def __init__(
        self,
        tensors: Tensors,
        *,
        norm_factor: float,
        training: TrainingSpec | None = None,
        alike: bool = False,
        digest_of: Callable[[Path], str],
    ) -> None:
        if norm_factor <= 1:
            raise ValueError("norm_factor must be above 1")
        self._tensors = tensors
        self._norm_factor = norm_factor
        self._training = training
        self._alike = alike
        self._digest_of = digest_of

    def admit(self, claim: Claim, path: Path, expected: Expected) -> Admitted:
        """Check one update by the module's rules.

        Args:
            claim: what the update says about itself.
            path: the packed update on disk.
            expected: what the round awaits.

        Raises:
            Refused: a rule does not hold.
        """
        case = _Case(claim, path, expected, self._tensors, self._norm_factor, self._training, self._digest_of)
        for group in _RULES:
            broken = [rule for rule in group if not rule.holds(case)]
            if broken:
                raise Refused(*(rule.reason for rule in broken), detail="; ".join(rule.detail for rule in broken))
        return Admitted(
            site=claim.site,
            examples=1 if self._alike else claim.examples,
            steps=claim.steps,
            norm=case.measured.norm,
            update_digest=claim.update_digest,
            packed=case.packed,
        )


@dataclass(frozen=True)
class _Case:
    """One update under examination; what is costly is found when a rule first asks, and once."""

    claim: Claim
    path: Path
    expected: Expected
    tensors: Tensors
    norm_factor: float
    training: TrainingSpec | None
    digest_of: Callable[[Path], str]

    @cached_property
    def packed(self) -> PackedFile:
        return PackedFile(self.path)

    @cached_property
    def table(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {t.name: (t.dtype, t.shape) for t in self.tensors}

    @cached_property
    def measured(self) -> Measured:
        return measure(self.packed)


# ------------------------------------------------------------------ the rules, numbered as in the module's head


def _first_time(case: _Case) -> bool:  # 1
    earlier = (case.expected.seen or {}).get(case.claim.site, frozenset())
    return case.claim.site not in case.expected.admitted and case.claim.update_digest not in earlier


def _counts_plausible(case: _Case) -> bool:  # 2
    claim, declared = case.claim, case.expected.declared.get(case.claim.site)
    return declared is not None and (
        0 <= claim.examples <= declared.examples
        and 0 <= claim.patients <= declared.patients
        and 0 <= claim.steps <= _most_steps(case.training, declared.examples)
    )


def _most_steps(training: TrainingSpec | None, examples: int) -> int:
    """Optimizer steps that one round can take at a site; a last batch that is not full counts."""
    if training is None:
        return 0
    if training.steps_per_round is not None:
        return training.steps_per_round
    if training.seconds_per_round is not None:
        return STEPS_BOUND  # how fast a site is, nobody else knows
    return (training.epochs_per_round or 0) * math.ceil(examples / training.batch_size)


def _within_size(case: _Case) -> bool:  # 3
    return case.path.stat().st_size <= payload_limit(case.tensors)


def _as_signed(case: _Case) -> bool:  # 4
    return (case.path.stat().st_size, case.digest_of(case.path)) == (case.claim.update_bytes, case.claim.update_digest)


def _well_formed(case: _Case) -> bool:  # 5
    try:
        return not case.packed.annotated
    except TrustError:
        return False


def _no_key_missing(case: _Case) -> bool:  # 6
    return case.table.keys() <= case.packed.declared().keys()


def _no_key_extra(case: _Case) -> bool:  # 7
    return case.packed.declared().keys() <= case.table.keys()


def _dtypes_fit(case: _Case) -> bool:  # 8
    return all(case.table.get(name, (dtype,))[0] == dtype for name, (dtype, _) in case.packed.declared().items())


def _shapes_fit(case: _Case) -> bool:  # 9
    return all(case.table.get(name, ("", shape))[1] == shape for name, (_, shape) in case.packed.declared().items())


def _all_finite(case: _Case) -> bool:  # 10
    return case.measured.finite


def _all_in_range(case: _Case) -> bool:  # 11
    return case.measured.in_range


def _norm_in_bound(case: _Case) -> bool:  # 12
    return case.measured.norm <= case.expected.norms.bound(case.norm_factor)


@dataclass(frozen=True)
class _Rule:
    reason: AdmissionReason
    holds: Callable[[_Case], bool]
    detail: str


_RULES: tuple[tuple[_Rule, ...], ...] = (
    (_Rule(AdmissionReason.REPLAY, _first_time, "the site or these bytes have already counted"),),
    (_Rule(AdmissionReason.NEGATIVE_COUNT, _counts_plausible, "its counts are negative or above what was declared"),),
    (_Rule(AdmissionReason.OVERSIZE, _within_size, "it is larger than the tensor table allows"),),
    (_Rule(AdmissionReason.DIGEST, _as_signed, "its bytes are not those that the site signed"),),
    (_Rule(AdmissionReason.MALFORMED, _well_formed, "it is not a plain safetensors buffer"),),
    (
        _Rule(AdmissionReason.MISSING_KEY, _no_key_missing, "a tensor of the model is missing"),
        _Rule(AdmissionReason.EXTRA_KEY, _no_key_extra, "it holds a tensor that the model has not"),
        _Rule(AdmissionReason.DTYPE, _dtypes_fit, "a tensor has another dtype than the model's"),
        _Rule(AdmissionReason.SHAPE, _shapes_fit, "a tensor has another shape than the model's"),
    ),
    (_Rule(AdmissionReason.NOT_FINITE, _all_finite, "it holds NaN or infinity"),),
    (_Rule(AdmissionReason.OUT_OF_RANGE, _all_in_range, "it holds a value that the fold cannot represent"),),
    (_Rule(AdmissionReason.NORM, _norm_in_bound, "its norm is above the bound"),),
)
