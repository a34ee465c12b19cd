"""A pid of ours that is another's by now: who has it is left alone, and what
was behind it is taken back."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading

import pytest

import harness
import master

from harness import wait_until
from master import host
from test_crash_lines import PROBE, line

LAST_PID = pathlib.Path("/proc/sys/kernel/ns_last_pid")


def next_pid(pid):
    """The next process or thread gets that pid, if nobody else is faster."""

    try:
        LAST_PID.write_text(str(pid - 1))
    except OSError as error:
        pytest.skip("pids cannot be chosen here: %s" % error)


@contextlib.contextmanager
def process_with(pid):
    """A process that has nothing to do with us, and that pid."""

    other = None

    def begin():
        nonlocal other
        next_pid(pid)
        other = subprocess.Popen(["sleep", "600"])
        if other.pid == pid:
            return True
        other.kill()
        other.wait()
        return False

    wait_until(begin, "the pid")
    try:
        yield other
    finally:
        other.kill()
        other.wait()


@contextlib.contextmanager
def thread_with(tid):
    """A thread of this process that has that id."""

    end = threading.Event()
    threads = []

    def begin():
        next_pid(tid)
        threads.append(threading.Thread(target=end.wait))
        threads[-1].start()
        return threads[-1].native_id == tid

    try:
        wait_until(begin, "the pid")
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def gone(pid):
    wait_until(lambda: harness.reap() or harness.process_stat(pid) is None,
               "%d to be gone" % pid)


def test_a_pid_of_an_instance_that_is_another_process_is_left_alone(host):
    """The instance, its init and the supervisor die at once, so that only the
    board knows who had the pid."""

    h = host(put={"probe": PROBE % ""})
    w = master.Worker(h)
    pid = int(w.call("probe").body)
    os.kill(h.supervisor, signal.SIGSTOP)
    os.kill(h.current("probe").init_pid, signal.SIGKILL)
    gone(pid)

    with process_with(pid) as other:
        h.kill_supervisor()
        assert line(h) == ("ended: its function init is gone",
                           "no request was running", pid)
        assert int(w.call("probe").body) != pid
        assert other.poll() is None


def test_a_worker_whose_pid_is_a_thread_is_gone(host):
    """Of a thread there is no pidfd, and it is not ESRCH that says so."""

    h = host(put={"probe": PROBE % ""})
    dead = subprocess.Popen(["sleep", "600"])
    w = master.Worker(h, dead.pid)
    slot, _ = w.acquire("probe")
    os.kill(h.supervisor, signal.SIGSTOP)
    dead.kill()
    dead.wait()

    with thread_with(dead.pid):
        h.kill_supervisor()
        wait_until(lambda: w.record.pid == 0, "its record to be free")
        wait_until(lambda: h.slot(slot).state in ("idle", "free"),
                   "its slot to come back")
