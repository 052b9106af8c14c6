"""Two kinds of randomness, as two types that cannot stand in for each other.

`StudyRandom` is reproducible: anybody who knows the study can draw the same numbers. It shuffles,
augments and initialises. `PrivateRandom` comes from the operating system and can be derived from
nothing: it feeds noise, sampling that privacy rests on, and keys. Neither module nor type decides
what the numbers are used for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from shared.canonical import canonical, digest

if TYPE_CHECKING:
    import torch

_DOMAIN = "wardround-study-random-1"


class StudyRandom:
    """Reproducible randomness at one place of a study.

    The scope names the place, from the outside in: purpose, round, site, epoch, index. The same
    seed and scope give the same numbers on every machine; different scopes are independent
    (SHA-256 over the canonical scope keys a Philox counter; Salmon et al., SC 2011).

    Args:
        seed: the study's seed, 0 <= seed < 2**53.
        scope: words and whole numbers that name the place.

    Raises:
        ValueError: the seed or a part of the scope is not canonical JSON.
    """

    def __init__(self, seed: int, *scope: str | int) -> None:
        self.seed = seed
        self.scope = scope
        self._key = bytes.fromhex(digest(canonical([_DOMAIN, seed, *scope])))

    def child(self, *scope: str | int) -> StudyRandom:
        """The randomness of a place inside this one."""
        return StudyRandom(self.seed, *self.scope, *scope)

    def integer(self) -> int:
        """A whole number in 0..2**63-1 that stands for this place, for seeding other generators."""
        return int.from_bytes(self._key[16:24], "little") >> 1

    def generator(self) -> np.random.Generator:
        """A fresh numpy generator; each call starts at the same first number."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self._key[:16], "little")))

    def torch_generator(self) -> torch.Generator:
        """A fresh torch generator on the CPU; each call starts at the same first number."""
        import torch

        return torch.Generator().manual_seed(self.integer())


class PrivateRandom:
    """Randomness that nobody else can know: the operating system's, never the study's."""

    def __init__(self) -> None:
        self._source: Callable[[int], bytes] = os.urandom

    @classmethod
    def seeded_for_tests(cls, seed: int) -> PrivateRandom:
        """Predictable numbers; for tests only, never in a running site."""
        private = cls()
        private._source = np.random.Generator(np.random.Philox(key=seed)).bytes
        return private

    def bytes(self, length: int) -> bytes:
        """`length` bytes; fit for keys."""
        return self._source(length)

    def generator(self) -> np.random.Generator:
        """A numpy generator under a fresh 256-bit seed; a new one at each call."""
        return np.random.Generator(np.random.PCG64DXSM(int.from_bytes(self._source(32), "little")))
