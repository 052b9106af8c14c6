"""What a study asks of a site in one round: how it trains, and for how long. How it is done is `client/train.py`'s."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.section import Section

LONGEST_TRAINING_S = 86400  # of a round's work by time
STEPS_BOUND = 1_000_000  # optimiser steps that a site may take in one round


class TrainingSpec(Section):
    """The site's local work in one round. Exactly one of epochs, steps and seconds is given.

    `steps_per_round = 0` asks the sites only to score the model and send it back unchanged. With
    `seconds_per_round` a site takes as many steps as fit into so many seconds of its own clock, at least
    one: what the sites take differs, and a repeated round would take others.
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
