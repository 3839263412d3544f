"""The entry point, as `waterline` and as `python -m waterline`. Ctrl-C at any moment ends with 130, not a traceback."""

import gc
import sys


def main() -> None:
    try:
        gc.disable()  # while modules load nothing becomes garbage, and looking for it takes a twelfth of the start
        from waterline.cli import commands  # here, so that a Ctrl-C while modules load is caught too

        called = commands(*sys.argv[1:2])
        gc.enable()
        called()
    except KeyboardInterrupt:
        sys.stderr.write("\nwaterline: interrupted\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
