"""A trial on a busy machine says so."""

import subprocess
import sys

from waterline.trials.busy import CROWDED, Busy, crowded


def test_what_our_own_children_use_is_not_other_programs():
    busy = Busy()
    subprocess.run([sys.executable, "-c", "sum(i * i for i in range(10**6))"], check=True)
    others = busy.others()
    assert others is None or 0.0 <= others <= 1.0


def test_only_an_answer_that_a_quiet_machine_may_not_have_given_is_doubted():
    assert "61 %" in crowded(1, 0.61)
    assert "quiet" in crowded(3, CROWDED)
    assert [crowded(status, 0.61) for status in (0, 2)] == ["", ""]
    assert crowded(1, None) == crowded(1, CROWDED / 2) == ""
