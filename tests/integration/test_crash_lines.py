"""One line for each instance that died: what it says."""

import os
import re
import signal

import pytest

import fcgi_client
import harness
import master

from harness import wait_until
from master import host

PROBE = """
#include <faas.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

static int wait_for_term;

static int probe(faas_request_t *r) {
    const char  *how = faas_query(r, "how", NULL);
    if (how == NULL) { return faas_printf(r, "%%d", (int) getpid()); }
    if (strcmp(how, "segv") == 0) { *(volatile int *) 8 = 1; }
    if (strcmp(how, "abort") == 0) { abort(); }
    if (strcmp(how, "exit") == 0) { _exit(7); }
    if (strcmp(how, "kill") == 0) { raise(SIGKILL); }
    if (strcmp(how, "hang") == 0) { for ( ;; ) { pause(); } }
    if (strcmp(how, "nap") == 0) { pause(); }
    if (strcmp(how, "fini") == 0) { wait_for_term = 1; }
    if (strcmp(how, "stubborn") == 0) { signal(SIGTERM, SIG_IGN); }
    return faas_printf(r, "ok");
}
static void fini(void) { if (wait_for_term) { abort(); } }
FAAS_FUNCTION(.handler = probe, .fini = fini%s)
"""

LINE = re.compile(
    r'\[(\w+)\] \d+#0: faas: function "(\w+)": version ([0-9a-f]{8}) slot '
    r'(\d+) pid (\d+) (.*), age (\d+\.\d{3}) s, (\d+) requests, (.*)\n')


def lines(h, name="probe"):
    """[(how, request, pid)] of its deaths."""

    return [(m[6], m[9], int(m[5])) for m in LINE.finditer(h.log())
            if m[2] == name]


def line(h, n=1):
    wait_until(lambda: len(lines(h)) >= n, "the line")
    found = lines(h)
    assert len(found) == n, found
    return found[-1]


def crash(h, w, query, **params):
    """A request that its instance does not answer; the pid."""

    slot, word = w.acquire("probe")
    pid = h.slot(slot).pid
    uri = "/probe?" + query
    with h.connect(slot) as c:
        c.send(c.head(params=dict(
            {"QUERY_STRING": query, "REQUEST_URI": uri, "REQUEST_ID": "id-1",
             "REQUEST_METHOD": "POST", "FAAS_PATH": "/"}, **params)))
        wait_until(lambda: not harness.is_alive(pid)
                   or h.slot(slot).word != word, "its end")
    return pid


@pytest.mark.parametrize("how, text", [
    ("segv", "was killed by signal 11 (Segmentation fault)"),
    ("abort", "was killed by signal 6 (Aborted)"),
    ("exit", "exited with code 7"),
    ("kill", "was killed by signal 9 (Killed): not by the host"),
])
@pytest.mark.parametrize("mode", ["resident", "oneshot"])
def test_a_crash_names_its_request(host, how, text, mode):
    h = host(put={"probe": PROBE % ""}, blocks={"probe": {"mode": mode,
                                                          "spare": 0}})
    w = master.Worker(h)
    pid = crash(h, w, "how=" + how)
    assert line(h) == (
        text, 'request "id-1" "POST /probe?how=%s"' % how, pid)
    f = h.function("probe")
    kind = {"exit": ("exit", 7), "kill": ("killed", 9), "segv": ("signal", 11),
            "abort": ("signal", 6)}[how]
    assert f.tally.kinds() == [kind]
    assert f.tally.counts() == {kind[0]: 1}
    assert f.deaths == 1
    assert h.error_of("probe").startswith("version ")


def test_a_crash_while_idle_says_that_no_request_was_running(host):
    h = host(put={"probe": PROBE % ""})
    w = master.Worker(h)
    pid = int(w.call("probe").body)
    os.kill(pid, signal.SIGSEGV)
    assert line(h) == ("was killed by signal 11 (Segmentation fault)",
                       "no request was running", pid)


def test_what_is_over_its_timeout_names_request_and_timeout(host):
    h = host(put={"probe": PROBE % ""}, blocks={"probe": {"timeout": 200}})
    w = master.Worker(h)
    pid = crash(h, w, "how=hang")
    assert line(h) == ("was killed by signal 9 (Killed): over its timeout of "
                       "200 ms", 'request "id-1" "POST /probe?how=hang"', pid)
    assert h.function("probe").tally.kinds() == [("timeout", 9)]


def test_what_ends_when_its_timeout_is_over_names_its_request(host):
    """Its handler returns by our SIGTERM."""

    h = host(put={"probe": PROBE % ""}, blocks={"probe": {"timeout": 200}})
    w = master.Worker(h)
    pid = crash(h, w, "how=nap")
    assert line(h) == ("exited with code 0: over its timeout of 200 ms",
                       'request "id-1" "POST /probe?how=nap"', pid)


def test_an_instance_that_does_not_get_ready_is_one_line(host):
    h = host(put={"probe": """
#include <faas.h>
#include <unistd.h>
static int fork_(void) { for ( ;; ) { pause(); } return 0; }
static int probe(faas_request_t *r) { return faas_printf(r, "x"); }
FAAS_FUNCTION(.handler = probe, .after_fork = fork_)
"""}, blocks={"probe": {"init_timeout": 300}})
    w = master.Worker(h)
    w.wait("probe")
    wait_until(lambda: lines(h), "the line")
    w.stop_waiting("probe")
    assert lines(h)[0][:2] == (
        "was killed by signal 9 (Killed) before it was ready: not ready in "
        "init_timeout 300 ms", "no request was running")
    assert h.function("probe").tally.kinds()[0] == ("start", 9)


def test_an_after_fork_that_refuses_is_one_line_with_its_reason(host):
    h = host(put={"probe": """
#include <faas.h>
static int fork_(void) { return -7; }
static int probe(faas_request_t *r) { return faas_printf(r, "x"); }
FAAS_FUNCTION(.handler = probe, .after_fork = fork_)
"""})
    w = master.Worker(h)
    w.wait("probe")
    wait_until(lambda: h.function("probe").backoff, "to be held back")
    w.stop_waiting("probe")
    deaths = h.function("probe").deaths
    assert len(lines(h)) == deaths
    assert {x[:2] for x in lines(h)} == {
        ("exited with code 1 before it was ready: after_fork() returned -7",
         "no request was running")}


def test_what_does_not_retire_is_killed_and_told(host):
    h = host(put={"probe": PROBE % ""}, blocks={"probe": {"idle_timeout": 50}})
    w = master.Worker(h)
    assert w.call("probe", QUERY_STRING="how=stubborn").body == b"ok"
    assert line(h)[:2] == ("was killed by signal 9 (Killed): it did not "
                           "retire in 2000 ms", "no request was running")
    assert h.function("probe").tally.kinds() == [("stuck", 9)]


def test_a_crash_while_it_retires_is_told(host):
    h = host(put={"probe": PROBE % ""}, blocks={"probe": {"idle_timeout": 50}})
    w = master.Worker(h)
    assert w.call("probe", QUERY_STRING="how=fini").body == b"ok"
    assert line(h)[:2] == ("was killed by signal 6 (Aborted)",
                           "no request was running")


def test_to_retire_is_no_line(host):
    h = host(put={"probe": PROBE % ""}, blocks={"probe": {"idle_timeout": 50}})
    w = master.Worker(h)
    w.call("probe")
    wait_until(lambda: h.function("probe").instances == 0, "its end")
    assert lines(h) == []
    assert h.function("probe").tally.total == 0


def test_instances_of_an_init_that_is_killed_are_told(host):
    h = host(put={"probe": PROBE % ""})
    w = master.Worker(h)
    pid = int(w.call("probe").body)
    os.kill(h.current("probe").init_pid, signal.SIGKILL)
    assert line(h) == ("ended: its function init is gone",
                       "no request was running", pid)
    assert h.log().count("is gone, its 1 instances end") == 1


def test_instances_that_are_gone_before_their_init_is_missed_are_told(host):
    h = host(put={"probe": PROBE % ""})
    w = master.Worker(h)
    pid = int(w.call("probe").body)
    os.kill(h.supervisor, signal.SIGSTOP)
    os.kill(h.current("probe").init_pid, signal.SIGKILL)
    wait_until(lambda: harness.reap() or harness.process_stat(pid) is None,
               "that nothing is left of it")
    os.kill(h.supervisor, signal.SIGCONT)
    assert line(h) == ("ended: its function init is gone",
                       "no request was running", pid)
    assert h.log().count("is gone, its 1 instances end") == 1


def test_an_instance_whose_init_is_killed_during_its_start_is_told(host):
    h = host(put={"probe": PROBE.replace("FAAS_FUNCTION(", """
static int after_fork(void) { pause(); return 0; }
FAAS_FUNCTION(.after_fork = after_fork, """) % ""},
             blocks={"probe": {"min": 1}})
    pid = wait_until(lambda: sum(s.inner_pid
                                 for s in h.slots("probe").values()),
                     "its start")
    os.kill(h.current("probe").init_pid, signal.SIGKILL)
    assert line(h) == ("ended before it was ready: its function init is gone",
                       "no request was running", pid)


def test_control_bytes_of_a_client_make_no_line_of_their_own(host):
    h = host(put={"probe": PROBE % ""})
    w = master.Worker(h)
    pid = crash(h, w, "how=segv", REQUEST_ID="a\n2026/01/01 [alert] \x1b[2J",
                REQUEST_URI="/\r\n\"x\\")
    assert line(h)[1:] == (
        'request "a\\x0A2026/01/01 [alert] \\x1B[2J" '
        '"POST /\\x0D\\x0A\\x22x\\x5C"', pid)
    assert "\n2026/01/01 [alert]" not in h.log()


def test_a_long_uri_is_cut_and_marked(host):
    h = host(put={"probe": PROBE % ""})
    w = master.Worker(h)
    crash(h, w, "how=segv", REQUEST_URI="/" + "x" * 5000)
    assert line(h)[1] == ('request "id-1" "POST /%s" (cut, 5001 bytes)'
                          % ("x" * 1023))


def test_a_page_full_of_garbage_hurts_nobody(host):
    h = host(put={"probe": """
#include <faas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int probe(faas_request_t *r) {
    FILE  *maps = fopen("/proc/self/maps", "r");
    char   text[512], *page = NULL;
    while (fgets(text, sizeof(text), maps)) {
        if (strstr(text, "faas-page")) { page = (char *) strtoul(text, NULL, 16); }
    }
    (void) r;
    memset(page + 32, 0xfe, 4096 - 32);
    memcpy(page + 48, "\\n\\0[alert] mine", 15);
    abort();
}
FAAS_FUNCTION(.handler = probe)
"""})
    w = master.Worker(h)
    pid = crash(h, w, "")
    how, request, told = line(h)
    assert (how, told) == ("was killed by signal 6 (Aborted)", pid)
    assert request.startswith('request "\\x0A\\x00[alert] mine')
    assert request.endswith(' (cut, 4278124286 bytes)')
    assert h.header.restarts == 0


def test_a_death_is_told_once_though_the_supervisor_is_killed(host):
    h = host(put={"probe": PROBE % ""}, blocks={"probe": {"timeout": 20000}})
    w = master.Worker(h)
    pid = int(w.call("probe").body)
    h.kill_supervisor()
    os.kill(pid, signal.SIGSEGV)
    assert line(h)[2] == pid
    assert h.function("probe").tally.total == 1


def test_why_it_is_killed_survives_the_supervisor(host):
    h = host(put={"probe": PROBE % ""}, blocks={"probe": {"timeout": 200}})
    w = master.Worker(h)
    slot, word = w.acquire("probe")
    pid = h.slot(slot).pid
    with h.connect(slot) as c:
        c.send(c.head(params={"QUERY_STRING": "how=hang", "FAAS_PATH": "/",
                              "REQUEST_ID": "x", "REQUEST_METHOD": "GET",
                              "REQUEST_URI": "/y"}))
        wait_until(lambda: h.slot(slot).cause == 2, "it is being killed")
        h.kill_supervisor()
        wait_until(lambda: not harness.is_alive(pid), "its end")
    how, request, _ = line(h)
    assert "over its timeout of 200 ms" in how
    assert request == 'request "x" "GET /y"'


def test_what_prints_while_the_supervisor_is_replaced_lives(host):
    h = host(start=False)
    h.put("probe", """
#include <faas.h>
#include <stdio.h>
#include <unistd.h>
static int probe(faas_request_t *r) {
    int  i;
    for (i = 0; access("%s/enough", F_OK) != 0; i++) {
        printf("line %%d\\n", i);
        fflush(stdout);
        usleep(5000);
    }
    return faas_printf(r, "%%d", i);
}
FAAS_FUNCTION(.handler = probe)
""" % h.directory)
    assert h.start() == "ready\n"
    w = master.Worker(h)
    slot, word = w.acquire("probe")
    with h.connect(slot) as c:
        c.send(c.head() + fcgi_client.stream(fcgi_client.STDIN, b""))
        for _ in range(3):
            h.kill_supervisor()
        (h.directory / "enough").touch()
        printed = int(c.read().body)
    log = h.state / "log" / "probe.log"
    wait_until(lambda: ": line %d\n" % (printed - 1) in log.read_text(),
               "its last line")
    # what a killed supervisor had read and not written is gone with it
    found = [int(n) for n in re.findall(r": line (\d+)\n", log.read_text())]
    assert found == sorted(set(found)) and found[0] == 0
    assert lines(h) == []
