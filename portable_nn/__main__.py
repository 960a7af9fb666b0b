"""``python -m portable_nn``: the command line."""

import sys

from portable_nn.cli import main

sys.exit(main())
