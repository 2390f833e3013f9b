"""Running segments with ONNX Runtime, the one inference engine of all tiers. Nothing else imports onnxruntime."""
