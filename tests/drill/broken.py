"""How the drill ends when something is not as it should be."""


class Broken(Exception):
    """One sentence: what did not happen, or what could not be done."""
