"""The interface that switches faults in a running process: loopback only, with a token."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from detector.errors import ConfigError
from simulator import serving
from simulator.faults import FaultBoard

# Not an option: whoever reaches this port can break the example on purpose.
CONTROL_HOST = "127.0.0.1"
_LARGEST_BODY_BYTES = 4096


@dataclass(frozen=True)
class ControlRoute:
    """What a process has to be told besides faults, with the same token."""

    path: str
    method: str
    answer: Callable[[Request], Awaitable[Response]]


def control_server(
    board: FaultBoard, token: str, port: int, routes: Sequence[ControlRoute] = ()
) -> contextlib.AbstractContextManager[int]:
    """Serve `control_app` on the loopback port, in a thread, while the returned context is open.

    The context's value is the port (a free one when `port` is 0); ConfigError when it is taken.
    """
    return serving.background_server(control_app(board, token, routes), CONTROL_HOST, port)


def control_app(board: FaultBoard, token: str, routes: Sequence[ControlRoute] = ()) -> Starlette:
    """Return the app that switches faults: POST and GET ``/faults``, DELETE ``/faults/{fault}``.

    Every request needs ``Authorization: Bearer <token>``. POST takes
    ``{"fault": str, "size": number or null, "seconds": number}`` and returns fault, size and the
    unix second at which it ends.
    """
    if not token:
        raise ConfigError("the control token is empty; write one into the token file")
    expected = f"Bearer {token}".encode()

    def refused(request: Request) -> Response | None:
        given = request.headers.get("authorization", "").encode()
        if hmac.compare_digest(given, expected):
            return None
        return JSONResponse({"error": "the control token is wrong or missing"}, status_code=401)

    async def show(request: Request) -> Response:
        return refused(request) or JSONResponse({"active": board.active()})

    async def start(request: Request) -> Response:
        if response := refused(request):
            return response
        try:
            return JSONResponse(board.start(**_wanted(await request.body())))
        except ConfigError as error:
            return JSONResponse({"error": str(error)}, status_code=422)

    async def stop(request: Request) -> Response:
        if response := refused(request):
            return response
        name = request.path_params["fault"]
        if name not in board.names:
            return JSONResponse({"error": f"there is no fault {name!r} here"}, status_code=404)
        return JSONResponse({"fault": name, "was_active": board.stop(name)})

    def guarded(answer: Callable[[Request], Awaitable[Response]]) -> Any:
        async def guard(request: Request) -> Response:
            return refused(request) or await answer(request)

        return guard

    return Starlette(
        routes=[
            Route("/faults", show, methods=["GET"]),
            Route("/faults", start, methods=["POST"]),
            Route("/faults/{fault}", stop, methods=["DELETE"]),
            *(Route(own.path, guarded(own.answer), methods=[own.method]) for own in routes),
        ]
    )


def _wanted(body: bytes) -> dict[str, Any]:
    """Return the arguments of `FaultBoard.start` from a request body."""
    try:
        # Huge integers become infinite floats, which the board refuses.
        wanted = json.loads(body, parse_int=float) if len(body) <= _LARGEST_BODY_BYTES else None
    except ValueError:
        wanted = None
    if not isinstance(wanted, dict) or not isinstance(wanted.get("fault"), str):
        raise ConfigError('send JSON such as {"fault": "latency", "size": 0.2, "seconds": 300}')
    numbers = {key: wanted.get(key) for key in ("seconds", "size")}
    for key, value in numbers.items():
        missing_size = key == "size" and value is None
        if not missing_size and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ConfigError(f"{key} must be a number, not {value!r}")
    return {"name": wanted["fault"], **numbers}


def control_token(path: Path) -> str:
    """Return the token in a file, which is made with a random one, readable by its owner only.

    Two processes may call this at once with the same path: both get the same token.
    """
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
            # A hard link appears whole or not at all, and never replaces the other process's.
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError as error:
            raise ConfigError(f"cannot write the token file {path}: {error.strerror}") from error
        finally:
            draft.unlink(missing_ok=True)
    return read_token(path)


def read_token(path: Path) -> str:
    """Return the token in a file; ConfigError says what to do when there is none."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the token file {path}; give the --token-file of the running simulator"
        ) from error
    if not token or not token.isascii():
        raise ConfigError(f"the token file {path} holds no token; delete it and start again")
    return token
