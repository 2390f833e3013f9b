"""The `tercet` command: finds its subcommands through entry points, turns errors into one line and a status."""
