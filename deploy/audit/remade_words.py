"""What came of making a study's models again, in words: for 80 columns and for programs."""

from typing import Any

from deploy.audit.remade import Remade
from shared.errors import TrustError

NOT_ASKED = "no --study folder was given"
NOT_KEPT = "updates were not kept (rounds.keep_updates)"


def models_data(remade: Remade | None) -> dict[str, Any]:
    """For a program; None where nobody gave the study's folder."""
    rounds = remade.rounds if remade else ()
    return {
        "models": [
            {"round": one.round, "bit_identical": one.outcome == "identical" if one.outcome != "not_kept" else None}
            | ({"why": one.why} if one.why else {})
            for one in rounds
        ],
        "final_model_recomputed": remade.final if remade else None,
        "not_covered": [f"the models were not made again: {why}"] if (why := not_covered(remade)) else [],
    }


def not_covered(remade: Remade | None) -> str:
    """Why no model was made again, or not the final one; empty if it was."""
    if remade is None:
        return NOT_ASKED
    if not remade.kept:
        missing = next(one.round for one in remade.rounds if one.outcome == "not_kept")
        return NOT_KEPT if missing == 1 else f"from round {missing} on no update was kept"
    return "" if remade.final is not None else "the study has no final model, or its file is not in the folder"


def models_line(remade: Remade | None) -> str:
    """One line of a page."""
    if remade is None or not remade.kept:
        return f"not made again: {not_covered(remade)}"
    if (fault := remade.fault) is not None:
        return f"round {fault.round}: {fault.why}"
    final = "; the final model is one of them" if remade.final else ""
    final = f";\n{remade.astray}" if remade.astray else final
    return f"{len(remade.rounds)} made again from the kept updates,\nbit for bit as the journal says{final}"


def models_failure(remade: Remade | None) -> TrustError | None:
    """Why the answer is no, if it is."""
    if remade is None:
        return None
    if (fault := remade.fault) is not None:
        return TrustError(
            f"The model of round {fault.round} does not follow from what was kept: {fault.why}.",
            remedy="Ask the coordinator for the folder as it was; until then no later model of the study is explained.",
        )
    if remade.astray:
        return TrustError(
            f"The study's models follow from the updates, the final one does not: {remade.astray}.",
            remedy="Ask the coordinator which model was given out as the study's; it is none of those made again.",
        )
    return None
