"""Reads a config's data sets whole and names everything in them that is broken, for all tasks of the suite.

The work behind `tools/analysis_tools/check_data.py`. It knows the tasks' data formats and no method.
"""

from .findings import Findings, Problem
from .listing import check_start, list_samples
from .reading import check_samples

__all__ = ['Findings', 'Problem', 'check_samples', 'check_start', 'list_samples']
