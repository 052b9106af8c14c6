"""Whether the disk under a study has room for it to go on: decided by who starts it, and told by who explains."""

import shutil

from server.launch import START_MODEL
from server.study_folder import StudyFolder

ROOM_MODELS, ROOM_BYTES = 4, 1 << 20


def has_room(folder: StudyFolder) -> bool:
    """Whether the disk under a study takes the models and the journal of one more round; updates need more.

    Raises:
        OSError: the disk, or the study's start model, cannot be looked at.
    """
    model = (folder.path / START_MODEL).stat().st_size
    return shutil.disk_usage(folder.path).free >= ROOM_MODELS * model + ROOM_BYTES
