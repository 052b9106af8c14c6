"""`wardround audit report`: one page that a person can read, print and sign, of what a ledger shows and does not."""
