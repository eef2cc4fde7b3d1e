"""Emulator: the AWS API of the lab, which is moto with its gaps closed, behind a switchboard.

It runs in threads of this process, on as many sockets as it is given: in the fabric for programs of the lab, on
loopback for the lab itself. Every change of EC2's state is reported **before** its caller gets the answer, so that
when AuthorizeSecurityGroupEgress returns, packets already obey it. (AWS takes seconds; tests should not.)

Alone, for Terraform or a look around:  python -m tests.lab.emulator PORT
"""

import functools
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from botocore.config import Config
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from tests.lab.moto_gaps import close_gaps
from tests.lab.switchboard import Switchboard, identify

ACCOUNT = "123456789012"
REGION = "eu-west-1"
_READING = ("Describe", "Get", "List")
_LAUNCHING = "DescribeAutoScalingGroups"  # looks for what a group lacks, and launches it: moto_autoscaling.py


class _QuietHandler(MotoRequestHandler):
    """Keeps the access log out of the tests' output; the switchboard has it."""

    disable_nagle_algorithm = True  # heads and bodies are written apart: each body would wait 40 ms for its head's ACK

    def log(self, type: str, message: str, *arguments: Any) -> None:
        pass


class Emulator:
    """The AWS API."""

    def __init__(self) -> None:
        close_gaps()
        moto_api_backend.reset()  # moto's state belongs to the process: begin with an empty account
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._followers: list[Callable[[], None]] = []
        self._holders: list[Callable[[], None]] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._servers: list[BaseWSGIServer] = []
        self.switchboard = Switchboard(self._serve_request, self._changed)
        loopback = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{loopback.getsockname()[1]}"  # for the lab itself, without troubles
        self._listen(loopback, functools.partial(self._serve_request, holders=self._holders))

    def follow(self, on_change: Callable[[], None]) -> None:
        """Call this too after each request that may have changed EC2's state, and each switch of a trouble."""
        self._followers.append(on_change)

    def hold(self, until_settled: Callable[[], None]) -> None:
        """Call this too before a change is answered that was asked for on loopback, so by no program of the lab."""
        self._holders.append(until_settled)

    def serve(self, listener: socket.socket) -> None:
        """Serve on a listening socket too, with the switchboard's troubles."""
        self._listen(listener, self.switchboard)

    def client(self, service: str, region: str = REGION) -> Any:
        """Return a boto3 client that never sees a trouble."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id="lab",
            aws_secret_access_key="lab",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )

    def close(self) -> None:
        """Stop serving."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _changed(self) -> None:
        for follower in self._followers:
            follower()

    def _listen(self, listener: socket.socket, application: Any) -> None:
        host, port = listener.getsockname()
        server = make_server(
            host, port, application, threaded=True, request_handler=_QuietHandler, fd=listener.detach()
        )
        self._servers.append(server)
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name=f"aws-{host}", daemon=True
        ).start()

    def _serve_request(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        holders: Iterable[Callable[[], None]] = (),
    ) -> Iterable[bytes]:
        service, action = identify(environ)
        answer = list(self._moto(environ, start_response))
        if service in ("ec2", "autoscaling") and (not action.startswith(_READING) or action == _LAUNCHING):
            self._changed()
            for until_settled in holders:
                until_settled()
        return answer


if __name__ == "__main__":
    standalone = Emulator()
    standalone.serve(socket.create_server(("127.0.0.1", int(sys.argv[1]))))
    print(f"AWS API on http://127.0.0.1:{sys.argv[1]}", flush=True)
    threading.Event().wait()
