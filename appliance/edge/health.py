"""GET /healthz: 200 while flows are filtered as policy says, else 503; a JSON object either way."""

import http.server
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

PATH = "/healthz"
REQUEST_WAIT = 5.0  # seconds for a prober to send its request


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

        self._server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104 -- see `port`
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
