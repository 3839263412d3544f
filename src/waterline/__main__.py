"""The entry point, as `waterline` and as `python -m waterline`. Ctrl-C at any moment ends with 130, not a traceback."""

import sys


def main() -> None:
    try:
        from waterline.cli import app  # here, so that a Ctrl-C while modules load is caught too

        app()
    except KeyboardInterrupt:
        sys.stderr.write("\nwaterline: interrupted\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
