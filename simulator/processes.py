"""Starts programs as children that cannot outlive us, and stops them again whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

import httpx

from detector.errors import SourceError

_STOP_SECONDS = 15.0
_LOG_LINES_SHOWN = 8
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Interrupted(BaseException):
    """A signal asked us to end; not an Exception, so that only the outermost caller catches it."""


class PortReservations:
    """Free loopback ports that stay ours, also between two uses, until closed.

    Each port is held by a bound socket that never listens. Without SO_REUSEADDR nobody else may
    bind it; the programs we start set that option, and so may.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def reserve(self) -> int:
        """Return a port nobody uses."""
        holder = socket.socket()
        self._sockets.append(holder)
        holder.bind(("127.0.0.1", 0))
        # Only after binding: two reservations of one port must not be possible.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return int(holder.getsockname()[1])

    def close(self) -> None:
        """Give all ports back."""
        for holder in self._sockets:
            holder.close()


@dataclass(frozen=True)
class Child:
    """A running program and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """Return the last lines of its log."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return "\n".join(f"  {self.name}: {line}" for line in lines[-_LOG_LINES_SHOWN:])


class Supervisor:
    """The programs of one stack, stopped in reverse order of their start.

    A child is in a session of its own, so that Ctrl-C reaches only us and the order is kept, and is
    killed by the kernel when we die without a word.

    Parameters
    ----------
    logs : Path
        Directory with one log file for each program. `children` are those running.
    """

    def __init__(self, logs: Path):
        self._logs = logs
        self.children: list[Child] = []

    def __enter__(self) -> Supervisor:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(
        self, name: str, command: list[str], environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start a program; its output is appended to ``<logs>/<name>.log``.

        Raises
        ------
        SourceError
            When the program cannot be started.
        """
        log = self._logs / f"{name}.log"
        parent = os.getpid()

        def tie_to_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(environment) if environment is not None else None,
                    start_new_session=True,
                    preexec_fn=tie_to_parent,
                )
            except OSError as error:
                raise SourceError(f"cannot start {command[0]}: {error.strerror}") from error
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def run(
        self, name: str, command: list[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Run a program to its end; SourceError with its last words when it fails."""
        child = self.start(name, command, environment)
        while child.process.poll() is None:
            self.check(ignore=name)
            time.sleep(0.05)
        self.children.remove(child)
        if child.process.returncode:
            raise SourceError(
                f"{name} failed with exit code {child.process.returncode}; its log is {child.log}\n"
                f"{child.last_words()}"
            )

    def check(self, ignore: str = "") -> None:
        """Raise SourceError, with the last words of the log, when a program has ended."""
        for child in self.children:
            code = child.process.poll()
            if code is not None and child.name != ignore:
                raise SourceError(
                    f"{child.name} ended unexpectedly ({_describe(code)}); its log is {child.log}\n"
                    f"{child.last_words()}"
                )

    def wait_for(self, name: str, url: str, seconds: float) -> None:
        """Wait until a URL answers 200; SourceError when that takes too long."""
        self.wait_until(f"{name} to answer at {url}", lambda: answers(url), seconds)

    def wait_until(
        self, what: str, condition: Callable[[], bool], seconds: float, pause: float = 0.1
    ) -> None:
        """Wait until a condition holds; SourceError when that takes too long or a program ends."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise SourceError(
                    f"waited {seconds:.0f} s for {what}; see the logs in {self._logs}"
                )
            time.sleep(pause)

    def stop(self) -> None:
        """Stop all programs, the last started first; a second signal meanwhile kills them."""
        try:
            while self.children:
                _stop(self.children[-1])
                self.children.pop()
        finally:
            for child in reversed(self.children):
                _signal_group(child, signal.SIGKILL)
                child.process.wait()
            self.children.clear()


def _stop(child: Child) -> None:
    """Ask a program to end, then make it."""
    if child.process.poll() is None:
        _signal_group(child, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(_STOP_SECONDS)
    # Whatever it started itself is in the same group.
    _signal_group(child, signal.SIGKILL)
    child.process.wait()


def _signal_group(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)


def _describe(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def answers(url: str) -> bool:
    """Return whether a URL answers 200."""
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM, SIGHUP and SIGINT into `Interrupted` inside the block, so that it unwinds."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
