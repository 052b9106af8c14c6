"""What the line counted, written into the ledger when a study is put away, for an auditor to hold beside it.

The count is the link's own and knows nothing of the door: more bytes over the line than the ledger's releases
explain are bytes that did not pass the door.
"""

from client.site import Site


def write_traffic(site: Site, study: str) -> None:
    """Write down the bytes of answers since this process opened the ledger, where the line counts them."""
    traffic = site.link.traffic
    if traffic is not None:
        site.egress.settle()
        said = {"study": study, "since": site.ledger.began, "bytes": traffic.answers_up}
        site.ledger.append("traffic", said, time=site.now(), wait=False)
