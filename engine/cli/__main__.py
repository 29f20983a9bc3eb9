"""`python -m refold.engine.cli`: the same as the command `refold`."""

from . import main

main()
