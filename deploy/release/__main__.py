"""`python -m deploy.release`: what `make lock` and `make bundle` call."""

from deploy.release.command import main

main()
