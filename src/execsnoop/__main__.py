"""`python -m execsnoop`."""

import sys

from .cli import main

sys.exit(main())
