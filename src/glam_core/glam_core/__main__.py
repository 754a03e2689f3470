"""`python -m glam_core <command> ...` is `glam <command> ...`, for machines where only the sources are."""

import sys

from glam_core.cli import main

sys.exit(main())
