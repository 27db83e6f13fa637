"""python -m autoopt"""

import sys

from autoopt.cli import entry

sys.exit(entry())
