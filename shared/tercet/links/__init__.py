"""What device and edge share of their MQTT connection. Needs aiomqtt (extras device and edge)."""
