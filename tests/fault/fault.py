"""What the experiments are made of.  Each is a script:

    import fault

    def run(x):
        host = x.host({"echo": "max 8; queue 300 timeout=10s;"})
        load = x.load(host, "/fn/echo", connections=x.pick(40, 200),
                      seconds=x.seconds(5, 60))
        while load.is_running():
            ... inject ...
        records = load.result()
        x.check("no request hung", records.count("hung") == 0)

    fault.main(run, "R1", "killed instances fail only what they ran")

main() reads the arguments, runs it, waits until the host is at rest, checks
what must hold after every experiment, stops the host, prints the report, and
ends with 0 or 1.  It can be repeated with --seed; --quick is for CI.
"""

import argparse
import bisect
import collections
import mmap
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "integration"))

import harness                                          # noqa: E402
from harness import wait_until                          # noqa: E402, F401

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = ["ngx_http_faas_module.so", "faas-supervisor", "faas-zygote",
            "faas-events", "faas-tender", "faas-calls.so"]

# what a load's functions say of an answer, so that each line has its cause
OUTCOME_HEADERS = """
    add_header X-Outcome $faas_outcome always;
    add_header X-Started $faas_started always;
    add_header X-Worker $pid always;
"""

# so that an experiment ends at rest: what is idle is gone in a second
AT_REST = "idle_timeout 1s; template_timeout 10m;"


# -- the load's answers -------------------------------------------------------

Record = collections.namedtuple(
    "Record", "id method start sent first end status kind reused bytes"
    " retry_after outcome started worker value process version"
    " proxy_status")


def _record(line):
    f = line.rstrip("\n").split(" ", 17)
    return Record(int(f[0], 16), f[1], int(f[2]), int(f[3]), int(f[4]),
                  int(f[5]), int(f[6]), f[7], int(f[8]), int(f[9]), *f[10:])


class Records(list):
    """Of all requests of a load, one Record each."""

    def of(self, *kinds):
        """Those of these kinds: classes of load.c, or numbers of status."""

        return Records(r for r in self
                       if r.kind in kinds or r.status in kinds)

    def __add__(self, more):
        return Records(list(self) + list(more))

    def count(self, *kinds):
        return len(self.of(*kinds))

    def methods(self, *methods):
        return Records(r for r in self if r.method in methods)

    def failed(self):
        """All but right answers, what we aborted ourselves, and requests that
        crossed the end of an idle connection (`raced`: those are for the
        ledger)."""

        return Records(r for r in self
                       if r.kind not in ("ok", "aborted", "raced"))

    def ids(self):
        return {r.id for r in self}

    def kinds(self):
        """"200" and 503 alike as text -> how many."""

        return collections.Counter(
            str(r.status) if r.kind == "status" else r.kind for r in self)

    def latencies(self):
        """Milliseconds of each."""

        return [(r.end - r.start) / 1000 for r in self]

    def percentile(self, p):
        return percentile(self.latencies(), p)


def percentile(values, p):
    """Of a list, p in 0 to 100; 0 of an empty one."""

    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))] \
        if values else 0


class Load:
    """A load generator at work: options are those of load.c."""

    first_id = 1 << 32

    def __init__(self, x, port, paths, connections=1, seconds=None, count=None,
                 methods=None, body=None, aborts=(), think=None, bound=15000,
                 pipeline=1, headers=(), fresh=False, burst=False,
                 unchecked=False):
        self.file = x.directory / ("load.%x" % Load.first_id)
        command = [str(x.program("load")), "-p", str(port),
                   "-o", str(self.file), "-c", str(connections),
                   "-B", str(bound), "-k", str(pipeline),
                   "-i", "%x" % Load.first_id,
                   "-S", str(x.random.randrange(1 << 31))]
        # each load's ids are its own, whatever their number
        Load.first_id += 1 << 32
        for path in [paths] if isinstance(paths, str) else paths:
            command += ["-u", path]
        if seconds is not None:
            command += ["-s", str(seconds)]
        if count is not None:
            command += ["-n", str(count)]
        for method, parts in (methods or {}).items():
            command += ["-m", "%s:%d" % (method, parts)]
        if body:
            command += ["-b", str(body)]
        for abort in aborts:
            command += ["-a", abort]
        if think:
            command += ["-t", str(think)]
        for header in headers:
            command += ["-H", header]
        command += [flag for flag, given in (("-1", fresh), ("-g", burst),
                                             ("-x", unchecked)) if given]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        x.own.append(self.process)
        self.begun = time.monotonic()
        self.limit = (seconds or 0) + bound / 1000 + 60

    def is_running(self):
        return self.process.poll() is None

    def seconds(self):
        """Since it began."""

        return time.monotonic() - self.begun

    def stop(self):
        """Nothing new is asked; what is under way is awaited."""

        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        return self

    def result(self):
        """Waits for its end; the Records."""

        _, errors = self.process.communicate(timeout=self.limit)
        assert self.process.returncode == 0, "load: %s" % errors
        with open(self.file, encoding="latin-1") as lines:
            return Records(_record(line) for line in lines)


# -- the functions' own records -----------------------------------------------

Execution = collections.namedtuple(
    "Execution", "id begin end process pid place version")

_HEAD = struct.Struct("<QQIIIIIIII16x")
_RECORD = struct.Struct("<QQQIIII24x")
assert _HEAD.size == 64 and _RECORD.size == 64


class Ledger:
    """The file of functions/record.h: which requests were run, how often,
    and how many at once."""

    def __init__(self, path, limit, capacity):
        self.path = path
        with open(path, "wb") as out:
            out.write(_HEAD.pack(0, capacity, 0, limit, 0, 0, 0, 0, 0, 0))
            out.truncate(_HEAD.size + capacity * _RECORD.size)
        path.chmod(0o666)
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 0)

    def _head(self):
        return _HEAD.unpack_from(self.map, 0)

    def executions(self):
        """Times in microseconds, as those of Record; end 0: cut short."""

        taken, capacity = self._head()[:2]
        assert taken <= capacity, "the ledger is full"
        found = []
        for i in range(taken):
            e = Execution(*_RECORD.unpack_from(
                self.map, _HEAD.size + i * _RECORD.size))
            # killed between taking the record and filling it: never ran
            if e.begin:
                found.append(e._replace(begin=e.begin // 1000,
                                        end=e.end // 1000))
        return found

    def by_id(self):
        table = collections.defaultdict(list)
        for e in self.executions():
            table[e.id].append(e)
        return table

    @property
    def taken(self):
        """Executions begun so far."""
        return self._head()[0]

    def wait_for(self, count):
        """Until so many more have begun."""

        before = self.taken
        wait_until(lambda: self.taken >= before + count, "executions")

    @property
    def processes(self):
        """Instances that there ever were."""
        return self._head()[2]

    @property
    def most(self):
        """Executions at once, the most there ever were (at most max + 1)."""
        return self._head()[6]

    @property
    def over(self):
        """Executions that found as many others as there may be."""
        return self._head()[4]

    @property
    def over_process(self):
        """Instances that found as many others as there may be."""
        return self._head()[5]

    def harm(self, ways, permille):
        """What functions/fragile.c does to so many of its instances."""

        struct.pack_into("<II", self.map, 36, ways, permille)

    @property
    def harmed(self):
        return self._head()[9]

    def close(self):
        self.map.close()
        self.file.close()


# -- kills inside of functions ------------------------------------------------

class Striker:
    """Kills a process inside of one of the functions of a program or module
    whose names match: at an instruction of it or of what it calls."""

    def __init__(self, x, path, pattern):
        self.x = x
        self.path = path
        done = subprocess.run(["nm", str(path)], capture_output=True,
                              text=True, check=True)
        self.symbols = {}
        for line in done.stdout.splitlines():
            fields = line.split()
            if len(fields) == 3 and fields[1] in "tT" \
                    and re.fullmatch(pattern, fields[2]):
                self.symbols[fields[2]] = fields[0]
        assert self.symbols, "no function of %s matches" % path
        self.hits = collections.Counter()
        self.missed = collections.Counter()

    def kill(self, pid, timeout_ms=150, steps=400, tries=4):
        """The name of the function in which it was killed; None: it got to
        none of those that were tried, and lives on.  Where nobody came three
        times nobody is waited for any more."""

        for _ in range(tries):
            name = self.x.random.choice(sorted(self.symbols))
            status = subprocess.run(
                [str(self.x.program("strike")), str(pid), str(self.path),
                 self.symbols[name], str(self.x.random.randrange(steps)),
                 str(timeout_ms)], stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL).returncode
            if status == 0:
                self.hits[name] += 1
                return name
            self.missed[name] += 1
            if self.missed[name] == 3 and not self.hits[name] \
                    and len(self.symbols) > 1:
                del self.symbols[name]
        return None


# -- disturbances -------------------------------------------------------------

class Ticker:
    """When this machine kept a process waiting that had nothing to do but to
    sleep for a millisecond."""

    def __init__(self, x):
        self.file = x.directory / "ticks"
        self.size, self.known = 0, []
        with open(self.file, "wb") as out:
            self.process = subprocess.Popen([str(x.program("ticker"))],
                                            stdin=subprocess.DEVNULL,
                                            stdout=out)
        x.own.append(self.process)

    def intervals(self):
        """[(begin, end)] of the disturbances so far, microseconds."""

        found = []
        for line in self.file.read_text().splitlines():
            fields = line.split()
            if len(fields) == 2:
                found.append((int(fields[0]), int(fields[1])))
        return found

    def lost(self, begin, end):
        """Milliseconds of [begin, end] that were disturbed."""

        return sum(min(end, b) - max(begin, a)
                   for a, b in self.intervals_near(begin, end)) / 1000

    def intervals_near(self, begin, end):
        known = self.cached()
        # they are in order, and none is within another
        at = bisect.bisect_left(known, begin, key=lambda span: span[1])
        while at < len(known) and known[at][0] < end:
            yield known[at]
            at += 1

    def cached(self):
        size = self.file.stat().st_size
        if self.size != size:
            self.size, self.known = size, self.intervals()
        return self.known

    def undisturbed(self, spans, slack=3):
        """Those of [(begin, end)] in which no more than slack ms were lost."""

        return [span for span in spans if self.lost(*span) <= slack]


# -- processes ----------------------------------------------------------------

def role(pid):
    """What a process of a host is, from its title: "nginx worker",
    "keeper", "supervisor", "instance", ...; None: not ours."""

    title = harness.cmdline(pid)
    for text, name in (("nginx: master", "nginx master"),
                       ("nginx: worker", "nginx worker"),
                       ("faas: zygote", "zygote")):
        if title.startswith(text):
            return name
    if title.startswith("faas: "):
        last = title.split()[-1]
        return last if last in ("init", "template") else \
            "instance" if last.startswith("#") else title
    program = title.split(" ")[0].rsplit("/", 1)[-1]
    if program == "faas-supervisor":
        stat = harness.process_stat(pid)
        above = harness.cmdline(stat[1]) if stat else ""
        return "supervisor" if program in above.split(" ")[0] else "keeper"
    if program in ("faas-zygote", "faas-events", "faas-tender"):
        return program[5:]
    return None


def descriptors(pid):
    """kind -> how many; kinds are what /proc says, without numbers."""

    kinds = collections.Counter()
    try:
        for name in os.listdir("/proc/%d/fd" % pid):
            try:
                target = os.readlink("/proc/%d/fd/%s" % (pid, name))
            except OSError:
                continue
            # the events process takes it when it first has to checkpoint
            if not target.endswith("/queue.db-checkpointer"):
                kinds[target.split(":[")[0]] += 1
    except OSError:
        return None
    return kinds


def instances(host, name=None):
    """slot -> pid of the living instances of a function, or of all: children
    of an init; what they fork themselves has the same title."""

    table = harness.process_table()
    found = {}
    for pid, (state, ppid, command) in table.items():
        if not command.startswith("faas: ") or state in "ZX":
            continue
        words = harness.cmdline(pid).split(" ")
        if len(words) == 3 and words[2][:1] == "#" \
                and name in (None, words[1]) \
                and harness.cmdline(ppid).endswith(" init") \
                and str(host.state) in host.whole(pid):
            found[int(words[2][1:])] = pid
    return found


def children(pid):
    """pids of a process's children, of its first thread: one small file, to be
    read very often."""

    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as text:
            return {int(word) for word in text.read().split()}
    except OSError:
        return set()


def inner_pid(pid):
    """By which pid a process knows itself."""

    for line in pathlib.Path("/proc/%d/status" % pid).read_text().split("\n"):
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return pid


def now_us():
    """The clock of records, executions and disturbances."""

    return time.monotonic_ns() // 1000


def kill(pid, number=signal.SIGKILL):
    """False when it was gone already."""

    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


# -- the experiment -----------------------------------------------------------

class Experiment:
    def __init__(self, name, title, options):
        self.name = name
        self.title = title
        self.quick = options.quick
        self.user = options.user
        self.seed = options.seed
        self.random = random.Random(self.seed)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="faas-fault-"))
        self.directory.chmod(0o755)
        self.compile = harness.Compiler(self.directory)
        self.hosts = []
        self.ledgers = {}
        self.own = []               # our processes, to be ended with us
        self.warmed = set()         # upper halves of ids of warming up
        self.baseline = {}          # host -> role -> descriptors
        self.lines = []
        self.failures = []
        self.began = time.monotonic()
        self._programs = None
        self.ticker = Ticker(self)

    # figures

    def pick(self, quick, full):
        return quick if self.quick else full

    def seconds(self, quick, full):
        """How long: FAULT_SECONDS says it for all full experiments."""

        return quick if self.quick else float(
            os.environ.get("FAULT_SECONDS", full))

    def times(self, quick, full, seconds=60):
        """How often: of a full experiment that would take so many seconds, the
        part that FAULT_SECONDS has room for."""

        if self.quick:
            return quick
        scale = float(os.environ.get("FAULT_SECONDS", seconds)) / seconds
        return max(1, int(full * min(1, scale)))

    # what it is made of

    def program(self, name):
        """A program of this directory, compiled when it is not there."""

        target = harness.BUILD / "fault" / name
        sources = [HERE / (name + ".c")] + (
            [HERE / "load_answer.c"] if name == "load" else [])
        newest = max(path.stat().st_mtime for path in
                     sources + [HERE / "load.h", HERE / "functions/hash.h"])
        if not target.exists() or target.stat().st_mtime < newest:
            target.parent.mkdir(parents=True, exist_ok=True)
            made = self.directory / name
            done = subprocess.run(
                ["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall",
                 "-Wextra", "-Werror", "-I", str(HERE), "-o", str(made)]
                + [str(path) for path in sources],
                capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            shutil.copy(made, str(target) + ".new")
            os.replace(str(target) + ".new", target)
        return target

    def programs(self):
        if self._programs is None:
            self._programs = self.directory / "bin"
            self._programs.mkdir()
            for name in PROGRAMS:
                shutil.copy(harness.BUILD / name, self._programs / name)
                (self._programs / name).chmod(0o755)
        return self._programs

    def ledger(self, host, name, limit, capacity=None):
        """A ledger for a function, in a place where its user may write."""

        path = host.gates / (name + ".ledger")
        self.ledgers[name] = Ledger(
            path, limit, capacity or (200_000 if self.quick else 2_000_000))
        return self.ledgers[name]

    def source(self, name, *flags):
        """A function of functions/, compiled; the shared object's path."""

        return self.compile(HERE / "functions" / (name + ".c"),
                            "-D_GNU_SOURCE", "-I%s" % (HERE / "functions"),
                            *flags)

    def deploy(self, host, name, source=None, *flags, wait=True):
        shared = self.source(source or name, *flags)
        host.put(shared, name + ".so")
        if wait and host.process and host.process.poll() is None:
            host.wait_version(name, shared)
        return shared

    def host(self, functions, workers=2, warm=True, http="", sources=None,
             location="", start=True, connections=4096, **options):
        """A host with functions: name -> what stands in its faas_function
        block, which must name its max.  Of the same source as its name,
        unless sources says another.  location: more for that of /fn/, in
        which DIR is the host's directory.  It is warmed up (every slot was used,
        all is at rest again), and what it has open then is the measure for
        the end."""

        host = harness.Host(self.programs(), self.compile, user=self.user,
                            workers=workers, connections=connections,
                            **options)
        self.hosts.append(host)
        self.limits = {}
        blocks = []
        for name, block in functions.items():
            limit = int(dict(line.split(None, 1) for line
                             in block.replace("\n", " ").split(";")
                             if len(line.split(None, 1)) == 2
                             for line in [line.strip()])["max"])
            self.limits[name] = limit
            ledger = self.ledger(host, name, limit)
            if "idle_timeout" not in block:
                block += " " + AT_REST
            blocks.append("faas_function %s { %s env LEDGER=%s; }"
                          % (name, block, ledger.path))
        host.configure(http="\n".join(blocks) + "\n" + http,
                       location=OUTCOME_HEADERS
                       + location.replace("DIR", str(host.dir)))
        for name in functions:
            self.deploy(host, name, (sources or {}).get(name))
        if start:
            host.start()
            if warm:
                self.warm(host, functions)
        return host

    def warm(self, host, functions):
        """Each slot was used: from here on nothing may grow, but that each
        worker may come to keep a connection to each instance."""

        for name in functions:
            wait_until(lambda: host.function(name).get("state") == "ready",
                       "%s to be ready" % name)

        def used():
            self.warmed.add(Load.first_id >> 32)
            clients = 2 * max(self.limits[name] for name in functions)
            self.load(host, ["/fn/%s?ms=50" % name for name in functions],
                      connections=clients * len(functions), unchecked=True,
                      count=2 * clients * len(functions)).result()
            some = {name: max(self.ledgers[name].most,
                              len(instances(host, name)))
                    for name in functions}
            assert all(some[name] >= self.limits[name]
                       for name in functions), some
            return True

        wait_until(used, "all instances")
        self.at_rest(host)
        self.baseline[host] = self.open_descriptors(host)
        self.baseline[host]["nginx worker"]["socket"] += sum(
            self.limits[name] for name in functions)

    def load(self, host, paths, **options):
        return Load(self, host.port, paths, **options)

    # findings

    def figure(self, what, value):
        self.lines.append("  %-44s %s" % (what, value))

    def check(self, what, holds, detail=""):
        """A fact that must hold; the experiment goes on when it does not."""

        if not holds:
            self.failures.append(what)
            self.lines.append("  FAILED: %s%s" % (
                what, ": %s" % (detail,) if detail != "" else ""))
        return holds

    def bound(self, what, spans, limit, part=100):
        """So many percent of the spans, (begin, end) in microseconds, must
        take no more than limit ms; those in which the machine itself stood
        still are left out.  In a quick run it is only said."""

        kept = self.ticker.undisturbed(spans, max(3, limit / 20))
        values = [(end - begin) / 1000 for begin, end in kept]
        worst = percentile(values, part)
        self.figure(what, "p50 %.1f p99 %.1f max %.1f ms of %d, %d more"
                    " disturbed; bound %g" % (
                        percentile(values, 50), percentile(values, 99),
                        max(values, default=0), len(values),
                        len(spans) - len(kept), limit))
        if not self.quick:
            self.check("%s within %g ms" % (what, limit), worst <= limit,
                       "%.1f" % worst)

    def summary(self, records, what="requests"):
        self.figure(what, "%d: %s" % (len(records), ", ".join(
            "%s %d" % item for item in sorted(records.kinds().items()))))

    def check_executions(self, records, *ledgers, retried=("GET", "HEAD"),
                         raced=False, others=()):
        """What every experiment promises of each request: a right answer was
        made by exactly one execution, or, where the method allows another
        try, by the last of two of which the first was cut short; who was told
        that it was not started was not; nobody was told that it may have been
        who was not; nothing ran that was not asked for.  raced: connections were
        cut by force, so that `raced` may have run; others: ids of requests
        that were asked otherwise.  Returns id -> its executions."""

        runs = collections.defaultdict(list)
        for ledger in ledgers:
            for e in ledger.executions():
                if e.id:
                    runs[e.id].append(e)
        twice, never, lied, failed = [], [], [], []
        for r in records:
            n = len(runs.get(r.id, ()))
            if n > (2 if r.method in retried else 1):
                twice.append(r)
            if r.kind == "ok" and n == 0:
                never.append(r)
            if r.kind == "status" and r.started == "0" and n:
                lied.append(r)
            if r.kind == "raced" and n and not raced:
                failed.append(r)
        self.check("nothing was run twice", not twice, twice[:3])
        self.check("what was answered was run", not never, never[:3])
        self.check("what was not started did not run", not lied, lied[:3])
        self.check("what crossed the end of a connection did not run",
                   not failed, failed[:3])
        self.check("no answer to another request", not records.count("wrong"),
                   records.of("wrong")[:3])
        self.check("no garbled answer", not records.count("garbled"),
                   records.of("garbled")[:3])
        self.check("none hung", not records.count("hung"),
                   records.of("hung")[:3])
        asked = records.ids()
        strangers = [i for i in runs
                     if i not in asked and i not in others
                     and i >> 32 not in self.warmed]
        self.check("nothing was run that nobody asked for", not strangers,
                   ["%x" % i for i in strangers[:3]])
        return runs

    # after-state

    def gauges(self, host):
        """What of the scoreboard is not at rest."""

        wrong = []
        for f in host.status()["functions"]:
            if f["platform"]:
                continue
            least = f["limits"]["min"]
            for state, n in f["instances"].items():
                if n != (least if state == "idle" else 0):
                    wrong.append("%s: %d %s" % (f["name"], n, state))
            for what, n in f["queue"].items():
                if n:
                    wrong.append("%s: %d %s" % (f["name"], n, what))
        return wrong

    def at_rest(self, host, timeout=30):
        def resting():
            wrong = self.gauges(host)
            assert not wrong, wrong
            return True

        wait_until(resting, "gauges to be 0", timeout=timeout, interval=0.05)

    def ours(self, host):
        """pid -> role of everything of the host."""

        found = {}
        for pid, (state, _, _) in list(
                harness.descendants(host.process.pid).items()) + [
                (host.process.pid, ("S", 0, ""))]:
            if state not in "ZX":
                found[pid] = role(pid)
        for pid in host.processes():
            found[pid] = role(pid)
        return found

    def open_descriptors(self, host):
        """role -> the most descriptors that a process of it has, by kind."""

        found = {}
        for pid, what in self.ours(host).items():
            kinds = descriptors(pid)
            if kinds is None:
                continue
            if what not in found or sum(kinds.values()) \
                    > sum(found[what].values()):
                found[what] = kinds
        return found

    def allow_slots(self, host, count):
        """So many slots more than before may come to be used, as where versions
        overlap: keeper and supervisor keep the page of each."""

        for what in ("keeper", "supervisor"):
            self.baseline[host][what]["/memfd:faas-page (deleted)"] += count

    def check_descriptors(self, host):
        def same():
            grown = []
            for what, kinds in self.open_descriptors(host).items():
                before = self.baseline[host].get(what)
                if before is not None \
                        and sum(kinds.values()) > sum(before.values()):
                    grown.append("%s: %s" % (what, dict(kinds - before)))
            assert not grown, grown
            return True

        wait_until(same, "descriptors as at the start", interval=0.1)

    def check_zombies(self, host):
        def none():
            zombies = [(pid, command) for pid, (state, _, command)
                       in harness.descendants().items() if state == "Z"]
            harness.reap(spared=[h.process.pid for h in self.hosts
                                 if h.process]
                         + [p.pid for p in self.own])
            return not zombies or not self.complain(zombies)

        wait_until(none, "no zombie")

    @staticmethod
    def complain(what):
        raise AssertionError(what)

    def check_orphans(self, host):
        """Everything that there is has a role, and what belongs to a function
        is below the host's."""

        def none():
            strangers = {pid: harness.cmdline(pid)
                         for pid, what in self.ours(host).items()
                         if what is None and harness.is_alive(pid)}
            left = [pid for pid, what in self.ours(host).items()
                    if what == "instance"]
            floor = sum(f["limits"]["min"]
                        for f in host.status()["functions"])
            assert not strangers, strangers
            assert len(left) <= floor, left
            return True

        wait_until(none, "no orphan")

    def after(self):
        """What must hold after every experiment."""

        for host in self.hosts:
            if host.process is None or host.process.poll() is not None:
                continue
            for what, test in (("gauges", self.at_rest),
                               ("orphans", self.check_orphans),
                               ("zombies", self.check_zombies),
                               ("descriptors", self.check_descriptors)):
                if what == "descriptors" and host not in self.baseline:
                    continue
                try:
                    test(host)
                except AssertionError as error:
                    self.check("after-state: %s" % what, False, error)
        for name, ledger in self.ledgers.items():
            self.check("%s: never more than max at once" % name,
                       ledger.over == 0 and ledger.over_process == 0,
                       "%d executions, %d instances over %d" % (
                           ledger.over, ledger.over_process,
                           self.limits.get(name, 0)))

    def finish(self):
        for process in self.own:
            if process.poll() is None:
                process.kill()
            process.wait()
        for ledger in self.ledgers.values():
            ledger.close()
        for host in reversed(self.hosts):
            log = host.error_log()
            try:
                host.finish()
            except Exception as error:
                self.check("after-state: the end", False, error)
            if self.failures:
                keep = pathlib.Path(tempfile.gettempdir()) / (
                    "faas-%s-%d.log" % (self.name.lower(), os.getpid()))
                keep.write_text(log)
                self.lines.append("  error log: %s" % keep)
        shutil.rmtree(self.directory, ignore_errors=True)

    def report(self):
        print("%s %s: %s, seed %d, %d CPUs, %s, %.1f s" % (
            self.name, self.title, "quick" if self.quick else "full",
            self.seed, os.cpu_count(),
            self.user or ("root" if harness.IS_ROOT else "not root"),
            time.monotonic() - self.began))
        print("\n".join(self.lines))
        print("%s %s" % (self.name, "FAILED: %s" % "; ".join(self.failures)
                         if self.failures else "passed"), flush=True)


def main(run, name, title, quick_limit=120, full_limit=1800):
    parser = argparse.ArgumentParser(description="%s: %s" % (name, title))
    parser.add_argument("--quick", action="store_true",
                        help="at most 20 s, for CI")
    parser.add_argument("--seed", type=int,
                        default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--user", help="start nginx as this user, not as root")
    options = parser.parse_args()

    def expired(number, frame):
        raise TimeoutError("it took too long")

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(quick_limit if options.quick else full_limit)
    harness.become_subreaper()
    x = Experiment(name, title, options)
    try:
        run(x)
        x.after()
    except BaseException as error:
        x.check("it ran to its end", False, "%r" % error)
        x.lines.append(traceback.format_exc())
        if isinstance(error, KeyboardInterrupt):
            x.failures.append("interrupted")
    finally:
        signal.alarm(60)
        x.finish()
        signal.alarm(0)
    x.report()
    sys.exit(1 if x.failures else 0)
