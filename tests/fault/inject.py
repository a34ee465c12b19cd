"""Makes calls fail in the processes of a host while they run (inject.c).

    inject = Injector(directory)
    host = ...started with LD_PRELOAD and FAAS_INJECT of inject.environment()
    with inject.fault("alloc", role="worker", n=7):
        ...                     # the seventh allocation of a worker fails
"""

import contextlib
import errno
import mmap
import os
import pathlib
import struct
import subprocess

HERE = pathlib.Path(__file__).parent

SIZE = 4096
RULES = 8
RULE = struct.Struct("=Ii16s24siIqQQ")
FIRST, EACH = 64, 128
ARMED = struct.Struct("=I")


class Rule:
    """One place on the page; armed until off() is called."""

    def __init__(self, page, place):
        self.page = page
        self.at = FIRST + EACH * place

    def arm(self, call, n, role, pid, error, every):
        self.off()
        RULE.pack_into(self.page, self.at, 0, pid, role.encode(),
                       call.encode(), error, 1 if every else 0, n - 1, 0, 0)
        ARMED.pack_into(self.page, self.at, 1)
        return self

    def off(self):
        ARMED.pack_into(self.page, self.at, 0)

    @property
    def seen(self):
        """How many such calls there were since it was armed."""

        return RULE.unpack_from(self.page, self.at)[-2]

    @property
    def failed(self):
        return RULE.unpack_from(self.page, self.at)[-1]


class Injector:
    def __init__(self, directory):
        self.library = pathlib.Path(directory) / "inject.so"
        self.path = pathlib.Path(directory) / "faults"
        subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall",
                        "-Wextra", "-Werror", "-shared", "-fPIC",
                        "-o", str(self.library), str(HERE / "inject.c"),
                        "-ldl"], check=True)
        self.path.write_bytes(b"FAULTS01".ljust(SIZE, b"\0"))
        # mapped by functions and services, whoever they are
        self.path.chmod(0o666)
        fd = os.open(self.path, os.O_RDWR)
        self.page = mmap.mmap(fd, SIZE)
        os.close(fd)
        self.rules = [Rule(self.page, place) for place in range(RULES)]
        self.free = list(self.rules)

    def environment(self, others=None):
        """What nginx is started with, so that rules reach it and its own."""

        environment = dict(os.environ if others is None else others)
        environment["LD_PRELOAD"] = " ".join(
            filter(None, [str(self.library), environment.get("LD_PRELOAD")]))
        environment["FAAS_INJECT"] = str(self.path)
        return environment

    def arm(self, call, n=1, role="", pid=0, error=errno.ENOMEM, every=False):
        """From now the n-th such call fails, and all after it if every."""

        return self.free.pop().arm(call, n, role, pid, error, every)

    def disarm(self, rule):
        rule.off()
        self.free.append(rule)

    @contextlib.contextmanager
    def fault(self, call, **options):
        rule = self.arm(call, **options)
        try:
            yield rule
        finally:
            self.disarm(rule)
