"""The stock SuperLink as a child process, who may speak to it, and who keeps it up."""
