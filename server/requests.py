"""What the coordinator asks of a study that runs: to stop, or to pause.

Both are a file in the study's folder, so that they outlive any process. A stop ends the messages in hand
where they are, and the sites put the study away. A pause sends no further question, takes in what the
sites already work on, and leaves the study open at the sites.
"""

from server.rounds import Round
from server.study_folder import Request, StudyFolder
from shared.address import Stage


class StopAsked(Exception):
    """The coordinator asked to stop the study."""


class PauseAsked(Exception):
    """The coordinator asked to pause the study, and nothing is in hand."""


def heed(folder: StudyFolder, state: Round | None = None) -> bool:
    """Look for a request between two messages, or between two rounds (no `state`).

    Returns:
        Whether a pause waits for what is in hand: nobody may be asked anything more.

    Raises:
        StopAsked, PauseAsked: the study goes no further here.
    """
    if state is not None and state.stage is Stage.CLOSE:
        return False
    if folder.asked(Request.STOP):
        raise StopAsked
    if not folder.asked(Request.PAUSE):
        return False
    if state is None or not state.in_hand:
        raise PauseAsked
    return True
