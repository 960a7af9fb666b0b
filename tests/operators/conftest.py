"""``cases`` lies one folder up, where tests of other folders find it too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
