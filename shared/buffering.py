"""What goes with buffered rounds (`rounds.buffer`), in the words that a study's author reads.

How such a round closes is `server/rounds.py`'s, how stale work moves the model `server/aggregate.py`'s.
"""


def buffer_fault(
    buffer: int | None, *, late: str, grace_s: float | None, quorum: int, sample: float | None
) -> str | None:
    """Why the other keys of `[rounds]` contradict a buffer; None if they do not."""
    if buffer is None:
        return None
    if late == "drop":
        return "buffer goes with late = next: with drop the work of every slow site would be lost"
    if grace_s is not None:
        return "buffer does not go with grace_s: a round closes as soon as buffer sites counted"
    if quorum > buffer:
        return "quorum is larger than buffer: a round closes as soon as buffer sites counted"
    if sample is not None:
        return "buffer does not go with sample: a site that is not drawn could not give what it finished"
    return None


def study_fault(algorithm: str | None, *, compares: bool) -> str | None:
    """Why a study cannot be buffered; None if it can.

    Args:
        algorithm: how it trains, if it does.
        compares: whether it compares models (`[selection]`).
    """
    if algorithm == "fednova":
        return "rounds.buffer does not go with fednova, which compares the steps of all sites in a round"
    if compares:
        return (
            "rounds.buffer does not go with [selection]: late work has no scores, so the fast sites alone would judge"
        )
    return None
