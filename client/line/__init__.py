"""The line to the server: by which way, who speaks on it, and what becomes of a message on its way."""
