"""`python -m brevplan`: the command line."""

from brevplan.cli.main import main

if __name__ == "__main__":
    main()
