"""What hospital IT types; each module holds one word of `wardround site`, and `predict`."""
