"""Running segments with ONNX Runtime, the one inference engine of all tiers. Nothing else imports onnxruntime."""

import os

# ONNX Runtime's wheel would keep a device id and a database of its use in the user's cache folder, and may send
# them; it reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
