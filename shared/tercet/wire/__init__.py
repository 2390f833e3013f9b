"""Bytes on the links: sealed frames and answers (`sealing`, `messages`) and MQTT topic names (`topics`)."""
