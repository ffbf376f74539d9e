"""What `detector check FILES` finds in rule files, as data, and how it is printed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from detector.errors import ConfigError, SourceError
from detector.finding import RuleFinding
from detector.prometheus import Prometheus
from detector.rule_files import Rule, read_rules, rule_paths
from detector.rule_lint import lint, syntax
from detector.rule_trial import try_rules
from detector.settings import Settings

STYLE = {"ok": "green", "warning": "yellow", "error": "bold red"}


@dataclass(frozen=True)
class RuleCheck:
    """All findings, by file and line, and what was looked at."""

    files: tuple[str, ...]
    rules: int
    findings: tuple[RuleFinding, ...]
    server: str
    exit_code: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = asdict(self)
        return {**plain, "ok": self.exit_code == 0}


def check_rules(
    given: Sequence[Path], settings: Settings, offline: bool = False, now: float | None = None
) -> RuleCheck:
    """Check rule files before Prometheus reads them.

    Parameters
    ----------
    given : sequence of Path
        Files, and directories of files.
    offline : bool
        Ask no server: metrics and counts are left out.

    Returns
    -------
    RuleCheck
        `exit_code` 1 when a finding is an error; 3 when only the server was out of reach.

    Raises
    ------
    ConfigError
        When a file cannot be read, or there is no rule at all.
    """
    paths = rule_paths(given)
    rules: list[Rule] = []
    findings: list[RuleFinding] = []
    for path in paths:
        of_file, wrong = read_rules(path)
        rules += of_file
        findings += wrong
    if not rules and not findings:
        raise ConfigError(f"{', '.join(map(str, given))}: no rule in any file; nothing to check")
    findings += lint(rules)
    code, server = 0, "not asked (--offline)"
    if not offline:
        code, server = _ask(rules, settings, findings, now)
    if offline or code:
        findings += [
            rule.finding("error", "syntax", problem, rule.expr.line)
            for rule in rules
            if (problem := syntax(rule))
        ]
    findings.sort(key=lambda f: (f.file, f.line, ("error", "warning", "ok").index(f.level)))
    code = 1 if any(f.level == "error" for f in findings) else code
    return RuleCheck(tuple(map(str, paths)), len(rules), tuple(findings), server, code)


def _ask(
    rules: Sequence[Rule], settings: Settings, findings: list[RuleFinding], now: float | None
) -> tuple[int, str]:
    """Add what a server knows; returns the exit code and a line about the server."""
    moment = int(time.time() if now is None else now)
    source = Prometheus(settings.prometheus)
    try:
        findings += try_rules(rules, source, moment, settings.max_series)
    except SourceError as error:
        return error.exit_code, f"{error}; --offline checks without a server"
    finally:
        source.close()
    return 0, settings.prometheus.url


def print_rule_check(console: Console, result: RuleCheck) -> None:
    """Print one line a finding, then a summary."""
    for finding in result.findings:
        console.print(f"{finding.level:<7}", style=STYLE[finding.level], end=" ")
        rule = f" {finding.rule}:" if finding.rule else ""
        console.print(f"{finding.place}:{rule} {finding.message} [{finding.check}]", markup=False)
    counts = Counter(finding.level for finding in result.findings)
    console.print(
        f"{_many(len(result.files), 'file')}, {_many(result.rules, 'rule')}: "
        f"{_many(counts['error'], 'error')}, {_many(counts['warning'], 'warning')}; "
        f"server: {result.server}",
        markup=False,
    )


def _many(count: int, of: str) -> str:
    return f"{count} {of}" if count == 1 else f"{count} {of}s"
