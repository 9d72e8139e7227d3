"""Classes that a job brings itself: cheap to build, they take any arguments."""

from typing import Any

from nvflare.apis.dxo_filter import DXOFilter
from nvflare.apis.executor import Executor
from nvflare.apis.shareable import Shareable
from nvflare.app_common.logging.job_log_streamer import JobLogStreamer  # noqa: F401 - a job may carry it under its path
from nvflare.widgets.widget import Widget


class Part(Widget):
    """A component."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments


class JobLogStreamerStatistics(Part):
    """A component that merely has the word in its name."""


class Worker(Executor):
    """An executor."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments

    def execute(self, *_: Any) -> Shareable:
        return Shareable()


class Sieve(DXOFilter):
    """A filter."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__([], None)
        self.arguments = arguments

    def process_dxo(self, *_: Any) -> None:
        return None
