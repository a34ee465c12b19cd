#!/usr/bin/env python3
"""R10: an nginx replaces its own program under load: USR2, WINCH, QUIT; and
the way back: USR2, WINCH, then HUP to the old one and QUIT to the new; and
with a module of another layout of the scoreboard, which cannot come.

No request fails, both masters use one board, so that no limit doubles, and
every instance stays; the newcomer of another layout says what it found, ends,
and disturbs nothing."""

import os
import signal
import shutil
import time

import fault
import other

FUNCTIONS = {
    "echo": "min 4; max 4; max_requests 0; queue 1000 timeout=20s;"
            " timeout 5s;",
    "id": "max 3; queue 1000 timeout=20s; timeout 5s;",
}


class Daemon:
    """A master that became a daemon, as harness.Host sees its process."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return None             # of another master still
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        fault.wait_until(lambda: self.poll() is not None, "nginx to end",
                         timeout=timeout or 60)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def start(x, host):
    host.launch()
    assert host.process.wait(60) == 0
    fault.wait_until(lambda: (host.dir / "nginx.pid").exists()
                     and host.answers(), "the daemon")
    host.settle()
    host.process = Daemon(host.pid())
    x.warm(host, FUNCTIONS)
    # those that stay may come to be used by both workers
    x.baseline[host]["instance"]["socket"] += 1


def workers(pid):
    return [child for child, (state, ppid, _)
            in fault.harness.process_table().items()
            if ppid == pid and state not in "ZX"
            and "nginx: worker" in fault.harness.cmdline(child)]


def has_workers(host, pid):
    return len([child for child in workers(pid) if "shutting down"
                not in fault.harness.cmdline(child)]) \
        == host.options["workers"]


def usr2(host):
    """(old, new): both masters and all their workers serve."""

    old = host.pid()
    os.kill(old, signal.SIGUSR2)
    fault.wait_until(lambda: (host.dir / "nginx.pid.oldbin").exists()
                     and host.pid() != old and has_workers(host, host.pid()),
                     "another master")
    return old, host.pid()


def winch(pid):
    os.kill(pid, signal.SIGWINCH)
    fault.wait_until(lambda: not workers(pid), "its workers to end")


def quit(host, pid):
    os.kill(pid, signal.SIGQUIT)
    fault.wait_until(lambda: (fault.harness.reap(spared=[host.process.pid]),
                              host.process.poll(),
                              not fault.harness.is_alive(pid))[2],
                     "a master's end")


def forth(host):
    old, new = usr2(host)
    winch(old)
    quit(host, old)
    host.process = Daemon(new)


def back(host):
    old, new = usr2(host)
    winch(old)
    os.kill(old, signal.SIGHUP)
    fault.wait_until(lambda: has_workers(host, old), "the old one's workers")
    quit(host, new)
    fault.wait_until(lambda: host.pid() == old, "the old one's pid file")


def other_layout(x, host, programs):
    old = host.pid()
    module = host.bin / "ngx_http_faas_module.so"
    kept = host.bin / "kept.so"
    os.link(module, kept)
    shutil.copy(programs / module.name, host.bin / "new.so")
    os.replace(host.bin / "new.so", module)
    said = host.error_log().count("of layout")
    os.kill(old, signal.SIGUSR2)
    fault.wait_until(lambda: host.error_log().count("of layout") > said,
                     "the newcomer's error")
    fault.wait_until(lambda: (host.dir / "nginx.pid").exists()
                     and host.pid() == old
                     and not (host.dir / "nginx.pid.oldbin").exists(),
                     "the newcomer's end")
    os.replace(kept, module)
    line = host.log_has("this module, release")
    x.check("the newcomer's error names both layouts",
            line and "is of layout" in line and "of layout 99" in line, line)


def run(x):
    programs = other.build(FAAS_SCOREBOARD_LAYOUT=99)
    host = x.host(FUNCTIONS, start=False, main="daemon on;")
    host.allowed.append("is of layout")
    start(x, host)
    before = sorted(fault.instances(host, "echo").values())
    x.check("all of echo are there", len(before) == 4, before)

    rounds = x.times(1, 20, 120)
    load = x.load(host, ["/fn/echo?ms=5", "/fn/id?ms=2"],
                  connections=x.pick(20, 100), seconds=x.seconds(14, 300),
                  methods={"GET": 1, "POST": 1}, body="0-20000", bound=26000)
    taken = []
    for _ in range(rounds):
        begin = time.monotonic()
        forth(host)
        back(host)
        other_layout(x, host, programs)
        taken.append(time.monotonic() - begin)
        internal = host.state / "internal.sock"
        with fault.harness.socket.socket(
                fault.harness.socket.AF_UNIX) as s:
            s.connect(str(internal))
    records = load.stop().result()

    x.summary(records)
    x.figure("rounds", "%d, %.1f s each at most" % (rounds, max(taken)))
    x.check("no request failed", not records.failed(), records.failed()[:3])
    now = sorted(fault.instances(host, "echo").values())
    x.check("every instance stayed", now == before, "%s -> %s" % (before,
                                                                  now))
    x.check("it was one host all the time",
            host.status()["supervisor"]["restarts"] == 0)
    x.check_executions(records, *x.ledgers.values())


fault.main(run, "R10", "replacing nginx's program fails nothing",
           quick_limit=300)
