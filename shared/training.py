"""What a study asks of a site in one round: how it trains, and for how long. How, `client/work/train.py` says."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from shared.section import Section

LONGEST_TRAINING_S = 86400  # of a round's work by time
STEPS_BOUND = 1_000_000  # optimiser steps that a site may take in one round


class TrainingSpec(Section):
    """The site's local work in one round. Exactly one of epochs, steps and seconds is given.

    `steps_per_round = 0` asks the sites only to score the model and send it back unchanged. With
    `seconds_per_round` a site takes as many steps as fit into so many seconds of its own clock, at least
    one: what the sites take differs, and a repeated round would take others.

    `weighted` and `class_balanced` go by the classes of the site's own training images, so that no count leaves.
    `focal_gamma` is that of the focal loss and is 2 without being given. `mixup` is the alpha of the Beta
    distribution from which the shares of two mixed images are drawn; 0 mixes none. With `cosine` the learning
    rate falls from round to round, see `at`.
    """

    algorithm: Literal["fedavg", "fedprox", "fednova", "fedbn", "scaffold"] = "fedavg"
    proximal_mu: Annotated[float, Field(ge=0, le=10)] = 0.0
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    epochs_per_round: Annotated[int, Field(ge=1, le=1000)] | None = None
    steps_per_round: Annotated[int, Field(ge=0, le=STEPS_BOUND)] | None = None
    seconds_per_round: Annotated[float, Field(gt=0, le=LONGEST_TRAINING_S)] | None = None
    amp: bool = False
    loss: Literal["cross_entropy", "weighted", "focal"] = "cross_entropy"
    focal_gamma: Annotated[float, Field(gt=0, le=10)] | None = None
    sampling: Literal["uniform", "class_balanced"] = "uniform"
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"

    @model_validator(mode="before")
    @classmethod
    def _with_gamma(cls, given: Any) -> Any:
        focal = isinstance(given, dict) and given.get("loss") == "focal" and given.get("focal_gamma") is None
        return given | {"focal_gamma": 2.0} if focal else given  # Lin et al. 2017

    @model_validator(mode="after")
    def _loss_fits(self) -> Self:
        if self.loss != "focal" and self.focal_gamma is not None:
            raise ValueError("focal_gamma goes with loss = focal, and only with it")
        if self.loss == "weighted" and self.sampling == "class_balanced":
            raise ValueError("loss = weighted and sampling = class_balanced both make up for rarity; take one of them")
        return self

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        lengths = (self.epochs_per_round, self.steps_per_round, self.seconds_per_round)
        if sum(length is not None for length in lengths) != 1:
            raise ValueError("give one of epochs_per_round, steps_per_round and seconds_per_round")
        if (self.algorithm == "fedprox") != (self.proximal_mu > 0):
            raise ValueError("proximal_mu > 0 goes with algorithm = fedprox, and only with it")
        return self

    @model_validator(mode="after")
    def _optimizer_fits(self) -> Self:
        if self.algorithm == "fednova" and self.optimizer != "sgd":
            raise ValueError("fednova goes with optimizer = sgd: how far adam and adamw go in a step is not known")
        if self.algorithm == "scaffold" and (self.optimizer != "sgd" or self.momentum):
            raise ValueError("scaffold goes with optimizer = sgd and momentum = 0: it takes the change for a gradient")
        if self.algorithm == "scaffold" and self.seconds_per_round is not None:
            raise ValueError("scaffold does not go with seconds_per_round: it expects as many steps of every site")
        return self

    def at(self, number: int, *, of: int) -> Self:
        """What is asked in one of `of` rounds, counted from 1: the same, at that round's learning rate.

        `cosine` falls from `learning_rate` in the first round along half a cosine, towards 0 after the last one
        (Loshchilov and Hutter 2017, without restarts).
        """
        if self.schedule == "constant":
            return self
        share = (1 + math.cos(math.pi * (min(number, of) - 1) / of)) / 2
        return self.model_copy(update={"learning_rate": self.learning_rate * share})
