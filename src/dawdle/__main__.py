"""`python -m dawdle` is the command `dawdle`."""

from dawdle.cli import main

if __name__ == "__main__":
    main()
