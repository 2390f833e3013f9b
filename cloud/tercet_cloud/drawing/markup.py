"""SVG and HTML elements as well-formed text.

Whatever is not `Markup` is escaped, so a name that a stranger chose cannot become an element. Characters that XML
forbids or that turn the direction of reading are replaced, and names are clipped: neither the page's form nor its
size is up to whoever named a tensor.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from html import escape

# Other, control, format, surrogate, unassigned and private characters.
_UNSHOWN = "C"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Attribute = str | float | None


class Markup(str):
    """Text that is already an element, or several."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: Attribute) -> Markup:
    """`<tag …>children</tag>`.

    `stroke_width=2` becomes `stroke-width="2"`, `class_` becomes `class`; None leaves an attribute out. Numbers
    keep one decimal.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = "".join(shown(child) for child in children)
    return Markup(f"<{tag}{written}>{inner}</{tag}>" if inner else f"<{tag}{written}/>")


def join(parts: Iterable[str]) -> Markup:
    return Markup("".join(shown(part) for part in parts))


def shown(text: str) -> Markup:
    """`text` escaped, if it is not `Markup`."""
    if isinstance(text, Markup):
        return text
    return Markup(escape("".join(map(_visible, text))))


def clip(name: str, length: int) -> str:
    """At most `length` characters of a name: its beginning and its end, which is what tells names apart."""
    if len(name) <= length:
        return name
    end = length // 2
    return f"{name[: length - end - 1]}…{name[-end:]}" if end else "…"


def _attribute(value: str | float) -> str:
    return shown(value) if isinstance(value, str) else short(value)


def short(number: float) -> str:
    """A pixel position: one decimal at most."""
    written = f"{number:.1f}".removesuffix(".0")
    return "0" if written == "-0" else written


def _visible(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else " " if character in "\t\n\r" else _REPLACEMENT
    return _REPLACEMENT if unicodedata.category(character).startswith(_UNSHOWN) else character


# Pictures.


def picture(width: float, height: float, label: str, *children: str, **attributes: Attribute) -> Markup:
    """An SVG picture; `label` is what a screen reader says of it."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {short(width)} {short(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
        **attributes,
    )


def line(x1: float, y1: float, x2: float, y2: float, **attributes: Attribute) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def box(x: float, y: float, width: float, height: float, *children: str, **attributes: Attribute) -> Markup:
    return element("rect", *children, x=x, y=y, width=width, height=height, **attributes)


def text(x: float, y: float, words: str, **attributes: Attribute) -> Markup:
    """Words with their base line at `y`; `text_anchor` is start, middle or end."""
    return element("text", words, x=x, y=y, **attributes)


def tooltip(words: str) -> Markup:
    """Shown when the pointer rests on the element it is the first child of."""
    return element("title", words)
