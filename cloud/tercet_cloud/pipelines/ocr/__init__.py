"""Reading text in photos, as `pipelines/ocr.yaml` puts it on the tiers.

    device   frame_content                      is there anything in the picture?
    edge     page → text map (model) → text_boxes → lines → orientation (model) → upright lines
    cloud    line tensors → characters (model), once a line → transcript

Everything here is a plain function; `steps` gives them to pipelines, `reader` runs them in one process. The models
are PP-OCR's, and so are the numbers that fit them (sizes, thresholds, how far a box grows): the result equals that
of the package rapidocr, which the tests compare with.
"""
