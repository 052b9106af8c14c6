"""Trees are hashed as in Certificate Transparency, whose test vectors these are, and a path proves one leaf alone."""

import pytest

from shared.merkle import leaf_hash, path_of, root_along, root_of

# Certificate Transparency's reference vectors: https://github.com/transparency-dev/merkle, rfc6962
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes(range(0x60, 0x70)))
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


@pytest.mark.parametrize("count", range(1, 9))
def test_roots_are_those_of_the_reference(count: int) -> None:
    assert root_of(LEAVES[:count]).hex() == ROOTS[count - 1]


def test_no_leaves_and_one_leaf() -> None:
    assert root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (root_of([b"a"]), path_of([b"a"], 0)) == (leaf_hash(b"a"), [])


@pytest.mark.parametrize("count", range(1, 20))
def test_every_path_leads_to_the_root_from_its_leaf_and_place_alone(count: int) -> None:
    leaves = [bytes([number]) for number in range(count)]
    root = root_of(leaves)
    for place, leaf in enumerate(leaves):
        path = path_of(leaves, place)
        assert root_along(leaf, path, place=place, leaves=count) == root
        assert root_along(b"other", path, place=place, leaves=count) != root
        wrong = [root_along(leaf, path, place=other, leaves=count) for other in range(count) if other != place]
        assert root not in wrong
        assert root_along(leaf, [*path, root], place=place, leaves=count) is None
        assert not path or root_along(leaf, path[:-1], place=place, leaves=count) is None
        assert not path or root_along(leaf, [path[0][::-1], *path[1:]], place=place, leaves=count) != root


@pytest.mark.parametrize("place", [-1, 3])
def test_there_is_no_path_from_nowhere(place: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        path_of([b"a", b"b", b"c"], place)
    assert root_along(b"a", [], place=place, leaves=3) is None
