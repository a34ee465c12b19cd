"""What a supervisor had half done when it was killed, and what others had
when they were stopped: the next one finishes it, or it ends by itself.  A
kill between two steps is played by the state that it leaves on the board."""

import contextlib
import os
import pathlib
import re
import resource
import signal
import subprocess

import harness
import master

from master import host
from harness import wait_until

HELLO = """
#include <faas.h>
#include <unistd.h>
static int hello(faas_request_t *r) {
    return faas_printf(r, "%%s %%d\\n", "%s", (int) getpid());
}
FAAS_FUNCTION(.handler = hello%s)
"""

STARTING = master.SLOT.index("starting")
READY = master.VERSION.index("ready")


def hello(text="one", more=""):
    return HELLO % (text, more)


@contextlib.contextmanager
def between(h):
    """The time between two supervisors: the first does nothing more, the
    second has not begun."""

    os.kill(h.supervisor, signal.SIGSTOP)
    wait_until(lambda: harness.process_stat(h.supervisor)[0] == "T",
               "it stops")
    yield
    h.kill_supervisor()


def gone_pid():
    """Nobody's pid, a moment ago somebody's."""

    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def watched(pid):
    """Pids that a process has pidfds of."""

    found = set()
    for path in pathlib.Path("/proc/%d/fdinfo" % pid).iterdir():
        with contextlib.suppress(OSError):
            found.update(int(n) for n in re.findall(
                r"^Pid:\s*(\d+)", path.read_text(), re.MULTILINE))
    return found


def strays(h, name):
    """Children of the function's init that are neither its template nor in a
    slot."""

    v = h.current(name)
    known = {v.template_pid} | {s.inner_pid for s in h.slots(name).values()}
    return [p for p, stat in harness.process_table().items()
            if stat[1] == v.init_pid and stat[0] not in "ZX"
            and p not in known]


def test_a_start_whose_end_was_told_to_a_dead_supervisor_is_over(host):
    h = host(put={"hello": hello()},
             blocks={"hello": {"max": 1, "max_requests": 1,
                               "init_timeout": 500}})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    with h.connect(slot) as c:
        assert c.request().status == 200
    w.release(slot, word, "draining")
    wait_until(lambda: h.slot(slot).state == "free", "its end")
    with between(h):
        s = h.slot(slot)
        s.pid, s.inner_pid = 0, gone_pid()
        s.word = (s.generation + 1) << 16 | 0xfff << 4 | STARTING
    assert w.call("hello").status == 200


def test_what_was_superseded_without_being_told_is_superseded(host):
    h = host(put={"hello": hello()},
             blocks={"hello": {"min": 1, "max": 1}})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    old = h.current("hello")
    h.deploy("hello", hello("two"))
    with between(h):
        assert old.state == master.VERSION.index("draining")
        old.state = READY
    assert w.release(slot, word)
    assert w.call("hello").body.startswith(b"two ")
    wait_until(lambda: len(h.versions("hello")) == 1, "one version")


def test_what_was_loaded_and_is_not_current_is_loaded_anew(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    with between(h):
        f = h.function("hello")
        f.current = 0xffffffff
    assert w.call("hello").body.startswith(b"one ")
    wait_until(lambda: len(h.versions("hello")) == 1, "one version")


def test_an_instance_whose_fork_was_told_to_a_dead_supervisor_is_seen_to_end(
        host):
    h = host(put={"hello": hello()}, blocks={"hello": {"min": 1, "max": 1}})
    w = master.Worker(h)
    pid = int(w.call("hello").body.split()[1])
    with between(h):
        for s in h.slots("hello").values():
            s.inner_pid = 0
    wait_until(lambda: pid in watched(h.supervisor), "it to be watched")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in h.pids("hello"), "its end is seen")
    assert w.call("hello").status == 200


def test_an_instance_that_told_a_dead_supervisor_that_it_is_ready_serves(
        host):
    h = host(put={"hello": hello()}, blocks={"hello": {"max": 1}})
    w = master.Worker(h)
    body = w.call("hello").body
    with between(h):
        s, = h.slots("hello").values()
        s.word, s.pid = s.word & ~15 | STARTING, 0
    assert w.call("hello").body == body


def test_an_instance_that_nobody_waits_for_any_more_is_killed(host):
    h = host(put={"hello": hello()},
             blocks={"hello": {"max": 1, "init_timeout": 500}})
    w = master.Worker(h)
    template = h.current("hello").template_pid
    os.kill(template, signal.SIGSTOP)
    w.wait("hello")
    wait_until(lambda: h.states("hello") == ["starting"], "a start")
    w.stop_waiting("hello")
    h.kill_supervisor()
    wait_until(lambda: h.states("hello") == [], "it is given up")
    assert h.current("hello").template_pid == template
    os.kill(template, signal.SIGCONT)
    assert w.call("hello").status == 200
    wait_until(lambda: strays(h, "hello") == [], "no process without a slot")


def test_a_template_that_does_not_answer_is_killed(host):
    h = host(put={"hello": hello()},
             blocks={"hello": {"init_timeout": 500, "max": 2}})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    template = h.current("hello").template_pid
    os.kill(template, signal.SIGSTOP)
    w.wait("hello")
    wait_until(lambda: not harness.is_alive(template), "its end")
    assert wait_until(lambda: w.take("hello"), "one of another template")
    assert "the template did not fork in init_timeout" in h.log()


def test_a_zygote_that_does_not_answer_is_replaced(host):
    h = host(put={"hello": hello()},
             blocks={"other": {"init_timeout": 500}})
    zygote = [p for p, c in h.processes().items() if c == "faas: zygote"][0]
    os.kill(zygote, signal.SIGSTOP)
    h.deploy("other", hello("other"))
    assert not harness.is_alive(zygote)
    w = master.Worker(h)
    assert w.call("other").body.startswith(b"other ")
    assert w.call("hello").status == 200


def test_an_idle_template_ends_although_another_version_starts(host):
    h = host(blocks={"hello": {"template_timeout": 1000}})
    h.deploy("hello", """
#include <faas.h>
#include <unistd.h>
static int after_fork(void) {
    while (access("%s/go", F_OK)) { usleep(1000); }
    return 0;
}
static int hello(faas_request_t *r) { return faas_printf(r, "here"); }
FAAS_FUNCTION(.handler = hello, .after_fork = after_fork)
""" % h.directory)
    w = master.Worker(h)
    w.wait("hello")
    wait_until(lambda: h.states("hello") == ["starting"], "a start")
    h.put("hello@two", hello("two"))
    two = wait_until(lambda: [v for v in h.versions("hello")
                              if v.label == b"two" and v.template_pid],
                     "the other version")[0]
    wait_until(lambda: two.template_pid == 0, "its template's end")
    assert h.states("hello") == ["starting"]
    (h.directory / "go").touch()


def test_a_template_that_cannot_be_had_again_is_held_back(host):
    h = host(blocks={"hello": {"min": 2, "max": 2}})
    h.deploy("hello", """
#include <faas.h>
#include <unistd.h>
static int init(void) { return access("%s/bad", F_OK) ? 0 : -1; }
static int hello(faas_request_t *r) { return faas_printf(r, "here"); }
FAAS_FUNCTION(.handler = hello, .init = init)
""" % h.directory)
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    wait_until(lambda: len(h.pids("hello")) == 2 and 0 not in h.pids("hello"),
               "two instances")
    (h.directory / "bad").touch()
    os.kill(h.current("hello").template_pid, signal.SIGKILL)
    wait_until(lambda: h.current("hello").template_pid == 0, "its end")
    victim = [p for p in h.pids("hello") if p != h.slot(slot).pid]
    os.kill(victim[0], signal.SIGKILL)
    wait_until(lambda: "the next attempt is in 1600 ms" in h.log(),
               "that it is held back")
    assert h.log().count("is refused: init() returned -1") < 20
    (h.directory / "bad").unlink()
    wait_until(lambda: h.current("hello").template_pid, "another template")
    assert w.release(slot, word)
    wait_until(lambda: h.states("hello") == ["idle"] * 2, "two instances")


def test_nothing_outlives_the_host_though_an_init_is_stopped(host):
    h = host(put={"hello": """
#include <faas.h>
#include <signal.h>
#include <unistd.h>
static int hello(faas_request_t *r) {
    pid_t  pid = fork();
    if (pid == 0) {
        setsid();
        signal(SIGTERM, SIG_IGN);
        for ( ;; ) { pause(); }
    }
    return faas_printf(r, "%d", (int) pid);
}
FAAS_FUNCTION(.handler = hello)
"""})
    daemon = int(master.Worker(h).call("hello").body)
    os.kill(h.current("hello").init_pid, signal.SIGSTOP)
    h.let_go()
    wait_until(lambda: not harness.is_alive(h.keeper), "the host's end")
    assert not harness.is_alive(daemon)
    assert h.processes() == {}


def test_an_instance_is_killed_although_its_init_is_stopped(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"max": 2}})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    pid = h.slot(slot).pid
    os.kill(pid, signal.SIGSTOP)
    os.kill(h.current("hello").init_pid, signal.SIGSTOP)
    assert w.release(slot, word, "condemned")
    h.kick()
    wait_until(lambda: h.slot(slot).state == "free", "its slot")
    assert not harness.is_alive(pid)
    os.kill(h.current("hello").init_pid, signal.SIGCONT)
    assert w.call("hello").status == 200


def test_a_keeper_that_lacks_descriptors_starts_a_supervisor_later(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    body = w.call("hello").body
    limits = resource.prlimit(h.keeper, resource.RLIMIT_NOFILE)
    resource.prlimit(h.keeper, resource.RLIMIT_NOFILE, (5, limits[1]))
    os.kill(h.supervisor, signal.SIGKILL)
    wait_until(lambda: h.log().count("socketpair failed in the keeper (24:")
               > 1, "two attempts")
    resource.prlimit(h.keeper, resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: h.header.restarts == 1, "another supervisor")
    assert w.call("hello").body == body


def test_a_keeper_that_lacks_descriptors_ends_with_nginx(host):
    h = host(put={"hello": hello()})
    master.Worker(h).call("hello")
    limits = resource.prlimit(h.keeper, resource.RLIMIT_NOFILE)
    resource.prlimit(h.keeper, resource.RLIMIT_NOFILE, (5, limits[1]))
    os.kill(h.supervisor, signal.SIGKILL)
    wait_until(lambda: "socketpair failed in the keeper (24:" in h.log(),
               "an attempt")
    h.let_go()
    wait_until(h.is_gone, "the host's end")


WENT_BACK = "of its instances died before they were ready"


def go_back(host):
    """A host whose function is about to go back to what served before, and
    does so when the file "wait" is gone."""

    h = host(blocks={"hello": {"min": 1, "max": 1}})
    h.deploy("hello", """
#include <faas.h>
#include <unistd.h>
static int init(void) {
    while (access("%s/wait", F_OK) == 0) { usleep(1000); }
    return access("%s/no", F_OK) ? 0 : -1;
}
static int hello(faas_request_t *r) { return faas_printf(r, "good"); }
FAAS_FUNCTION(.handler = hello, .init = init)
""" % (h.directory, h.directory))
    assert master.Worker(h).call("hello").body == b"good"
    (h.directory / "wait").touch()
    put_bad(h)
    wait_until(lambda: h.log().count(WENT_BACK) == 1, "that it is given up")
    return h


def put_bad(h):
    h.put("hello", """
#include <faas.h>
static int after_fork(void) { return -1; }
static int hello(faas_request_t *r) { return faas_printf(r, "bad"); }
FAAS_FUNCTION(.handler = hello, .after_fork = after_fork)
""")


def went_back(h):
    (h.directory / "wait").unlink()
    assert master.Worker(h).call("hello").body == b"good"
    assert h.log().count(WENT_BACK) == 1


def test_what_cannot_start_is_given_up_though_its_file_is_copied_again(host):
    h = go_back(host)
    put_bad(h)
    # the files are looked at one after the other: this one comes later
    h.deploy("other", hello("other"))
    went_back(h)


def test_what_cannot_start_is_given_up_though_the_supervisor_is_killed(host):
    h = go_back(host)
    h.kill_supervisor()
    h.deploy("other", hello("other"))
    went_back(h)


def test_what_cannot_start_is_given_up_though_another_cannot_be_loaded(host):
    h = go_back(host)
    h.put("hello", """
#include <faas.h>
static int init(void) { return -1; }
static int hello(faas_request_t *r) { return faas_printf(r, "bad"); }
FAAS_FUNCTION(.handler = hello, .init = init)
""")
    wait_until(lambda: "is refused: init() returned -1" in h.log(),
               "its refusal")
    (h.directory / "wait").unlink()
    assert master.Worker(h).call("hello").body == b"good"


def test_what_served_before_is_asked_for_again_when_it_could_not_be_loaded(
        host):
    h = go_back(host)
    (h.directory / "no").touch()
    (h.directory / "wait").unlink()
    wait_until(lambda: "is refused: init() returned -1" in h.log(),
               "its refusal")
    (h.directory / "no").unlink()
    assert master.Worker(h).call("hello").body == b"good"
