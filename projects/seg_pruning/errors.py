"""Errors of pruning; the tools print them as one message without a traceback."""

from projects.runtime.errors import ConfigError


class TraceError(ConfigError):
    """The channels of a network cannot be followed through its graph."""


class BudgetError(ConfigError):
    """A cost target that cannot be met, or makes no sense."""


class StructureError(ConfigError):
    """A structure file is missing, broken, or belongs to another model."""
