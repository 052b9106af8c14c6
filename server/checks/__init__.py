"""The checks of `wardround federation check`, by what they look at; `registry.py` has their order."""
