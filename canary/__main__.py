"""`python -m canary` is `canary`."""

from canary.cli.main import main

if __name__ == "__main__":
    main()
