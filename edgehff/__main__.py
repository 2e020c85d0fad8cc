"""`python -m edgehff` is the command `edgehff`."""

import sys

from edgehff.cli.main import main

sys.exit(main())
