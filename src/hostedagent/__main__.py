"""`python -m hostedagent`: the same as the `hostedagent` command."""

import sys

from hostedagent.cli import main

if __name__ == "__main__":
    sys.exit(main())
