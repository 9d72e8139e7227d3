"""Label selectors, as Kubernetes defines them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Requirement:
    """One matchExpressions entry of a label selector."""

    key: str
    operator: str  # In | NotIn | Exists | DoesNotExist
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet the requirement; an operator of another name never matches."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
        return False


@dataclass(frozen=True)
class Selector:
    """A Kubernetes label selector; an empty one matches everything."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels match."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )

    @property
    def example(self) -> Mapping[str, str] | None:
        """Labels that match; None where none do: the selector contradicts itself."""
        labels = dict(self.match_labels)
        for each in self.match_expressions:
            if each.operator in {"In", "Exists"}:
                labels.setdefault(each.key, self._example(each))
        return labels if self.matches(labels) else None

    def _example(self, requirement: Requirement) -> str:
        others = [each for each in self.match_expressions if each.key == requirement.key]
        fresh = (f"x{number}" for number in range(sum(len(each.values) for each in others) + 1))
        meet = (
            value
            for value in (*requirement.values, *fresh)
            if all(each.matches({requirement.key: value}) for each in others)
        )
        return next(meet, "")
