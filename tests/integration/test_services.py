"""Processes beside the zygote, and what functions have below faas_state.
faas-events and faas-tender are played by fake_service.c."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import urllib.parse

import pytest

import harness
import master

from harness import wait_until

ROOT = os.geteuid() == 0
SERVICE = "nobody" if ROOT else pwd.getpwuid(os.geteuid()).pw_name
UID = pwd.getpwnam(SERVICE).pw_uid
GID = pwd.getpwnam(SERVICE).pw_gid

HELLO = """
#include <faas.h>
#include <unistd.h>
static int hello(faas_request_t *r) {
    return faas_printf(r, "%%s %%d\\n", "%s", (int) getpid());
}
FAAS_FUNCTION(.handler = hello%s)
"""


def hello(text="one", more=""):
    return HELLO % (text, more)


@pytest.fixture(scope="session")
def fakes(programs, session_directory):
    """A directory with the supervisor, the zygote and the fakes."""

    path = session_directory / "fakes"
    path.mkdir()
    source = pathlib.Path(__file__).parent / "fake_service.c"
    subprocess.run(["cc", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-o",
                    path / "faas-events", source], check=True)
    shutil.copy(path / "faas-events", path / "faas-tender")
    for name in ("faas-supervisor", "faas-zygote"):
        shutil.copy(programs / name, path / name)
    return path


class Host(master.Host):
    def __init__(self, programs, compiler, directory, **settings):
        super().__init__(programs, compiler, directory, user=SERVICE,
                         **settings)
        self.fake = self.directory / "fake"
        self.fake.mkdir()
        self.fake.chmod(0o777)

    def tell(self, what, program="faas-events"):
        (self.fake / ("%s.%s" % (program, what))).touch()

    def untell(self, what, program="faas-events"):
        (self.fake / ("%s.%s" % (program, what))).unlink()

    def services(self, program="faas-events"):
        """pids that run."""

        return [p for p, c in self.processes().items() if c == program]

    def events(self, but=None):
        """The pid, once it is one that has its settings, and another one."""

        def one():
            pids = self.services()
            return (len(pids) == 1 and pids[0] != but and self.texts(pids[0])
                    and pids[0])

        return wait_until(one, "one events process with settings")

    def texts(self, pid, program="faas-events"):
        """All settings that it got."""

        found = [p for p in self.fake.glob("%s.%d.*" % (program, pid))
                 if p.suffix[1:].isdigit()]
        return [p.read_text() for p in
                sorted(found, key=lambda p: int(p.suffix[1:]))]

    def told(self):
        """What the events process knows: host settings, functions."""

        host, functions = [], {}
        block = host
        for line in self.texts(self.events())[-1].splitlines():
            name, value = line.split(" ")[-2:]
            value = urllib.parse.unquote(value)
            if name == "function":
                block = functions.setdefault(value, [])
            else:
                block.append((name, value))
                assert (line[0] == " ") == (block is not host)
        return host, functions

    def description(self, pid, program="faas-events"):
        return (self.fake / ("%s.%d" % (program, pid))).read_text()

    def tenders(self):
        """{uid: (pid, last settings)} of those that have some."""

        found = {}
        for pid in self.services("faas-tender"):
            texts = self.texts(pid, "faas-tender")
            if texts:
                uid = os.stat("/proc/%d" % pid).st_uid
                assert uid not in found, "two tenders of uid %d" % uid
                found[uid] = pid, texts[-1]
        return found

    def asked(self):
        """Who answers on baas.sock."""

        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(harness.PATIENCE)
            s.connect(str(self.state / "baas.sock"))
            return int(s.recv(100))


@pytest.fixture
def host(fakes, compiler, session_directory):
    with master.factory(Host, fakes, compiler, session_directory) as make:
        yield make
    for h in make.hosts:
        assert not list(h.fake.glob("*.second")), "two at once"
        assert not (h.state / "baas.sock").exists()


def restart(h):
    """A host that has ended, anew."""

    h.let_go()
    wait_until(h.is_gone, "the end")
    h.keeper = None
    assert h.start() == "ready\n"


# -- the events process: what it is and what it is told


def test_events_is_told_of_host_and_functions(host):
    h = host(put={"a": hello("a", ', .consumes = "orders batch=3\\nmails", '
                             '.schedule = "@daily"'),
                  "b": hello("b", ', .schedule = "*/5 * * * * tz=UTC"')},
             blocks={"a": {"consume": "sales%20wait=2s", "timeout": 1500,
                           "async": "attempts=7"},
                     "b": {"exactly_once": 1, "max": 3}},
             queue="sqlite:/some%20where", callback="https://x/%20k%20y")
    settings, functions = h.told()
    node = (h.state / "node").read_text().strip()
    assert re.fullmatch("[0-9a-f]{16}", node)
    token = dict(settings)["token"]
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert settings == [
        ("node", node), ("token", token), ("state", str(h.state)),
        ("error_log", str(h.error_log)), ("log_level", "7"),
        ("queue", "sqlite:/some where"), ("callback", "https://x/ k y")]
    a, b = h.function("a"), h.function("b")
    assert functions["a"] == [
        ("token", a.token.decode()), ("timeout", "1500"),
        ("queue_timeout", "10000"), ("max", str(a.limits.max)), ("once", "0"),
        ("consume", "sales wait=2s"), ("schedule", "@daily"),
        ("async", "attempts=7")]
    assert functions["b"] == [
        ("token", b.token.decode()), ("timeout", "30000"),
        ("queue_timeout", "10000"), ("max", "3"), ("once", "1"),
        ("schedule", "*/5 * * * * tz=UTC")]


def test_events_token_is_on_the_board(host):
    h = host()
    token = dict(h.told()[0])["token"]
    assert token.encode() + b"\0" in h.map[:64 << 10]


def test_events_has_few_descriptors_and_rights(host):
    h = host(put={"hello": hello()})
    pid = h.events()
    text = h.description(pid)
    fds = dict(re.findall(r"^fd (\d+) (.*)$", text, re.M))
    assert sorted(map(int, fds)) == [0, 1, 2, 3, 4], fds
    assert fds["0"] == str(h.state / "events.lock")
    assert fds["1"] == fds["2"] == str(h.error_log)
    assert "umask 0007" in text
    assert "NoNewPrivs:\t1" in text
    assert re.search(r"^Uid:\t%d\t%d\t%d\t%d$" % ((UID,) * 4), text, re.M)
    assert re.search(r"^Gid:\t%d\t%d\t%d\t%d$" % ((GID,) * 4), text, re.M)
    if ROOT:
        assert "CapEff:\t0000000000000000" in text
        assert "CapPrm:\t0000000000000000" in text
    assert os.getsid(pid) == pid


def test_events_is_told_once_of_many_changes(host):
    h = host(put={n: hello(n) for n in "abcd"})
    pid = h.events()
    assert len(h.texts(pid)) <= 2
    before = len(h.texts(pid))
    h.blocks = {n: {"timeout": 1234} for n in "abcd"}
    assert h.reload()[0] == master.ACCEPTED
    wait_until(lambda: len(h.texts(pid)) > before, "new settings")
    assert h.texts(pid)[-1].count(" timeout 1234\n") == 4
    assert h.reload()[0] == master.ACCEPTED
    h.deploy("e", hello("e"))
    wait_until(lambda: "function e\n" in h.texts(pid)[-1], "news")
    texts = h.texts(pid)
    assert len(set(texts)) == len(texts), "told of nothing new"


def test_events_follows_functions(host):
    h = host()
    assert "function" not in h.texts(h.events())[-1]
    h.deploy("late", hello("late", ', .consumes = "orders"'))
    wait_until(lambda: ("consume", "orders") in h.told()[1].get("late", []),
               "the function")
    h.deploy("late", hello("later", ', .consumes = "other"'))
    wait_until(lambda: ("consume", "other") in h.told()[1]["late"], "another")
    (h.functions / "late.so").unlink()
    wait_until(lambda: "late" not in h.told()[1], "its end")


def test_function_that_nothing_serves_consumes_nothing(host):
    h = host(put={"bad": hello("bad", ", .routes = \"GET /a(b\"")},
             blocks={"bad": {"consume": "orders"}})
    assert h.state_of("bad") == "failed"
    names = [name for name, _ in h.told()[1]["bad"]]
    assert "token" in names and "consume" not in names


def test_exactly_once_takes_messages_one_by_one(host):
    h = host(put={"f": hello("f", ', .consumes = "a batch=5 wait=1s\\nb"')},
             blocks={"*": {"exactly_once": 1}})
    told = h.told()[1]["f"]
    assert ("consume", "a wait=1s") in told and ("consume", "b") in told
    assert ("once", "1") in told
    assert ("function \"f\": \"consume a batch=5 wait=1s\" with exactly_once "
            "takes one message at a time") in h.log()


@pytest.mark.parametrize("field,text", [
    ("consumes", "Orders"), ("consumes", "orders batch=0"),
    ("consumes", "a\\na"), ("schedule", "61 * * * *"),
    ("schedule", "@every 10s tz=No/Where")])
def test_bad_line_of_a_descriptor_refuses_the_version(host, field, text):
    h = host(put={"f": hello()})
    w = master.Worker(h)
    w.call("f")
    h.put("f", hello("two", ', .%s = "%s"' % (field, text)))
    wait_until(lambda: h.error_of("f"), "the refusal")
    assert "descriptor: \"%s\": " % field in h.error_of("f")
    assert w.call("f").body.startswith(b"one ")


def test_events_that_refuses_is_told_of_once(host):
    h = host(prepare=lambda h: h.tell("refuse"))
    wait_until(lambda: "of a fake" in h.log(), "the line")
    pid = h.services()[0]
    h.deploy("a", hello())
    h.untell("refuse")
    h.deploy("b", hello())
    wait_until(lambda: h.texts(pid), "settings that are good")
    assert h.log().count("of a fake") == 1


# -- its life


def test_events_killed_is_replaced(host):
    h = host(put={"hello": hello()})
    first = h.events()
    assert h.asked() == first
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: h.asked() != first, "another")
    second = h.events()
    assert h.texts(second) == [h.texts(first)[-1]]
    wait_until(lambda: "[error]" in h.log(), "the line")
    lines = [l for l in h.log().splitlines() if "is gone" in l]
    assert len(lines) == 1 and lines[0].endswith(
        "faas: events process %d is gone, starting another" % first), lines


def test_connections_made_while_it_is_gone_are_served(host):
    h = host()
    first = h.events()
    os.kill(first, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(harness.PATIENCE)
        s.connect(str(h.state / "baas.sock"))
        os.kill(first, signal.SIGKILL)
        assert int(s.recv(100)) != first


def test_events_that_crashes_is_spaced(host):
    h = host(prepare=lambda h: h.tell("crash"))
    wait_until(lambda: h.log().count("events process") > 6, "three lives")
    starts = [l[11:19] for l in h.log().splitlines() if "is started" in l
              and "events" in l]
    assert max(map(starts.count, starts)) <= 2, starts
    h.untell("crash")
    h.events()


def test_supervisor_killed_keeps_the_events_process(host):
    h = host(put={"hello": hello()})
    pid = h.events()
    for i in range(5):
        h.kill_supervisor()
        wait_until(lambda: len(h.texts(pid)) == i + 2, "settings again")
        assert h.services() == [pid]
    assert len(set(h.texts(pid))) == 1
    h.deploy("other", hello("other"))
    wait_until(lambda: "function other" in h.texts(pid)[-1], "news")
    os.kill(pid, signal.SIGKILL)
    h.events(but=pid)
    assert "events process %d is gone" % pid in h.log()


def test_events_that_ended_with_the_supervisor_is_told_of_in_words(host):
    """The next one is handed what it cannot name any more."""

    h = host()
    pid = h.events()
    os.kill(h.keeper, signal.SIGSTOP)
    try:
        for victim in (h.supervisor, pid):
            os.kill(victim, signal.SIGKILL)
    finally:
        os.kill(h.keeper, signal.SIGCONT)
    h.events(but=pid)
    line, = [l for l in h.log().splitlines() if "is gone" in l]
    assert re.search(r"faas: events process( %d)? is gone, starting" % pid,
                     line), line


def test_never_two_whoever_is_killed(host):
    h = host()
    for i in range(12):
        pids = h.services()
        for pid in pids if i % 3 else ():
            os.kill(pid, signal.SIGKILL)
        if i % 3 != 1:
            h.kill_supervisor()
    h.events()


def test_stuck_events_of_a_killed_host_is_waited_for(host):
    h = host(prepare=lambda h: h.tell("stuck"))
    pid = h.events()
    for victim in (h.keeper, h.supervisor):
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: list(h.processes()) == [pid], "the rest to end")
    h.let_go()
    h.keeper = None
    assert h.start() == "ready\n"
    h.deploy("hello", hello())
    assert master.Worker(h).call("hello").status == 200
    wait_until(lambda: "another events process holds" in h.log(), "the line")
    assert h.services() == [pid]
    os.kill(pid, signal.SIGKILL)
    h.events(but=pid)
    assert h.log().count("another events process holds") == 1


def test_another_engine_restarts_events_only(host):
    h = host(put={"hello": hello()}, blocks={"hello": {"min": 1}})
    pid = h.events()
    tenders = wait_until(h.tenders, "tenders")
    wait_until(lambda: h.states("hello") == ["idle"], "an instance")
    w = master.Worker(h)
    slot, word = w.acquire("hello")
    assert h.reload(queue="redis://127.0.0.1:1/0")[0] == master.ACCEPTED
    wait_until(lambda: h.asked() != pid, "another")
    assert dict(h.told()[0])["queue"] == "redis://127.0.0.1:1/0"
    assert {u: p for u, (p, _) in h.tenders().items()} == {
        u: p for u, (p, _) in tenders.items()}
    with h.connect(slot) as c:
        assert c.request().status == 200
    assert w.release(slot, word)
    assert "is gone" not in h.log()


def test_stuck_events_is_killed_for_another_engine(host):
    h = host(prepare=lambda h: h.tell("stuck"))
    pid = h.events()
    assert h.reload(queue="redis://127.0.0.1:1/0")[0] == master.ACCEPTED
    wait_until(lambda: not harness.is_alive(pid), "its end")
    h.events(but=pid)
    assert "events process %d does not end, it is killed" % pid in h.log()


def test_supervisor_killed_while_events_ends_for_another_engine(host):
    h = host(prepare=lambda h: h.tell("stuck"))
    pid = h.events()
    h.settings["queue"] = "redis://127.0.0.1:1/0"
    assert h.reload()[0] == master.ACCEPTED
    h.kill_supervisor()
    wait_until(lambda: not harness.is_alive(pid), "its end")
    h.events(but=pid)
    assert dict(h.told()[0])["queue"] == "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("stuck", [False, True])
def test_nothing_is_left_at_the_end(host, stuck):
    h = host(put={"hello": hello()}, prepare=lambda h: stuck and (
        h.tell("stuck"), h.tell("stuck", "faas-tender")))
    h.events()
    wait_until(h.tenders, "tenders")
    h.let_go()
    wait_until(h.is_gone, "all to end", timeout=10)
    assert not (h.state / "baas.sock").exists()


@pytest.mark.parametrize("victims", [["keeper"], ["keeper", "supervisor"]])
def test_nothing_is_left_of_a_killed_host(host, victims):
    h = host(put={"hello": hello()})
    h.events()
    wait_until(h.tenders, "tenders")
    for name in victims:
        os.kill(getattr(h, name), signal.SIGKILL)
    wait_until(h.is_gone, "all to end")
    h.let_go()
    h.keeper = None
    assert h.start() == "ready\n"
    h.asked()


# -- baas.sock


def test_socket_is_for_the_service_group_only(host):
    h = host()
    h.events()
    s = (h.state / "baas.sock").lstat()
    assert stat.S_ISSOCK(s.st_mode) and stat.S_IMODE(s.st_mode) == 0o660
    assert (s.st_uid, s.st_gid) == (UID, GID)


@pytest.mark.parametrize("what", ["socket", "file", "link"])
def test_what_is_in_the_place_of_the_socket_goes(host, what):
    def prepare(h):
        h.state.mkdir()
        path = h.state / "baas.sock"
        if what == "socket":
            socket.socket(socket.AF_UNIX).bind(str(path))
        elif what == "file":
            path.write_text("x")
        else:
            (h.directory / "victim").write_text("x")
            path.symlink_to(h.directory / "victim")

    h = host(prepare=prepare)
    assert h.asked() == h.events()
    if what == "link":
        s = (h.directory / "victim").stat()
        assert (s.st_uid, s.st_size) == (os.geteuid(), 1)


def test_without_the_program_everything_else_works(programs, host,
                                                   session_directory):
    path = pathlib.Path(tempfile.mkdtemp(dir=session_directory))
    path.chmod(0o755)
    for name in ("faas-supervisor", "faas-zygote"):
        shutil.copy(programs / name, path / name)

    def prepare(h):
        h.state.mkdir()
        socket.socket(socket.AF_UNIX).bind(str(h.state / "baas.sock"))

    h = host(put={"hello": hello()}, programs=path, prepare=prepare)
    assert not (h.state / "baas.sock").exists()
    assert master.Worker(h).call("hello").status == 200
    for name in ("faas-events", "faas-tender"):
        wait_until(lambda: '[warn]' in h.log() and '"%s" cannot be had beside'
                   % name in h.log(), "a warning")
    assert "faas-calls.so\" cannot be had, there are no async" in h.log()
    h.deploy("other", hello("other"))
    assert h.log().count("cannot be had beside") == 2


# -- tenders


def data_lines(text):
    return dict((line.split(" ")[1], line.split(" ")[2:])
                for line in text.splitlines() if line.startswith("data "))


def test_tender_is_told_of_its_functions(host):
    h = host(put={"a": hello("a"), "b": hello("b")})
    wait_until(lambda: len(data_lines(h.tenders().get(UID, (0, ""))[1])) == 2,
               "a tender with both")
    pid, text = h.tenders()[UID]
    assert data_lines(text) == {
        n: ["%s/data/%s" % (h.state, n), h.function(n).token.decode()]
        for n in "ab"}
    assert text.splitlines()[:3] == ["state %s" % h.state,
                                     "error_log %s" % h.error_log,
                                     "log_level 7"]
    fds = re.findall(r"^fd (\d+) (.*)$", h.description(pid, "faas-tender"),
                     re.M)
    assert [int(n) for n, _ in fds] == [0, 1, 2, 3]
    assert fds[0][1] == "/dev/null"
    (h.functions / "a.so").unlink()
    wait_until(lambda: list(data_lines(h.tenders()[UID][1])) == ["b"],
               "one less")
    assert h.tenders()[UID][0] == pid
    (h.functions / "b.so").unlink()
    wait_until(lambda: not h.services("faas-tender"), "its end")
    h.deploy("c", hello("c"))
    wait_until(lambda: UID in h.tenders(), "another")


def test_tender_killed_is_replaced(host):
    h = host(put={"a": hello("a")})
    pid, text = wait_until(lambda: h.tenders().get(UID), "a tender")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: h.tenders().get(UID, (pid,))[0] != pid, "another")
    assert h.tenders()[UID][1] == text
    assert "tender (uid %d) process %d is gone" % (UID, pid) in h.log()


def test_supervisor_killed_keeps_tenders(host):
    h = host(put={"a": hello("a")})
    pid, text = wait_until(lambda: h.tenders().get(UID), "a tender")
    h.kill_supervisor()
    wait_until(lambda: len(h.texts(pid, "faas-tender")) > 1, "settings again")
    assert h.tenders() == {UID: (pid, text)}
    os.kill(h.supervisor, signal.SIGKILL)
    (h.functions / "a.so").unlink()
    wait_until(lambda: not h.services("faas-tender"), "its end")


def test_shared_stores_are_the_service_users(host):
    h = host(put={"a": hello("a"), "b": hello("b")},
             blocks={"a": {"share": "carts%20w"}, "b": {"share": "carts%20r"},
                     "*": {"share": "all%20r"}})
    line = "share %%s %s/share/%%s\n" % h.state
    wait_until(lambda: UID in h.tenders(), "a tender")
    text = h.tenders()[UID][1]
    for name in ("carts", "all"):
        assert text.count(line % (name, name)) == 1
        s = (h.state / "share" / name).stat()
        assert (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) == (
            UID, GID, 0o2770)


@pytest.mark.skipif(not ROOT, reason="needs users")
def test_each_user_has_a_tender_and_the_service_group(host):
    other = pwd.getpwnam("daemon")
    h = host(put={"a": hello("a"), "b": hello("b"), "c": """
#include <faas.h>
#include <grp.h>
#include <unistd.h>
static int groups(faas_request_t *r) {
    gid_t  g[64];
    int    i, n = getgroups(64, g);
    faas_printf(r, "%d", (int) getegid());
    for (i = 0; i < n; i++) { faas_printf(r, " %d", (int) g[i]); }
    return 0;
}
FAAS_FUNCTION(.handler = groups)
"""}, blocks={"b": {"user": "daemon"}, "c": {"user": "daemon"}})
    wait_until(lambda: set(h.tenders()) == {UID, other.pw_uid}, "two tenders")
    wait_until(lambda: set(data_lines(h.tenders()[other.pw_uid][1]))
               == {"b", "c"}, "its functions")
    assert set(data_lines(h.tenders()[UID][1])) == {"a"}
    pid, _ = h.tenders()[other.pw_uid]
    assert re.search(r"^Groups:.*\b%d\b" % GID,
                     h.description(pid, "faas-tender"), re.M)
    words = master.Worker(h).call("c").body.decode().split()
    assert int(words[0]) == other.pw_gid and str(GID) in words[1:]
    for name, uid in ("a", UID), ("b", other.pw_uid):
        s = (h.state / "data" / name).stat()
        assert (s.st_uid, stat.S_IMODE(s.st_mode)) == (uid, 0o700)
    pids = {u: p for u, (p, _) in h.tenders().items()}
    h.kill_supervisor()
    wait_until(lambda: all(len(h.texts(p, "faas-tender")) > 1
                           for p in pids.values()), "settings again")
    assert {u: p for u, (p, _) in h.tenders().items()} == pids


# -- directories


def test_directories_have_owners_and_modes(host):
    h = host(put={"hello": hello()})
    h.events()
    for name, mode, owner in (
            ("data", 0o711, os.geteuid()), ("share", 0o711, os.geteuid()),
            ("data/hello", 0o700, UID), ("queue", 0o700, UID)):
        s = (h.state / name).lstat()
        assert stat.S_ISDIR(s.st_mode)
        assert (stat.S_IMODE(s.st_mode), s.st_uid) == (mode, owner), name


def test_node_is_made_once(host):
    h = host()
    node = (h.state / "node").read_text()
    restart(h)
    assert (h.state / "node").read_text() == node
    assert ("node", node.strip()) in h.told()[0]


def test_broken_node_is_made_again_and_said(host):
    def prepare(h):
        h.state.mkdir()
        (h.state / "node").write_text("0123\n")

    h = host(prepare=prepare)
    assert re.fullmatch("[0-9a-f]{16}\n", (h.state / "node").read_text())
    assert '"node" in faas_state is not 16 hex digits' in h.log()


def prepare_data(make):
    def prepare(h):
        h.state.mkdir()
        (h.state / "data").mkdir()
        (h.directory / "victim").mkdir()
        make(h.state / "data" / "hello", h.directory / "victim")
    return prepare


@pytest.mark.parametrize("make,why", [
    (lambda p, v: p.symlink_to(v), "it is no directory"),
    (lambda p, v: p.write_text("x"), "it is no directory"),
    pytest.param(lambda p, v: (p.mkdir(), os.chown(p, 1, 1)),
                 "belongs to uid 1, not to uid %d" % UID,
                 marks=pytest.mark.skipif(not ROOT, reason="needs chown")),
    pytest.param(lambda p, v: (p.mkdir(), (p / "x").touch()),
                 "belongs to uid 0, not to uid %d" % UID,
                 marks=pytest.mark.skipif(not ROOT, reason="needs users")),
], ids=["link", "file", "stranger", "ours"])
def test_directory_of_somebody_else_is_the_functions_error(host, make, why):
    h = host(put={"hello": hello(), "other": hello("other")},
             prepare=prepare_data(make))
    assert h.state_of("hello") == "failed"
    assert why in h.error_of("hello"), h.error_of("hello")
    assert '"data/hello" in faas_state' in h.error_of("hello")
    assert master.Worker(h).call("other").status == 200
    s = (h.directory / "victim").stat()
    assert s.st_uid == os.geteuid()


@pytest.mark.skipif(not ROOT, reason="needs users")
def test_directory_left_half_made_is_made(host):
    h = host(put={"hello": hello()},
             prepare=prepare_data(lambda p, v: p.mkdir()))
    assert h.state_of("hello") == "ready"
    assert (h.state / "data" / "hello").stat().st_uid == UID


@pytest.mark.skipif(not ROOT, reason="needs users")
def test_another_user_does_not_get_the_data(host):
    h = host(put={"hello": hello()})
    w = master.Worker(h)
    w.call("hello")
    h.blocks = {"hello": {"user": "daemon"}}
    assert h.reload()[0] == master.ACCEPTED
    wait_until(lambda: "belongs to uid" in h.error_of("hello"), "the refusal")
    assert w.call("hello").status == 200
    assert (h.state / "data" / "hello").stat().st_uid == UID


# -- migrations


def sql(h, name, text="CREATE TABLE t (x);\n"):
    new = h.functions / ".new"
    new.write_text(text)
    new.chmod(0o644)
    new.rename(h.functions / name)


READER = """
#include <faas.h>
#include <sqlite3.h>
static int rows(faas_request_t *r) {
    sqlite3       *db = faas_db(r, %s, NULL);
    sqlite3_stmt  *s;
    if (db == NULL || sqlite3_prepare_v2(db, "SELECT v FROM t ORDER BY v", -1,
                                         &s, NULL) != SQLITE_OK)
    {
        return faas_printf(r, "%s none");
    }
    faas_printf(r, "%s");
    while (sqlite3_step(s) == SQLITE_ROW) {
        faas_printf(r, " %%d", sqlite3_column_int(s, 0));
    }
    sqlite3_finalize(s);
    return 0;
}
FAAS_FUNCTION(.handler = rows)
"""
TABLE = "CREATE TABLE t (v);\nINSERT INTO t VALUES (1);\n"
ROW = "INSERT INTO t VALUES (%d);\n"


def reader(text="one", database="NULL"):
    return READER % (database, text, text)


def test_migrations_are_applied_before_traffic(host):
    def prepare(h):
        sql(h, "db.2-more.sql", ROW % 2)
        sql(h, "db.1.sql", TABLE)
        sql(h, "db.10.sql", ROW % 10)
        sql(h, "other.1.sql", TABLE)
        sql(h, "db.orders.7.sql", TABLE + ROW % 7)

    h = host(put={"db": reader(), "o": reader(), "db@orders": reader()},
             prepare=prepare)
    w = master.Worker(h)
    assert w.call("db").body == b"one 1 2 10", h.log()
    assert w.call("o").body == b"one none"
    h.deploy("db", reader("two", '"orders"'))
    assert w.call("db").body == b"two 1 7"
    assert sorted(p.name for p in (h.state / "data" / "db").glob("*.db")) == [
        "db.db", "orders.db"]


def test_failing_migration_keeps_the_old_version(host):
    h = host(put={"db": reader()}, prepare=lambda h: sql(h, "db.1.sql", TABLE))
    w = master.Worker(h)
    assert w.call("db").body == b"one 1"
    first = h.current("db").sha256
    sql(h, "db.2.sql", ROW % 2 + "INSERT INTO nowhere VALUES (1);\n")
    h.put("db", reader("two"))
    content = master.sha256(h.functions / "db.so").encode()
    wait_until(lambda: [v for v in h.versions("db") if v.sha256 == content
                        and master.VERSION[v.state] == "failed"], "a refusal")
    assert "no such table: nowhere" in h.error_of("db")
    refused = h.log().count("is refused: ")
    assert h.state_of("db") == "ready" and h.current("db").sha256 == first
    assert w.call("db").body == b"one 1"
    h.kill_supervisor()
    wait_until(lambda: h.function("db").state and "db.2.sql" in
               h.error_of("db"), "the same")
    h.deploy("other", hello())
    assert h.log().count("is refused: ") == refused
    sql(h, "db.2.sql", ROW % 2)
    wait_until(lambda: h.current("db").sha256 != first, "the new version")
    assert w.call("db").body == b"two 1 2"
    assert h.error_of("db") == ""


def test_new_migration_of_a_running_function_is_applied(host):
    h = host(put={"db": reader()}, prepare=lambda h: sql(h, "db.1.sql", TABLE))
    w = master.Worker(h)
    assert w.call("db").body == b"one 1"
    sha = h.current("db").sha256
    sql(h, "db.2.sql", ROW % 2)
    wait_until(lambda: h.function("db").deploys == 2, "a new lineage")
    assert w.call("db").body == b"one 1 2"
    assert h.current("db").sha256 == sha
    sql(h, "db.3.sql", "nonsense")
    wait_until(lambda: "db.3.sql" in h.error_of("db"), "the refusal")
    assert h.function("db").deploys == 2
    assert w.call("db").body == b"one 1 2"
    sql(h, "db.3.sql", ROW % 3)
    wait_until(lambda: h.function("db").deploys == 3, "another")
    assert w.call("db").body == b"one 1 2 3"


def test_migrations_that_are_known_change_nothing(host):
    h = host(put={"db": reader()}, prepare=lambda h: sql(h, "db.1.sql", TABLE))
    w = master.Worker(h)
    w.call("db")
    pids = h.pids("db")
    sql(h, "db.1.sql", TABLE)
    h.kill_supervisor()
    sql(h, "db.1.sql", TABLE)
    h.deploy("last", hello())
    assert h.function("db").deploys == 1
    assert h.pids("db") == pids
    (h.functions / "db.1.sql").unlink()
    h.deploy("very-last", hello("x"))
    assert h.function("db").deploys == 1
    assert "migrations changed" not in h.log()


def test_migration_may_come_with_its_function(host):
    h = host()
    for i in range(5):
        name = "f%d" % i
        if i % 2:
            sql(h, name + ".1.sql", TABLE)
        h.put(name, reader())
        if not i % 2:
            sql(h, name + ".1.sql", TABLE)
    w = master.Worker(h)
    for i in range(5):
        name = "f%d" % i
        wait_until(lambda: h.state_of(name) == "ready", "ready")
        wait_until(lambda: w.call(name).body == b"one 1", "its table")


def test_supervisor_killed_while_migrations_run(host):
    slow = ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
            "LIMIT 3000000) INSERT INTO t SELECT 5 FROM c WHERE x = 3;\n")
    h = host(put={"db": reader()}, prepare=lambda h: sql(h, "db.1.sql", TABLE))
    w = master.Worker(h)
    for i in range(2, 5):
        sql(h, "db.%d.sql" % i, slow)
        wait_until(lambda: len(h.versions("db")) > 1
                   or h.function("db").deploys == i, "it begins")
        h.kill_supervisor()
        wait_until(lambda: h.function("db").deploys == i, "its end")
    assert w.call("db").body == b"one 1 5 5 5"


def test_bad_name_of_a_migration_is_told(host):
    h = host(put={"hello": hello()})
    sql(h, "hello.first.sql")
    wait_until(lambda: 'file "hello.first.sql" is refused: not named' in
               h.log(), "the refusal")


def test_two_migrations_of_one_number_refuse_the_version(host):
    def prepare(h):
        sql(h, "hello.1-a.sql")
        sql(h, "hello.01-b.sql")

    h = host(put={"hello": hello()}, prepare=prepare)
    assert h.state_of("hello") == "failed"
    assert "have one number" in h.error_of("hello")


def test_migration_that_others_may_write_refuses_the_version(host):
    def prepare(h):
        sql(h, "hello.1.sql")
        (h.functions / "hello.1.sql").chmod(0o666)

    h = host(put={"hello": hello()}, prepare=prepare)
    assert h.state_of("hello") == "failed"
    assert ('migration "hello.1.sql": writable by group or others'
            in h.error_of("hello"))
    (h.functions / "hello.1.sql").chmod(0o644)
    wait_until(lambda: h.state_of("hello") == "ready", "another attempt")


# -- functions of the platform


def test_calls_is_deployed_from_beside_the_supervisor(host, fakes, compiler,
                                                      session_directory):
    path = pathlib.Path(tempfile.mkdtemp(dir=session_directory))
    path.chmod(0o755)
    for p in fakes.iterdir():
        shutil.copy(p, path)
    shutil.copy(compiler(hello("front")), path / "faas-calls.so")
    h = host(put={"hello": hello()}, programs=path,
             blocks={"*": {"mode": "oneshot", "max": 1, "min": 1}})
    wait_until(lambda: h.state_of("_calls") == "ready", "the function")
    limits = h.function("_calls").limits
    assert (limits.mode, limits.min) == (0, 0)
    assert limits.max > 1
    assert master.Worker(h).call("_calls").body.startswith(b"front ")
    assert "function _calls" in h.texts(h.events())[-1]
    h.put("_calls", hello("mine"))
    wait_until(lambda: 'file "_calls.so" is refused' in h.log(), "a refusal")
    h.kill_supervisor()
    other = h.directory / "other"
    other.mkdir(mode=0o755)
    h.functions = other
    assert h.reload()[0] == master.ACCEPTED
    wait_until(lambda: h.state_of("hello") is None, "the user's to go")
    assert master.Worker(h).call("_calls").body.startswith(b"front ")
    assert h.function("_calls").deploys == 1


def test_bad_calls_is_told(host, fakes, session_directory):
    path = pathlib.Path(tempfile.mkdtemp(dir=session_directory))
    path.chmod(0o755)
    for p in fakes.iterdir():
        shutil.copy(p, path)
    (path / "faas-calls.so").write_text("no ELF")
    h = host(put={"hello": hello()}, programs=path)
    assert "is refused, there are no async calls" in h.log()
    assert h.state_of("_calls") is None
    assert h.state_of("hello") == "ready"
