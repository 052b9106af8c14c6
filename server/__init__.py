"""The coordinator's house: rounds, admission, the fold, the journal."""
