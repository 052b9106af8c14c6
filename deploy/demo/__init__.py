"""`wardround demo`: a whole federation on this machine, its study, and the honest comparison."""
