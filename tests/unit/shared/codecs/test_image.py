"""Photos cross as files: png keeps every bit, and no file costs a receiver more than its tensor may."""

from __future__ import annotations

import struct
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from support.image_model import IMAGE, SIDE, normalised, put_image_model, random_pixels
from tercet.codecs import EncodedTensor, parse_codec, parse_spec
from tercet.codecs.codec import Float32Array
from tercet.cut_model import CutModel
from tercet.errors import (
    MissingExtraError,
    NotFoundError,
    SpecError,
    TensorContractError,
    TercetError,
    WireFormatError,
)
from tercet.models.card import ImageInput, ModelCard, TensorInput
from tercet.models.photos import preprocess
from tercet.models.store import Store
from tercet.plans import Deployment, LinkCodecs, Plan
from tercet.tiers import Tier

FLOAT32 = np.dtype(np.float32)
SPECS = ("jpeg:90", "webp:80", "png")


def encode(spec: str, array: Float32Array, image: ImageInput = IMAGE) -> EncodedTensor:
    return parse_codec(spec, image=image).encode(array)


def decode(spec: str, encoded: EncodedTensor, shape: tuple[int, ...]) -> Float32Array:
    """By a receiver that knows nothing of the model."""
    found = parse_codec(spec).decode(encoded, FLOAT32, shape)
    assert (found.dtype, found.shape) == (FLOAT32, shape)
    return found.view(np.float32)


def real_photos() -> list[Image.Image]:
    """Photos that scikit-image and scikit-learn bring along."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    arrays = [data.astronaut(), data.coffee(), data.chelsea(), *load_sample_images().images]
    return [Image.fromarray(array) for array in arrays]


@pytest.mark.parametrize(
    "mean_std", [((127, 127, 127), (128, 128, 128)), (IMAGE.mean, IMAGE.std), ((0.1,) * 3, (1 / 3,) * 3)]
)
def test_png_gives_back_every_bit_of_a_preprocessed_photo(mean_std: Any) -> None:
    spec = ImageInput(tensor="x", size=224, resize_shorter=256, mean=mean_std[0], std=mean_std[1])
    for photo in real_photos():
        array = preprocess(photo, spec)
        encoded = encode("png", array, spec)
        assert decode("png", encoded, array.shape).tobytes() == array.tobytes()
        assert encoded.size_bytes < array.nbytes / 4


def test_png_keeps_every_level_of_every_channel() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    array = normalised(pixels)
    assert decode("png", encode("png", array), array.shape).tobytes() == array.tobytes()


@pytest.mark.parametrize(("coarse", "fine"), [("jpeg:20", "jpeg:95"), ("webp:20", "webp:95")])
def test_a_higher_quality_costs_more_bytes_and_is_nearer(coarse: str, fine: str) -> None:
    array = preprocess(
        real_photos()[0], ImageInput(tensor="x", size=224, resize_shorter=256, mean=IMAGE.mean, std=IMAGE.std)
    )
    small, large = encode(coarse, array), encode(fine, array)
    errors = [
        np.abs(decode(spec, coded, array.shape) - array).mean() for spec, coded in ((coarse, small), (fine, large))
    ]
    assert small.size_bytes < large.size_bytes
    assert errors[0] > errors[1]
    assert errors[1] < 0.1


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_picture_of_a_batch_comes_back_in_its_place(spec: str, count: int) -> None:
    array = normalised(random_pixels(1, count))
    before = array.tobytes()
    array.flags.writeable = False
    found = decode(spec, encode(spec, array), array.shape)
    assert array.tobytes() == before
    assert np.abs(found - array).mean() < 0.15 if count else found.size == 0


@pytest.mark.parametrize("spec", SPECS)
def test_strides_do_not_matter(spec: str) -> None:
    array = normalised(random_pixels(2, 4))
    assert encode(spec, array[::2]).payload == encode(spec, np.ascontiguousarray(array[::2])).payload


@pytest.mark.parametrize("spec", ["jpeg:1", "jpeg:100", "webp:1", "webp:100", "png"])
def test_a_specification_is_its_own_spelling(spec: str) -> None:
    assert str(parse_spec(spec)) == parse_codec(spec).spec == spec


@pytest.mark.parametrize(
    "spec",
    [
        "jpeg",
        "jpeg:0",
        "jpeg:101",
        "jpeg:090",
        "jpeg:9.5",
        "jpeg:90:2",
        "webp",
        "webp:-1",
        "png:3",
        "jpeg:90+zstd",
        "top10%+png",
    ],
)
def test_an_impossible_specification_is_refused(spec: str) -> None:
    with pytest.raises(SpecError):
        parse_spec(spec)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 4, 8, 8)),
        np.zeros((3, 8, 8)),
        np.zeros((1, 3, 0, 8)),
        np.zeros((1, 3, 1, 8193)),
        normalised(np.zeros((1, 8, 8, 3), np.uint8)) - 0.02,
        normalised(np.full((1, 8, 8, 3), 255, np.uint8)) + 0.02,
        np.full((1, 3, 8, 8), np.nan),
        np.full((1, 3, 8, 8), np.inf),
    ],
    ids=["channels", "rank", "empty side", "long side", "too dark", "too bright", "nan", "inf"],
)
def test_what_is_no_photo_is_refused(array: Float32Array) -> None:
    with pytest.raises(TensorContractError):
        encode("png", array.astype(np.float32))


def test_without_an_image_input_nothing_is_coded() -> None:
    with pytest.raises(SpecError, match="no card with an image input"):
        parse_codec("png").encode(normalised(random_pixels(1)))


def test_without_pillow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode("png", normalised(random_pixels(1)))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="codec png needs Pillow: pip install"):
        decode("png", encoded, (1, 3, SIDE, SIDE))


# --- what a receiver refuses


def file_of(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def payload_of(*files: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(file)) + file for file in files)


PARAMETERS = encode("png", normalised(random_pixels(1))).parameters
PIXELS = random_pixels(5)[0]
ALPHA = np.dstack([PIXELS, PIXELS[:, :, 0]])
FILES = {"jpeg:90": "JPEG", "webp:80": "WEBP", "png": "PNG"}


def refuse(
    spec: str, payload: bytes, parameters: bytes = PARAMETERS, shape: tuple[int, ...] = (1, 3, SIDE, SIDE)
) -> str:
    with pytest.raises(WireFormatError) as caught:
        parse_codec(spec).decode(EncodedTensor(payload, parameters), FLOAT32, shape)
    return str(caught.value)


@pytest.mark.parametrize("spec", SPECS)
def test_a_plain_file_of_anybody_is_taken(spec: str) -> None:
    found = decode(spec, EncodedTensor(payload_of(file_of(PIXELS, FILES[spec])), PARAMETERS), (1, 3, SIDE, SIDE))
    assert np.abs(found - normalised(PIXELS[None])).mean() < 0.2


@pytest.mark.parametrize("spec", SPECS)
def test_a_picture_of_another_size_is_refused_before_it_is_decoded(spec: str) -> None:
    assert "a picture of 24×23" in refuse(spec, payload_of(file_of(PIXELS[:23], FILES[spec])))


@pytest.mark.parametrize("spec", SPECS)
def test_only_the_announced_format_is_opened(spec: str) -> None:
    for kind in {"JPEG", "WEBP", "PNG", "GIF", "BMP", "TIFF"} - {FILES[spec]}:
        refuse(spec, payload_of(file_of(PIXELS, kind)))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("pixels", [PIXELS[:, :, 0], ALPHA], ids=["grey", "alpha"])
def test_other_modes_are_refused(spec: str, pixels: np.ndarray) -> None:
    if spec == "jpeg:90" and pixels.ndim == 3:
        file = BytesIO()
        Image.fromarray(pixels, "RGBA").convert("CMYK").save(file, "JPEG")
        refuse(spec, payload_of(file.getvalue()))
    elif spec != "webp:80" or pixels.ndim == 3:
        refuse(spec, payload_of(file_of(pixels, FILES[spec])))


def test_files_that_take_more_time_or_memory_than_they_show_are_refused() -> None:
    jpeg = file_of(PIXELS, "JPEG")
    assert "not a baseline" in refuse("jpeg:90", payload_of(file_of(PIXELS, "JPEG", progressive=True)))
    scan = jpeg.index(b"\xff\xda")
    assert "several scans" in refuse("jpeg:90", payload_of(jpeg[:-2] + jpeg[scan:]))
    frames = [Image.fromarray(random_pixels(seed)[0]) for seed in (1, 2)]
    for spec, options in (("png", {}), ("webp:80", {"minimize_size": False})):
        file = BytesIO()
        frames[0].save(file, FILES[spec], save_all=True, append_images=frames[1:], **options)
        refuse(spec, payload_of(file.getvalue()))
    assert "not one lossy" in refuse("webp:80", payload_of(file_of(PIXELS, "WEBP", lossless=True)))


def test_a_header_that_claims_a_huge_picture_is_refused_by_its_claim() -> None:
    png = bytearray(file_of(PIXELS, "PNG"))
    png[16:24] = struct.pack(">II", 60000, 60000)
    assert "60000×60000" in refuse("png", payload_of(bytes(png)))
    jpeg = bytearray(file_of(PIXELS, "JPEG"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = struct.pack(">HH", 65000, 65000)
    assert "65000×65000" in refuse("jpeg:90", payload_of(bytes(jpeg)))


@pytest.mark.parametrize("spec", SPECS)
def test_a_truncated_file_is_refused(spec: str) -> None:
    whole = file_of(PIXELS, FILES[spec])
    # The last bytes of a file may be an end mark or padding without which the picture is complete.
    for kept in range(0, len(whole) - 24, 7):
        refuse(spec, payload_of(whole[:kept]))


@pytest.mark.parametrize("spec", SPECS)
def test_lengths_are_claims(spec: str) -> None:
    file = file_of(PIXELS, FILES[spec])
    payload = payload_of(file)
    for wrong in (
        b"",
        payload[:3],
        payload[:-1],
        payload + b"\0",
        payload + payload,
        struct.pack("<I", 2**32 - 1) + file,
    ):
        refuse(spec, wrong)
    refuse(spec, payload + bytes(1 << 20))


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        PARAMETERS[:-4],
        PARAMETERS + bytes(4),
        np.array([0, 0, 0, 1, 1, 0], "<f4").tobytes(),
        np.array([0, 0, 0, 1, 1, -1], "<f4").tobytes(),
        np.array([np.nan, 0, 0, 1, 1, 1], "<f4").tobytes(),
        np.array([0, 0, 0, 1, np.inf, 1], "<f4").tobytes(),
    ],
)
def test_impossible_parameters_are_refused(parameters: bytes) -> None:
    refuse("png", payload_of(file_of(PIXELS, "PNG")), parameters)


@pytest.mark.parametrize("shape", [(), (3, 8, 8), (1, 1, 8, 8), (1, 3, 0, 8), (1, 3, 9000, 1)])
def test_a_shape_that_is_no_photo_is_refused(shape: tuple[int, ...]) -> None:
    refuse("png", payload_of(file_of(PIXELS, "PNG")), shape=shape)


@pytest.mark.parametrize("spec", SPECS)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_gives_a_photo_or_an_error_of_ours(spec: str, place: int, value: int) -> None:
    payload = bytearray(payload_of(file_of(PIXELS, FILES[spec])))
    payload[place % len(payload)] = value
    try:
        found = parse_codec(spec).decode(EncodedTensor(bytes(payload), PARAMETERS), FLOAT32, (1, 3, SIDE, SIDE))
    except TercetError:
        return
    assert found.shape == (1, 3, SIDE, SIDE)
    assert np.isfinite(found).all()


# --- which plans may have image codecs


def deployment(store: Store, **plan: Any) -> Deployment:
    return Deployment(model=put_image_model(store).ref, plans=(Plan(id="photo", **plan),))


def open_on(store: Store, deployed: Deployment, tier: Tier) -> CutModel:
    model = CutModel.open(deployed, store, threads=1, providers=("CPUExecutionProvider",))
    model.load_for(tier)
    return model


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (
            {"device_until": 1, "edge_until": 2, "codecs": LinkCodecs(device_edge="jpeg:90")},
            "boundary 1 crosses there",
        ),
        ({"device_until": 0, "edge_until": 1, "codecs": LinkCodecs(edge_cloud="png")}, "on the edge_cloud link"),
    ],
)
def test_photos_cross_only_where_boundary_0_does(tmp_path: Path, plan: dict[str, Any], says: str) -> None:
    store = Store(tmp_path)
    with pytest.raises(SpecError, match=says):
        open_on(store, deployment(store, **plan), Tier.CLOUD)


def test_the_card_must_speak_of_photos(tmp_path: Path) -> None:
    store = Store(tmp_path)
    deployed = deployment(
        store, device_until=0, edge_until=0, codecs=LinkCodecs(device_edge="png", edge_cloud="png")
    )
    assert open_on(store, deployed, Tier.DEVICE).codecs.image == IMAGE
    card = store.card("thumbnails")
    other = ModelCard.model_validate({**card.model_dump(), "input": TensorInput().model_dump()})
    store.add_model(other, store.model_bytes(card))
    with pytest.raises(SpecError, match="the card of thumbnails says that it takes tensors"):
        open_on(store, deployed, Tier.DEVICE)


def test_only_the_sender_needs_the_card(tmp_path: Path) -> None:
    store = Store(tmp_path)
    deployed = deployment(store, device_until=0, edge_until=1, codecs=LinkCodecs(device_edge="png"))
    (tmp_path / "models" / "thumbnails" / "model.yaml").unlink()
    for tier in (Tier.EDGE, Tier.CLOUD):
        assert open_on(store, deployed, tier).codecs.image is None
    with pytest.raises(NotFoundError, match="the card of thumbnails is not in this device's store"):
        open_on(store, deployed, Tier.DEVICE)


def test_an_edge_that_makes_pictures_of_raw_input_needs_the_card(tmp_path: Path) -> None:
    store = Store(tmp_path)
    deployed = deployment(store, device_until=0, edge_until=0, codecs=LinkCodecs(edge_cloud="png"))
    assert open_on(store, deployed, Tier.EDGE).codecs.image == IMAGE
    (tmp_path / "models" / "thumbnails" / "model.yaml").unlink()
    with pytest.raises(NotFoundError, match="the card of thumbnails is not in this edge's store"):
        open_on(store, deployed, Tier.EDGE)


def test_only_who_decodes_needs_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    cuts: list[tuple[Tier, dict[str, Any]]] = [
        (Tier.EDGE, {"edge_until": 1, "codecs": LinkCodecs(device_edge="png")}),
        (Tier.EDGE, {"edge_until": 0, "codecs": LinkCodecs(device_edge="png")}),
        (Tier.EDGE, {"edge_until": 0, "codecs": LinkCodecs(edge_cloud="png")}),
        (Tier.CLOUD, {"edge_until": 0, "codecs": LinkCodecs(edge_cloud="png")}),
    ]
    passing = deployment(
        store, device_until=0, edge_until=0, codecs=LinkCodecs(device_edge="png", edge_cloud="png")
    )
    photo_on_the_first_link = deployment(store, device_until=0, edge_until=0, codecs=LinkCodecs(device_edge="png"))
    monkeypatch.setitem(sys.modules, "PIL", None)
    open_on(store, passing, Tier.EDGE)
    open_on(store, photo_on_the_first_link, Tier.CLOUD)
    for tier, plan in cuts:
        with pytest.raises(MissingExtraError, match="Pillow"):
            open_on(store, deployment(store, device_until=0, **plan), tier)
