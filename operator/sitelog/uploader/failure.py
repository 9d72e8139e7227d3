"""Why an upload did not work, and whether trying again may help."""

from sitelog.core.names import Reason


class Failure(Exception):  # noqa: N818 - one attempt's outcome, not a programming error
    """An attempt that did not deliver.

    Attributes
    ----------
    reason
        The code for Events and metrics.
    final
        True where no later attempt can succeed until a person changes something.
    """

    def __init__(self, reason: Reason, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.final = final
