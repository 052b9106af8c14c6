"""`wardround audit`: ledgers checked offline, from exported files and public keys, by who trusts no party."""
