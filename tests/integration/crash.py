"""What the crash tests are made of: an engine of either kind, a host whose
functions are functions/crash.c under several names, those who send, and
somebody who kills.

Who is killed goes by progress, not by time: so much was done, and then the
next one dies, wherever it is at that moment.
"""

import collections
import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading

import pytest

import harness
from harness import wait_until
from redis_server import Redis

RECORD = 64                     # functions/crash.c

INTERNAL = "server { faas_internal; location / { faas_invoke; } }"

EFFECTS = ("CREATE TABLE seen(id TEXT PRIMARY KEY);"
           "CREATE TABLE effects(id TEXT, data TEXT);")

# what a sender is told while somebody is being killed: its instance, the
# events process (FAAS_EUNAVAILABLE, FAAS_ETIMEDOUT), an nginx worker
EXCUSES = {(502, ""), (503, "-28"), (503, "-29"), (0, "lost")}


class Sqlite:
    """The engine inside of the host's own processes."""

    url = "sqlite"
    pids = []

    def crash(self):
        pass

    def cleanup(self):
        pass


class Server(Redis):
    """The engine beside it.  A host has it among its `others`."""

    def __init__(self):
        super().__init__(unix=True)
        self.start()

    @property
    def pids(self):
        return [self.process.pid]

    def crash(self):
        self.process.kill()
        self.process.wait()
        self.start()

    def poll(self):
        return self.process.poll()

    def wait(self):
        return self.process.wait()


@pytest.fixture(params=["sqlite", "redis"])
def engine(request):
    engine = Sqlite() if request.param == "sqlite" else Server()
    yield engine
    engine.cleanup()


def start(faas, engine, blocks, databases=()):
    """A host of the functions {name: text of its block}."""

    host = faas(start=False)
    if engine.pids:
        host.others.append(engine)
    host.configure(http="faas_kv %s; faas_queue %s; %s %s" % (
        engine.url, engine.url, INTERNAL, " ".join(
            "faas_function %s { env JOURNALS=%s; %s }"
            % (name, host.gates, text) for name, text in blocks.items())))
    for name in databases:
        (host.functions / ("%s.1.sql" % name)).write_text(EFFECTS)
    for name in blocks:
        host.deploy(name, "crash.c")
    host.start()
    for name in [*blocks, "_calls"]:
        wait_until(lambda: host.function(name).get("state") == "ready", name)
    return host


def end(host, engine):
    """In order, while the engine is there: nothing is left but that."""

    host.stop()
    assert host.exit_status == 0
    wait_until(lambda: set(host.left_pids()) == set(engine.pids),
               "all processes to end")
    assert not [path for path in host.state.rglob("*") if path.is_socket()]


# -- what was done ------------------------------------------------------------

def journal(host, name):
    """The records of a journal, each a list of words."""

    try:
        data = (host.gates / name).read_bytes()
    except FileNotFoundError:
        return []
    assert len(data) % RECORD == 0
    return [data[i:i + RECORD].decode().split()
            for i in range(0, len(data), RECORD)]


def progress(host, name):
    """How many records there are."""

    try:
        return (host.gates / name).stat().st_size // RECORD
    except FileNotFoundError:
        return 0


def rows(host, function, sql="SELECT id, data FROM effects"):
    """Of its own database; a table that is not there yet fails, too, as
    wait_until() wants it."""

    path = host.state / "data" / function / (function + ".db")
    db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    try:
        return db.execute(sql).fetchall()
    except sqlite3.OperationalError as error:
        raise AssertionError(sql) from error
    finally:
        db.close()


def faasctl(host, *words):
    """What it says.  A failure (the engine is not there) is one that
    wait_until() waits for the end of."""

    done = subprocess.run(
        [str(harness.BUILD / "faasctl"), "-s", str(host.state), "-o", "json",
         *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def unfinished(host):
    """What is ready, delayed or leased in some queue, as text."""

    return ["%s: %d %s" % (queue["queue"], queue[state], state)
            for queue in faasctl(host, "queue", "list")
            for state in ("ready", "delayed", "leased") if queue[state]]


def drain(host):
    """Waits until nothing is unfinished."""

    def drained():
        left = unfinished(host)
        assert not left, left
        return True

    wait_until(drained, "queues to be empty", 3 * harness.PATIENCE)


# -- who sends ----------------------------------------------------------------

class Sender(threading.Thread):
    """Does n pieces of work, however often it is told that it failed; done()
    is how many it has done.  It waits where a killer that follows it wants to
    kill before more is done."""

    def __init__(self, host, n):
        super().__init__(daemon=True)
        self.host = host
        self.n = n
        self.allowed = 1.0          # of its work, before it waits
        self.failure = None
        self.excuses = collections.Counter()

    def pace(self, i):
        """Before piece i."""

        wait_until(lambda: i <= self.allowed * self.n, "the killer",
                   3 * harness.PATIENCE)

    def run(self):
        try:
            self.work()
        except BaseException as failure:
            self.failure = failure

    def ask(self, path, excuses=EXCUSES, **options):
        """An answer below 300, or None after an error that is one of those
        that a kill explains."""

        try:
            response = self.host.post(path, **options)
        except (ConnectionError, http.client.HTTPException):
            excuse, response = (0, "lost"), None
        else:
            if response.status < 300:
                return response
            excuse = (response.status, self.what(response))
            response = dict(response.headers)
        assert excuse in excuses, (excuse, response)
        self.excuses[excuse] += 1
        return None

    @staticmethod
    def what(response):
        """Whatever it says; "" for the platform's own."""

        if "Proxy-Status" in response.headers:
            return ""
        if "json" in response.headers.get("Content-Type", ""):
            return response.json["detail"]
        return response.text

    def finish(self):
        self.join(harness.PATIENCE)
        assert not self.is_alive()
        if self.failure:
            raise self.failure


class Producer(Sender):
    """Sends messages PREFIX-0, PREFIX-1, ... in requests of `chunk`.  What is
    in the journal was acknowledged and is not sent again."""

    def __init__(self, host, prefix, query, n, chunk=50):
        super().__init__(host, n)
        self.prefix = prefix
        self.path = "/fn/producer?op=send&prefix=%s&%s" % (prefix, query)
        self.chunk = chunk

    def work(self):
        for first in range(0, self.n, self.chunk):
            self.pace(first)
            left = list(range(first, min(first + self.chunk, self.n)))
            while left:
                if self.ask(self.path, body=" ".join(map(str, left))):
                    break
                sent = self.sent()
                left = [i for i in left
                        if "%s-%d" % (self.prefix, i) not in sent]
        assert self.sent() == self.ids()

    def sent(self):
        """Ids.  When nginx's worker was killed, the instance that it had
        called goes on beside the one that was called instead: some are sent
        twice."""

        return {id for id, in journal(self.host, self.prefix)}

    def done(self):
        return progress(self.host, self.prefix)

    def ids(self):
        return {"%s-%d" % (self.prefix, i) for i in range(self.n)}


# -- who kills ----------------------------------------------------------------

class Killer:
    """Kills victims by turns: "events", "tender", "supervisor", "worker",
    "engine", or the name of a function, of which it is an instance; or calls
    one, which does it with the killer's help."""

    def __init__(self, host, engine, victims, seed=11):
        self.host = host
        self.engine = engine
        self.victims = [v for v in victims
                        if v != "engine" or engine.pids]
        self.random = random.Random(seed)
        self.turn = 0
        self.killed = collections.Counter()
        host.allowed += ["exited on signal 9", "killed by signal 9"]

    def find(self, victim):
        host = self.host
        if victim == "supervisor":
            supervisor = host.status()["supervisor"]
            return [supervisor["pid"]] if supervisor["alive"] else []
        if victim == "worker":
            return host.workers()
        title = {"events": "faas-events", "tender": "faas-tender"}.get(
            victim, "faas: %s #" % victim)
        return [pid for pid in host.processes()
                if harness.cmdline(pid).startswith(title)]

    def kill(self, victim=None):
        """The next one, or this one, when there is one."""

        if victim is None:
            victim = self.victims[self.turn % len(self.victims)]
            self.turn += 1
        if callable(victim):
            victim(self)
        elif victim == "engine":
            self.engine.crash()
        else:
            wait_until(lambda: self.signal(victim, signal.SIGKILL), victim)
        self.killed[victim] += 1

    def signal(self, victim, number):
        """A signal to one of them; False when there is none."""

        pids = self.find(victim)
        if not pids:
            return False
        try:
            os.kill(self.random.choice(pids), number)
        except ProcessLookupError:
            return False
        return True

    def follow(self, senders, kills):
        """So many kills, evenly among what they do, at odd moments."""

        for i in range(kills):
            there = (i + self.random.random()) / kills
            for sender in senders:
                sender.allowed = (i + 1) / kills
                if sender.ident is None:
                    sender.start()
            wait_until(lambda: self.are_there(senders, there),
                       "%.2f of the work" % there, 3 * harness.PATIENCE)
            self.kill()
        for sender in senders:
            sender.finish()

    @staticmethod
    def are_there(senders, part):
        for sender in senders:
            if sender.failure:
                raise RuntimeError("a sender failed") from sender.failure
        return all(sender.done() >= part * sender.n for sender in senders)
