"""`python -m tercet.cli`: the `tercet` command without its script."""

from tercet.cli.main import main

main()
