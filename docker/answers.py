"""A health check: exits with 0 if the address that it is given answers with 200."""

import sys
from urllib.request import urlopen

sys.exit(urlopen(sys.argv[1], timeout=8).status != 200)
