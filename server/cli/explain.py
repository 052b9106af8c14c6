"""What a study's rounds mean for the sites, in plain words."""

from shared.study import RoundsSpec, TrainingSpec


def explain_rounds(rounds: RoundsSpec) -> list[str]:
    """How long a round waits for whom, and what becomes of those who come too late."""
    lines = []
    if rounds.sample is not None:
        who = f"{rounds.sample:.0%} of the sites" if rounds.sample < 1 else f"{rounds.sample} sites"
        lines.append(f"Each round asks {who} alone, drawn anew from the seed; the closing trip asks all of them.")
    if rounds.grace_s is not None:
        lines.append(
            f"Once {rounds.quorum} counted, the round waits {rounds.grace_s:g} s more for the others;"
            " whoever is still at work then is late, and is told so."
        )
    if rounds.late == "next":
        half = 2**-rounds.staleness_exponent
        lines.append(
            "Work that is late counts once in the next round, in the place of new work: one round late,"
            f" it weighs {half:.0%} of its examples, and less the later it is."
        )
    return lines


def explain_length(training: TrainingSpec) -> str:
    """How much a site does in one round."""
    if training.seconds_per_round is not None:
        return f"as many steps as fit into {training.seconds_per_round:g} s of its own clock (and says how many)"
    if training.epochs_per_round:
        return f"{training.epochs_per_round} epoch(s)"
    return f"{training.steps_per_round} step(s)"
