"""Disks that are full and limits of descriptors that are reached, the kernel's
own and not injected: what cannot be done is said, all else goes on, and it is
done when there is room again."""

import ctypes
import os
import re
import subprocess

import pytest

from harness import IS_ROOT, process_stat, wait_until

root = pytest.mark.skipif(not IS_ROOT, reason="mounts a disk")

FULL = "No space left on device"

CLONE_NEWNS = 0x00020000

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Disk:
    """A tmpfs, which can be filled to its last byte."""

    def __init__(self, path, size):
        self.path, self.size = path, size
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o",
                        "size=%s,mode=755" % size, "tmpfs", str(path)],
                       check=True, capture_output=True)

    def fill(self):
        with open(self.path / "ballast", "ab", buffering=0) as ballast:
            try:
                while ballast.write(bytes(65536)) == 65536:
                    pass
                while ballast.write(bytes(4096)):
                    pass
            except OSError as error:
                assert error.strerror == FULL

    def clear(self):
        (self.path / "ballast").unlink()


@pytest.fixture
def namespace():
    """The mounts below are of this process and its children alone, and gone
    with it, whatever happens."""

    before, where = os.open("/proc/self/ns/mnt", os.O_RDONLY), os.getcwd()
    try:
        call(libc.unshare, CLONE_NEWNS)
    except OSError as error:
        os.close(before)
        pytest.skip("no mounts here: %s" % error)
    try:
        done = subprocess.run("mount --make-rprivate / && mount -t tmpfs tmpfs"
                              " /mnt && umount /mnt", shell=True, text=True,
                              capture_output=True)
        if done.returncode:
            pytest.skip("no mounts here: " + done.stderr)
        yield
    finally:
        call(libc.setns, before, CLONE_NEWNS)
        os.close(before)
        os.chdir(where)


@pytest.fixture
def small(namespace, faas):
    """A host with a small disk in its directory: host.disk."""

    def make(where, size="24m", deploy=(), **options):
        host = faas(start=False, **options)
        host.disk = Disk(host.dir / where, size)
        for name, source in dict(deploy).items():
            host.deploy(name, *source)
        cleanup = host.cleanup

        def unmount():
            subprocess.run(["umount", "-l", str(host.disk.path)], check=True)
            cleanup()

        host.cleanup = unmount
        return host.start()

    return make


def source(number):
    return ("probe.c", '-DPROBE_VERSION="%d"' % number)


def version(host, name="probe"):
    return host.get("/fn/" + name).json["version"]


def is_idle(host, name="probe"):
    function = host.function(name)
    counts = function["instances"]
    return (function["queue"] == {"waiting": 0, "admitted": 0}
            and not any(counts[state] for state in counts if state != "idle"))


def zombies(host):
    return [pid for pid in host.processes() if process_stat(pid)[0] == "Z"]


def settle(host, name="probe"):
    """What each of these ends with."""

    wait_until(lambda: is_idle(host, name), "idle")
    assert zombies(host) == []


def told(host, text):
    return [line for line in host.error_log().splitlines() if text in line]


# -- logs of functions --------------------------------------------------------

@root
def test_log_on_a_full_disk_loses_lines_and_no_request(small):
    host = small("state", deploy={"probe": source(1)},
                 http="faas_function probe { max 1; }")
    pid = host.get("/fn/probe?log=before").json["pid"]
    wait_until(lambda: "before" in host.function_log("probe"), "a line")
    host.disk.fill()

    # more than what the last block has room for
    count = 300
    for n in range(count):
        r = host.get("/fn/probe?log=line%d.%s" % (n, "x" * 100))
        assert (r.status, r.json["calls"]) == (200, n + 2)
    wait_until(lambda: told(host, FULL), "a word")

    host.disk.clear()
    assert host.get("/fn/probe?log=after").json["pid"] == pid
    wait_until(lambda: "after" in host.function_log("probe"), "a line")
    assert len(told(host, FULL)) == 1, told(host, FULL)
    assert 'log "probe.log"' in told(host, FULL)[0]

    # each line stands alone, and the number is the one of those missing
    lines = host.function_log("probe").splitlines()
    note, = [n for n, line in enumerate(lines) if "were lost" in line]
    lost = int(re.search(r": faas: (\d+) lines of this log were lost$",
                         lines[note])[1])
    whole = [line for line in lines[:note]
             if re.search(r"line\d+\.x{100}$", line)]
    assert len(whole) + lost == count
    assert len(lines) - 1 == note + 1 and lines[-1].endswith(" after")
    settle(host)
