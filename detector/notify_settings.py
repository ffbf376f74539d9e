"""What `notify` may hold: where messages go, where they wait, and how patient delivery is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from detector.fields import Duration, HostPort, Listen, ServerUrl, Strict, Text, Words


class SlackSettings(Strict):
    """A Slack app with a bot token, or an incoming webhook."""

    channel: Text | None = None
    token_file: Path | None = None
    webhook_file: Path | None = None
    api_url: ServerUrl = "https://slack.com/api"

    @model_validator(mode="after")
    def _one_way(self) -> SlackSettings:
        if self.webhook_file and (self.token_file or self.channel):
            raise ValueError("webhook_file stands alone; a webhook has its channel already")
        if not self.webhook_file and not (self.token_file and self.channel):
            raise ValueError("write channel and token_file of a bot, or webhook_file")
        return self


class EmailSettings(Strict):
    """A mail server and who is written to."""

    host: HostPort
    from_: Text = Field(alias="from")
    to: Annotated[Words, Field(min_length=1)]
    username: Text | None = None
    password_file: Path | None = None
    tls: Literal["starttls", "implicit", "none"] = "starttls"

    @model_validator(mode="after")
    def _complete(self) -> EmailSettings:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together")
        if self.password_file and self.tls == "none":
            raise ValueError("a password is not sent without TLS; set tls: starttls")
        return self


class TargetSettings(Strict):
    """One place that messages go to: exactly one of slack, email and apprise_file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
    slack: SlackSettings | None = None
    email: EmailSettings | None = None
    apprise_file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, given: Any) -> Any:
        if isinstance(given, dict) and any(
            "://" in str(given.get(k, ""))
            for k in given
            if k in ("apprise", "apprise_file", "slack", "email", "url")
            and isinstance(given.get(k), str)
        ):
            raise ValueError(
                "a URL with credentials does not belong here; write it into a file and name the "
                "file: apprise_file (or slack: {webhook_file: ...})"
            )
        return given

    @model_validator(mode="after")
    def _one_kind(self) -> TargetSettings:
        if sum(part is not None for part in (self.slack, self.email, self.apprise_file)) != 1:
            raise ValueError(f"target {self.name!r} needs one of slack, email and apprise_file")
        return self


class NotifySettings(Strict):
    """How `detector notify` receives, keeps and delivers."""

    listen: Listen = "127.0.0.1:9114"
    token_file: Path | None = None
    directory: Path = Path("notify")
    targets: list[TargetSettings] = []
    grafana_url: ServerUrl | None = None
    window: Duration = 3 * 3600.0
    repeat: Duration = 3600.0
    give_up: Duration = 6 * 3600.0
    storm: Annotated[int, Field(ge=1, le=1000)] = 20

    @model_validator(mode="after")
    def _distinct(self) -> NotifySettings:
        names = [target.name for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"target {twice[0]!r} is given twice")
        return self
