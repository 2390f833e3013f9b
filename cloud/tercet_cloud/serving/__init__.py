"""`tercet cloud run`: the last segments of every plan, served by Ray Serve behind gRPC."""
