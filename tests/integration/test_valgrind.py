"""What `make valgrind` runs: the host's programs under valgrind's memcheck,
while functions are deployed, called, killed and changed.

Each process has a log, forks too.  Seen are errors of all of them, as they are
made; and at its end, _exit() as well, what a process has lost: keeper,
supervisor, zygote, inits, the events process, the tender, and instances, those
that die of a signal that they can catch included.  What is killed by SIGKILL
has no such end: templates (by their init), an instance at its deadline, and
the first of the two supervisors here."""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import urllib.parse

import pytest

from harness import ROOT, VALGRIND, wait_until

pytestmark = pytest.mark.skipif(
    not VALGRIND or not shutil.which("valgrind"), reason="make valgrind")

WRAPPER = """\
#!/bin/sh
export LD_PRELOAD=%(library)s
exec valgrind --tool=memcheck --leak-check=full --num-callers=30 \\
    --show-leak-kinds=definite,indirect \\
    --errors-for-leak-kinds=definite,indirect \\
    --trace-children=yes --vgdb=no --error-exitcode=99 \\
    --log-file=%(logs)s/%%p \\
    %(bin)s/faas-supervisor "$@"
"""


class Pidfds:
    """Opens pidfds for processes that run under a valgrind that cannot."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(str(path))
        self.socket.listen(64)
        path.chmod(0o666)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client:
                pid = client.recv(4)
                if len(pid) != 4:
                    continue
                try:
                    fd = os.pidfd_open(*struct.unpack("=i", pid))
                except OSError as error:
                    client.send(struct.pack("=i", error.errno))
                    continue
                socket.send_fds(client, [struct.pack("=i", 0)], [fd])
                os.close(fd)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def checked(faas, programs, tmp_path_factory):
    """A host whose programs run under valgrind; their logs: host.memcheck"""

    directory = tmp_path_factory.mktemp("valgrind")
    for path in (directory, directory.parent, directory.parent.parent):
        path.chmod(0o755)
    logs = directory / "logs"
    logs.mkdir()
    logs.chmod(0o777)           # instances are not root
    library = directory / "under_valgrind.so"
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                    "-Werror", "-shared", "-fPIC", "-o", str(library),
                    '-DLIBRARY="%s"' % library, '-DLOGS="%s"' % logs,
                    '-DPIDFD_SOCKET="%s"' % (directory / "pidfds"),
                    str(ROOT / "tests/integration/under_valgrind.c"), "-ldl"],
                   check=True)
    wrapper = directory / "faas-supervisor"
    wrapper.write_text(WRAPPER % {"library": library, "logs": logs,
                                  "bin": programs})
    wrapper.chmod(0o755)
    pidfds = Pidfds(directory / "pidfds")

    def make(**options):
        host = faas(start=False, **options)
        host.memcheck = logs
        host.configure(template=host.options["template"].replace(
            "%(bin)s/faas-supervisor", str(wrapper)))
        return host.start()

    yield make
    pidfds.close()



def faults(log):
    """What a log says against the process that it is of."""

    # where one was that died of a signal is no error
    log = re.sub(r"==\d+== Process terminating .*\n(==\d+==  +.*\n)*", "", log)
    return re.findall(r".* at 0x.*"
                      r"|.*ERROR SUMMARY: (?!0 errors).*"
                      r"|.*(?:definitely|indirectly) lost: (?!0 bytes).*"
                      r"|.*unhandled.*", log)


def check(directory, ended):
    """All logs are without faults.  Those of the processes named have an end,
    and so has one of each of the programs that end orderly."""

    logs = {path.name: path.read_text(errors="replace")
            for path in directory.iterdir()}
    for name, log in logs.items():
        assert not faults(log), log
    complete = {name: log for name, log in logs.items()
                if "ERROR SUMMARY:" in log}
    for pid in ended:
        assert str(pid) in complete, logs[str(pid)]
    for program in ("faas-supervisor --keeper", "faas-supervisor --supervise",
                    "faas-zygote", "faas-events", "faas-tender"):
        assert any(re.search("Command: .*/" + program, log)
                   for log in complete.values()), program


def ask(host, name, op, body=None, **arguments):
    query = urllib.parse.urlencode({"op": op, **arguments})
    r = host.get("/fn/%s?%s" % (name, query), body=body,
                 method="POST" if body is not None else "GET")
    assert r.status == 200, (r, r.body)
    return r.text.rstrip("\n")


def configuration(more):
    return ("faas_core on; faas_function * { init_timeout 60s; timeout 60s;"
            " queue 100 timeout=60s; memory 4g; }" + more)


FUNCTIONS = ("faas_function short { timeout 1s; }"
             "faas_function once { mode oneshot; consume jobs; }"
             "faas_function sdk { exactly_once on; }"
             "faas_function probe { max %d; }")


def test_host_makes_no_memory_error_and_loses_nothing(checked):
    host = checked(deploy=["probe", "short", "once"],
                   http=configuration(FUNCTIONS % 2))
    ended = []                  # pids whose log has to have an end
    killed = host.status()["supervisor"]["pid"]

    # requests, and bodies of all sizes
    ended.append(host.get("/fn/probe").json["pid"])
    for size in (0, 1, 3000, 300000):
        answer = host.post("/fn/probe?a=b&c", b"x" * size)
        assert answer.status == 200 and answer.json["bytes"] == size
    assert len(host.get("/fn/probe?size=1000000").body) == 1000000
    assert host.get("/fn/probe?fail=1").status == 500
    ended += [host.get("/fn/once").json["pid"] for _ in range(3)]

    # another version, a file that is none, a function that comes
    host.deploy("probe", "probe.c", '-DPROBE_VERSION="2"')
    assert host.get("/fn/probe").json["version"] == "2"
    (host.functions / "bad.so").write_bytes(b"\x7fELF" + bytes(100))
    wait_until(lambda: host.function("bad").get("last_error"), "a refusal")
    host.deploy("sdk", "sdk.c")
    host.remove("bad")

    # what the platform has for functions
    assert ask(host, "sdk", "kv_set", key="k", value="v").startswith("0 ")
    assert ask(host, "sdk", "kv_get", key="k").endswith("v")
    assert ask(host, "sdk", "sql", b"SELECT 7") == "7\nrc 0"
    assert ask(host, "sdk", "call", function="probe").startswith("0 200 ")
    before = host.function("once")["totals"]["arrivals"]
    assert ask(host, "sdk", "send", queue="jobs", data="x").startswith("0 ")
    wait_until(lambda: host.function("once")["totals"]["arrivals"] > before,
               "the job")

    # deaths
    for death in ("die=6", "die=11", "die=9", "exit=3"):
        assert host.post("/fn/probe?" + death).status == 502, death
        wait_until(lambda: host.get("/fn/probe").status == 200, "another")
    assert host.post("/fn/short?gate=%s/never" % host.gates).status == 504

    # limits changed, and a supervisor that takes over what runs
    host.reload(http=configuration(FUNCTIONS % 3))
    host.allowed.append("killed by signal 9")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: host.status()["supervisor"]["pid"] != killed,
               "another supervisor")
    assert host.get("/fn/probe").status == 200
    host.deploy("probe", "probe.c", '-DPROBE_VERSION="3"')
    ended.append(host.get("/fn/probe").json["pid"])
    ended.append(host.status()["supervisor"]["pid"])

    host.stop()
    wait_until(lambda: not host.left(), "the end")
    check(host.memcheck, ended)
