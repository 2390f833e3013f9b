"""Links that are slower than loopback, on one machine. Whatever is measured through them says so.

`link_condition` is what a link is like, `trace` how that changes over time, `shaped_link` the arithmetic of when
bytes arrive, `relay` the TCP relay that keeps to it, `relay_process` the process it runs in.
"""
