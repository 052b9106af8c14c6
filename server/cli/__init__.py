"""The coordinator's commands; each module holds one word of `wardround`."""
