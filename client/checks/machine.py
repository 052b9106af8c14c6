"""What the machine has: processors, memory, and the disks that the site writes to."""

import os
import shutil
from pathlib import Path

import psutil

from client.checks.grounds import Grounds
from client.imaging.memory import memory_bytes
from client.retention import standing, standing_in_words
from shared.contract import contract_of
from shared.disks import encrypted, write_speed
from shared.preflight import Finding, fix, passed, warn

GB = 1e9
FREE_BYTES, WELL_FREE_BYTES = 1e9, 10e9  # beneath the first nothing goes on, beneath the second not for long
MODELS = 4  # of two rounds, the incoming model and the update
SLOW_BYTES_PER_S = 20e6
MEMORY_BYTES, FREE_MEMORY_BYTES = 8e9, 2e9
SHARED_BYTES = 64 << 20
_SHARED = Path("/dev/shm")  # noqa: S108  its size is looked at


def look_at_processors(grounds: Grounds) -> Finding:
    """How many processors may this account use, and does site.toml ask for more?"""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = grounds.settings.compute.threads
    if threads > cores:
        return warn(
            f"{cores} processors, and compute.threads = {threads}.",
            "Lower compute.threads: more threads than processors make each step slower.",
            cores=cores,
        )
    return passed(f"{cores} processors.", cores=cores)


def look_at_memory(grounds: Grounds) -> Finding:
    """How much memory is there, and how much is free?"""
    whole, free = memory_bytes(), min(psutil.virtual_memory().available, memory_bytes())
    facts = {"bytes": whole, "free_bytes": free}
    what = f"{whole / GB:.1f} GB, of which {free / GB:.1f} GB are free."
    if free < FREE_MEMORY_BYTES:
        return fix(what, "End other programs: the worker takes 2 GB before it has seen an image.", **facts)
    if whole < MEMORY_BYTES:
        return warn(what, "Have 8 GB or more; with less, decoding takes fewer images at once.", **facts)
    return passed(what, **facts)


def look_at_shared_memory(grounds: Grounds) -> Finding:
    """Is there a /dev/shm that libraries of the worker can use?"""
    if not _SHARED.is_dir():
        return passed("This system has no /dev/shm; nothing here needs one.")
    free = shutil.disk_usage(_SHARED).free
    what = f"{free / 2**20:.0f} MiB are free in /dev/shm."
    if free < SHARED_BYTES:
        return warn(what, "Start the container with --shm-size=256m, or empty it.", free_bytes=free)
    return passed(what, free_bytes=free)


def look_at_disk(grounds: Grounds) -> Finding:
    """Is there room where cache and spool lie, and how fast is it written?"""
    needed, said, slow = FREE_BYTES, [], False
    if grounds.study is not None:
        whole = contract_of(grounds.study, grounds.tensors, site=grounds.invitation.site).payload_bytes
        needed += MODELS * whole
    facts: dict[str, float] = {}
    for place in grounds.disks():
        free = shutil.disk_usage(place).free
        if free < needed:
            return fix(
                f"{free / GB:.2f} GB are free under {place}; {needed / GB:.1f} GB are needed at least.",
                "Make room, or put the site's folder on another disk; decoded images need more, as `site data` counts.",
                free_bytes=free,
            )
        speed = write_speed(place)
        facts |= {"free_bytes": min(free, facts.get("free_bytes", free)), "write_bytes_per_s": round(speed)}
        slow |= speed < SLOW_BYTES_PER_S
        said.append(f"{free / GB:.0f} GB are free under {place}; {speed / 1e6:.0f} MB/s are written.")
    what = " ".join(said)
    if facts["free_bytes"] < WELL_FREE_BYTES:
        return warn(what, "Make more room: decoded images of a few thousand exams take tens of GB.", **facts)
    if slow:
        return warn(what, "Put the site's folder on a local disk: each round waits for it.", **facts)
    return passed(what, **facts)


def look_at_retention(grounds: Grounds) -> Finding:
    """What do spool and cache take, and how long does that stay?"""
    found = standing(grounds.folder, grounds.settings.disk)
    return passed(" ".join(f"{name}: {words}." for name, words in standing_in_words(found).items()), **found)


def look_at_encryption(grounds: Grounds) -> Finding:
    """Is the disk encrypted, on which decoded images and keys lie?"""
    found = [encrypted(place) for place in grounds.disks()]
    if all(found):
        return passed("The disk is encrypted (dm-crypt).", encrypted=True)
    if None in found:
        return warn(
            "Unknown: this machine does not see whether the disk is encrypted.",
            "Ask who runs the disk, the container's host or the storage; keys and decoded images lie on it.",
            encrypted=None,
        )
    return warn(
        "The disk is not encrypted, as far as this machine sees.",
        "Put the site's folder on an encrypted volume (LUKS): keys and decoded images lie on it.",
        encrypted=False,
    )
