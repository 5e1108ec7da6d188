"""`python -m snoopkit` is `snoopkit`."""

import sys

from .cli import main

sys.exit(main())
