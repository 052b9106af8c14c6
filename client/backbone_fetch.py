"""A study's frozen backbone comes when the study is opened, once, and goes when no study here needs it.

What lies in the folder, and under which name, is `client/backbones.py`'s matter.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from client.backbones import FOLDER, Backbones
from client.intake import check_backbone
from client.site import Site
from shared.errors import Refusal, TrustError, WireCode
from shared.remarks import remark
from shared.study import Study
from shared.wire import Open

if TYPE_CHECKING:
    from client.link import Parcel


def fetch_backbone(site: Site, parcel: "Parcel", message: Open) -> None:
    """Fetch the frozen backbone of a study that is opened, unless it lies here already.

    Raises:
        Refusal: the policy has no room for it, or it is not the one that the study pins.
        LinkError: the line is down.
        DiskFull: there is no room for it.
    """
    backbone, held = message.study.backbone, Backbones(site.folder)
    if backbone is None or not backbone.frozen:
        return
    if (here := held.find(backbone.sha256)) is not None:
        check_backbone(here, found=backbone.sha256, digest=backbone.sha256)
        return
    policy, size = site.settings.policy, message.payload_bytes
    if size > policy.backbone_bytes_at_most:
        raise policy.refusal("backbone_bytes_at_most", f"the study's backbone has {size:,} bytes")
    with held.arriving(backbone.sha256) as part:
        try:
            found = site.link.fetch(parcel, part, limit=size)
        except TrustError:
            raise Refusal(WireCode.MODEL_UNSOUND) from None
        check_backbone(part, found=found, digest=backbone.sha256)
    came = "The backbone of {study} has come; it lies in the site's {folder}/ while a study needs it."
    site.say(remark(came, study=message.study.name, folder=FOLDER))


def forget_backbones(site: Site, opening: Iterable[Study]) -> None:
    """Remove those that no study needs: of studies that are over here, and of openings that came to nothing.

    Args:
        opening: studies that are about to be opened.
    """
    needed = {study.backbone.sha256 for study in opening if study.backbone is not None}
    for sha256 in Backbones(site.folder).forget(site.studies.backbones(site.now()) | needed):
        gone = "The backbone {digest} is of no study here; it was removed from {folder}/."
        site.say(remark(gone, digest=sha256[:12], folder=FOLDER))
