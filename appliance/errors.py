"""Every exception of the appliance.

    DiscriminatError            base; carries a message and, where there is one, a hint
    ├── Malformed               octets from the network that no honest peer sends
    │   ├── PacketError         an IP packet that cannot be inspected
    │   └── CaptureError        a file of captured packets that cannot be read, or not to its end
    ├── PolicyError             a text written by a user that cannot be policy
    │   ├── InvalidName         not a domain name
    │   ├── InvalidReference    not a list of names that is kept elsewhere
    │   ├── InvalidList         not the content of such a list
    │   └── InvalidAddress      not an IPv4 address or network
    ├── SettingsError           a setting that is unknown, mistyped or out of range
    ├── InputError              a file, or what stands in for it, that cannot be used
    ├── AwsError                AWS did not answer, or not as documented
    ├── KernelError             the kernel refused a ruleset, a queue or a socket
    ├── TrialError              the data plane let pass or refused what it should not have
    └── BaselineError           a self-test has nothing to compare with

This module imports nothing. The core raises; only `cli.py` prints and exits.
"""


class DiscriminatError(Exception):
    """Base of all: `message` says what is wrong, `hint` what to do about it (may be empty)."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Malformed(DiscriminatError):
    """Octets that break the protocol they claim to be. The caller denies the flow.

    `code` is the value of a member of `appliance.reason.Reason`, so that the log says which rule
    of the protocol was broken.
    """

    def __init__(self, message: str, *, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


class PacketError(Malformed):
    """An IP packet that cannot be inspected. The caller drops it."""


class CaptureError(Malformed):
    """A file of captured packets that is of an unknown form, cut or damaged. What stands before that is good."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class PolicyError(DiscriminatError):
    """A text written by a user that cannot become policy. The caller reports it; it grants nothing."""


class InvalidName(PolicyError):
    """A text that is not a fully qualified domain name we accept."""


class InvalidReference(PolicyError):
    """A text that refers to no list of names, or gives one no name."""


class InvalidList(PolicyError):
    """A text that is not a list of names. Nothing of it is in the message: it may be a secret."""


class InvalidAddress(PolicyError):
    """A text that is not an IPv4 address or network."""


class SettingsError(DiscriminatError):
    """A setting that is unknown, of the wrong type, or out of range. The program refuses to start."""


class InputError(DiscriminatError):
    """A file that is missing or not what it should be, or nowhere to read from. The verb fails."""


class AwsError(DiscriminatError):
    """AWS did not answer, or not as documented. The caller keeps what it had and tries again."""


class KernelError(DiscriminatError):
    """The kernel refused a ruleset, a queue or a socket. The caller stays closed."""


class TrialError(DiscriminatError):
    """The data plane did not do with a flow what policy says. The caller stays closed."""


class BaselineError(DiscriminatError):
    """No honest connection works, so that a self-test cannot tell what is stopped. Nothing is judged."""
