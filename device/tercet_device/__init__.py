"""The device agent: source → head segment → publish → answer."""
