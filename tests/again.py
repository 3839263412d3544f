"""Runs what failed once more, alone. What fails twice fails; what passes is named, so that it gets mended.

Tests that start real servers, a browser or a model meet the machine they run on. One that passes alone is told apart
from a broken promise, but never silently: the last lines name it. More than a few at once are no accident and fail.
"""

import json
import subprocess
import sys
from pathlib import Path

MOST = 3
LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")


def failed() -> list[str]:
    return sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else []


def main(options: list[str]) -> int:
    LAST_FAILED.unlink(missing_ok=True)
    first = subprocess.run([sys.executable, "-m", "pytest", *options]).returncode
    tests = failed()
    if first != 1 or not 0 < len(tests) <= MOST:  # 1 is pytest's "some tests failed"; 2 to 5 could not run
        return first
    print(f"\n{len(tests)} failed; once more, alone:", *tests, sep="\n  ", flush=True)
    second = subprocess.run([sys.executable, "-m", "pytest", *options, "-n", "0", *tests]).returncode
    if second == 0:
        print("\nUNSTEADY (failed among the others, passed alone; mend it):", *tests, sep="\n  ", flush=True)
    return second


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
