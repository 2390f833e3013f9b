"""Links that are slower than loopback, on one machine. Whatever is measured through them says so."""
