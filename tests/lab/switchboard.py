"""Switchboard: what goes wrong between a program and the AWS API, switched on and off while it runs.

    with switchboard.trouble("ec2", Trouble.THROTTLE):
        ...                                            # every EC2 call is told to slow down

It stands in front of the emulator as a WSGI application, and keeps a log of every request. The lab's own calls go
round it. `REFUSE` is not made here but in the fabric, which answers with a TCP reset (fabric_rules.py).
"""

import enum
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

HANG_AT_MOST = 120.0  # seconds
REQUEST_LOG = 10_000  # requests remembered, the oldest go first

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Trouble(enum.StrEnum):
    """A bad day of one AWS service."""

    THROTTLE = "throttle"  # RequestLimitExceeded, ThrottlingException
    FAIL = "fail"  # status 500
    DENY = "deny"  # UnauthorizedOperation, AccessDeniedException
    HANG = "hang"  # the connection is taken and nothing is answered
    REFUSE = "refuse"  # no connection is taken


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the AWS API; `at` in monotonic seconds, `trouble` empty when it was served."""

    service: str
    action: str
    source: str
    at: float
    trouble: str


class Switchboard:
    """The emulator with bad days; safe to use from any thread."""

    def __init__(self, application: Wsgi, on_switch: Callable[[], None]) -> None:
        self._application = application
        self._on_switch = on_switch
        self._troubles: dict[str, tuple[Trouble, frozenset[str]]] = {}
        self._lifted = threading.Condition()
        self.requests: list[Request] = []

    def switch(self, service: str, trouble: Trouble | None, *actions: str) -> None:
        """Give a service (`ec2`, `logs`, ...) a trouble, or none.

        Args:
            actions: only these API actions suffer (`DescribeSecurityGroups`); all of them when absent.
        """
        with self._lifted:
            if trouble is None:
                self._troubles.pop(service, None)
            else:
                self._troubles[service] = (trouble, frozenset(actions))
            self._lifted.notify_all()
        self._on_switch()

    @contextmanager
    def trouble(self, service: str, trouble: Trouble, *actions: str) -> Iterator[None]:
        """Switch a trouble on for the duration of a block."""
        self.switch(service, trouble, *actions)
        try:
            yield
        finally:
            self.switch(service, None)

    def refused(self) -> set[str]:
        """Return the services that take no connections at present."""
        return {service for service, (trouble, _) in self._troubles.items() if trouble is Trouble.REFUSE}

    def calls(self, action: str = "", *, since: float = 0.0) -> list[Request]:
        """Return the requests seen, of one action or all, after a monotonic time."""
        return [each for each in self.requests if action in ("", each.action) and each.at >= since]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request, or show what is wrong today."""
        service, action = identify(environ)
        trouble = self._trouble_of(service, action)
        source = str(environ.get("REMOTE_ADDR", ""))
        self.requests.append(Request(service, action, source, time.monotonic(), trouble or ""))
        del self.requests[:-REQUEST_LOG]
        if trouble is Trouble.HANG:
            with self._lifted:
                self._lifted.wait_for(lambda: self._trouble_of(service, action) is None, HANG_AT_MOST)
            trouble = Trouble.FAIL  # whoever is still there has waited long enough
        if trouble is None:
            return self._application(environ, start_response)
        status, kind, body = render_error(service, action, trouble)
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def _trouble_of(self, service: str, action: str) -> Trouble | None:
        trouble, actions = self._troubles.get(service, (None, frozenset()))
        return trouble if not actions or action in actions else None


def identify(environ: dict[str, Any]) -> tuple[str, str]:
    """Return the service and the action a signed request is for; the request stays readable."""
    scope = re.search(r"Credential=[^/,]+/\d+/[^/]+/([^/]+)/", str(environ.get("HTTP_AUTHORIZATION", "")))
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    target = str(environ.get("HTTP_X_AMZ_TARGET", "")).rpartition(".")[2]
    form = re.search(rb"(?:^|&)Action=(\w+)", body[:4096]) if not target else None
    return (scope[1] if scope else ""), (target or (form[1].decode() if form else ""))


def render_error(service: str, action: str, trouble: Trouble) -> tuple[str, str, bytes]:
    """Return status line, content type and body of an error as EC2, Auto Scaling or a JSON service words it."""
    if service == "ec2":
        status, code, text = {
            Trouble.THROTTLE: ("503 Service Unavailable", "RequestLimitExceeded", "Request limit exceeded."),
            Trouble.DENY: (
                "403 Forbidden",
                "UnauthorizedOperation",
                f"You are not authorized to perform this operation: no identity-based policy allows ec2:{action}",
            ),
        }.get(trouble, ("500 Internal Server Error", "InternalError", "An internal error has occurred"))
        errors = f"<Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors>"
        return status, "text/xml", f"<Response>{errors}<RequestID>lab</RequestID></Response>".encode()
    denied = f"User is not authorized to perform: {service}:{action} because no identity-based policy allows it"
    if service == "autoscaling":
        status, code, text = {
            Trouble.THROTTLE: ("400 Bad Request", "Throttling", "Rate exceeded"),
            Trouble.DENY: ("403 Forbidden", "AccessDenied", denied),
        }.get(trouble, ("500 Internal Server Error", "InternalFailure", "the service is unavailable"))
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>"
        return status, "text/xml", f"<ErrorResponse>{error}<RequestId>lab</RequestId></ErrorResponse>".encode()
    status, code, text = {
        Trouble.THROTTLE: ("400 Bad Request", "ThrottlingException", "Rate exceeded"),
        Trouble.DENY: ("400 Bad Request", "AccessDeniedException", denied),
    }.get(trouble, ("500 Internal Server Error", "ServiceUnavailableException", "the service is unavailable"))
    return status, "application/x-amz-json-1.1", json.dumps({"__type": code, "message": text}).encode()
