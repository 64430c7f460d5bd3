"""Errors of 3D detection that a user can mend."""

from projects.runtime.errors import DataError


class CalibrationError(DataError):
    """A sample lacks what tells where its points lie in its images."""
