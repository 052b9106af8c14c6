"""A site's head is proven to be under the root of all, by its name, number and hash."""

import pytest

from shared.heads import Head, Held, held_for, root_over

HEADS = {site: Head(n=n, hash=f"{n:064x}") for n, site in enumerate(("west", "north", "east", "south", "mid"), 3)}


def test_the_root_is_that_of_the_documented_vector() -> None:
    """docs/ledger-format.md shows the same."""
    heads = {"north": Head(n=3, hash="e2c488a857e917cb439fb8469cf443d45fca12b1d526d820db581a9db3a54fa9")}
    assert root_over(heads) == "6e0f0d735c6cf2c6799ca6154642bee33259eaf041fb2107de8e44141a3ef7e5"
    assert (
        root_over(heads | {"south": Head(n=7, hash="7" * 64)})
        == "a2c69fbc5554ed4550489b9b879e6a02fa69ecdd8d2778367d2938078f4e2493"
    )


@pytest.mark.parametrize("site", HEADS)
def test_each_site_finds_its_own_head_and_no_other(site: str) -> None:
    held = held_for(site, HEADS)
    assert (held.head, held.sites, held.proves(site)) == (HEADS[site], 5, True)
    assert not any(held.proves(other) for other in HEADS if other != site)
    for change in ({"n": 99}, {"hash": "f" * 64}):
        assert not held.model_copy(update={"head": HEADS[site].model_copy(update=change)}).proves(site)
    assert not held.model_copy(update={"root": "f" * 64}).proves(site)
    assert not held.model_copy(update={"path": held.path[:-1]}).proves(site)


def test_the_order_in_which_heads_were_heard_does_not_matter() -> None:
    assert root_over(HEADS) == root_over(dict(sorted(HEADS.items())))


def test_of_a_site_without_a_head_the_root_alone_is_said() -> None:
    held = held_for("nowhere", HEADS)
    assert held == Held(root=root_over(HEADS), sites=5)
    assert not held.proves("nowhere")
