"""The runtime below the supervisor: faas-zygote, function init, template and
instance, driven through message.h by a supervisor in Python, with FastCGI
spoken to the slots' sockets."""

import errno
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

import pytest

import fcgi_client
import harness
import runtime
from harness import wait_until
from runtime import is_gone, stat_field

SOURCE = (pathlib.Path(__file__).parent / "functions"
          / "runtime.c").read_text()

NO_BODY = fcgi_client.stream(fcgi_client.STDIN, b"")

HELLO = """
#include <faas.h>
%s
static int
handler(faas_request_t *r)
{
    return faas_printf(r, "hello");
}
%s
FAAS_FUNCTION(.handler = handler, %s)
"""


# what a function is made of cannot be seen by others, not even by its own uid
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may look")


def source(before="", fields="", after=""):
    return HELLO % (before, after, fields)


@pytest.fixture
def zygote(tmp_path_factory):
    # functions' uid needs a way to it
    path = tmp_path_factory.mktemp("zygote")
    for directory in [path, *path.parents]:
        if directory.stat().st_uid == os.getuid() \
                and directory != pathlib.Path("/"):
            directory.chmod(directory.stat().st_mode | 0o711)
    harness.become_subreaper()
    zygote = runtime.Zygote(path)
    yield zygote
    zygote.finish()


@pytest.fixture
def version(zygote):
    version = zygote.version(SOURCE, env=["COLOUR=blue green", "EMPTY="])
    version.loaded()
    return version


@pytest.fixture
def slot(version):
    return version.fork()


@pytest.fixture
def connection(slot):
    with slot.connect() as connection:
        yield connection


def ask(slot, query="", **request):
    with slot.connect() as connection:
        return connection.request(query=query, **request)


def pending(pid):
    """Signals that the process has not taken yet."""

    text = pathlib.Path("/proc/%d/status" % pid).read_text()
    return sum(int(n, 16) for n in re.findall(r"(?:SigPnd|ShdPnd):\s*(\w+)",
                                              text))


# -- versions -----------------------------------------------------------------

def test_descriptor_is_told(zygote):
    version = zygote.version(SOURCE)
    assert version.loaded() == {
        "abi": "1", "mode": "resident", "timeout": "5s", "memory": "64m",
        "min": "1", "max": "3", "idempotent": "1",
        "routes": "GET%20/a%20b/(?<name>.*)%25%0a/%c3%a4"}


@pytest.mark.parametrize("text, why", [
    (source("static int init(void) { return 42; }", ".init = init"),
     "init() returned 42"),
    (source("static int test(void) { return -1; }", ".selftest = test"),
     "selftest() returned -1"),
    (source(fields='.mode = "sometimes"'), 'mode is "sometimes"'),
    (source(fields=".min = 5, .max = 4"), "min 5 is more than max 4"),
    (source(fields=".min = -1"), "min -1"),
    (source(fields=".max = 1000000"), "max 1000000"),
    (source(fields=".idempotent = 2"), "idempotent is 2"),
    ("#include <faas.h>\nFAAS_FUNCTION(.min = 0)", "no handler"),
    ("int x;", "no descriptor"),
    ("int missing(void);\nint x(void);\nint x(void) { return missing(); }",
     "undefined symbol: missing"),
    ("const unsigned faas_function[64] = { 2, 256 };",
     "compiled for ABI 2, this host runs ABI 1: the host is older"),
    ("const unsigned faas_function[64] = { 0, 256 };",
     "compiled for ABI 0, this host runs ABI 1: compile it again"),
    ("const unsigned faas_function[2] = { 1, 256 };",
     "impossible size of 256 bytes"),
    ("const unsigned faas_function[64] = { 1, 8 };",
     "impossible size of 8 bytes"),
    ("const unsigned faas_function[64] = { 1, 256, 1, 1, [50] = 1 };",
     "sets a field at offset 200"),
    (source("#include <pthread.h>\n#include <unistd.h>\n"
            "static void *run(void *p) { for ( ;; ) { pause(); } return p; }"
            "static int init(void) { pthread_t t;"
            " return pthread_create(&t, 0, run, 0); }", ".init = init"),
     "init() left 1 threads running"),
])
def test_refused_with_the_reason(zygote, text, why):
    version = zygote.version(text)
    assert why in version.failed()
    template = version.init.receive("TEMPLATE").pid
    assert os.WEXITSTATUS(version.exited(template).status) == 1


def test_descriptor_of_an_older_header_is_taken(zygote):
    """Cut behind the handler: all other fields are 0."""

    version = zygote.version("""
        #include <faas.h>
        static int handler(faas_request_t *r) { return faas_printf(r, "old"); }
        typedef struct { uint32_t abi, size;
            int (*handler)(faas_request_t *r); } old_t;
        const old_t faas_function = { 1, 16, handler };""")
    assert version.loaded() == {"abi": "1", "min": "0", "max": "0",
                                "idempotent": "0"}
    assert ask(version.fork()).body == b"old"


def test_descriptor_of_a_newer_header_is_taken_while_unused(zygote):
    version = zygote.version("""
        #include <faas.h>
        static int handler(faas_request_t *r) { return faas_printf(r, "new"); }
        typedef struct { faas_descriptor_t d; long more[9]; } new_t;
        const new_t faas_function =
            { { .abi = 1, .size = sizeof(faas_function), .handler = handler },
              { 0 } };""", flags=["-Wno-missing-field-initializers"])
    version.loaded()
    assert ask(version.fork()).body == b"new"


def test_init_over_its_time_is_told(zygote):
    version = zygote.version(
        source("#include <unistd.h>\n"
               "static int init(void) { while (pause()) { } return 0; }",
               ".init = init"), init_timeout_ms=50)
    assert "longer than init_timeout, 50 ms" in version.failed()


def test_constructor_that_crashes_ends_the_template_only(zygote):
    version = zygote.version(
        source("#include <stdlib.h>\n__attribute__((constructor)) static void "
               "boom(void) { abort(); }"))
    template = version.init.receive("TEMPLATE").pid
    assert os.WTERMSIG(version.exited(template).status) == signal.SIGABRT
    assert not is_gone(version.pid)
    assert version.template.receive() is None


def test_init_output_is_written_once(zygote):
    version = zygote.version(
        source("#include <stdio.h>\nstatic int init(void) "
               '{ printf("building"); return 0; }', ".init = init"))
    version.loaded()
    slots = [version.fork(n) for n in range(3)]
    for slot in slots:
        ask(slot)
        assert slot.read_log() == b""
    assert version.read_log() == b"building"


def test_two_versions_do_not_share_an_init(zygote):
    versions = [zygote.version(SOURCE, name=name) for name in ("a", "b")]
    for version in versions:
        version.loaded()
    assert len({version.pid for version in versions}) == 2
    os.kill(versions[0].pid, signal.SIGKILL)
    wait_until(lambda: is_gone(versions[0].template_pid), "template's end")
    assert ask(versions[1].fork(9)).status == 200


def test_messages_out_of_form_end_template_and_init(zygote, version):
    version.template.send("FORK")
    assert os.WEXITSTATUS(version.exited(version.template_pid).status) == 0
    version.init.send("START")
    assert version.init.receive() is None


TABLES = """
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
static char *dense, *sparse;
static int init(void) {
    size_t  i, n = 32 << 20;
    dense = malloc(n);
    sparse = mmap(0, n, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1,
                  0);
    if (dense == NULL || sparse == MAP_FAILED) { return -1; }
    memset(dense, 7, n);
    for (i = 0; i < n; i += 8192) { sparse[i] = 1; }
    return 0;
}
"""


def collapses():
    """Does the kernel make huge pages when it is asked to?"""

    enabled = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    return (release >= (6, 1) and enabled.exists()
            and "[never]" not in enabled.read_text())


@as_root
@pytest.mark.skipif(not collapses(), reason="the kernel does not do it")
def test_large_tables_are_in_huge_pages(zygote):
    """What init() filled, and not what it left empty."""

    version = zygote.version("#include <faas.h>\n" + TABLES + """
        static int handler(faas_request_t *r) {
            size_t i, sum = 0;
            for (i = 0; i < 32 << 20; i++) { sum += dense[i] + sparse[i]; }
            return faas_printf(r, "%zu", sum);
        }
        FAAS_FUNCTION(.handler = handler, .init = init)""",
                             flags=["-Wno-sign-compare"])
    version.loaded()
    kib = dict(re.findall(r"(\w+): +(\d+) kB", pathlib.Path(
        "/proc/%d/smaps_rollup" % version.template_pid).read_text()))
    assert 28 << 10 <= int(kib["AnonHugePages"]) <= 32 << 10
    if not harness.ASAN:
        assert int(kib["Anonymous"]) < 52 << 10
    assert ask(version.fork()).body == b"%d" % (7 * (32 << 20) + 4096)


# -- instances ----------------------------------------------------------------

def test_state_survives_between_calls(slot):
    with slot.connect() as connection:
        assert [connection.request().body for _ in range(3)] \
            == [b"1", b"2", b"3"]
    assert ask(slot).body == b"4"


def test_each_instance_has_its_own_state(version):
    one, two = version.fork(0), version.fork(1)
    assert ask(one).body == b"1"
    assert ask(one).body == b"2"
    assert ask(two).body == b"1"


def test_oneshot_answers_once_and_ends(version):
    slot = version.fork(flags=runtime.ONESHOT)
    with slot.connect() as first, slot.connect() as second:
        first.send(first.head() + NO_BODY)
        try:
            second.send(second.head() + NO_BODY)
        except BrokenPipeError:
            # it is over already
            pass
        assert version.exited(slot.pid).status == 0
        slot.drop_backlog()
        served = []
        for connection in (first, second):
            try:
                served.append(connection.read().body)
            except fcgi_client.Lost:
                pass
    assert served == [b"1"]
    assert slot.page.begun == slot.page.ended == 1


def test_oneshot_without_a_request_waits(version):
    slot = version.fork(flags=runtime.ONESHOT)
    slot.connect().close()
    version.report.receive("FREE")
    assert ask(slot).body == b"1"
    assert version.exited(slot.pid).status == 0


def test_oneshot_takes_in_the_body_it_did_not_read(version):
    """Or the sender would get an error while it still writes."""

    slot = version.fork(flags=runtime.ONESHOT)
    body = bytes(3 << 20)
    assert ask(slot, body=body).body == b"1"
    assert version.exited(slot.pid).status == 0


def test_oneshot_flushes_streams(version, zygote, tmp_path):
    path = zygote.directory / "out"
    path.touch()
    path.chmod(0o666)
    version = zygote.version("""
        #include <faas.h>
        #include <stdio.h>
        static int handler(faas_request_t *r) {
            FILE *f = fopen(faas_query(r, "file", NULL), "a");
            if (f == NULL) { return -1; }
            fputs("kept", f);
            return faas_printf(r, "ok");
        }
        FAAS_FUNCTION(.handler = handler, .mode = "oneshot")""")
    assert version.loaded()["mode"] == "oneshot"
    slot = version.fork(5, flags=runtime.ONESHOT)
    assert ask(slot, "file=%s" % path).body == b"ok"
    version.exited(slot.pid)
    assert path.read_text() == "kept"


def test_wait_status_goes_to_the_init_alone(zygote):
    version = zygote.version(source("""
        #include <signal.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static void on(int s) { (void) s; (void) !write(2, "CHLD", 4); }
        static int init(void) { signal(SIGCHLD, on); return 0; }
        """, ".init = init"))
    version.loaded()
    slot = version.fork()
    assert stat_field(slot.pid, 4) == str(version.pid)
    assert stat_field(version.template_pid, 4) == str(version.pid)
    os.kill(slot.pid, signal.SIGUSR1)
    exited = version.exited(slot.pid)
    assert os.WTERMSIG(exited.status) == signal.SIGUSR1
    assert exited.maxrss_kb > 0
    # the template is alive, has answered since, and has seen nothing
    version.fork()
    assert version.read_log() == b""


def test_user_code_has_no_children_of_ours(slot):
    assert ask(slot, "do=wait").body == b"-1 1"


def test_instances_are_leaders_of_their_session(slot):
    assert stat_field(slot.pid, 5) == stat_field(slot.pid, 6) == str(slot.pid)


def test_two_kept_connections_are_served_in_turn(slot):
    with slot.connect() as one, slot.connect() as two:
        bodies = []
        for _ in range(20):
            bodies.append(one.request().body)
            bodies.append(two.request().body)
    assert bodies == [b"%d" % n for n in range(1, 41)]


def test_a_hundred_kept_connections(slot):
    connections = [slot.connect() for _ in range(100)]
    for turn in range(2):
        for number, connection in enumerate(connections):
            assert connection.request().body == b"%d" % (
                turn * 100 + number + 1)
    for connection in connections[::2]:
        connection.close()
    for connection in connections[1::2]:
        assert connection.request().status == 200
        connection.close()


def test_without_keep_conn_the_connection_is_closed(slot):
    with slot.connect() as connection:
        assert connection.request(keep=False).body == b"1"
        assert connection.at_end() == b""


def test_page_counts_and_times(version):
    slot = version.slot(0)
    slot.page.set(41)
    version.fork()
    assert slot.page.begun == slot.page.ended == 41
    ask(slot)
    assert slot.page.begun == slot.page.ended == 42
    assert 0 < slot.page.begun_ns <= slot.page.ended_ns
    with slot.connect() as connection:
        connection.send(connection.head(query="do=loop")
                        + NO_BODY)
        wait_until(lambda: slot.page.begun == 43, "begun")
        assert slot.page.ended == 42
        version.kill(slot.pid, signal.SIGKILL)
        version.exited(slot.pid)
    # the next instance of the slot goes on
    version.fork()
    ask(slot)
    assert slot.page.begun == slot.page.ended == 44


def test_request_whose_sender_left_is_not_run(version, slot):
    os.kill(slot.pid, signal.SIGSTOP)
    wait_until(lambda: stat_field(slot.pid, 3) == "T", "stop")
    with slot.connect() as connection:
        connection.send(connection.head() + NO_BODY)
    os.kill(slot.pid, signal.SIGCONT)
    free = version.report.receive("FREE")
    assert (free.slot, free.generation) == (0, 1)
    assert slot.page.begun == 0
    assert ask(slot).body == b"1"


def test_request_on_a_kept_connection_given_up_is_not_run(version, slot):
    connection = slot.connect()
    assert connection.request().body == b"1"
    os.kill(slot.pid, signal.SIGSTOP)
    wait_until(lambda: stat_field(slot.pid, 3) == "T", "stop")
    connection.send(connection.head() + NO_BODY)
    connection.close()
    os.kill(slot.pid, signal.SIGCONT)
    version.report.receive("FREE")
    assert slot.page.begun == slot.page.ended == 1


@pytest.mark.parametrize("cut", [1, 8, 16, 24, 100])
def test_half_a_request_is_not_run(version, slot, cut):
    with slot.connect() as connection:
        connection.send(connection.head()[:cut])
    version.report.receive("FREE")
    assert slot.page.begun == 0
    assert ask(slot).body == b"1"


@pytest.mark.parametrize("garbage", [
    b"GET / HTTP/1.0\r\n\r\n", bytes(64), b"\xff" * 4096,
    b"\x01\x01\x00\x01\x00\x08\x00\x00" + b"\x00\x09\x01" + bytes(5),
])
def test_garbage_ends_the_connection_only(version, slot, garbage):
    with slot.connect() as connection:
        connection.send(garbage)
        connection.socket.shutdown(1)
        connection.at_end()
    version.report.receive("FREE")
    assert ask(slot).body == b"1"


def test_every_cut_of_a_request_leaves_the_instance_in_order(version, slot):
    """Short reads at every byte."""

    with slot.connect() as connection:
        whole = (connection.head(query="do=echo", length=5, method="POST")
                 + fcgi_client.stream(fcgi_client.STDIN, b"a\0b\r\n"))
        for cut in range(1, len(whole)):
            connection.send(whole[:cut])
            connection.send(whole[cut:])
            assert connection.read().body == b"a\0b\r\n"


def test_free_is_told_at_the_end_of_a_connection(version, slot):
    connection = slot.connect()
    connection.request()
    assert version.report.is_quiet()
    connection.close()
    free = version.report.receive("FREE")
    assert (free.slot, free.generation, free.sender) == (0, 1, slot.pid)


def test_body_not_read_leaves_the_connection_in_step(connection):
    for n in range(1, 4):
        assert connection.request(body=os.urandom(1 << 20)).body == b"%d" % n


def test_body_half_read_leaves_the_connection_in_step(connection):
    body = os.urandom(1 << 20)
    answer = connection.request(query="do=body&max=1000", body=body)
    assert answer.status == 413
    assert connection.request().body == b"2"


def test_sender_that_does_not_finish_is_given_up(version, slot):
    """The answer comes, and the instance is there for others."""

    with slot.connect() as connection:
        for method in ("POST", "GET"):
            connection.send(connection.head(length=1000, method=method)
                            + fcgi_client.record(fcgi_client.STDIN, b"x" * 9))
            assert connection.read().status == 200
            assert connection.at_end() == b""
            assert ask(slot).status == 200
            connection = slot.connect()
        connection.close()


def test_sender_that_leaves_after_the_answer(version, slot):
    """As nginx does when the body was not all sent."""

    with slot.connect() as connection:
        connection.send(connection.head(length=1000, method="POST")
                        + fcgi_client.record(fcgi_client.STDIN, b"x" * 9))
        kind, content = connection.read_record()
        assert kind == fcgi_client.STDOUT and content.endswith(b"\r\n\r\n1")
    version.report.receive("FREE")
    assert ask(slot).status == 200


def test_max_requests_is_reported_and_nothing_refused(version):
    slot = version.fork(max_requests=3)
    with slot.connect() as connection:
        for n in range(1, 3):
            connection.request()
        assert version.report.is_quiet()
        connection.request()
        retired = version.report.receive("RETIRED")
        assert (retired.slot, retired.generation) == (0, 1)
        assert connection.request().body == b"4"
        version.kill(slot.pid, signal.SIGTERM)
        assert version.exited(slot.pid).status == 0
        assert b"fini after 4 calls" in slot.read_log()


def test_sigterm_ends_an_idle_instance_at_once(version, slot):
    with slot.connect() as connection:
        connection.request()
        version.kill(slot.pid, signal.SIGTERM)
        assert version.exited(slot.pid).status == 0
        assert connection.at_end() == b""
    assert slot.read_log() == b"fini after 1 calls\n"


def test_sigterm_lets_the_request_finish(version, slot, zygote):
    path = zygote.directory / "go"
    with slot.connect() as connection:
        connection.send(connection.head(query="do=until&file=%s" % path)
                        + NO_BODY)
        wait_until(lambda: slot.page.begun == 1, "begun")
        version.kill(slot.pid, signal.SIGTERM)
        wait_until(lambda: not pending(slot.pid), "signal to be taken")
        path.touch()
        assert connection.read().body == b"done"
        assert version.exited(slot.pid).status == 0
    assert slot.read_log() == b"fini after 1 calls\n"


def test_sigterm_lets_a_body_come_in(version, slot):
    with slot.connect() as connection:
        connection.send(connection.head(query="do=echo", method="POST",
                                        length=10)
                        + fcgi_client.record(fcgi_client.STDIN, b"01234"))
        wait_until(lambda: slot.page.begun == 1, "begun")
        os.kill(slot.pid, signal.SIGTERM)
        wait_until(lambda: not pending(slot.pid), "signal to be taken")
        connection.send(fcgi_client.stream(fcgi_client.STDIN, b"56789"))
        assert connection.read().body == b"0123456789"
    assert version.exited(slot.pid).status == 0


def test_after_fork_runs_first(slot):
    assert ask(slot, "do=after_fork").body == b"called"


def test_after_fork_that_refuses_is_told(zygote):
    version = zygote.version(source(
        "static int after_fork(void) { return 3; }",
        ".after_fork = after_fork"))
    version.loaded()
    slot = version.order()
    forked = version.template.receive("FORKED")
    failed = version.report.receive("FAILED")
    assert (failed.slot, failed.generation) == (0, slot.generation)
    assert failed.text == "after_fork() returned 3"
    assert os.WEXITSTATUS(version.exited(forked.pid).status) == 1


def test_forked_is_there_before_exited(zygote):
    """Whoever hears of the end of a pid has been told whose it was."""

    version = zygote.version(source(
        "#include <unistd.h>\nstatic int after_fork(void) { _exit(9); }",
        ".after_fork = after_fork"))
    version.loaded()
    for n in range(200):
        version.order()
        exited = version.init.receive("EXITED")
        assert os.WEXITSTATUS(exited.status) == 9
        assert not version.template.is_quiet()
        assert version.template.receive("FORKED").pid == exited.pid


def test_threads_may_be_started_in_after_fork(zygote):
    version = zygote.version("""
        #include <faas.h>
        #include <pthread.h>
        #include <semaphore.h>
        static sem_t go, done;
        static void *run(void *p) {
            for ( ;; ) { sem_wait(&go); sem_post(&done); }
            return p;
        }
        static int after_fork(void) {
            pthread_t t;
            sem_init(&go, 0, 0);
            sem_init(&done, 0, 0);
            return pthread_create(&t, NULL, run, NULL);
        }
        static int handler(faas_request_t *r) {
            sem_post(&go);
            sem_wait(&done);
            return faas_printf(r, "from a thread");
        }
        FAAS_FUNCTION(.handler = handler, .after_fork = after_fork)""")
    version.loaded()
    slot = version.fork()
    assert ask(slot).body == b"from a thread"
    version.kill(slot.pid, signal.SIGTERM)
    assert version.exited(slot.pid).status == 0


def test_libc_knows_the_thread_of_a_fork(zygote):
    """pthread_kill() and recursive mutexes go by the thread id that libc
    keeps."""

    version = zygote.version("""
        #include <faas.h>
        #include <pthread.h>
        #include <signal.h>
        static pthread_t self;
        static volatile sig_atomic_t got;
        static void on(int s) { got = s; }
        static void *run(void *p) {
            return (void *) (long) pthread_kill(self, SIGUSR1);
        }
        static int handler(faas_request_t *r) {
            void *rc; pthread_t t; pthread_mutex_t m;
            pthread_mutexattr_t a;
            signal(SIGUSR1, on);
            self = pthread_self();
            pthread_create(&t, NULL, run, NULL);
            pthread_join(t, &rc);
            pthread_mutexattr_init(&a);
            pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
            pthread_mutex_init(&m, &a);
            pthread_mutex_lock(&m);
            return faas_printf(r, "%ld %d %d", (long) rc, got == SIGUSR1,
                               pthread_mutex_lock(&m) != 0);
        }
        FAAS_FUNCTION(.handler = handler)""", flags=["-Wno-unused-parameter"])
    version.loaded()
    assert ask(version.fork()).body == b"0 1 1"


@as_root
def test_no_descriptor_leaks_into_the_instance(zygote, version):
    other = zygote.version(SOURCE, name="other")
    other.loaded()
    slots = [version.fork(n) for n in range(3)]
    slot = slots[1]
    with slots[0].connect() as neighbour, slot.connect() as connection:
        neighbour.request()
        connection.request()
        links = {int(n): os.readlink("/proc/%d/fd/%s" % (slot.pid, n))
                 for n in os.listdir("/proc/%d/fd" % slot.pid)}
    assert links.pop(0) == "/dev/null"
    log = "pipe:[%d]" % os.fstat(slot.log_write).st_ino
    assert links.pop(1) == log and links.pop(2) == log
    rest = sorted(re.sub(r"\[.*", "", link) for link in links.values())
    # report channel, listening socket and one connection
    assert rest == ["anon_inode:", "socket:", "socket:",
                    "socket:"], links
    listening = "socket:[%d]" % os.fstat(slot.socket.fileno()).st_ino
    assert listening in links.values()


def test_what_a_function_execs_inherits_no_descriptor(zygote):
    version = zygote.version("""
        #include <faas.h>
        #include <stdio.h>
        static int handler(faas_request_t *r) {
            char buf[4096]; size_t n;
            FILE *f = popen("ls /proc/self/fd; grep SigIgn /proc/self/status;"
                            "grep SigBlk /proc/self/status; env", "r");
            if (f == NULL) { return -1; }
            n = fread(buf, 1, sizeof(buf), f);
            pclose(f);
            return faas_write(r, buf, n);
        }
        FAAS_FUNCTION(.handler = handler)""")
    version.loaded()
    lines = ask(version.fork()).body.decode().split("\n")
    # 3 is the directory that ls reads
    assert lines[:4] == ["0", "1", "2", "3"]
    # the classic ones; a shell's own start may ignore libc's
    assert int(lines[4].split()[1], 16) & 0x7fffffff == 0
    assert int(lines[5].split()[1], 16) == 0
    assert sorted(line.split("=")[0] for line in lines[6:] if line) \
        == ["PATH", "PWD"], lines


@as_root
def test_template_and_init_hold_only_their_own(version, slot):
    def kinds(pid):
        return sorted(re.sub(r"\[.*", "", os.readlink(
            "/proc/%d/fd/%s" % (pid, n)))
            for n in os.listdir("/proc/%d/fd" % pid))

    assert kinds(version.template_pid) == ["/dev/null", "pipe:", "pipe:",
                                           "socket:", "socket:"]
    assert kinds(version.pid) == [
        "/dev/null", "/proc/%d/task/%d/children" % (version.pid, version.pid),
        "anon_inode:", "pipe:", "pipe:", "socket:"]


def test_prng_differs_between_instances(version):
    answers = [ask(version.fork(n), "do=random").body.split()
               for n in range(3)]
    for values in zip(*answers):
        assert len(set(values)) == 3, answers


def test_environment_is_the_operators_alone(slot):
    assert ask(slot, "do=show&config=COLOUR").body == b"blue green"
    assert ask(slot, "do=show&config=EMPTY").body == b""
    assert ask(slot, "do=show&config=PATH").body == b"(none)"


@as_root
def test_environment_of_the_zygote_is_not_seen(slot):
    text = pathlib.Path("/proc/%d/environ" % slot.pid).read_bytes()
    assert not text.strip(b"\0")


def test_sandbox_is_in_force(slot):
    ids = b"%d %d %d" % ((runtime.UID,) * 3)
    assert ask(slot, "do=process").body == ids + b" 1 77 0 0 1024 0"


def test_memory_and_descriptors_are_hidden_from_the_same_uid(slot):
    """Two functions may have to share one."""

    probe = subprocess.run(
        [sys.executable, "-c", "import os, sys\n"
         "if os.geteuid() == 0: os.setgid(%d); os.setuid(%d)\n"
         "for name in ('mem', 'environ', 'maps', 'fd', 'root'):\n"
         "    try:\n"
         "        path = '/proc/%d/' + name\n"
         "        os.listdir(path) if name == 'fd' else open(path).read(1)\n"
         "        print(name)\n"
         "    except PermissionError: pass\n"
         % (runtime.GID, runtime.UID, slot.pid)],
        stdout=subprocess.PIPE, check=True)
    assert probe.stdout == b""


@as_root
def test_sandbox_holds_in_constructors(zygote):
    version = zygote.version(source("""
        #include <stdio.h>
        #include <unistd.h>
        #include <sys/prctl.h>
        __attribute__((constructor)) static void boot(void) {
            fprintf(stderr, "%d %d %d", (int) getuid(), (int) getgid(),
                    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        }"""))
    version.loaded()
    assert version.read_log() == b"%d %d 1" % (runtime.UID, runtime.GID)


# -- ends ---------------------------------------------------------------------

def test_kill_reaches_the_whole_group(version, slot):
    child = int(ask(slot, "do=child").body)
    assert stat_field(child, 5) == str(slot.pid)
    version.kill(slot.pid, signal.SIGKILL)
    assert os.WTERMSIG(version.exited(slot.pid).status) == signal.SIGKILL
    wait_until(lambda: is_gone(child), "child's end")


def test_what_an_instance_leaves_behind_is_killed(version, slot):
    """Whether it left the group or not, and also when it ends by itself."""

    child = int(ask(slot, "do=child").body)
    daemons = [int(ask(slot, "do=daemonize").body) for _ in range(5)]
    wait_until(lambda: stat_field(daemons[0], 4) == str(version.pid),
               "daemon to be the init's")
    version.kill(slot.pid, signal.SIGTERM)
    version.exited(slot.pid)
    for pid in [child, *daemons]:
        wait_until(lambda: is_gone(pid), "end of %d" % pid)
    # the template, and the init, are none of these
    assert ask(version.fork()).body == b"1"


def test_other_instances_are_left_alone(version):
    slots = [version.fork(n) for n in range(4)]
    child = int(ask(slots[0], "do=child").body)
    version.kill(slots[1].pid, signal.SIGKILL)
    version.exited(slots[1].pid)
    ask(slots[2], "do=daemonize")
    version.kill(slots[2].pid, signal.SIGKILL)
    version.exited(slots[2].pid)
    assert ask(slots[0]).body == b"2"
    assert ask(slots[3]).body == b"1"
    assert not is_gone(child)


def test_kill_of_a_pid_that_is_no_child_does_nothing(version, slot):
    stranger = subprocess.Popen([sys.executable, "-c",
                                 "import time; time.sleep(1000)"],
                                start_new_session=True)
    try:
        version.kill(stranger.pid, signal.SIGKILL)
        version.kill(1, signal.SIGKILL)
        version.kill(0, signal.SIGKILL)
        version.kill(-1, signal.SIGKILL)
        version.kill(slot.pid, signal.SIGKILL)
        version.exited(slot.pid)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_kill_9_of_the_init_ends_all(version):
    slots = [version.fork(n) for n in range(3)]
    daemon = int(ask(slots[0], "do=daemonize").body)
    os.kill(version.pid, signal.SIGKILL)
    for pid in [version.pid, version.template_pid, daemon,
                *(slot.pid for slot in slots)]:
        wait_until(lambda: is_gone(pid), "end of %d" % pid)
    assert version.init.receive() is None


def test_end_of_the_init_channel_ends_all(version):
    slots = [version.fork(n) for n in range(3)]
    children = [int(ask(slots[0], "do=daemonize").body),
                int(ask(slots[1], "do=child").body)]
    version.init.socket.close()
    for pid in [version.pid, version.template_pid, *children,
                *(slot.pid for slot in slots)]:
        wait_until(lambda: is_gone(pid), "end of %d" % pid)


def test_instances_outlive_the_template(version, slot):
    version.template.socket.close()
    assert version.exited(version.template_pid).status == 0
    assert ask(slot).body == b"1"


def test_crash_of_the_template_leaves_instances(version, slot):
    os.kill(version.template_pid, signal.SIGKILL)
    version.exited(version.template_pid)
    assert ask(slot).body == b"1"


def test_functions_outlive_the_zygote(zygote, version, slot):
    zygote.channel.socket.close()
    assert zygote.process.wait(harness.PATIENCE) == 0
    assert ask(slot).body == b"1"
    assert ask(version.fork(1)).body == b"1"


def test_exit_status_and_crash_are_told(version):
    for query, status in (("do=exit", 7 << 8), ("do=crash", signal.SIGSEGV)):
        slot = version.fork()
        with pytest.raises(fcgi_client.Lost):
            ask(slot, query)
        assert version.exited(slot.pid).status == status
        assert slot.page.begun == slot.page.ended + 1


def test_exits_are_kept_while_nobody_reads_them(version):
    """More than the channel holds: the kernel's zombies are the queue."""

    pids = []
    for n in range(600):
        slot = version.fork(flags=runtime.ONESHOT)
        pids.append(slot.pid)
        ask(slot)
    for pid in pids:
        assert version.exited(pid).status == 0


def test_handler_that_returns_in_a_child_answers_once(version):
    version = version.zygote.version("""
        #include <faas.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static int calls;
        static int handler(faas_request_t *r) {
            int status; pid_t pid = fork();
            if (pid == 0) { return faas_printf(r, "from the child"); }
            waitpid(pid, &status, 0);
            return faas_printf(r, "%d %d", ++calls, WEXITSTATUS(status));
        }
        FAAS_FUNCTION(.handler = handler)""")
    version.loaded()
    slot = version.fork(1)
    with slot.connect() as connection:
        assert connection.request().body == b"1 1"
        assert connection.request().body == b"2 1"
    assert slot.page.begun == slot.page.ended == 2
    assert slot.read_log().count(b"returned in a child") == 2


def test_handler_that_closes_everything_ends_the_instance(zygote):
    version = zygote.version("""
        #include <faas.h>
        #include <unistd.h>
        static int handler(faas_request_t *r) {
            (void) r;
            return close_range(3, ~0U, 0);
        }
        FAAS_FUNCTION(.handler = handler)""")
    version.loaded()
    slot = version.fork()
    with slot.connect() as connection:
        with pytest.raises(fcgi_client.Lost):
            connection.request()
    assert version.exited(slot.pid).status == 0


def test_handler_that_leaks_every_descriptor_ends_the_instance(zygote):
    """Kept connections are served on; one that cannot be accepted is not
    begun."""

    version = zygote.version("""
        #include <faas.h>
        #include <fcntl.h>
        #include <unistd.h>
        static int handler(faas_request_t *r) {
            int n = 0;
            while (open("/dev/null", O_RDONLY) != -1) { n++; }
            return faas_printf(r, "%d", n);
        }
        FAAS_FUNCTION(.handler = handler)""")
    version.loaded()
    slot = version.fork()
    with slot.connect() as connection:
        assert int(connection.request().body) > 900
        assert connection.request().body == b"0"
        with slot.connect() as second:
            try:
                second.send(second.head() + NO_BODY)
            except BrokenPipeError:
                pass
            assert os.WEXITSTATUS(version.exited(slot.pid).status) == 1
    assert slot.page.begun == 2
    assert b"accept4() failed (24: Too many open files)" in slot.read_log()


CLOSES = """
    #include <faas.h>
    #include <stdio.h>
    #include <unistd.h>
    static int close_all(void) { close(0); close(1); close(2); return 0; }
    static int handler(faas_request_t *r) {
        if (faas_query(r, "close", NULL)) { (void) close_all(); }
        printf("printed\\n");
        faas_log(r, "logged");
        return faas_printf(r, "hello");
    }
    FAAS_FUNCTION(.handler = handler%s)"""


def test_output_never_goes_to_a_sender(zygote):
    """Where 0, 1 and 2 were closed, connections would be in their places."""

    version = zygote.version(CLOSES % "")
    version.loaded()
    slot = version.fork()
    assert ask(slot, "close=1").body == b"hello"
    connections = [slot.connect() for _ in range(6)]
    for connection in connections * 2:
        assert connection.request().body == b"hello"
    for connection in connections:
        connection.close()


def test_init_that_closes_everything_leaves_the_log(zygote):
    version = zygote.version(CLOSES % ", .init = close_all")
    version.loaded()
    slot = version.fork()
    assert ask(slot).body == b"hello"
    wait_until(lambda: b"\nprinted\n" in slot.read_log(), "its output")


TICKS = """
    #include <faas.h>
    #include <signal.h>
    #include <string.h>
    #include <sys/time.h>
    static volatile sig_atomic_t ticks;
    static void tick(int s) { (void) s; ticks = 1; }
    static int after_fork(void) {
        struct itimerval timer = { { 0, 1000 }, { 0, 1000 } };
        struct sigaction sa;
        memset(&sa, 0, sizeof(sa));
        sa.sa_handler = tick;
        return sigaction(SIGALRM, &sa, NULL)
               || setitimer(ITIMER_REAL, &timer, NULL);
    }
    static int handler(faas_request_t *r) {
        char buf[4096]; ssize_t n; size_t all = 0;
        if (faas_query(r, "unread", NULL)) { return 0; }
        while ((n = faas_read(r, buf, sizeof(buf))) > 0) { all += n; }
        return faas_printf(r, "%zu %zd %d", all, n, ticks);
    }
    FAAS_FUNCTION(.handler = handler, .after_fork = after_fork)"""


def sleeps(pid):
    """How often the process has gone to sleep."""

    text = pathlib.Path("/proc/%d/status" % pid).read_text()
    return int(re.search(r"\nvoluntary_ctxt_switches:\s*(\d+)", text)[1])


def test_signals_of_the_function_cut_no_request_short(zygote):
    """Its handler is one without SA_RESTART, so that each wait for the sender
    is interrupted many times."""

    version = zygote.version(TICKS)
    version.loaded()
    slot = version.fork()
    with slot.connect() as connection:
        request = (connection.head(length=5000, method="POST")
                   + fcgi_client.stream(fcgi_client.STDIN, b"x" * 5000))
        for at in range(0, len(request), 250):
            connection.send(request[at:at + 250])
            before = sleeps(slot.pid)
            wait_until(lambda: sleeps(slot.pid) > before + 3,
                       "signals while it waits for more")
        assert connection.read().body == b"5000 0 1"
        assert connection.request().body == b"0 0 1"


def test_signals_of_the_function_give_no_sender_more_time(zygote):
    version = zygote.version(TICKS)
    version.loaded()
    slot = version.fork()
    with slot.connect() as connection:
        connection.send(connection.head(length=1000, method="POST",
                                        query="unread=1")
                        + fcgi_client.record(fcgi_client.STDIN, b"x" * 9))
        assert connection.read().status == 200
        assert connection.at_end() == b""
    assert ask(slot).body == b"0 0 1"


def test_sigpipe_that_the_function_sets_back_kills_no_instance(zygote):
    version = zygote.version("""
        #include <faas.h>
        #include <signal.h>
        static sigset_t set;
        static int after_fork(void) {
            sigemptyset(&set);
            sigaddset(&set, SIGUSR1);
            return sigprocmask(SIG_BLOCK, &set, NULL);
        }
        static int handler(faas_request_t *r) {
            int signo;
            signal(SIGPIPE, SIG_DFL);
            if (faas_query(r, "wait", NULL)) { sigwait(&set, &signo); }
            return faas_printf(r, "hello");
        }
        FAAS_FUNCTION(.handler = handler, .after_fork = after_fork)""")
    version.loaded()
    slot = version.fork()
    with slot.connect() as connection:
        connection.send(connection.head(query="wait=1") + NO_BODY)
        wait_until(lambda: slot.page.begun == 1, "the request's begin")
    os.kill(slot.pid, signal.SIGUSR1)
    assert ask(slot).body == b"hello"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_flush_without_news_tells_that_the_sender_left(zygote, method):
    version = zygote.version("""
        #include <faas.h>
        #include <poll.h>
        static int handler(faas_request_t *r) {
            faas_printf(r, "hello");
            while (faas_query(r, "stream", NULL) && faas_flush(r) == 0) {
                poll(NULL, 0, 1);
            }
            return 0;
        }
        FAAS_FUNCTION(.handler = handler)""")
    version.loaded()
    slot = version.fork()
    with slot.connect() as connection:
        connection.send(connection.head(method=method, query="stream=1")
                        + NO_BODY)
        assert connection.read_record()[0] == fcgi_client.STDOUT
    assert ask(slot).body == b"hello"


@as_root
def test_fork_that_fails_is_told_and_the_next_is_not_harmed(zygote):
    version = zygote.version(source("""
        #include <signal.h>
        #include <sys/resource.h>
        static void set(rlim_t n) {
            struct rlimit limit;
            getrlimit(RLIMIT_NPROC, &limit);
            limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
            setrlimit(RLIMIT_NPROC, &limit);
        }
        static void on(int s) { (void) s; set(1000000); }
        static int init(void) { signal(SIGUSR1, on); set(0); return 0; }""",
                                    ".init = init"))
    version.loaded()
    for n in range(3):
        slot = version.order(n)
        failed = version.template.receive("FAILED")
        assert (failed.slot, failed.generation) == (n, slot.generation)
        assert failed.status == errno.EAGAIN
    os.kill(version.template_pid, signal.SIGUSR1)
    wait_until(lambda: not pending(version.template_pid), "signal")
    assert ask(version.fork(1)).body == b"hello"


# -- requests and answers -----------------------------------------------------

def test_binary_body_comes_back(connection):
    for size in (0, 1, 7999, 8000, 8192, 65535, 65536, 65537, 3 << 20):
        body = os.urandom(size)
        query = "do=echo"
        # both ways at once, as nginx does it
        answer = echo(connection, query, body)
        assert answer.body == body
        assert answer["Content-Type"] == "application/octet-stream"
        if size < 65536:
            assert answer["Content-Length"] == str(size)


def echo(connection, query, body):
    def send():
        connection.send(connection.head(query=query, method="POST",
                                        length=len(body))
                        + fcgi_client.stream(fcgi_client.STDIN, body))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        return connection.read()
    finally:
        thread.join()


def test_whole_body(connection):
    body = b"a\0b" * 100000
    answer = connection.request(query="do=body", body=body)
    assert answer.body == b"300000 300000 " + body
    assert connection.request(query="do=body").body == b"0 0 "
    # chunked and not buffered by nginx: no length is known before the end
    connection.send(connection.head(query="do=body", method="POST")
                    + fcgi_client.stream(fcgi_client.STDIN, body))
    assert connection.read().body == b"300000 0 " + body


def test_body_limit(connection):
    assert connection.request(query="do=body&max=5", body=b"12345").body \
        == b"5 5 12345"
    assert connection.request(query="do=body&max=4", body=b"12345").status \
        == 413
    connection.send(connection.head(query="do=body&max=4", method="POST")
                    + fcgi_client.stream(fcgi_client.STDIN, b"12345"))
    assert connection.read().status == 413


def test_body_shorter_than_announced_is_an_error(connection):
    answer = connection.request(query="do=echo", body=b"123", length=4)
    assert answer.status == 500


def test_sender_gone_in_the_body_is_an_error_to_the_handler(version, slot):
    with slot.connect() as connection:
        connection.send(connection.head(query="do=echo", method="POST",
                                        length=100000)
                        + fcgi_client.record(fcgi_client.STDIN, b"x" * 1000))
        wait_until(lambda: slot.page.begun == 1, "begun")
    version.report.receive("FREE")
    assert slot.page.ended == 1
    assert ask(slot).body == b"2"


def test_small_answer_has_its_length(connection):
    answer = connection.request(query="do=status&bytes=11")
    assert answer.headers == [
        ("Status", "200 OK"), ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", "11")]


@pytest.mark.parametrize("size", [7900, 8000, 8192, 65535, 65536, 65537,
                                  200000])
def test_answers_around_every_limit(connection, size):
    answer = connection.request(query="do=status&bytes=%d" % size)
    assert answer.body == b"x" * size
    assert answer["Content-Length"] == (str(size) if size <= 65536 else None)
    assert connection.request().status == 200


def test_handler_that_wrote_nothing_is_an_empty_200(connection):
    answer = connection.request(query="do=nothing")
    assert (answer.status, answer.body) == (200, b"")
    assert answer["Content-Length"] == "0"
    assert answer["Content-Type"] is None


def test_negative_result_is_a_500(connection):
    answer = connection.request(query="do=fail")
    assert answer.status == 500
    assert answer["Faas-Error"] == "handled"
    assert answer["X-Made"] is None
    assert b"half" not in answer.body
    assert connection.request().status == 200


def test_negative_result_after_a_flush_cuts_the_connection(version, slot):
    with slot.connect() as connection:
        with pytest.raises(fcgi_client.Lost) as lost:
            connection.request(query="do=flush&fail=1")
    assert lost.value.data.endswith(b"\r\n\r\none")
    version.report.receive("FREE")
    assert ask(slot).status == 200


def test_flush_sends_the_headers_and_freezes_them(connection):
    answer = connection.request(query="do=flush")
    assert (answer.status, answer.body) == (200, b"onetwo")
    assert answer["Content-Length"] is None


def test_head_has_the_length_and_no_body(connection):
    for size in (0, 100, 200000):
        answer = connection.request(query="do=status&bytes=%d" % size,
                                    method="HEAD")
        assert answer.body == b""
        assert answer["Content-Length"] == str(size)
    assert connection.request(query="do=flush", method="HEAD").body == b""
    answer = connection.request(query="do=header&header=Content-Length:77",
                                method="HEAD")
    assert answer["Content-Length"] == "77"
    assert connection.request(query="do=fail", method="HEAD").status == 500


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(connection, status):
    answer = connection.request(query="do=status&status=%d&bytes=5" % status)
    assert (answer.status, answer.body) == (status, b"")
    assert answer["Content-Length"] is None
    assert answer["Content-Type"] is None


def test_status_and_reason(connection):
    for status, reason in ((404, "Not Found"), (299, "Status"),
                           (503, "Service Unavailable")):
        answer = connection.request(query="do=status&status=%d" % status)
        assert answer["Status"] == "%d %s" % (status, reason)
    for status in (0, 99, 100, 101, 103, 199, 600, -1):
        answer = connection.request(query="do=status&status=%d" % status)
        assert answer.body == b"refused"


def test_location_alone_is_a_302(connection):
    answer = connection.request(query="do=status&location=/x")
    assert answer["Status"] == "302 Found"
    answer = connection.request(query="do=status&location=/x&status=201")
    assert answer["Status"] == "201 Created"


@pytest.mark.parametrize("header, rc", [
    ("X-A:b", b"0"), ("X-A:", b"0"), ("X-A:b%09c", b"0"),
    ("X-A:%C3%A4", b"0"),
    ("X-A:b%0d%0aX-B:c", b"-1"), ("X-A:b%0ac", b"-1"), ("X-A:b%0d", b"-1"),
    ("X-A:b%01", b"-1"), ("X-A:%7f", b"-1"),
    ("X%20A:b", b"-1"), ("X%0aA:b", b"-1"), (":b", b"-1"),
    ("X%C3%A4:b", b"-1"), ("Status:404", b"-1"),
])
def test_no_header_can_be_injected(connection, header, rc):
    answer = connection.request(query="do=header&header=" + header)
    assert answer.body == rc
    assert answer.status == 200
    assert len(answer.headers) == (4 if rc == b"0" else 3)


def test_headers_of_the_request(connection):
    params = {"HTTP_USER_AGENT": "x y", "HTTP_X_A": "1", "CONTENT_TYPE": "a/b"}
    for name, value in (("User-Agent", b"x y"), ("user-AGENT", b"x y"),
                        ("X-A", b"1"), ("Content-Type", b"a/b"),
                        ("X", b"(none)"), ("X-A-B", b"(none)"),
                        ("Content-Length", b"(none)"), ("", b"(none)"),
                        ("X-A=1", b"(none)")):
        assert connection.request(
            params, query="do=show&header=" + name).body == value, name


def test_proxy_header_is_never_seen(connection):
    params = {"HTTP_PROXY": "http://evil/"}
    for query in ("header=Proxy", "header=PROXY", "variable=HTTP_PROXY"):
        assert connection.request(params, query="do=show&" + query).body \
            == b"(none)"
    assert b"evil" not in connection.request(params, query="do=show").body


def test_variables(connection):
    answer = connection.request({"X": "y=z"}, query="do=show")
    lines = answer.body.decode().splitlines()
    assert "X=y=z" in lines
    assert "REQUEST_METHOD=GET" in lines
    assert connection.request({"X": "y"}, query="do=show&variable=X").body \
        == b"y"


def test_long_variables(connection):
    value = "v" * 60000
    answer = connection.request({"LONG": value}, query="do=show&variable=LONG")
    assert answer.body.decode() == value


def test_captures(connection):
    for text, value in (("name=bob", b"bob"), ("a=1&name=b%20%26%3d", b"b &="),
                        ("name=a+b", b"a+b"), ("name=", b""),
                        ("other=x", b"(none)"), ("", b"(none)"),
                        ("name=%c3%a4", b"\xc3\xa4"), ("name=%zz%4", b"%zz%4")):
        answer = connection.request({"FAAS_PARAMS": text}, query="do=param")
        assert answer.body == value, text


def test_time_left(version):
    slot = version.fork(timeout_ms=5000)
    with slot.connect() as connection:
        def left(timeout=None):
            params = {"HTTP_FAAS_TIMEOUT": timeout} if timeout else {}
            return int(connection.request(params, query="do=left").body)

        assert 0 < left() <= 5000
        assert 0 < left("3") <= 3000
        assert 0 < left("2.5") <= 2500
        assert 3000 < left("99") <= 5000
        assert left("0") == 0
        for text in ("-1", "x", "1x", "1e3", ".", "99999999999999999999999"):
            assert 3000 < left(text) <= 5000, text
    slot = version.fork(1, timeout_ms=0)
    assert int(ask(slot, "do=left").body) == 2 ** 63 - 1


# -- output -------------------------------------------------------------------

def test_output_goes_to_the_slots_log(version, slot):
    ask(slot, "do=print")
    wait_until(lambda: b"on stdout" in slot.read_log(), "output")
    lines = slot.log.decode().splitlines()
    assert sorted(lines) == [
        "0123456789abcdef0123456789abcdef logged\\x0atwice", "on stderr",
        "on stdout"]


def test_full_log_does_not_stop_an_instance(version, slot):
    """Nobody reads: what does not fit is dropped, and counted when there is
    room again."""

    assert ask(slot, "do=print&bytes=200000").status == 200
    first = slot.read_log()
    assert 60000 <= len(first) <= 65536
    assert ask(slot, "do=print&bytes=100").status == 200
    wait_until(lambda: b"a line" in slot.read_log()[len(first):], "output")
    note = slot.log[len(first):].split(b"\n")[0]
    assert re.fullmatch(rb"faas: \d+ bytes of output were lost, the log was "
                        rb"full", note), note


def test_heap_does_not_grow(slot):
    """All that a request takes is given back."""

    def heap():
        return int(connection.request(query="do=heap").body)

    with slot.connect() as connection:
        def load(n):
            for i in range(n):
                connection.request(query="do=body", body=b"x" * 5000)
                connection.request(query="do=show&a=%d" % i)
                connection.request(query="do=fail")
                connection.request(query="do=status&bytes=70000")
                connection.request(query="do=header&header=A:b")

        load(20)
        before = heap()
        load(200)
        assert heap() == before
