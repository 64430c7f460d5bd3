"""HTML reports of training and test runs: what stands in their work dirs, on one page without external parts.

The page of `tools/analysis_tools/report.py`. It reads what mmengine's runner leaves behind and knows no method.
"""

from .page import build_page
from .run_folder import Run, find_runs, read_run

__all__ = ['Run', 'build_page', 'find_runs', 'read_run']
