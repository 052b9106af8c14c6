"""A released model on the hospital's own images, and what is written beside its answers."""
