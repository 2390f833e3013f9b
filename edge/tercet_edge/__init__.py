"""The edge node: broker, middle segments, uplink to the cloud."""
