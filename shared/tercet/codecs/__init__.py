"""How a boundary tensor is coded for a link: one interface (`codec`), one file a codec, one list (`registry`)."""

from tercet.codecs.codec import Codec, EncodedTensor
from tercet.codecs.registry import codec_names, parse_codec

__all__ = ["Codec", "EncodedTensor", "codec_names", "parse_codec"]
