"""`python -m api.cli` is `hindsight`."""

from api.cli import main

main()
