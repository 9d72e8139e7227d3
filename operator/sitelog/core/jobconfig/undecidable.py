"""What the text of a configuration alone does not tell."""


class UndecidableError(Exception):
    """The text alone does not tell what this would be."""
