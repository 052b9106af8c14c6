"""Writing the page beside its signature, and checking one that was handed over."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.text import Text

from deploy.audit.anchors import Anchor
from deploy.audit.keys import Signer
from deploy.audit.report.claims import claims, headline, report_failure
from deploy.audit.report.compared import Compared
from deploy.audit.report.dossier import compile_dossier
from deploy.audit.report.page import render
from deploy.audit.report.signature import AUDITOR, check_page, sign_page, signature_beside
from shared.chain import timestamp
from shared.console import Answer, printable
from shared.durable import write_atomically
from shared.errors import ConfigError
from shared.keys import KeysInTurn, fingerprint, identity_hex, load_identity_key
from shared.ledger import read_lines


def written_page(
    file: Path,
    signer: Signer,
    anchors: Sequence[Anchor],
    *,
    journals: Callable[[], Sequence[Compared]] = tuple,
    key: Path,
    to: Path,
    now: float,
) -> Answer:
    """Write the page and its signature.

    Args:
        file: the ledger.
        signer: whose it is.
        anchors: heads that others hold.
        journals: lays the coordinator's journals beside it.
        key: the private key that signs the page; the site's own signs in the site's name, any other as the auditor.
        to: the page; its signature lies beside it.
        now: Unix seconds.

    Raises:
        ConfigError: the page would be written over the ledger.
        TrustError: the private key cannot be used.
    """
    if to.resolve() == file.resolve():
        raise ConfigError("The page would be written over the ledger.", remedy="Name another file with --to.")
    private, made = load_identity_key(key, role="key that signs the page"), timestamp(now)
    public = identity_hex(private.public_key())
    theirs = signer.key.keys if isinstance(signer.key, KeysInTurn) else (signer.key,)
    by = signer.name if private.public_key() in theirs else AUDITOR
    dossier = compile_dossier(lambda: read_lines(file), signer, anchors, file=file.name, made=made, journals=journals)
    mark = fingerprint(public)
    page = render(dossier, signed_by=by, fingerprint=mark).encode()
    write_atomically(to, page)
    write_atomically(signature_beside(to), sign_page(page, key=private, signer=by, made=made))
    said = {
        "page": str(to),
        "signature": str(signature_beside(to)),
        "signed_by": by,
        "signer_key": public,
        "fingerprint": mark,
        "verdict": headline(dossier),
        "claims": [{"standing": claim.standing, "text": claim.text} for claim in claims(dossier)],
    }
    told = f"{headline(dossier)}\n\nPage       {to}\nSignature  {signature_beside(to)}\nSigned by  {by}, {mark}"
    return Answer(said, Text(printable(told)), report_failure(dossier))


def checked_page(page: Path, signer: Signer) -> Answer:
    """Say who signed a page and when.

    Raises:
        ConfigError: the page, or the signature beside it, is not there.
        TrustError: the signature does not hold for the page.
    """
    made = check_page(page, signer)
    said = {"page": str(page), "signed_by": signer.name, "fingerprint": signer.fingerprint, "made": made}
    told = f"{page.name} is the page that {signer.name} signed at {made}.\nFingerprint of the key: {signer.fingerprint}"
    return Answer(said, Text(printable(told)))
