"""What every entry of a study's journal is built on."""

import re

from shared.section import Section


class Record(Section):
    """An entry of the journal."""

    @classmethod
    def entry_type(cls) -> str:
        """The entry's type: the class name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
