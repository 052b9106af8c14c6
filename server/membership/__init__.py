"""Who belongs to the federation: the authority, admissions, renewals, and their backup."""
