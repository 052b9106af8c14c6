"""Merkle trees as in RFC 6962, section 2.1: many leaves under one root, and the proof that one is among them.

A leaf is hashed behind the byte 0, two subtrees behind the byte 1, so that no leaf can pass for a subtree; the
left subtree of n leaves has the largest power of two below n. What the leaves say is for the callers.
"""

import hashlib
from collections.abc import Sequence


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256 of one leaf, 32 bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaves in their order, 32 bytes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    left = _left(len(leaves))
    return _node(root_of(leaves[:left]), root_of(leaves[left:]))


def path_of(leaves: Sequence[bytes], place: int) -> list[bytes]:
    """The hashes beside the way from the leaf at a place, counted from 0, up to the root.

    Raises:
        ValueError: there is no leaf at that place.
    """
    if not 0 <= place < len(leaves):
        raise ValueError("there is no leaf at that place")
    return paths_of(leaves)[1][place]


def paths_of(leaves: Sequence[bytes]) -> tuple[bytes, list[list[bytes]]]:
    """The root over leaves, and the way from each of them as `path_of` gives it; each subtree is hashed once."""
    if len(leaves) < 2:
        return root_of(leaves), [[] for _ in leaves]
    at = _left(len(leaves))
    (left, lefts), (right, rights) = paths_of(leaves[:at]), paths_of(leaves[at:])
    return _node(left, right), [*([*path, right] for path in lefts), *([*path, left] for path in rights)]


def root_along(leaf: bytes, path: Sequence[bytes], *, place: int, leaves: int) -> bytes | None:
    """The root to which a path leads from a leaf (RFC 9162, section 2.1.3.2); None if no such tree has that path.

    Args:
        leaf: what stands at the place.
        path: as `path_of` gives it.
        place: of the leaf, from 0.
        leaves: how many there are in all.
    """
    if not 0 <= place < leaves:
        return None
    at, last, found = place, leaves - 1, leaf_hash(leaf)
    for beside in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = _node(beside, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = _node(found, beside)
        at, last = at >> 1, last >> 1
    return found if last == 0 else None


def _left(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
