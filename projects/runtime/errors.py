"""Errors that a user can act on.

Each of them says what is wrong, where it stands (file, config key, value), what was expected and
what to do. The command-line tools print such an error as one message and exit with status 1; any
other exception keeps its traceback, because it is a defect of the program and not of its input.
"""


class UserError(Exception):
    """Base class of the errors that the user, not the programmer, can mend."""


class ConfigError(UserError):
    """A config file or a command-line option cannot be used as it stands."""


class CheckpointError(UserError):
    """A checkpoint is missing, broken, unsafe, or belongs to another model."""


class DataError(UserError):
    """A data set's folder, annotation file or image is missing or broken."""
