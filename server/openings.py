"""Openings that outlive their round.

Whoever comes to a study late opens it in a round. A buffered round may be over before a site can open, and the
next one, too: the answer is awaited on, or the site would never take part.
"""

from collections.abc import Mapping

from server.reception import Question
from shared.address import Stage
from shared.schedule import RoundsSpec


def lasting(asked: Mapping[str, Question], *, stage: Stage, rounds: RoundsSpec) -> dict[str, Question]:
    """By message, the questions of a stage that is over whose answers are awaited in the next one."""
    if rounds.buffer is None or stage is Stage.CLOSE:
        return {}
    return {message_id: question for message_id, question in asked.items() if question.address.stage is Stage.OPEN}


def is_opening(site: str, asked: Mapping[str, Question]) -> bool:
    """Whether a site's word on the study is awaited."""
    return any(question.site == site and question.address.stage is Stage.OPEN for question in asked.values())
