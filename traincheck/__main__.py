"""`python -m traincheck`: the command line, for whoever must say which Python is to run it."""

from traincheck.cli import main

if __name__ == "__main__":
    main()
