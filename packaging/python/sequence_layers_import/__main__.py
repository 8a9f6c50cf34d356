"""python -m sequence_layers_import"""

import sys

from sequence_layers_import.command import main

sys.exit(main())
