"""How the server moves the global model, once per round; the arithmetic is `server/optimizers.py`'s."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from shared.section import Section

_SERVER_DEFAULTS: dict[str, dict[str, float]] = {
    "fedavg": {"learning_rate": 1.0},
    "fedavgm": {"learning_rate": 1.0, "momentum": 0.9},  # Hsu, Qi and Brown 2019
    "fedadam": {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3},  # Reddi et al. 2021, and
    "fedyogi": {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3},  # rates as in Flower
    "fedadagrad": {"learning_rate": 0.1, "tau": 1e-3},
}


class ServerSpec(Section):
    """How the server moves the global model along the sites' mean change, once per round.

    A key that is not given has its optimizer's own default; one that does not belong to the optimizer
    is refused, and stays None.
    """

    optimizer: Literal["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"] = "fedavg"
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    beta_1: Annotated[float, Field(ge=0, lt=1)] | None = None
    beta_2: Annotated[float, Field(ge=0, lt=1)] | None = None
    tau: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        name = given.get("optimizer", "fedavg") if isinstance(given, dict) else None
        if not isinstance(name, str) or name not in _SERVER_DEFAULTS:
            return given  # for the fields to refuse
        return _SERVER_DEFAULTS[name] | {key: value for key, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _keys_belong(self) -> Self:
        known = _SERVER_DEFAULTS[self.optimizer]
        if foreign := self.model_dump(exclude={"optimizer"}, exclude_none=True).keys() - known.keys():
            raise ValueError(f"{self.optimizer} takes {', '.join(known)}; it has no {', '.join(sorted(foreign))}")
        return self
