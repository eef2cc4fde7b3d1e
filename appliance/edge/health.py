"""GET /healthz: 200 while flows are filtered as policy says, else 503; a JSON object either way."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

PATH = "/healthz"
REQUEST_WAIT = 5.0  # seconds for a prober to send its request and take the answer
PROBERS_MAX = 32  # at a time


class _BoundedServer(http.server.ThreadingHTTPServer):
    """Serves so many probers at a time, each for REQUEST_WAIT at most; hangs up on more."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._room = threading.BoundedSemaphore(PROBERS_MAX)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # A prober that sends an octet now and then would never run into a timeout per read.
        deadline = threading.Timer(REQUEST_WAIT, _hang_up, (request,))
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._room.release()

    def handle_error(self, *_: Any) -> None:  # a prober that hangs up is no news
        return


def _hang_up(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class HealthServer:
    """Answers probes from threads of its own.

    Args:
        port: TCP, on every address; the ruleset lets nobody but clients reach it. 0: any free port.
        report: returns whether all is well, and the details to show. Called from any thread.
    """

    def __init__(self, port: int, report: Callable[[], tuple[bool, Mapping[str, object]]]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = REQUEST_WAIT

            def do_GET(self) -> None:
                if self.path != PATH:
                    self.send_error(404)
                    return
                is_well, details = report()
                body = json.dumps(details, indent=2).encode() + b"\n"
                self.send_response(200 if is_well else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:  # a prober every second is no news
                return

        self._server = _BoundedServer(("0.0.0.0", port), Handler)  # noqa: S104 -- see `port`
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
