"""Write src/alkdnet/data/test_images.json: what the stage `leakage` knows of the published test sets.

    PYTHONPATH=src python tools/test_images.py data set5 set14 bsd100

The sets lie where `alkdnet download` puts them.
"""

import argparse
from pathlib import Path

from alkdnet.data.leakage import write_known
from alkdnet.errors import exit_in_words

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the sets' folders")
    parser.add_argument("sets", nargs="+", help="names of the sets")
    arguments = parser.parse_args()
    with exit_in_words():
        write_known(arguments.root, arguments.sets)
