"""Writes a message for Slack, as HTML for mail, and as plain text."""

from __future__ import annotations

from typing import Any

from detector.notify import inert
from detector.notify.message import Message

PICTURE = "anomaly.png"


def plain(message: Message) -> str:
    """Return all but the title as plain text, for services that show no more than that.

    Where to look comes first.
    """
    parts = ["\n".join(f"{name}: {address}" for name, address in message.links[:1])]
    for heading, lines in message.sections:
        parts.append("\n".join(([f"{heading}:"] if heading else []) + list(lines)))
    parts.append("\n".join(f"{name}: {address}" for name, address in message.links[1:]))
    return "\n\n".join(filter(None, parts))


def html(message: Message) -> str:
    """Return the message as HTML for mail; the picture is referred to by its name."""
    e = inert.markup
    out = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{e(message.title)}</title></head>"
        '<body style="font-family: sans-serif; font-size: 14px; color: #1a1a1a">'
        f'<div style="border-left: 5px solid {message.colour}; padding-left: 12px; '
        'overflow-wrap: anywhere; max-width: 820px">'
        f'<p style="font-size: 16px"><strong>{e(message.title)}</strong></p>'
    ]
    links = " &nbsp; ".join(f'<a href="{e(to)}">{e(name)}</a>' for name, to in message.links)
    if links:
        out.append(f"<p>Look: {links}</p>")
    for position, (heading, lines) in enumerate(message.sections):
        if heading:
            out.append(f"<p><strong>{e(heading)}</strong></p>")
            out.append("<ul>" + "".join(f"<li>{e(text)}</li>" for text in lines) + "</ul>")
        else:
            out.extend(f"<p>{e(text)}</p>" for text in lines)
        if position == 0 and message.picture:
            out.append(
                f'<p><img src="cid:{PICTURE}" width="800" alt="The series, its normal band '
                'and the anomaly"></p>'
            )
    # Apprise makes the plain part of this, in which an address is only what can be read.
    out.append('<div style="font-size: 11px; color: #6a6a6a">')
    out.extend(f"{e(name)}: {e(address)}<br>" for name, address in message.links)
    out.append("</div></div></body></html>")
    return "\n".join(out)


def slack(message: Message) -> dict[str, Any]:
    """Return the message as Slack's JSON.

    Everything but the title is rich text, in which nothing has a meaning but its own elements;
    the title is what a notification shows.
    """

    def text(words: str, **style: bool) -> dict[str, Any]:
        return {"type": "text", "text": words} | ({"style": style} if style else {})

    links: list[dict[str, Any]] = [text("Look: ")]
    for name, address in message.links:
        links += [{"type": "link", "url": address, "text": name}, text("   ")]
    elements: list[dict[str, Any]] = []
    if message.links:
        links[-1] = text("\n")
        elements.append({"type": "rich_text_section", "elements": links})
    for heading, lines in message.sections:
        body = [text(f"{heading}\n", bold=True)] if heading else []
        body.append(text("\n".join(f"• {one}" if heading else one for one in lines) + "\n"))
        elements.append({"type": "rich_text_section", "elements": body})
    title = inert.slack(message.title)
    return {
        "text": title,
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "attachments": [
            {
                "color": message.colour,
                "fallback": title,
                "blocks": [{"type": "rich_text", "elements": elements}],
            }
        ],
    }
