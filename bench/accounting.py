"""Which processes belong to a contestant, and the CPU time they used.

Best is a cgroup of its own for each contestant: it holds whatever its
processes fork, however they detach, and counts in nanoseconds, also those
that have exited.  Where none can be made, /proc is walked: utime and stime of
all descendants, and of what they have reaped (ticks of 10 ms).
"""

import ctypes
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36

# (directory, file of usage in it)
HIERARCHIES = (
    ('/sys/fs/cgroup/cpuacct', 'cpuacct.usage'),
    ('/sys/fs/cgroup/cpu,cpuacct', 'cpuacct.usage'),
    ('/sys/fs/cgroup', 'cpu.stat'),
    ('/sys/fs/cgroup/unified', 'cpu.stat'),
)


def read(path):
    with open(path) as f:
        return f.read()


def usage_us(path):
    text = read(path)
    if text.startswith('usage_usec'):
        return int(text.split()[1])
    return int(text) / 1000


class Cgroup:
    """The processes of one contestant, in a cgroup."""

    kind = 'cgroups'

    def __init__(self, base, usage, name):
        self.path = os.path.join(base, 'faas-bench.%d.%s'
                                 % (os.getpid(), name))
        os.mkdir(self.path)
        self.usage_file = os.path.join(self.path, usage)
        self.machine_file = os.path.join(base, usage)
        try:
            read(self.usage_file)
            read(self.machine_file)
        except OSError:
            os.rmdir(self.path)
            raise

    def enter(self):
        """In a child before it execs."""
        with open(os.path.join(self.path, 'cgroup.procs'), 'w') as f:
            f.write('0')

    def settled(self):
        """All of its processes have been started."""

    def pids(self):
        return [int(pid) for pid in
                read(os.path.join(self.path, 'cgroup.procs')).split()]

    def cpu_us(self):
        return usage_us(self.usage_file)

    def foreign_us(self):
        """What all others used, us included; None where it is not known."""
        return usage_us(self.machine_file) - self.cpu_us()

    def close(self):
        for _ in range(100):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.02)


def stat_of(pid):
    """ppid, and own and reaped CPU time in ticks; None when it is gone."""
    try:
        fields = read('/proc/%d/stat' % pid).rpartition(')')[2].split()
    except OSError:
        return None
    if fields[0] == 'Z':
        return None
    return int(fields[1]), sum(int(t) for t in fields[11:15])


class Tree:
    """The same from /proc: all descendants of ours that are new since."""

    kind = '/proc (ticks; misses what fcgiwrap starts)'

    usage_file = None
    machine_file = None
    tick_us = 1000000 / os.sysconf('SC_CLK_TCK')

    def __init__(self):
        # what detaches becomes our child, and so stays a descendant
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.before = set(self.children(os.getpid()))
        self.roots = set()

    @staticmethod
    def table():
        table = {}
        for name in os.listdir('/proc'):
            if name.isdigit():
                stat = stat_of(int(name))
                if stat:
                    table[int(name)] = stat
        return table

    @classmethod
    def children(cls, parent):
        return [pid for pid, stat in cls.table().items() if stat[0] == parent]

    def enter(self):
        pass

    def settled(self):
        self.roots = set(self.children(os.getpid())) - self.before
        # those who lose their parent later are known by then
        self.roots.update(self.pids())

    def pids(self):
        table = self.table()
        found = [pid for pid in self.roots if pid in table]
        for pid in found:               # grows while it is walked
            found += [p for p, stat in table.items()
                      if stat[0] == pid and p not in found]
        return found

    def cpu_us(self):
        table = self.table()
        return self.tick_us * sum(table[pid][1] for pid in self.pids()
                                  if pid in table)

    def foreign_us(self):
        return None

    def close(self):
        for pid in self.roots:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


def create(name):
    for base, usage in HIERARCHIES:
        try:
            return Cgroup(base, usage, name)
        except OSError:
            continue
    return Tree()


def sweep(group, seconds=5):
    """Waits for the group's processes to end; kills and tells what stays."""
    end = time.monotonic() + seconds
    while group.pids() and time.monotonic() < end:
        time.sleep(0.02)
    left = []
    for pid in group.pids():
        try:
            left.append(read('/proc/%d/comm' % pid).strip())
            os.kill(pid, signal.SIGKILL)
        except (OSError, ProcessLookupError):
            pass
    end = time.monotonic() + 2
    while group.pids() and time.monotonic() < end:
        time.sleep(0.02)
    return left
