"""Which numbers are read, and what is said of those that are not."""

import pytest

from shared.address import Address, Stage
from shared.errors import ProtocolError
from shared.protocol import OLDEST, PROTOCOL, insist_on_readable
from shared.version import VERSION
from shared.wire import Close, decode_to_site, encode

CLOSE = Close(address=Address(study="lungs", epoch=1, round=1, attempt=1, stage=Stage.CLOSE), reason="finished")


@pytest.mark.parametrize("number", range(OLDEST, PROTOCOL + 1))
def test_every_number_from_the_oldest_on_is_read_with_any_message(number: int) -> None:
    """A version that gives the oldest up writes higher numbers than it would need; this one has to read them."""
    insist_on_readable(number, sender="0.0.1")
    assert decode_to_site(encode(CLOSE.model_copy(update={"protocol": number}))).protocol == number


@pytest.mark.parametrize("version", ["0.0.1", "0.9.0", "12.0.0"])
def test_another_version_of_a_protocol_that_is_read_is_no_matter(version: str) -> None:
    assert decode_to_site(encode(CLOSE.model_copy(update={"version": version}))).version == version


@pytest.mark.parametrize(
    ("number", "whose"),
    [
        (PROTOCOL + 1, "Upgrade Wardround on this side, as docs/upgrade.md says."),
        (OLDEST - 1, "Have Wardround upgraded on the other side, as docs/upgrade.md says."),
    ],
)
def test_another_number_names_both_sides_and_who_has_to_upgrade(number: int, whose: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_to_site(encode(CLOSE.model_copy(update={"protocol": number, "version": "7.1.0"})))
    assert caught.value.what == (
        f"A message of protocol {number} has come from Wardround 7.1.0; "
        f"this is Wardround {VERSION}, which reads {OLDEST} to {PROTOCOL}."
    )
    assert caught.value.remedy == whose


@pytest.mark.parametrize("number", [None, "1", True, 1.0, [1], {"a": 1}, "\x1b[2J" * 9])
def test_what_is_no_number_is_shown_so_that_it_drives_no_terminal(number: object) -> None:
    with pytest.raises(ProtocolError) as caught:
        insist_on_readable(number, sender="\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}" * 9)
    assert caught.value.what.isprintable()
    assert caught.value.what.isascii()
