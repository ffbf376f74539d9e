"""Makes text from outside inert: one line, bounded, without a meaning of its own where it goes."""

from __future__ import annotations

import html
import re
from urllib.parse import urlsplit

# Line breaks, control characters, and what turns the direction of writing or hides letters.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$])")
# A line break too many and a word too long: what a label value may take of a message.
LINE = 300


def line(text: str, most: int = LINE) -> str:
    r"""Return a text as one line of at most `most` characters.

    Examples
    --------
    >>> line("a\nForged: b\u202e"), line("x" * 9, 5)
    ('a Forged: b', 'xxxx…')
    """
    flat = " ".join(_UNSEEN.sub(" ", text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def slack(text: str) -> str:
    """Return a text for the places where Slack reads ``<...>`` and ``&``.

    Examples
    --------
    >>> slack("<!channel> & co")
    '&lt;!channel&gt; &amp; co'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markup(text: str) -> str:
    """Return a text for HTML, attribute values included."""
    return html.escape(text, quote=True)


def markdown(text: str) -> str:
    """Return a text for Markdown: each character that could have a meaning is escaped.

    Examples
    --------
    >>> print(markdown("*x* [a](b)"))
    \\*x\\* \\[a\\]\\(b\\)
    """
    return _MARKDOWN.sub(r"\\\1", text)


def unmarked(text: str) -> str:
    r"""Return a text in which no service finds a tag, a link with a name, or anyone to call.

    Services that take "text" may still read some markup of their own in it.

    Examples
    --------
    >>> unmarked("<!here> [a](b)")
    '‹!here› [a]\u200b(b)'
    """
    text = text.replace("<", "‹").replace(">", "›")
    return text.replace("@", "@\u200b").replace("](", "]\u200b(")


def link(url: str) -> str:
    """Return an address that may be clicked, empty when it is none.

    Examples
    --------
    >>> link("javascript:alert(1)"), link("http://h/d?a=b c|<x>")
    ('', 'http://h/d?a=b%20c%7C%3Cx%3E')
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or len(url) > 2_000:
        return ""
    return "".join(
        c
        if c.isascii() and c.isprintable() and c not in " <>|\"'\\^`{}"
        else "".join(f"%{b:02X}" for b in c.encode("utf-8", "ignore"))
        for c in url
    )
