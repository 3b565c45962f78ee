"""`python -m fastgate`: the same as the console script."""

from fastgate.cli.entry import main

main()
