"""How much work one decision may be: steps of about a tenth of a microsecond, memory counted as the time it takes.

References make a short text a long one and a small list a large one, so that the size of a configuration says nothing
about the work. Who works counts it, before it is done.
"""

from typing import Final

FULL: Final = 1_500_000  # less than 250 ms of processor time and 64 MiB, whatever the configuration
_CHARACTERS: Final = 4  # that a step reads, writes or copies; one takes up to four bytes


class OverBudgetError(Exception):
    """A configuration is more work than its decision may be."""


class Budget:
    """What is left of the work that a decision may be.

    Attributes
    ----------
    final : nobody has more: what is over it counts as too large, and is not raised to whoever asks for the decision.
    """

    def __init__(self, steps: int = FULL, *, final: bool = False) -> None:
        self.final = final
        self._left = steps

    def spend(self, steps: int) -> None:
        """Count steps that are about to be done.

        Raises
        ------
        OverBudgetError
            Nothing is left.
        """
        self._left -= steps
        if self._left < 0:
            raise OverBudgetError

    def spend_characters(self, count: int) -> None:
        """Count characters that are about to be read, written or copied.

        Raises
        ------
        OverBudgetError
            Nothing is left.
        """
        self.spend(count // _CHARACTERS + 1)
