"""What a release is made of: the lock with hashes, the bundle for machines without a network, its contents list."""
