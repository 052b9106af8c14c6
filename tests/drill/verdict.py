"""Whether the drill kept what was promised: each aim that was missed, in one sentence."""

from collections.abc import Iterator, Mapping
from typing import Any

SITE_COMMANDS = 5
REVOKED_CUT_S = 25.0
MACHINES = {"server", "ward-b"}
RENEWED = {"server", "ward-a"}


def missed(found: Mapping[str, Any], *, port: int) -> Iterator[str]:
    """The aims that `found` misses; what was not found out is missed.

    Args:
        found: the drill's answer.
        port: the one TCP port that the firewall lets out.
    """
    aims = {
        f"A site needs more than {SITE_COMMANDS} commands.": 0 < found.get("site_commands", 0) <= SITE_COMMANDS,
        "No round was committed.": found.get("first_round_s") is not None,
        "Not every certificate was renewed in the midst of the study.": set(found.get("renewed_mid_study", ()))
        == RENEWED,
        "Not every machine that lost its power came back.": set(found.get("killed_and_restarted", ())) == MACHINES,
        f"A revoked site was not cut off within {REVOKED_CUT_S:.0f} s.": found.get("revoked_cut_s", REVOKED_CUT_S + 1)
        <= REVOKED_CUT_S,
        "A study was lost.": found.get("studies", 0) > 0 and found.get("studies_lost") == 0,
        "Rounds were lost or committed twice.": found.get("rounds_in_order") is True,
        f"The hospitals asked for another port than {port}.": found.get("outbound_ports") == [port],
        "Something that is neither TCP nor UDP was sent.": found.get("neither_tcp_nor_udp") == 0,
        "What crossed the firewall is not what docs/network-matrix.md says.": found.get("as_in_network_matrix") is True,
        "A machine listens on a port that nobody was told of.": _listens_only_at(found.get("listening", {}), port),
        "A site's ledger names another wheel than the one that was built.": found.get("from_wheel") is True,
        "Something was left behind.": sum(found.get("left", {"?": 1}).values()) == 0,
    }
    return (sentence for sentence, kept in aims.items() if not kept)


def _listens_only_at(listening: Mapping[str, list[int]], port: int) -> bool:
    return bool(listening) and all(
        ports == ([port] if name == "server" else []) for name, ports in listening.items()
    )  # fmt: skip
