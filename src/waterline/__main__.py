"""`python -m waterline`."""

from waterline.cli import main

if __name__ == "__main__":
    main()
