"""Entry of the simulated provider's process, apart from the module that others import."""

from waterline.providers.simulated import main

if __name__ == "__main__":
    raise SystemExit(main())
