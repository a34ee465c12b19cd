"""The supervisor, without nginx: master.py plays nginx's part."""

import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

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

ABORT = """
#include <faas.h>
#include <stdlib.h>
static int hello(faas_request_t *r) { (void) r; abort(); }
FAAS_FUNCTION(.handler = hello%s)
"""

BAD_INIT = """
#include <faas.h>
static int init(void) { faas_log(NULL, "no luck"); return -1; }
static int hello(faas_request_t *r) { return faas_printf(r, "x"); }
FAAS_FUNCTION(.handler = hello, .init = init)
"""


def hello(text="one", more=""):
    return HELLO % (text, more)


def alive(pids):
    return [p for p in pids if harness.is_alive(p)]


# -- start and end


def test_ready_is_said_when_functions_are(host):
    h = host(put={"hello": hello(), "bad": BAD_INIT})
    assert h.state_of("hello") == "ready"
    assert h.state_of("bad") == "failed"
    w = master.Worker(h)
    assert w.call("hello").body.startswith(b"one ")


def test_bad_configuration_is_a_bad_start(host):
    h = host(start=False)
    assert h.start(nonsense="1") == (
        "error: bad configuration: unknown setting \"nonsense\": module and "
        "supervisor are of different releases\n")
    wait_until(h.is_gone, "the keeper's end")


def test_last_lifeline_ends_all_and_leaves_nothing(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    assert list((h.state / "slots").iterdir())
    pids = list(h.processes())
    assert len(pids) >= 5, h.processes()
    h.let_go()
    wait_until(h.is_gone, "all to end", timeout=5 if not harness.ASAN else 30)
    wait_until(lambda: (harness.reap(), not alive(pids))[1], "their burial")
    assert not list((h.state / "slots").iterdir())
    assert not (h.state / "control").exists()


def test_sigterm_to_keeper_ends_all(host):
    h = host(put={"hello": hello()})
    os.kill(h.keeper, signal.SIGTERM)
    wait_until(h.is_gone, "all to end")


def test_stopped_supervisor_is_ended_with_nginx(host):
    h = host(put={"hello": hello()})
    master.Worker(h).call("hello")
    pids = list(h.processes())
    os.kill(h.supervisor, signal.SIGSTOP)
    h.let_go()
    wait_until(lambda: (harness.reap(), not alive(pids))[1], "all to end")
    assert "does not end, it is killed" in h.log()
    assert [p.name for p in h.state.rglob("*") if p.is_socket()] == []
    h.keeper = None
    assert h.start() == "ready\n"
    assert master.Worker(h).call("hello").status == 200


def test_second_master_keeps_the_host_alive(host):
    h = host(put={"hello": hello()})
    h.attach()
    h.lifelines.pop(0).close()
    w = master.Worker(h)
    assert w.call("hello").status == 200
    assert not h.header.draining


def test_second_keeper_finds_a_living_host(host):
    h = host(put={"hello": hello()})
    before = h.supervisor
    assert h.start() == "ready\n"
    assert h.supervisor == before
    assert len(h.lifelines) == 2


def test_start_meets_a_draining_host(host):
    h = host(put={"slow": """
#include <faas.h>
#include <signal.h>
#include <unistd.h>
static int slow(faas_request_t *r) {
    signal(SIGTERM, SIG_IGN);
    faas_flush(r);
    for ( ;; ) { pause(); }
    return 0;
}
FAAS_FUNCTION(.handler = slow)
"""})
    w = master.Worker(h)
    slot, word = w.acquire("slow")
    c = h.connect(slot)
    c.send(c.head())
    wait_until(lambda: h.slots("slow"), "the instance")
    h.let_go()
    wait_until(lambda: h.header.draining, "draining")
    began = time.monotonic()
    assert h.start() == "ready\n"
    c.close()
    assert h.state_of("slow") in ("loading", "ready"), time.monotonic() - began


def test_nobody_attaches_to_a_host_that_ends_since_it_was_connected_to(host):
    h = host(put={"hello": hello()})
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(harness.PATIENCE)
    s.connect(str(h.state / "control"))
    os.kill(h.supervisor, signal.SIGSTOP)
    h.lifelines.pop().close()
    config = master.config_memfd(h.config())
    socket.send_fds(s, [master.packet(master.ATTACH, struct.pack(
        "=32siI", b"0.1.0", os.getpid(), 0))], [config])
    os.close(config)
    os.kill(h.supervisor, signal.SIGCONT)
    kind, payload, _ = master.receive(s)
    s.close()
    assert (kind, payload) == (master.REFUSED, b"draining")


def test_keeper_killed_ends_all(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    os.kill(h.keeper, signal.SIGKILL)
    wait_until(h.is_gone, "all to end")
    assert "the keeper is gone" in h.log()
    assert not list((h.state / "slots").iterdir())


def test_all_killed_at_once_then_a_plain_start_works(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    for pid in (h.keeper, h.supervisor):
        os.kill(pid, signal.SIGKILL)
    wait_until(h.is_gone, "the rest to see it")
    h.let_go()
    h.keeper = None
    assert h.start() == "ready\n"
    assert master.Worker(h).call("hello").status == 200


def test_supervisor_finds_the_directory_that_it_has_whatever_its_name(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    pid = w.call("hello").body.split()[1]
    h.state.rename(h.directory / "elsewhere")
    os.kill(h.supervisor, signal.SIGKILL)
    wait_until(lambda: "has adopted the host" in h.log(), "another")
    (h.directory / "elsewhere").rename(h.state)
    assert w.call("hello").body.split()[1] == pid


def test_host_whose_directory_was_removed_ends_with_nginx(host):
    h = host(put={"hello": hello()})
    master.Worker(h).call("hello")
    pids = h.pids("hello")
    shutil.rmtree(h.state)
    os.kill(h.supervisor, signal.SIGKILL)
    wait_until(lambda: h.log().count("supervisor exited with code 1") >= 2,
               "attempts to start another")
    assert alive(pids) == pids
    h.let_go()
    wait_until(h.is_gone, "all to end")
    wait_until(lambda: (harness.reap(), not alive(pids))[1], "their burial")


# -- deploy


def test_dropped_file_is_deployed(host):
    h = host()
    h.deploy("hello", hello())
    assert master.Worker(h).call("hello").body.startswith(b"one ")
    assert h.function("hello").deploys == 1


def test_overwritten_file_replaces_and_old_instances_end(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    old = w.call("hello").body
    h.deploy("hello", hello("two"))
    assert w.call("hello").body.startswith(b"two ")
    wait_until(lambda: len(h.versions("hello")) == 1, "the old version's end")
    assert not alive([int(old.split()[1])])


def test_old_version_serves_until_the_new_one_is_loaded(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    first = h.current("hello").id
    h.put("hello", """
#include <faas.h>
#include <unistd.h>
static int init(void) {
    while (access("%s/go", F_OK)) { usleep(1000); }
    return 0;
}
static int hello(faas_request_t *r) { return faas_printf(r, "two"); }
FAAS_FUNCTION(.handler = hello, .init = init)
""" % h.directory)
    wait_until(lambda: len(h.versions("hello")) == 2, "the new version")
    assert h.current("hello").id == first
    assert w.call("hello").body.startswith(b"one ")
    (h.directory / "go").touch()
    wait_until(lambda: h.current("hello").id != first, "the switch")
    assert w.call("hello").body == b"two"


def test_many_deploys_leave_nothing_open(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)

    def one(i):
        h.deploy("hello", hello("number-%d" % i))
        assert w.call("hello").body.startswith(b"number-%d " % i)
        wait_until(lambda: len(h.versions("hello")) == 1, "the old one's end")

    def still():
        wait_until(lambda: len([c for c in h.processes().values() if not
                                c.startswith(("faas-events", "faas-tender"))
                                and "_calls" not in c]) == 6, "6 processes")
        return [len(os.listdir("/proc/%d/fd" % pid))
                for pid in (h.supervisor, h.keeper)]

    for i in range(3):
        one(i)
    before = still()
    for i in range(3, 20):
        one(i)
    # a slot more or less, but not one for each deploy
    assert all(now <= then + 8 for now, then in zip(still(), before))


def test_busy_instance_of_an_old_version_finishes(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    pid = h.slot(slot).pid
    h.deploy("hello", hello("two"))
    assert w.call("hello").body.startswith(b"two ")
    with h.connect(slot) as c:
        assert c.request().body == b"one %d\n" % pid
    assert w.release(slot, word)
    wait_until(lambda: not alive([pid]), "the old instance's end")
    wait_until(lambda: len(h.versions("hello")) == 1, "the old version's end")


def test_removed_file_removes_the_function(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    (h.functions / "hello.so").unlink()
    wait_until(lambda: h.state_of("hello") is None, "the entry to be free")
    assert h.routes() == []


def test_removed_and_dropped_again(host):
    h = host(put={"hello": hello()})
    generation = h.function("hello").generation
    (h.functions / "hello.so").unlink()
    wait_until(lambda: h.state_of("hello") is None, "the entry to be free")
    h.deploy("hello", hello("again"))
    assert h.function("hello").generation == generation + 1
    assert master.Worker(h).call("hello").body.startswith(b"again ")


@pytest.mark.parametrize("content,why", [
    (b"some text\n", "refused"),
    (b"\x7fELF" + bytes(60), "refused"),
    (None, "refused: "),
], ids=["text", "elf", "truncated"])
def test_refused_file_of_a_new_function_fails_it(host, compiler, content, why):
    h = host()
    if content is None:
        content = compiler(hello()).read_bytes()[:3000]
    (h.functions / "x.so").write_bytes(content)
    wait_until(lambda: h.state_of("x") == "failed", "the refusal")
    assert why in h.error_of("x")
    assert "function \"x\": file \"x.so\" is refused" in h.log()


@pytest.mark.parametrize("source", [
    BAD_INIT,
    "#include <faas.h>\nstatic int h(faas_request_t *r) "
    "{ return faas_printf(r, \"x\"); }\n"
    "FAAS_FUNCTION(.handler = h, .routes = \"GET /a(b\")\n",
    "#include <faas.h>\n#include <stdlib.h>\n"
    "__attribute__((constructor)) static void c(void) { abort(); }\n"
    "static int h(faas_request_t *r) { return faas_printf(r, \"x\"); }\n"
    "FAAS_FUNCTION(.handler = h)\n",
    "#include <faas.h>\nstatic int h(faas_request_t *r) "
    "{ return faas_printf(r, \"x\"); }\n"
    "FAAS_FUNCTION(.handler = h, .timeout = \"soon\")\n",
], ids=["init", "route", "constructor", "timeout"])
def test_failing_version_changes_nothing_for_traffic(host, source):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    pids = h.pids("hello")
    h.put("hello", source)
    wait_until(lambda: h.error_of("hello"), "the refusal")
    assert h.state_of("hello") == "ready"
    assert w.call("hello").body.startswith(b"one ")
    assert h.pids("hello") == pids
    if "a(b" in source:
        assert "at offset 4" in h.error_of("hello")
    h.deploy("hello", hello("three"))
    assert h.error_of("hello") == ""


def test_template_that_hangs_is_given_up(host):
    h = host(blocks={"x": {"init_timeout": 300}})
    h.put("x", """
#include <faas.h>
#include <unistd.h>
static int init(void) { for ( ;; ) { pause(); } return 0; }
static int hello(faas_request_t *r) { return faas_printf(r, "x"); }
FAAS_FUNCTION(.handler = hello, .init = init)
""")
    wait_until(lambda: h.state_of("x") == "failed", "the refusal")
    assert "init_timeout" in h.error_of("x")
    wait_until(lambda: not [p for p in h.processes().values() if "x" in
                            p.split()[1:2]], "its processes' end")


def test_routes_are_published_and_the_older_keeps_one(host):
    h = host(put={"a": hello("a", ', .routes = "GET /same\\nPOST /a"')})
    h.deploy("b", hello("b", ', .routes = "GET /same\\nPUT /b"'))
    a, b = h.index("a"), h.index("b")
    wait_until(lambda: (b, 8, "/b") in h.routes(), "the route")
    assert sorted(h.routes()) == sorted([
        (a, 0, ""), (b, 0, ""), (a, 3, "/same"), (a, 4, "/a"), (b, 8, "/b")])
    assert ("route \"/same\" is refused: function \"a\" has it"
            in h.error_of("b"))
    assert h.state_of("b") == "ready"


def test_older_function_keeps_its_route_over_a_restart(host):
    h = host(put={"zz": hello("z", ', .routes = "GET /same"')})
    h.deploy("aa", hello("a", ', .routes = "GET /same"'))
    h.let_go()
    wait_until(h.is_gone, "the end")
    h.keeper = None
    assert h.start() == "ready\n"
    wait_until(lambda: (h.index("zz"), 3, "/same") in h.routes(), "routes")
    assert (h.index("aa"), 3, "/same") not in h.routes()


def test_labelled_version_gets_no_traffic(host):
    h = host(put={"hello": hello(), "hello@blue": hello("blue")})
    wait_until(lambda: len(h.versions("hello")) == 2
               and all(master.VERSION[v.state] == "ready"
                       for v in h.versions("hello")), "both versions")
    assert h.current("hello").label == b""
    assert master.Worker(h).call("hello").body.startswith(b"one ")
    (h.functions / "hello@blue.so").unlink()
    wait_until(lambda: len(h.versions("hello")) == 1, "the label's end")


# -- scaling


def test_from_zero_on_demand(host):
    h = host(put={"hello": hello()})
    assert h.function("hello").instances == 0
    w = master.Worker(h)
    assert w.call("hello").status == 200
    f = h.function("hello")
    assert (f.instances, f.starts, f.cold_starts) == (1, 1, 0)
    assert f.start_us > 0
    assert w.call("hello").status == 200
    assert f.starts == 1


def test_idle_timeout_goes_to_zero_and_template_ends(host):
    h = host(put={"hello": hello()},
             blocks={"hello": {"idle_timeout": 100, "template_timeout": 100}})
    w = master.Worker(h)
    w.call("hello")
    wait_until(lambda: h.function("hello").instances == 0, "zero")
    wait_until(lambda: h.current("hello").template_pid == 0, "no template")
    wait_until(lambda: not any("hello" in c for c in h.processes().values()),
               "no process of it")
    assert w.call("hello").status == 200
    # one that is not used within its timeout is started again
    assert h.function("hello").cold_starts >= 1


def test_min_is_kept_and_refilled(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"min": 3}})
    wait_until(lambda: h.states("hello") == ["idle"] * 3, "three")
    for victim in h.pids("hello"):
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: h.states("hello") == ["idle"] * 3
                   and victim not in h.pids("hello"), "a refill")
    assert h.function("hello").deaths == 3
    assert "was killed by signal 9" in h.log()


def test_max_is_never_exceeded(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"max": 4}})
    w = master.Worker(h)
    w.wait("hello", 100)
    taken = [wait_until(lambda: w.take("hello"), "an instance")
             for _ in range(4)]
    h.kick()
    h.deploy("hello", hello("two"))
    for _ in range(200):
        assert len(h.slots("hello")) <= 4
        assert h.function("hello").instances <= 4
        h.function("hello").kick = 0
        h.kick()
        time.sleep(0.001)
    assert w.take("hello") is None
    pids = h.pids("hello")
    assert len(set(pids)) == 4
    slot, word = taken.pop()
    assert w.release(slot, word)
    slot, word = wait_until(lambda: w.take("hello"), "one of the new version")
    with h.connect(slot) as c:
        assert c.request().body.startswith(b"two ")
    assert len(h.slots("hello")) <= 4
    w.stop_waiting("hello", 100)


def test_full_function_costs_no_kicks(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"max": 2}})
    w = master.Worker(h)
    w.wait("hello", 50)
    for _ in range(2):
        wait_until(lambda: w.take("hello"), "an instance")
    wait_until(lambda: h.function("hello").kick == 1, "kick to stay")

    def ticks():
        stat = pathlib.Path("/proc/%d/stat" % h.supervisor).read_text()
        return sum(map(int, stat.rsplit(")", 1)[1].split()[11:13]))

    before = ticks()
    for _ in range(50):
        w.wait("hello", 1)
        time.sleep(0.01)
    assert h.function("hello").kick == 1
    assert ticks() - before < 10
    w.stop_waiting("hello", 100)


def test_oneshot_each_request_has_its_process(host):
    h = host(put={"hello": hello("one", ', .mode = "oneshot"')},
             blocks={"hello": {"max": 4}})
    w = master.Worker(h)
    pids = [int(w.call("hello").body.split()[1]) for _ in range(50)]
    assert len(set(pids)) == 50
    assert len(h.slots("hello")) <= 4
    assert h.function("hello").deaths == 0
    w2 = wait_until(lambda: not alive(pids), "all of them to be gone")
    assert w2


def test_max_requests_retires(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"max_requests": 2}})
    w = master.Worker(h)
    seen = [w.call("hello").body.split()[1] for _ in range(6)]
    assert len(set(seen)) >= 3
    assert h.function("hello").deaths == 0


def test_new_page_reaches_workers(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    with h.connect(slot) as c:
        assert c.request().status == 200
    s, pages = h.pages(w), {}

    def page_of(wanted):
        while wanted not in pages:
            kind, payload, fds = master.receive(s)
            assert kind == master.PAGE and len(fds) == 1
            pages[struct.unpack("=II", payload)[0]] = fds[0]
        return pages[wanted]

    begun, _, ended, _ = struct.unpack("=4Q", os.pread(page_of(slot), 32, 0))
    assert (begun, ended) == (1, 1)
    with pytest.raises(OSError):
        os.pwrite(page_of(slot), b"x", 0)
    other, _ = w.acquire("hello")
    assert other != slot
    assert struct.unpack("=4Q", os.pread(page_of(other), 32, 0))[0] == 0
    for fd in pages.values():
        os.close(fd)


def test_draining_instance_comes_back_after_a_nudge(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    pid = h.slot(slot).pid
    assert w.release(slot, word, "draining")
    wait_until(lambda: h.slot(slot).state == "idle", "idle")
    assert h.slot(slot).pid == pid


def test_condemned_instance_is_killed(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    pid = h.slot(slot).pid
    assert w.release(slot, word, "condemned")
    h.kick()
    wait_until(lambda: not alive([pid]), "its end")
    f = h.function("hello")
    assert (f.kills, f.deaths) == (1, 0)
    wait_until(lambda: "over its timeout" in h.log(), "the line")


def test_backstop_condemns_what_is_over_its_budget(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"timeout": 200}})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    pid = h.slot(slot).pid
    wait_until(lambda: not alive([pid]), "its end")
    assert h.function("hello").kills == 1


def test_crashing_function_is_held_back(host):
    h = host(put={"crash": ABORT % ""})
    w = master.Worker(h)
    for _ in range(3):
        slot, word = w.acquire("crash")
        with h.connect(slot) as c:
            with pytest.raises(Exception):
                c.request()
        wait_until(lambda: h.slot(slot).word != word, "its end")
    wait_until(lambda: h.function("crash").backoff == 1, "to be held back")
    assert h.function("crash").backoff_until_ms > 0
    assert h.function("crash").deaths == 3
    wait_until(lambda: h.function("crash").backoff == 0, "another chance")
    h.deploy("crash", hello())
    assert w.call("crash").status == 200


def test_after_fork_that_fails_is_told(host):
    h = host(put={"x": """
#include <faas.h>
static int fork_(void) { return -1; }
static int hello(faas_request_t *r) { return faas_printf(r, "x"); }
FAAS_FUNCTION(.handler = hello, .after_fork = fork_)
"""})
    w = master.Worker(h)
    w.wait("x")
    wait_until(lambda: h.function("x").backoff == 1, "to be held back")
    assert "before it was ready: after_fork() returned -1" in h.log()
    w.stop_waiting("x")


def test_what_a_function_prints_is_in_its_log(host):
    h = host(put={"talk": """
#include <faas.h>
#include <stdio.h>
#include <string.h>
static int init(void) { printf("from init\\n"); fflush(stdout); return 0; }
static int hello(faas_request_t *r) {
    static char  line[20001];
    memset(line, 'x', 20000);
    faas_log(r, "from handler");
    fprintf(stderr, "%s\\nhalf", line);
    return faas_printf(r, "x");
}
FAAS_FUNCTION(.handler = hello, .init = init)
"""})
    w = master.Worker(h)
    w.call("talk")
    log = h.state / "log" / "talk.log"
    wait_until(lambda: "xxx" in log.read_text(), "lines")
    os.kill(h.pids("talk")[0], signal.SIGKILL)
    wait_until(lambda: not h.slots("talk"), "its end")
    w.call("talk")
    text = wait_until(lambda: ": half\n" in log.read_text()
                      and log.read_text(), "the half line")
    assert "template: from init" in text
    assert "from handler" in text
    assert text.count("x") >= 20000
    log.rename(log.with_suffix(".old"))
    wait_until(lambda: (w.call("talk"), log.exists())[1], "another file")


# -- survival


def test_supervisor_killed_is_replaced_and_adopts(host):
    h = host(put={"hello": hello(), "bad": BAD_INIT},
             blocks={"hello": {"min": 2}})
    w = master.Worker(h)
    wait_until(lambda: h.states("hello") == ["idle"] * 2, "two")
    slot, word = w.acquire("hello")
    version = h.current("hello")
    before = (h.pids("hello"), version.id, version.template_pid,
              version.init_pid, h.function("hello").deploys,
              h.function("hello").starts)
    h.kill_supervisor()
    with h.connect(slot) as c:
        assert c.request().status == 200
    assert w.release(slot, word)
    h.kill_supervisor()
    assert w.call("hello").status == 200
    version = h.current("hello")
    assert before == (h.pids("hello"), version.id, version.template_pid,
                      version.init_pid, h.function("hello").deploys,
                      h.function("hello").starts)
    assert h.state_of("bad") == "failed"
    assert h.header.restarts == 2
    # and it goes on: refill, deploy, remove
    victim = h.pids("hello")[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: h.states("hello") == ["idle"] * 2
               and victim not in h.pids("hello"), "a refill")
    h.deploy("hello", hello("two"))
    assert w.call("hello").body.startswith(b"two ")
    wait_until(lambda: (w.give_back("hello"), h.states("hello"))[1]
               == ["idle"] * 2, "two of the new version")
    (h.functions / "hello.so").unlink()
    wait_until(lambda: h.state_of("hello") is None, "the entry to be free")


def test_supervisor_killed_while_a_version_loads(host):
    h = host()
    h.put("hello", """
#include <faas.h>
#include <unistd.h>
static int init(void) {
    while (access("%s/go", F_OK)) { usleep(1000); }
    return 0;
}
static int hello(faas_request_t *r) { return faas_printf(r, "here"); }
FAAS_FUNCTION(.handler = hello, .init = init)
""" % h.directory)
    wait_until(lambda: h.state_of("hello") == "loading", "loading")
    h.kill_supervisor()
    (h.directory / "go").touch()
    wait_until(lambda: h.state_of("hello") == "ready", "ready")
    assert h.function("hello").deploys == 1
    assert master.Worker(h).call("hello").body == b"here"


def test_file_removed_while_there_was_no_supervisor(host):
    h = host(put={"hello": hello()})
    os.kill(h.supervisor, signal.SIGKILL)
    (h.functions / "hello.so").unlink()
    wait_until(lambda: h.header.restarts == 1 and h.state_of("hello") is None,
               "the entry to be free")


def test_supervisor_killed_many_times_under_oneshot_load(host):
    h = host(put={"hello": hello("one", ', .mode = "oneshot"')},
             blocks={"hello": {"max": 4}})
    w = master.Worker(h)
    seen, killed = set(), 0
    for i in range(400):
        if i % 20 == 10:
            os.kill(h.supervisor, signal.SIGKILL)
            killed += 1
            wait_until(lambda: h.header.restarts == killed, "another")
        seen.add(int(w.call("hello").body.split()[1]))
        assert h.function("hello").instances <= 4
    assert len(seen) == 400
    assert h.function("hello").deaths == 0

    def rest():
        taken = w.take("hello")
        if taken:
            w.release(*taken)
        states = h.states("hello")
        assert set(states) <= {"idle"}, [
            (s.state, s.pid, harness.is_alive(s.pid))
            for s in h.slots("hello").values()]
        return True

    wait_until(rest)


def test_dead_worker_gives_back_what_it_held(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"max": 2}})
    sleeper = subprocess.Popen(["sleep", "1000"])
    w = master.Worker(h, sleeper.pid)
    slot, word = w.acquire("hello")
    w.wait("hello", 5)
    sleeper.kill()
    sleeper.wait()
    wait_until(lambda: h.slot(slot).state == "idle", "the slot")
    cell = w.cell(h.index("hello"))
    assert (cell.waiting, cell.admitted, cell.oldest_ms) == (0, 0, 0)
    assert list(h.function("hello").waiting_mask) == [0, 0, 0, 0]
    record = master.WorkerRecord.at(h.lib.faas_scoreboard_worker(h.base,
                                                               w.index))
    wait_until(lambda: record.pid == 0, "the record")


def test_handed_slot_of_a_dead_worker_comes_back(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"max": 1}})
    sleeper = subprocess.Popen(["sleep", "1000"])
    dead, w = master.Worker(h, sleeper.pid), master.Worker(h)
    slot, word = w.acquire("hello")
    assert w.release(slot, word, "handed", dead.index)
    sleeper.kill()
    sleeper.wait()
    assert w.call("hello").status == 200


def test_zygote_killed_is_replaced(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    body = w.call("hello").body
    zygote = [p for p, c in h.processes().items() if c == "faas: zygote"]
    os.kill(zygote[0], signal.SIGKILL)
    assert w.call("hello").body == body
    h.deploy("other", hello("other"))
    assert w.call("other").body.startswith(b"other ")
    assert w.call("hello").body == body


def test_init_killed_its_instances_end_and_it_comes_again(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    pid = int(w.call("hello").body.split()[1])
    os.kill(h.current("hello").init_pid, signal.SIGKILL)
    wait_until(lambda: not alive([pid]), "its instance's end")
    wait_until(lambda: h.function("hello").instances == 0, "no instance")
    assert int(w.call("hello").body.split()[1]) != pid


def test_template_killed_instances_live_on(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    os.kill(h.current("hello").template_pid, signal.SIGKILL)
    wait_until(lambda: h.current("hello").template_pid == 0, "its end")
    slot2, word2 = w.acquire("hello")
    assert slot2 != slot
    with h.connect(slot) as c:
        assert c.request().status == 200
    assert w.release(slot, word)


def test_instance_killed_before_it_is_ready(host):
    h = host(put={"hello": """
#include <faas.h>
#include <signal.h>
#include <unistd.h>
static int fork_(void) {
    if (access("%(d)s/die", F_OK) == 0) { raise(SIGKILL); }
    return 0;
}
static int hello(faas_request_t *r) { return faas_printf(r, "x"); }
FAAS_FUNCTION(.handler = hello, .after_fork = fork_)
"""})
    # the directory is not known before: the marker is beside the functions
    h.put("hello", """
#include <faas.h>
#include <signal.h>
#include <unistd.h>
static int fork_(void) {
    if (access("%s/die", F_OK) == 0) { raise(SIGKILL); }
    return 0;
}
static int hello(faas_request_t *r) { return faas_printf(r, "x"); }
FAAS_FUNCTION(.handler = hello, .after_fork = fork_)
""" % h.directory)
    content = master.sha256(h.functions / "hello.so")
    wait_until(lambda: h.current("hello").sha256.decode() == content,
               "the switch")
    (h.directory / "die").touch()
    w = master.Worker(h)
    w.wait("hello")
    wait_until(lambda: h.function("hello").deaths >= 3, "deaths")
    wait_until(lambda: h.function("hello").backoff, "held back")
    (h.directory / "die").unlink()
    slot, word = wait_until(lambda: w.take("hello"), "an instance")
    w.stop_waiting("hello")
    assert "before it was ready" in h.log()


# -- configuration


def test_reload_changes_limits_and_keeps_instances(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    pids = h.pids("hello")
    h.blocks = {"hello": {"max": 3, "idle_timeout": 99000, "min": 2}}
    assert h.reload() == (master.ACCEPTED, "")
    limits = h.function("hello").limits
    assert (limits.max, limits.idle_timeout_ms) == (3, 99000)
    wait_until(lambda: len(h.pids("hello")) == 2, "min")
    assert set(pids) < set(h.pids("hello"))


@pytest.mark.parametrize("name", ["timeout", "max_requests"])
def test_reload_replaces_instances_that_were_told_another_limit(host, name):
    h = host(put={"hello": hello()}, blocks={"hello": {"min": 1}})
    w = master.Worker(h)
    old = int(w.call("hello").body.split()[1])
    h.blocks = {"hello": {"min": 1, name: 1234}}
    assert h.reload() == (master.ACCEPTED, "")
    wait_until(lambda: h.states("hello") == ["idle"]
               and h.pids("hello") != [old], "another instance")
    assert not alive([old])


def test_instances_are_looked_at_after_a_time_without_any(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"timeout": 200}})
    # longer than from one look to the next
    time.sleep(0.6)
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    pid = h.slot(slot).pid
    wait_until(lambda: not alive([pid]), "the end of who is over its budget")
    assert h.function("hello").kills == 1


def test_reload_that_is_refused_changes_nothing(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"max": 3}})
    h.blocks = {"hello": {"max": 0}}
    kind, text = h.reload()
    assert kind == master.REFUSED and "max" in text
    assert h.function("hello").limits.max == 3
    h.blocks = {}
    assert h.reload()[0] == master.ACCEPTED


def test_scoreboard_size_needs_a_restart_and_says_so(host):
    h = host()
    assert h.reload(scoreboard=16 << 20) == (
        master.ACCEPTED, "\"faas_scoreboard\" of 16777216 bytes needs a "
        "restart, it has 8388608")


def test_new_environment_is_a_new_template(host):
    h = host(put={"env": """
#include <faas.h>
static int hello(faas_request_t *r) {
    const char  *v = faas_config(r, "KEY");
    return faas_printf(r, "%s", v ? v : "none");
}
FAAS_FUNCTION(.handler = hello)
"""})
    w = master.Worker(h)
    assert w.call("env").body == b"none"
    h.blocks = {"env": {"env": "KEY=a%20b"}}
    assert h.reload()[0] == master.ACCEPTED
    wait_until(lambda: w.call("env").body == b"a b", "the new environment")


def test_functions_directory_may_change(host):
    h = host(put={"hello": hello()})
    other = h.directory / "other"
    other.mkdir(mode=0o755)
    h.functions = other
    h.put("there", hello("there"))
    assert h.reload()[0] == master.ACCEPTED
    wait_until(lambda: h.state_of("there") == "ready", "the new one")
    wait_until(lambda: h.state_of("hello") is None, "the old one's end")


def test_ceilings_clamp_descriptors(host):
    h = host(put={"hello": hello("x", ', .max = 50, .timeout = "90s"')},
             blocks={"*": {"max": 5, "timeout": 1000}})
    limits = h.function("hello").limits
    assert (limits.max, limits.timeout_ms) == (5, 1000)
    assert "max 50 clamped to 5" in h.log()


# -- strangers


@pytest.mark.parametrize("data", [
    b"", b"x", master.packet(99), master.packet(master.ATTACH, b"short"),
    master.packet(master.RELOAD), master.packet(master.WORKER, b"\xff" * 4),
    master.packet(master.WORKER, struct.pack("=I", 0)),
    master.packet(master.ATTACH, magic=1),
    master.packet(master.ATTACH, layout=99), b"y" * 5000,
    struct.pack("=IIII", master.MAGIC, 1, 1, 4000),
])
def test_garbage_costs_only_its_sender(host, data):
    h = host(put={"hello": hello()})
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(harness.PATIENCE)
    s.connect(str(h.state / "control"))
    s.send(data) if data else s.shutdown(socket.SHUT_WR)
    while s.recv(8192):
        pass
    assert master.Worker(h).call("hello").status == 200
    assert h.header.restarts == 0
