"""Commands of ours as a person can type them: every name in them as a shell takes it."""

import shlex


def typed(*words: object) -> str:
    """A command of ours as it can be typed into a shell."""
    return shlex.join(["wardround", *map(str, words)])
