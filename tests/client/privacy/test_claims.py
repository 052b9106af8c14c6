"""What is said of a site's past costs its patients no less than may be true, and no more than was reserved."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_federation import answer, wardround
from lone_site import LoneSite
from private_site import ONE, TWO, backed_up, kept, open_study, private, private_site, reconciled, restored, train

from client.privacy.claims import open_claims
from client.privacy.dismissal import dismiss
from client.privacy.lost_tail import declared_losses
from client.privacy.reservations import give_back
from client.receipts import keep_receipts
from shared.errors import ConfigError, Refusal, WireCode
from shared.heads import Head, Held
from shared.ledger import read_entries

INVENTED = Head(n=99, hash="9" * 64)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    yield from private_site(tmp_path)


def held(site: LoneSite, head: Head = INVENTED) -> Held:
    return site.coordinator.held(head)


def charged(site: LoneSite, study: str = "lungs") -> int:
    return kept(site).budget.accounts[study].charged


# ------------------------------------------------------------ how much is charged


def test_no_word_of_the_coordinator_lowers_what_a_lost_end_is_charged(site: LoneSite, tmp_path: Path) -> None:
    backup = backed_up(site, tmp_path)
    for number in (1, 2, 3):
        train(site, number)
    newest = held(site, site.answers[-1].ledger)
    restored(site, backup)
    train(site, 1, heads=newest)
    assert site.refused() == [WireCode.FOREIGN_HEAD]
    reconciled(site)
    assert charged(site) == 5


@pytest.mark.parametrize("done", ["given back", "reconciled"])
def test_what_was_given_up_before_the_loss_was_found_out_is_charged_all_the_same(
    site: LoneSite, tmp_path: Path, done: str
) -> None:
    train(site, 1)
    train(site, 2)
    backup = backed_up(site, tmp_path)
    train(site, 3)
    train(site, 4)
    open_study(site, private("hearts"), TWO)
    newest = held(site, site.answers[-1].ledger)
    restored(site, backup)
    if done == "given back":
        site.site.ledger.close()
        give_back(site.folder, "lungs", by="ada", now="2026-01-02T03:04:05Z")
    else:
        (site.folder / "budget.json").unlink()
        reconciled(site)
    site.start()
    open_study(site, private("hearts"), TWO)
    train(site, 1, heads=newest)
    assert site.refused()[-1] is WireCode.FOREIGN_HEAD
    reconciled(site)
    assert charged(site) == 5


def test_a_round_beyond_the_contract_is_refused_before_anything_of_its_message_is_believed(site: LoneSite) -> None:
    train(site, 2**31, heads=held(site))
    assert site.refused() == [WireCode.CONTRACT]
    train(site, 1)
    assert site.answers[-1].type == "ready"


@pytest.mark.parametrize("counted", [3, 2**31])
def test_a_count_of_a_round_that_is_not_over_is_refused_and_not_believed(site: LoneSite, counted: int) -> None:
    train(site, 3, counted=counted)
    assert site.refused() == [WireCode.CONTRACT]
    train(site, 3)
    assert site.answers[-1].type == "ready"


@pytest.mark.parametrize("by", ["close", "receipt"])
def test_nobodys_word_charges_more_than_was_ever_reserved(site: LoneSite, by: str) -> None:
    train(site, 1)
    site.site.ledger.close()
    give_back(site.folder, "lungs", by="ada", now="2026-01-02T03:04:05Z")  # so that nothing is reserved now
    site.start()
    if by == "close":
        site.tell(site.coordinator.close(2**31).model_copy(update={"heads": held(site)}))
        assert site.refused() == [WireCode.FOREIGN_HEAD]
    else:
        keep_receipts(site.folder, [site.coordinator.receipt(2**40)])
        (site.folder / "budget.json").unlink()
    reconciled(site)
    assert charged(site) == 5


@pytest.mark.parametrize("by", ["message", "receipt"])
def test_a_head_at_or_below_one_that_the_coordinator_has_receipted_revives_nothing(site: LoneSite, by: str) -> None:
    train(site, 1)
    genuine = site.answers[-1].ledger
    for n in (1, genuine.n):
        lie, receipt = Head(n=n, hash="9" * 64), site.coordinator.receipt(1, head=genuine)
        if by == "message":
            keep_receipts(site.folder, [receipt])
            train(site, 2, heads=held(site, lie))
            assert site.refused()[-1] is WireCode.FOREIGN_HEAD
        else:
            keep_receipts(site.folder, [site.coordinator.receipt(1, head=lie), receipt])
    site.start()
    assert open_claims(site.folder) == []
    train(site, 2)
    assert (site.answers[-1].type, reconciled(site)) == ("ready", None)


def test_a_receipt_of_another_study_hides_no_lost_end(site: LoneSite) -> None:
    """As when a restored ledger has grown beyond what was lost before the study speaks that knows of it."""
    train(site, 1)
    genuine = site.answers[-1].ledger
    keep_receipts(site.folder, [site.coordinator.receipt(1, head=genuine, study="hearts")])
    train(site, 2, heads=held(site, Head(n=genuine.n, hash="9" * 64)))
    assert [claim.study for claim in open_claims(site.folder)] == ["lungs"]


def test_a_head_of_no_entry_claims_nothing_and_nothing_is_broken_by_it(site: LoneSite) -> None:
    train(site, 1)
    none = Head(n=0, hash="9" * 64)
    train(site, 2, heads=held(site, none))
    keep_receipts(site.folder, [site.coordinator.receipt(1, head=none)])
    assert site.refused() == [WireCode.FOREIGN_HEAD]
    assert (open_claims(site.folder), reconciled(site)) == ([], None)


# ------------------------------------------------------------ what a loss covers


def test_a_head_of_an_end_that_was_declared_lost_vouches_for_no_entry(site: LoneSite, tmp_path: Path) -> None:
    backup = backed_up(site, tmp_path)
    for number in (1, 2):
        train(site, number)
    newest = held(site, site.answers[-1].ledger)
    restored(site, backup)
    train(site, 3, heads=newest)
    reconciled(site)
    open_study(site, private(rounds=5), ONE)
    train(site, 3, heads=newest)  # which stands for the old end
    assert newest.head is not None and site.entries("heads")[-1]["entry"] == newest.head.n
    while site.site.ledger.count <= newest.head.n:
        site.site.ledger.sign_head(time="2026-01-02T03:04:05Z")
    shutil.rmtree(tmp_path / "backup")
    keep_receipts(site.folder, [site.coordinator.receipt(3, head=INVENTED)])
    site.start()
    reconciled(site)
    first, second = declared_losses(site.folder / "ledger.jsonl")
    assert (first.since, second.since) == (0, 0)


# ------------------------------------------------------------ a lie, and who may say so


def dismissed(site: LoneSite, *more: str) -> list[dict[str, Any]]:
    site.site.ledger.close()
    config = ("--config", site.folder / "site.toml")
    said = answer("site", "budget", "reconcile", "--dismiss", "--by", "ada", "--reason", "we know", *more, *config)
    site.start()
    return list(said["dismissed"])


def test_a_head_that_a_person_dismissed_costs_nothing_and_stays_refused(site: LoneSite) -> None:
    train(site, 1)
    train(site, 2, heads=held(site))
    config = ("--config", site.folder / "site.toml")
    shown = wardround("site", "budget", "show", "--json", *config).stdout
    (claim,) = json.loads(shown)["data"]["claims"]
    remedies = [json.loads(shown)["error"]["remedy"], site.said[-1]]
    assert all("`wardround site budget reconcile --dismiss --reason WHY`, which charges nothing" in r for r in remedies)
    listed = " ".join(wardround("site", "budget", "show", *config).stdout.partition("claimed")[2].split())
    assert listed.startswith("this site's ledger had an entry 99 by round 2 of lungs")
    assert claim == {"study": "lungs", "round": 2, "entry": INVENTED.n, "hash": INVENTED.hash}
    assert dismissed(site, "--yes") == [claim]
    assert site.entries("claim_dismissed") == [claim | {"by": "ada", "why": "we know"}]
    assert list(read_entries(site.folder / "ledger.jsonl"))[-1].type == "head"
    train(site, 2, heads=held(site))  # said again
    assert site.refused() == [WireCode.FOREIGN_HEAD] * 2
    open_study(site, private("hearts"), TWO)
    train(site, 1)
    assert site.answers[-1].type == "ready"
    assert (charged(site), kept(site).budget.everyone) == (1, ())
    assert dismissed(site) == []


def test_a_dismissed_head_hides_no_other(site: LoneSite) -> None:
    train(site, 1, heads=held(site))
    dismissed(site, "--yes")
    train(site, 1, heads=held(site, Head(n=50, hash="5" * 64)))
    open_study(site, private("hearts"), TWO)
    assert site.refused() == [WireCode.FOREIGN_HEAD] * 2 + [WireCode.BUDGET_STALE]


def test_a_count_that_a_person_dismissed_costs_nothing_but_a_later_one_is_asked_about_again(site: LoneSite) -> None:
    train(site, 3, counted=2)
    assert site.refused() == [WireCode.BUDGET_STALE]
    assert [(one["round"], one["entry"]) for one in dismissed(site, "--yes")] == [(2, None)]
    train(site, 3, counted=2)
    assert (site.answers[-1].type, charged(site)) == ("ready", 1)
    train(site, 5, counted=4)
    assert site.refused() == [WireCode.BUDGET_STALE] * 2


def test_a_lie_in_a_receipt_can_be_dismissed_too(site: LoneSite) -> None:
    train(site, 1)
    keep_receipts(site.folder, [site.coordinator.receipt(1, head=INVENTED)])
    site.start()
    train(site, 2)
    assert site.refused() == [WireCode.BUDGET_STALE]
    assert len(dismissed(site, "--yes")) == 1
    train(site, 2)
    assert site.answers[-1].type == "ready"


def test_nobody_dismisses_what_a_restore_explains_or_without_a_word(site: LoneSite) -> None:
    file = site.folder / "budget.json"
    older = file.read_bytes()
    train(site, 1)
    train(site, 2, heads=held(site))
    site.site.ledger.close()
    words = ("site", "budget", "reconcile", "--dismiss", "--config", site.folder / "site.toml")
    assert wardround(*words).exit_code == ConfigError.exit_code
    asked = wardround(*words, "--reason", "we know")  # nobody is there to say yes
    assert (asked.exit_code != 0, "had an entry 99 by round 2 of lungs" in asked.stderr) == (True, True)
    newer = file.read_bytes()
    file.write_bytes(older)
    assert wardround(*words, "--reason", "we know", "--yes").exit_code == Refusal.exit_code
    file.write_bytes(newer)
    assert site.entries("claim_dismissed") == []


def test_nobody_dismisses_what_was_claimed_since_they_looked(site: LoneSite) -> None:
    train(site, 1, heads=held(site))
    shown = open_claims(site.folder)
    train(site, 1, heads=held(site, Head(n=120, hash="1" * 64)))
    site.site.ledger.close()
    said = {"by": "ada", "why": "we know", "now": "2026-01-02T03:04:05Z"}
    with pytest.raises(ConfigError, match="something else than was shown"):
        dismiss(site.folder, shown, **said)
    assert (site.entries("claim_dismissed"), len(open_claims(site.folder))) == ([], 1)
    dismiss(site.folder, open_claims(site.folder), **said)
    assert [entry["entry"] for entry in site.entries("claim_dismissed")] == [120]


def test_a_crash_before_the_claims_are_forgotten_dismisses_them_all_the_same(site: LoneSite) -> None:
    train(site, 1, heads=held(site))
    noted = (site.folder / "claims.json").read_bytes()
    dismissed(site, "--yes")
    (site.folder / "claims.json").write_bytes(noted)
    site.start()
    train(site, 1)
    assert site.answers[-1].type == "ready"
