"""Sends to Slack: as an app, which updates its messages and adds pictures, or by a webhook.

Apprise does both too, but cannot update a message and hides how long Slack asks to wait.
"""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import urlsplit

import httpx

from detector.errors import ConfigError
from detector.notify.message import Message
from detector.notify.sender import DeliveryFailure, secret
from detector.notify.writing import PICTURE, slack
from detector.notify_settings import SlackSettings

log = logging.getLogger("detector.notify")

TIMEOUT_SECONDS = 10.0
# What Slack says of a message that will never be taken.
REJECTED = frozenset(
    {
        "invalid_payload",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_attachments",
        "too_many_attachments",
        "msg_too_long",
        "msg_blocks_too_long",
        "no_text",
    }
)
# What it says of credentials and places that an administrator can put right.
REFUSED = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "invalid_token",
        "no_service",
        "action_prohibited",
    }
)
# What it says of a message that is there no more, or is closed.
LOST = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


class SlackWebhook:
    """An incoming webhook: it takes text, and neither updates nor pictures."""

    updates = False

    def __init__(self, settings: SlackSettings) -> None:
        assert settings.webhook_file is not None
        self._file = settings.webhook_file
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False)
        self._url()

    def send(self, message: Message, reference: str) -> str:
        """See `Sender`."""
        answer = _post(self._client, self._url(), json=slack(message))
        if answer.status_code != 200:
            raise _failure(answer, answer.text.strip()[:60])
        return ""

    def _url(self) -> str:
        url = secret(self._file, "slack.webhook_file")
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(f"notify: slack.webhook_file: holds no http(s) URL: {self._file}")
        return url


class SlackBot:
    """An app with a bot token (scopes chat:write and files:write)."""

    updates = True

    def __init__(self, settings: SlackSettings) -> None:
        assert settings.token_file is not None
        self._settings = settings
        self._file = settings.token_file
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False)
        secret(self._file, "slack.token_file")

    def send(self, message: Message, reference: str) -> str:
        """See `Sender`; a message that is replaced also gets a line in its thread."""
        body = slack(message)
        if reference:
            place = json.loads(reference)
            try:
                self._call("chat.update", {**place, **body})
            except _Lost:
                log.info("slack: the message to update is gone; a new one is sent")
            else:
                self._call(
                    "chat.postMessage",
                    {
                        "channel": place["channel"],
                        "thread_ts": place["ts"],
                        "text": body["text"],
                        "mrkdwn": False,
                    },
                )
                return reference
        answer = self._call("chat.postMessage", {"channel": self._settings.channel, **body})
        place = {"channel": str(answer.get("channel", "")), "ts": str(answer.get("ts", ""))}
        if message.picture:
            self._picture(message, place)
        return json.dumps(place)

    def _picture(self, message: Message, place: dict[str, str]) -> None:
        """Add the picture to the thread; the message is out and says all without it."""
        try:
            form = {"filename": PICTURE, "length": str(len(message.picture))}
            upload = self._call("files.getUploadURLExternal", form, form=True)
            url = str(upload.get("upload_url", ""))
            if not _belongs(url, self._settings.api_url):
                raise DeliveryFailure("slack names a foreign upload address", "rejected")
            answer = _post(self._client, url, content=message.picture)
            if answer.status_code != 200:
                raise _failure(answer, "upload")
            self._call(
                "files.completeUploadExternal",
                {
                    "files": [{"id": upload.get("file_id"), "title": message.title}],
                    "channel_id": place["channel"],
                    "thread_ts": place["ts"],
                },
            )
        except DeliveryFailure as failure:
            log.warning("slack: the picture was not taken (%s); the text says all", failure)

    def _call(self, method: str, body: dict[str, Any], form: bool = False) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {secret(self._file, 'slack.token_file')}"}
        content: dict[str, Any] = {"data": body} if form else {"json": body}
        url = f"{self._settings.api_url}/{method}"
        answer = _post(self._client, url, headers=headers, **content)
        if answer.status_code != 200:
            raise _failure(answer, method)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise DeliveryFailure(f"slack: {method}: no JSON", "server_error")
        if said.get("ok"):
            return said
        error = str(said.get("error", ""))[:60]
        if error in LOST:
            raise _Lost(f"slack: {error}", "rejected")
        raise _failure(answer, error)


class _Lost(DeliveryFailure):
    """The message to replace is gone."""


def _belongs(url: str, api_url: str) -> bool:
    """Return whether an upload address is Slack's own."""
    parts, own = urlsplit(url), urlsplit(api_url)
    if parts.hostname == own.hostname and parts.scheme == own.scheme:
        return True
    return parts.scheme == "https" and (parts.hostname or "").endswith(".slack.com")


def _post(client: httpx.Client, url: str, **content: Any) -> httpx.Response:
    try:
        return client.post(url, **content)
    except httpx.TimeoutException:
        raise DeliveryFailure("slack: no answer in time", "timeout") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DeliveryFailure(f"slack: {type(error).__name__}", "unreachable") from None


def _failure(answer: httpx.Response, said: str) -> DeliveryFailure:
    """Return what an answer means; the address is never part of it."""
    status = answer.status_code
    wait = answer.headers.get("Retry-After", "")
    seconds = float(wait) if wait.isascii() and wait.isdigit() else 0.0
    if status == 429 or said in ("ratelimited", "rate_limited"):
        return DeliveryFailure(f"slack: rate limit, wait {seconds:.0f} s", "rate_limited", seconds)
    text = f"slack: HTTP {status} {said}".strip()
    if status >= 500:
        return DeliveryFailure(text, "server_error", seconds)
    if status in (400, 413) or said in REJECTED:
        return DeliveryFailure(text, "rejected")
    if status in (401, 403, 404, 410) or said in REFUSED:
        return DeliveryFailure(text, "refused")
    return DeliveryFailure(text, "failed", seconds)
