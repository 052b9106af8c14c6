"""A decoding process whose files say what to do: a patient's name, or how to fail.

Run as `python loud_decoding.py FOLDER SECONDS BYTES`, as `client/imaging/decoding.py` is.
"""

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from client.imaging.decoding import serve
from client.imaging.form import Facts, Pixels


class Loud:
    """Facts from a file's text; pixels, unless the text asks for trouble, now or `late`."""

    def facts(self, data: bytes) -> Facts:
        word = data.decode()
        _obey(word)
        return Facts(patient=word, frames=3 if word.startswith("three") else 1)

    def pixels(self, data: bytes, frames: Sequence[int]) -> Iterator[Pixels]:
        for frame in frames:
            if frame:
                _obey(data.decode().removeprefix("three late "))
            _obey(data.decode().removeprefix("late "))
            yield np.full((2, 2), frame, dtype=np.uint16)


def _obey(word: str) -> None:
    match word:
        case "raise":
            warnings.warn("Planted^Name", stacklevel=1)
            logging.getLogger("loud").error("Planted^Name")
            print("Planted^Name", flush=True)
            print("Planted^Name", file=sys.stderr, flush=True)
            raise RecursionError("Planted^Name")
        case "crash":
            os.abort()
        case "hang":
            time.sleep(600)
        case "spin":
            while True:
                pass
        case "toil":
            end = time.process_time() + 1.5
            while time.process_time() < end:
                pass
        case "grow":
            bytearray(2**36)
        case "write":
            Path(sys.argv[1], "written").write_text("x")
        case "lie":
            os.write(REPLIES, b'{"shape":[70000,70000]}\n')
        case "babble":
            os.write(REPLIES, bytes(2**17))


if __name__ == "__main__":
    folder, seconds, memory = sys.argv[1:]
    REPLIES = os.dup(1)
    serve(Loud(), Path(folder), seconds=int(seconds), memory_bytes=int(memory))
