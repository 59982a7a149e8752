"""Write src/alkdnet/data/test_images.json: what the stage `leakage` knows of the published test sets.

    PYTHONPATH=src python tools/test_images.py data set5 set14 bsd100

The sets lie where `alkdnet download` puts them.
"""

import argparse
import sys
from pathlib import Path

from alkdnet.data.leakage import write_known
from alkdnet.errors import UserError

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the sets' folders")
    parser.add_argument("sets", nargs="+", help="names of the sets")
    arguments = parser.parse_args()
    try:
        write_known(arguments.root, arguments.sets)
    except UserError as error:
        sys.exit(f"error: {error}")
