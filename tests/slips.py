"""Ways in which somebody could get Alertmanager's configuration or templates wrong."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from tools import ROOT

CONFIGURATION = (ROOT / "alertmanager" / "alertmanager.yml",)
TEMPLATES = tuple(sorted((ROOT / "alertmanager" / "templates").glob("*.tmpl")))
# What is looked for, and what stands there instead.
ROUTING = {
    "receiver": (r"(?<=receiver: )oncall|(?<=receiver: )notify", "mail"),
    "another receiver": (r"(?<=receiver: )(pager|ml|mail)\b", "oncall"),
    "value of a matcher": (r"(?<=\")(\w+)(?=\"[\],'])", r"\1x"),
    "label of a matcher": (r"\b(category|severity|team|kind|alertname)(?=[!=~]+\")", "instance"),
    "sign of a matcher": (r"(?<=severity)!=", "="),
    "group_by": (r"group_by: \[(\w+), ", "group_by: ["),
    "wait": (r"(?<=group_wait: )(\d)", r"9\1"),
    "interval": (r"(?<=_interval: )(\d)", r"9\1"),
    "continue": (r"continue: true", "continue: false"),
    "maintenance": (r" +mute_time_intervals: \[maintenance\]\n", ""),
    "hours": (r"(?<=time_intervals: )\[office-hours\]", "[maintenance]"),
    "weekdays": (r"monday:friday", "monday:sunday"),
    "equal": (r"equal: \[(job|job, \w+)\]", "equal: [alertname]"),
    "resolve": (r"send_resolved: true", "send_resolved: false"),
    "template of a receiver": (r"(?<=anomaly\.)slack\.text|(?<=anomaly\.)email\.text", "slack.x"),
    "channel": (r"\"#(\w)", r'"#x\1'),
    "mailbox": (r"(?<=to: )(\w)", r"x\1"),
    "address": (r"(?<=notify:)9114", "9112"),
}
WORDING = {
    "annotation": (r"\.Annotations\.(description|summary)", ".Annotations.query"),
    "link": (r"\.Annotations\.(\w+)_url", r".Annotations.\1_link"),
    "status": (r"(?<=Status \")(\w+)", r"\1x"),
    "time": (r"\.StartsAt\b", ".EndsAt"),
    "which alerts": (r"\.Alerts\.Firing", ".Alerts.Resolved"),
    "first alert": (r"index \.Alerts 0", "index .Alerts 1"),
    "how many": (r"(?<=lt \$i )(\d+)", r"\g<1>0"),
    "escapes": (r'template "slack\.(line|url)"', 'template "line"'),
    "escaped letter": (r'"&(lt|gt|amp);"', '"&"'),
    "line breaks": (r"\[\[:cntrl:\][^+]*\]\+", "[\\\\x{2028}]+"),
    "label of a title": (r"\.CommonLabels\.severity", ".CommonLabels.priority"),
    "group": (r"\.GroupLabels", ".CommonLabels"),
    "labels left out": (r'"(signal|job|severity)" ', ""),
    "colour": (r"\b(danger|good)\b", "warning"),
    "range": (r"(Add -?\d+)0{3}\b", r"\1"),
    "variable of a link": (r"(from|to)=(?=\{\{)", r"\1s="),
}


@dataclass(frozen=True)
class Slip:
    """A file with one slip in it: what was written, and what stands there now."""

    file: Path
    kind: str
    change: str
    content: str


def slips(
    files: tuple[Path, ...], kinds: dict[str, tuple[str, str]], number: int, rng: random.Random
) -> list[Slip]:
    """Return so many files with a slip: a kind each, while there are kinds, at a random place."""
    found: list[Slip] = []
    left: list[str] = []
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    while len(found) < number:
        left = left or rng.sample(sorted(kinds), len(kinds))
        kind = left.pop()
        pattern, by = kinds[kind]
        places = [
            (file, match)
            for file, text in texts.items()
            for match in re.finditer(pattern, _without_comments(text))
        ]
        assert places, f"{kind}: nothing of the kind"
        file, match = rng.choice(places)
        text = texts[file]
        wrong = text[: match.start()] + match.expand(by) + text[match.end() :]
        line = text.count("\n", 0, match.start())
        change = f"{text.splitlines()[line].strip()} -> {(wrong.splitlines() + [''])[line].strip()}"
        found.append(Slip(file, kind, change, wrong))
    return found


def _without_comments(text: str) -> str:
    """Return a text with blanks in place of YAML's comments and the templates' own."""
    blank = re.compile(r"^ *#[^\n]*$|\{\{/\*.*?\*/\}\}", re.M | re.S)
    return blank.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), text)
