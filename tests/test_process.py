import os
import subprocess
import sys
import time

from alkdnet.process import is_alive, peak_memory_mib


def test_a_zombie_is_not_alive() -> None:
    assert is_alive(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert is_alive(child.pid)
        assert child.stdin is not None
        child.stdin.close()
        while is_alive(child.pid):  # a zombie from here on, as nobody has waited for it
            time.sleep(0.01)
    assert not is_alive(child.pid)
    assert not is_alive(2**40)


def test_the_peak_memory_is_in_mebibytes() -> None:
    before = peak_memory_mib()
    block = bytes(64 * 2**20)
    after = peak_memory_mib()
    assert before is not None
    assert after is not None
    assert len(block) / 2**20 * 0.9 < after < 100_000
