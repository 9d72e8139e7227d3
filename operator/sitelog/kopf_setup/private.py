"""What Sitelog uses of kopf that kopf does not promise: tests say for each that it is still as it is used."""

from kopf._core.engines.admission import UnknownResourceError
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

__all__ = ["NoMemories", "ResourceMemories", "UnknownResourceError"]


class NoMemories(ResourceMemories):
    """kopf keeps a memo of every object in an UPDATE review for ever, in a process that never sees the object go."""

    async def recall(self, *_args: object, **_kwargs: object) -> ResourceMemory:
        """Return a fresh one."""
        return ResourceMemory()
