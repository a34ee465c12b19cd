"""A function's own limit, `memory`."""

import re

import pytest

import harness
import master

from harness import wait_until
from master import host

MB = 1 << 20

# under a sanitizer a process has some 20 MB of its own
LIMIT = 100 * MB if harness.ASAN else 40 * MB

GROW = """
#include <faas.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static int grow(faas_request_t *r) {
    const char  *mb = faas_query(r, "mb", NULL);
    size_t       n = mb ? (size_t) atoi(mb) << 20 : 0;
    char        *p = n ? mmap(NULL, n, PROT_READ|PROT_WRITE,
                              MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) : NULL;
    if (n) { memset(p, 1, n); }
    if (faas_query(r, "hang", NULL)) { for ( ;; ) { pause(); } }
    if (faas_query(r, "free", NULL)) { munmap(p, n); }
    return faas_printf(r, "%%d", (int) getpid());
}
static char *big;
static int init(void) {
    size_t  n = (size_t) INIT << 20;
    if (n) { big = malloc(n); memset(big, 1, n); }
    return 0;
}
FAAS_FUNCTION(.handler = grow, .init = init)
""".replace("INIT", "%d")

# once it has answered, and there is a gate; its end takes so many us
LATER = """
#include <faas.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *grow(void *data) {
    while (access("%s", F_OK) != 0) { usleep(1000); }
    memset(malloc(%d), 1, %d);
    return data;
}
static int handle(faas_request_t *r) {
    pthread_t  thread;
    if (pthread_create(&thread, NULL, grow, NULL) != 0) { abort(); }
    return faas_printf(r, "%%d", (int) getpid());
}
static void fini(void) { usleep(%d); }
FAAS_FUNCTION(.handler = handle, .fini = fini)
"""

LIMITED = "faas_function grow { memory %d; max 4; }" % LIMIT


def deaths(log):
    return re.findall(r'"grow": version \w+ slot \d+ pid (\d+) (.*?), age '
                      r'.* requests, (.*)\n', log)


def grown_later(host, fini_us=0):
    """(host, worker, pid of an idle instance that is over, what made it)"""

    h = host(blocks={"grow": {"memory": LIMIT}})
    gate = h.directory / "gate"
    h.deploy("grow", LATER % (gate, LIMIT, LIMIT, fini_us))
    w = master.Worker(h)
    pid = int(w.call("grow").body)
    gate.touch()
    return h, w, pid, gate


def test_an_idle_instance_over_its_memory_is_retired(host):
    h, w, pid, gate = grown_later(host)
    wait_until(lambda: not harness.is_alive(pid), "its end")
    wait_until(lambda: deaths(h.log()), "the line")
    (told, how, request), = deaths(h.log())
    assert int(told) == pid and request == "no request was running"
    assert "exited with code 0: over its memory of %d bytes, it had " % (
        LIMIT) in how
    f = h.function("grow")
    assert (f.deaths, f.kills) == (0, 0)
    assert f.tally.counts() == {"oom": 1}
    gate.unlink()
    assert int(w.call("grow").body) != pid


def test_an_idle_instance_over_its_memory_is_not_hurried(host):
    h, *_ = grown_later(host, 800000)
    wait_until(lambda: deaths(h.log()), "the line")
    assert "exited with code 0: over its memory" in deaths(h.log())[0][1]


def test_what_is_within_its_memory_lives(host):
    """However much it had and gave back."""

    h = host(put={"grow": GROW % 0}, blocks={"grow": {"memory": LIMIT}})
    w = master.Worker(h)
    pid = int(w.call("grow").body)
    looks = 8
    for _ in range(looks):
        assert int(w.call("grow", QUERY_STRING="free=1&mb=%d"
                          % (LIMIT // MB * 5 // 8)).body) == pid
        harness.time.sleep(0.25)
    assert deaths(h.log()) == []


def test_what_is_shared_with_the_template_is_not_counted_for_each(host):
    """Each instance maps more than the limit, but shares it."""

    h = host(put={"grow": GROW % (LIMIT // MB + 30)},
             blocks={"grow": {"memory": LIMIT, "min": 4}})
    wait_until(lambda: h.states("grow") == ["idle"] * 4, "four")
    pids = h.pids("grow")
    harness.time.sleep(1.5)
    assert h.pids("grow") == pids
    assert deaths(h.log()) == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_busy_one_is_killed_and_its_request_is_502_oom(faas, method):
    host = faas(deploy={"grow": GROW % 0}, http=LIMITED)
    r = host.get("/fn/grow?hang=1&mb=%d" % (LIMIT // MB), method=method)
    assert r.status == 502
    assert "error=connection_terminated" in r.headers["Proxy-Status"]
    assert "memory" in r.headers["Proxy-Status"]
    wait_until(lambda: len(deaths(host.error_log()))
               == (2 if method == "GET" else 1), "the lines")
    for _, how, request in deaths(host.error_log()):
        assert how.startswith("was killed by signal 9 (Killed): over its "
                              "memory of %d bytes, it had " % LIMIT)
        assert '"%s /fn/grow?hang=1&mb=' % method in request
    totals = host.function("grow")["totals"]
    assert totals["outcomes"]["oom"] == 1
    assert totals["outcomes"]["crash"] == 0
    assert host.get("/fn/grow").status == 200


def test_the_rest_of_an_answer_is_cut(faas):
    host = faas(deploy={"grow": """
#include <faas.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int grow(faas_request_t *r) {
    faas_printf(r, "begin");
    faas_flush(r);
    memset(malloc(%d), 1, %d);
    for ( ;; ) { pause(); }
    return 0;
}
FAAS_FUNCTION(.handler = grow)
""" % (LIMIT, LIMIT)}, http=LIMITED)
    with pytest.raises(Exception):
        host.get("/fn/grow")
    wait_until(lambda: host.function("grow")["totals"]["outcomes"]["oom"] == 1,
               "the outcome")


def test_others_do_not_notice(faas):
    host = faas(deploy={"grow": GROW % 0, "probe": "probe.c"}, http=LIMITED)
    killed = harness.Background(lambda: host.post(
        "/fn/grow?hang=1&mb=%d" % (LIMIT // MB)))
    while not killed.is_done():
        assert host.post("/fn/probe", b"x").status == 200
    assert killed.result().status == 502
