"""The entries that a site's ledger is known to hold, with their fields.

Whatever else an entry says is kept and counts towards its hash; an auditor is told of it, for this
version cannot say what it means.
"""

from collections.abc import Iterator

from shared.chain import CUT, HEAD, Entry

FIELDS = {"v", "n", "prev", "time", "type", "data"}
_STUDY = {"study", "study_digest"}
_AGREED = {"contract", "cohort", "expires"}
_MECHANISM = {"noise_multiplier", "sampling_rate", "images_per_patient", "steps"}
_LIFETIME = {"lifetime_epsilon", "lifetime_delta", "budget_mark"}
KNOWN: dict[str, set[str]] = {
    HEAD: {"signer", "signature"},
    CUT: {"bytes"},
    "approval": {*_STUDY, *_AGREED, "verdict", "person", "decided", "reason"},
    "contract": {
        *_STUDY,
        *_AGREED,
        *("code", "wheel", "floors", "original_digest", "own_models", "coordinator"),
        *("approved_by", "person", "decided", "private", "leaves"),
    },
    "cohort_manifest": {*_STUDY, "manifest"},
    "image_list_shown": {*_STUDY, "file_digest", "by", "shown"},
    "pull_began": {"source", "query", "query_digest", "began"},
    "pull_ended": {
        *("source", "query_digest", "began", "ended", "end"),
        *("exams", "instances", "pulled", "bytes", "already_there", "failed"),
    },
    "store_consent": {"model", "destination", "person", "given", "until"},
    "store_consent_withdrawn": {"model", "person", "given"},
    "result_sent": {"model", "kind", "instance", "bytes", "destination", "sent"},
    "result_stored": {"model", "kind", "instance", "bytes", "destination", "stored"},
    "waiting_line_damaged": {"bytes", "digest"},
    "budget_reserved": {*_STUDY, *_MECHANISM, *_LIFETIME, "rounds", "last_round"},
    "privacy_spent": {*_STUDY, *_MECHANISM, *_LIFETIME, "round", "clip_norm", "delta"},
    "budget_returned": {*_STUDY, *_MECHANISM, "rounds", "by", "budget_mark"},
    "patient_withdrawn": {"by", "mark"},
    "withdrawals_complete": {"by", "missing"},
    "budget_reconciled": {*_LIFETIME, "by", "why", "reason", "rounds", "charged"},
    "model_received": {"study", "round", "model_digest", "own_model_of", "moved"},
    "release": {
        *("study", "round", "stage", "kind", "bytes", "body_digest", "update_digest", "contract"),
        *("tells", "refusal", "replayed", "scored_model", "findings", "work_s", "travel_s", "survey"),
    },
    "release_again": {"study", "round", "stage", "refusal", "rule", "most"},
    "release_repeated": {"study", "round", "stage", "refusal", "rule", "count", "bytes"},
    "release_refused": {"study", "round", "stage", "rule", "update_digest"},
    "receipt": {
        *("site", "study", "round", "outcome", "update_digest", "model_digest"),
        *("head", "root", "time", "signature"),
    },
    "heads": {"study", "round", "root", "sites", "entry", "lost"},
    "traffic": {"study", "since", "bytes"},
    "tail_lost": {"since", "entry", "hash", "by", "why"},
    "claim_dismissed": {"study", "round", "entry", "hash", "by", "why"},
    "head_refused": {"study", "round", "rule", "entry", "hash", "more"},
    "study_closed": {"study", "reason"},
    "rehearsal": {"study", "study_digest", "contract"},
    "rehearsal_ended": {"study", "reason"},
    "message_discarded": {"code", "more"},
    "worker_restarted": {"during"},
    "site_paused": {"by", "since", "reason"},
    "site_resumed": {"by", "since", "resumed"},
    "site_left": {"by", "since", "reason"},
    "study_purged": {*_STUDY, "by", "bytes"},
    "software": {"version", "code", "wheel", "packages"},
    "keys": {"fingerprint", "coordinator_fingerprint", "ca_certificate"},
    "admission_taken": {"number", "host", "port", "authorities"},
    "mandate_followed": {"number", "mandate", "issued", "lead", "fingerprint", "others"},
    "mandate_refused": {"code", "mandates", "more"},
    "tls_inspection": {"accepted", "authorities", "ca_certificate"},
}


def unknown_in(entry: Entry) -> Iterator[str]:
    """What of an entry this version does not know: its type, or fields of it."""
    fields = KNOWN.get(entry.type)
    if fields is None:
        yield f"type {entry.type}"
    for name in entry.fields.keys() - FIELDS:
        yield f"{name} in {entry.type}"
    for name in entry.data.keys() - fields if fields is not None else ():
        yield f"data.{name} in {entry.type}"
