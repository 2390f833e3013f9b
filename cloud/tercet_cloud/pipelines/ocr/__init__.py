"""Reading text in photos, as `pipelines/ocr.yaml` puts it on the tiers.

    device   frame_content                   is there anything in the picture?
    edge     page → text map (network) → text_boxes → lines → orientation (network) → upright lines
    cloud    line tensors → characters (network), once a line → transcript

`networks` joins the pure parts to the networks, `steps` gives all of it to pipelines, `reader` runs it in one
process. The networks are PP-OCR's, and so are the numbers that fit them (sizes, thresholds, how far a box grows):
the result equals that of the package rapidocr, which the tests compare with.
"""
