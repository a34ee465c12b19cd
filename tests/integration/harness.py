"""What the integration tests are made of: a real nginx with the module, in a
private directory and on free ports; functions compiled from C; HTTP on the
wire; and the checks that nothing is left behind.

Tests wait on conditions (wait_until), never for a time to pass by luck.
"""

import ctypes
import fcntl
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("FAAS_BUILD", "build")).resolve()
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "")
                     + ":/usr/sbin:/sbin")
IS_ROOT = os.geteuid() == 0
ASAN = "asan" in BUILD.name
VALGRIND = "FAAS_VALGRIND" in os.environ        # make valgrind

# generous: a limit for what must happen, not a measure of how fast
PATIENCE = 60 if ASAN or VALGRIND else 20

SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:"
                       r"|ThreadSanitizer")

# files in which sanitizers write: what they are told to, and what is stderr
# of one of our processes
REPORTS = re.compile(r"asan|output$|.*\.log\b")


def check_reports(*places):
    """No sanitizer has said anything: in these texts, and in all files below
    these directories that are stderr of something."""

    for place in places:
        if isinstance(place, pathlib.Path):
            check_reports(*(
                pathlib.Path(directory, name).read_text(errors="replace")
                for directory, _, names in os.walk(place)
                for name in names if REPORTS.match(name)))
        else:
            assert not SANITIZER.search(place), place[-8000:]


def layout():
    """Of the board, as the sources have it."""

    text = (ROOT / "scoreboard/faas_scoreboard.h").read_text()
    return int(re.search(r"define FAAS_SCOREBOARD_LAYOUT +(\d+)", text)[1])


def wait_until(condition, what="", timeout=PATIENCE, interval=0.01):
    """Polls condition() until it is true, and returns what it returned.  An
    AssertionError inside counts as not yet, and so does a file that is not
    there, or is empty still."""

    deadline = time.monotonic() + timeout
    while True:
        value = failure = None
        try:
            value = condition()
        except (AssertionError, OSError, ValueError) as error:
            failure = error
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("waited %g s for %s; last: %r" % (
                timeout, what or getattr(condition, "__name__", "it"),
                failure or value))
        time.sleep(interval)


# -- processes ----------------------------------------------------------------

def become_subreaper():
    """Whatever the tests start stays below this process, however often it
    forks and becomes a daemon: so nothing can be left behind unseen."""

    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def process_stat(pid):
    """(state, ppid, command) of a process, or None when it is gone."""

    try:
        text = pathlib.Path("/proc/%d/stat" % pid).read_text()
    except OSError:
        return None
    name, rest = text.rsplit(")", 1)
    fields = rest.split()
    return fields[0], int(fields[1]), name.split("(", 1)[1]


def process_table():
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = process_stat(int(entry))
            if stat:
                table[int(entry)] = stat
    return table


def descendants(root=None):
    """pid -> (state, ppid, command) of everything below a process."""

    root = root or os.getpid()
    table = process_table()
    children = {}
    for pid, (_, ppid, _) in table.items():
        children.setdefault(ppid, []).append(pid)
    found, todo = {}, [root]
    while todo:
        for pid in children.get(todo.pop(), []):
            found[pid] = table[pid]
            todo.append(pid)
    return found


def cmdline(pid):
    try:
        data = pathlib.Path("/proc/%d/cmdline" % pid).read_bytes()
    except OSError:
        return ""
    return data.replace(b"\0", b" ").decode(errors="replace").strip()


def is_alive(pid):
    stat = process_stat(pid)
    return stat is not None and stat[0] not in "ZX"


def reap(spared=()):
    """Takes the exit status of orphans that fell to us."""

    for pid, (state, ppid, _) in process_table().items():
        if state == "Z" and ppid == os.getpid() and pid not in spared:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


# -- compiling ----------------------------------------------------------------

def popen(command, descriptors, **options):
    """Popen() of what has these descriptors as 3, 4, ...  Not by a preexec_fn:
    that is Python in a fork of a process that has threads, which fails now and
    then."""

    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in descriptors]
    places = " ".join("%d<&%d %d<&-" % (place, fd, fd)
                      for place, fd in enumerate(high, 3))
    try:
        return subprocess.Popen(
            ["bash", "-c", 'exec "$@" ' + places, "bash", *map(str, command)],
            pass_fds=high, stdin=subprocess.DEVNULL, **options)
    finally:
        for fd in high:
            os.close(fd)


class Compiler:
    """Compiles functions as a user does, each source once per session."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    def __call__(self, source, *flags, language="c"):
        """The path of a shared object made of C text, or of the file below
        tests/integration/functions that source names."""

        if not isinstance(source, pathlib.Path) and "\n" not in source:
            source = ROOT / "tests/integration/functions" / source
        if isinstance(source, pathlib.Path):
            source = source.read_text()
        key = hashlib.sha256("\0".join((source, language) + flags)
                             .encode()).hexdigest()[:16]
        target = self.directory / (key + ".so")
        if not target.exists():
            text = self.directory / (key + {"c": ".c", "c++": ".cc"}[language])
            text.write_text(source)
            made = self.directory / (key + ".new")
            command = [{"c": "cc", "c++": "c++"}[language], "-shared", "-fPIC",
                       "-Wall", "-Wextra", "-Werror",
                       "-I%s" % (ROOT / "worker/include"),
                       "-o", str(made), str(text)] + list(flags)
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            made.rename(target)
        return target


# -- HTTP ---------------------------------------------------------------------

class Response:
    def __init__(self, status, headers, body, version=11):
        self.status = status
        self.headers = headers
        self.body = body
        self.version = version

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "<%d %r>" % (self.status, self.body[:200])


def request(port, path, method="GET", body=None, headers=None, timeout=30,
            connection=None):
    """One HTTP/1.1 request with http.client; a new connection unless given
    one."""

    c = connection or http.client.HTTPConnection("127.0.0.1", port,
                                                 timeout=timeout)
    try:
        c.request(method, path, body=body, headers=headers or {})
        r = c.getresponse()
        return Response(r.status, r.headers, r.read(), r.version)
    finally:
        if connection is None:
            c.close()


class Wire:
    """A raw client connection: what is sent is what stands there."""

    def __init__(self, port, timeout=30, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        if tls:
            self.socket = tls.wrap_socket(self.socket)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes)
                            else data.encode())
        return self

    def fill(self):
        """More bytes from the server; False at the end of the stream."""

        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def line(self):
        while b"\r\n" not in self.buffer:
            assert self.fill(), "end of stream in a line: %r" % self.buffer
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("latin-1")

    def exactly(self, n):
        pieces, missing = [self.buffer], n - len(self.buffer)
        while missing > 0:
            data = self.socket.recv(65536)
            assert data, "end of stream, %d bytes short" % missing
            pieces.append(data)
            missing -= len(data)
        data = b"".join(pieces)
        self.buffer = data[n:]
        return data[:n]

    def rest(self):
        """All that is to come.  In pieces: to add up many MiB would take
        longer than nginx waits for a reader."""

        pieces = [self.buffer]
        while True:
            data = self.socket.recv(65536)
            if not data:
                break
            pieces.append(data)
        self.buffer = b""
        return b"".join(pieces)

    def head(self):
        """(status line, [(name, value)]) of a response."""

        status, headers = self.line(), []
        while True:
            line = self.line()
            if not line:
                return status, headers
            name, value = line.split(":", 1)
            headers.append((name.lower(), value.strip()))

    def chunk(self):
        """One chunk of a chunked body; b"" is the last."""

        size = int(self.line().split(";")[0], 16)
        data = self.exactly(size)
        assert self.line() == ""
        return data

    def response(self, method="GET"):
        """A whole response, by its framing; interim ones are returned too."""

        status, headers = self.head()
        fields = http.client.HTTPMessage()
        for name, value in headers:
            fields[name] = value
        code = int(status.split()[1])
        if method == "HEAD" or code in (204, 304) or code < 200:
            body = b""
        elif fields.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                data = self.chunk()
                if not data:
                    break
                body += data
        elif fields.get("content-length") is not None:
            body = self.exactly(int(fields["content-length"]))
        else:
            body = self.rest()
        return Response(code, fields, body)

    def is_closed(self):
        """True once the server ended the stream (bytes before are kept)."""

        try:
            return not self.fill()
        except ConnectionResetError:
            return True


# -- nginx --------------------------------------------------------------------

def nginx_environment(report=None):
    """What nginx is started with.  Debian's nginx is not instrumented; when
    its module is, the sanitizers have to be there before it.  report: where
    they write what they find."""

    environment = dict(os.environ)
    if ASAN:
        environment["LD_PRELOAD"] = " ".join(
            os.path.realpath(subprocess.run(
                ["cc", "-print-file-name=" + name], text=True,
                capture_output=True).stdout.strip())
            for name in ("libasan.so", "libubsan.so"))
        environment["LD_PRELOAD"] += " " + os.environ.get("LD_PRELOAD", "")
        place = ["log_path=%s" % report] if report else []
        environment["ASAN_OPTIONS"] = ":".join(
            ["detect_leaks=0:detect_odr_violation=0:exitcode=99"] + place)
        environment["UBSAN_OPTIONS"] = ":".join(
            ["print_stacktrace=1:halt_on_error=1:exitcode=99"] + place)
    return environment


def free_port():
    """Below the range that the kernel gives to clients."""

    while True:
        port = random.randint(10240, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


CONFIGURATION = """\
load_module %(bin)s/ngx_http_faas_module.so;
%(user)s
%(environment)s
%(main)s
worker_processes %(workers)d;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log %(log_level)s;

events { worker_connections %(connections)d; }

http {
    access_log off;
    client_body_temp_path %(dir)s/tmp/body;
    fastcgi_temp_path %(dir)s/tmp/fastcgi;
    proxy_temp_path %(dir)s/tmp/proxy;
    scgi_temp_path %(dir)s/tmp/scgi;
    uwsgi_temp_path %(dir)s/tmp/uwsgi;
    client_max_body_size 0;

    faas_functions %(dir)s/functions;
    faas_state %(dir)s/state;
    faas_supervisor %(bin)s/faas-supervisor;
    %(http)s

    server {
        listen 127.0.0.1:%(port)d;
        %(server)s
        location /fn/ { faas_pass; %(location)s }
        location = /faas/ { faas_status; }
    }
}
"""


class Host:
    """One nginx with its host of functions.  Made by the fixture `faas`."""

    living = []                     # those that are not finished

    def __init__(self, programs, compiler, user=None, **options):
        self.bin = programs
        self.compile = compiler
        self.user = user            # run nginx as this user, not as root
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="faas-test-"))
        self.dir.chmod(0o755)
        self.functions = self.dir / "functions"
        self.state = self.dir / "state"
        self.gates = self.dir / "gates"
        for path in (self.functions, self.gates, self.dir / "tmp"):
            path.mkdir()
        self.gates.chmod(0o777)
        self.port = free_port()
        self.process = None
        Host.living.append(self)
        self.allowed = []           # of [alert] and [emerg] lines
        self.exit_status = None
        self.others = []            # started by the test, to be ended with us
        self.options = dict(main="daemon off;", workers=2, http="", server="",
                            location="", connections=1024, log_level="info",
                            template=CONFIGURATION)
        self.configure(**options)
        if user:
            for path in [self.dir] + list(self.dir.rglob("*")):
                shutil.chown(path, user)

    # configuration

    def configure(self, **options):
        """Writes nginx.conf anew with these parts changed."""

        self.options.update(options)
        values = dict(self.options, bin=self.bin, dir=self.dir,
                      port=self.port,
                      # for the new binary of an upgrade
                      environment="env LD_PRELOAD; env ASAN_OPTIONS;"
                      "env UBSAN_OPTIONS;" if ASAN else "",
                      user="user www-data;" if IS_ROOT and not self.user
                      else "")
        text = values.pop("template") % values
        # whole or not at all: a reload may be reading it
        new = self.dir / "nginx.conf.new"
        new.write_text(text)
        new.rename(self.dir / "nginx.conf")
        return self

    def command(self, *arguments):
        command = [NGINX, "-p", str(self.dir), "-e",
                   str(self.dir / "error.log"), "-c",
                   str(self.dir / "nginx.conf")] + list(arguments)
        if self.user:
            command = ["setpriv", "--reuid", self.user, "--regid",
                       str(_gid(self.user)), "--clear-groups"] + command
        return command

    def environment(self):
        return nginx_environment(self.dir / "asan")

    def nginx(self, *arguments, check=True):
        """Runs nginx to its end (-t, -s SIGNAL); its output."""

        done = subprocess.run(self.command(*arguments), text=True,
                              capture_output=True, timeout=60,
                              env=self.environment())
        check_reports(done.stderr)
        if check:
            assert done.returncode == 0, done.stderr + done.stdout
        return done.stderr + done.stdout

    # life

    def start(self, ready=True):
        for _ in range(5):
            self.launch()
            if not ready:
                return self
            wait_until(lambda: self.process.poll() is not None
                       or self.answers(), "nginx to answer")
            if self.process.poll() is None or self.answers():
                self.settle()
                return self
            if "Address already in use" not in self.error_log():
                break
            (self.dir / "error.log").unlink()
            self.port = free_port()
            self.configure()
        status, self.process = self.process.returncode, None
        self.allowed.append("")
        raise AssertionError("nginx ended at start: %s\n%s" % (
            status, self.error_log() + self.output()))

    def settle(self):
        """The first worker answers before the last one is forked."""

        if "master_process off" not in self.options["main"]:
            wait_until(lambda: len(self.workers()) >= self.options["workers"],
                       "all workers")

    def launch(self):
        with open(self.dir / "output", "ab") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, env=self.environment(),
                start_new_session=True)

    def output(self):
        path = self.dir / "output"
        return path.read_text(errors="replace") if path.exists() else ""

    def answers(self):
        try:
            return self.get("/faas/", timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def pid(self):
        return int((self.dir / "nginx.pid").read_text())

    def workers(self):
        """pids of the nginx workers of the master."""

        return [pid for pid, (state, ppid, _) in process_table().items()
                if ppid == self.pid() and state != "Z"
                and "nginx: worker" in cmdline(pid)]

    def processes(self):
        """Living processes of this host, nginx excepted."""

        return {pid: name for pid, (state, _, name) in descendants().items()
                if state not in "ZX" and str(self.state) in self.whole(pid)}

    def whole(self, pid):
        """What tells whose process it is: the command lines upwards."""

        text = ""
        while pid not in (0, 1, os.getpid()):
            text += cmdline(pid) + "\n"
            stat = process_stat(pid)
            if stat is None:
                break
            pid = stat[1]
        return text

    def send(self, number, pid=None):
        os.kill(pid or self.pid(), number)

    def reload(self, **options):
        """HUP with a changed configuration, until the workers are new."""

        before = set(self.workers())
        if options:
            self.configure(**options)
        self.send(signal.SIGHUP)
        wait_until(lambda: self.workers() and not before
                   & set(self.workers()), "new workers")
        return self

    def stop(self, number=signal.SIGQUIT):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("nginx did not end:\n"
                                     + self.error_log()[-4000:])
        self.exit_status = self.process.returncode

    def kill(self):
        """Everything below us that is of no other host, at once: what is left
        would be found left by all tests that follow."""

        for _ in range(100):
            pids = self.left_pids()
            if not pids:
                break
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)
        if self.process:
            self.process.wait(10)

    # what it says

    def error_log(self):
        path = self.dir / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_has(self, text):
        """The error log's first line that holds text, or None."""

        for line in self.error_log().splitlines():
            if text in line:
                return line
        return None

    def function_log(self, name):
        path = self.state / "log" / (name + ".log")
        return path.read_text(errors="replace") if path.exists() else ""

    def status(self):
        r = self.get("/faas/", headers={"Accept": "application/json"})
        assert r.status == 200, r
        return r.json

    def function(self, name):
        """What status says of one function; {} when it does not know it."""

        functions = self.status()["functions"]
        if isinstance(functions, dict):
            return functions.get(name, {})
        for function in functions:
            if function["name"] == name:
                return function
        return {}

    # functions

    def put(self, path, name):
        """Deploys a file as it should be done: by rename."""

        new = self.functions / (".%s.new" % name)
        shutil.copyfile(path, new)
        new.chmod(0o755)
        if self.user:
            shutil.chown(new, self.user)
        new.rename(self.functions / name)

    def deploy(self, name, source="probe.c", *flags, wait=True, **options):
        """Compiles and deploys; waits until the version is the one that
        serves."""

        shared = self.compile(source, *flags, **options)
        self.put(shared, name + ".so")
        if wait and self.process and self.process.poll() is None:
            self.wait_version(name, shared)
        return shared

    def wait_version(self, name, shared):
        version = hashlib.sha256(shared.read_bytes()).hexdigest()[:8]
        wait_until(lambda: self.function(name).get("version") == version
                   and self.function(name).get("state") == "ready",
                   "version %s of %s, now %r" % (version, name,
                                                 self.function(name)))
        return version

    def remove(self, name):
        (self.functions / (name + ".so")).unlink()

    # gates: the probe holds a request until the test lets it go

    def entered(self, gate):
        """pids of the instances that hold a request at this gate."""

        return sorted(int(path.name.rsplit(".", 1)[1])
                      for path in self.gates.glob(gate + ".in.*"))

    def open(self, gate):
        (self.gates / gate).touch()

    def held(self, gate, name="probe", more="", **options):
        """A request that is held at the gate, in the background."""

        return Background(lambda: self.get("/fn/%s?gate=%s/%s%s" % (
            name, self.gates, gate, more), **options))

    def hold(self, gate, name="probe", count=1, more=""):
        """So many requests, all of them inside the function."""

        held = [self.held(gate, name, more) for _ in range(count)]
        wait_until(lambda: len(self.entered(gate)) == count,
                   "%d in the handler" % count)
        return held

    # HTTP

    def get(self, path, method="GET", **options):
        return request(self.port, path, method, **options)

    def post(self, path, body=b"", **options):
        return request(self.port, path, "POST", body=body, **options)

    def wire(self, **options):
        return Wire(self.port, **options)

    # the end

    def finish(self):
        """Stops what runs, then looks whether all is as it should be."""

        for other in self.others:
            if other.poll() is None:
                other.kill()
            other.wait()
        try:
            self.stop()
            self.check()
        except BaseException:
            self.kill()
            raise
        finally:
            Host.living.remove(self)
            self.cleanup()

    def check(self):
        wait_until(lambda: not self.left(), "all processes to end: %s"
                   % self.left())
        assert self.exit_status in (0, None, -signal.SIGKILL), \
            "nginx's exit status %s\n%s" % (self.exit_status,
                                            self.error_log()[-4000:])
        for line in (self.error_log() + self.output()).splitlines():
            if "[alert]" in line or "[emerg]" in line:
                assert any(text in line for text in self.allowed), line
        check_reports(self.dir)
        sockets = [path for path in self.state.rglob("*") if path.is_socket()]
        if self.exit_status == -signal.SIGKILL:
            # nginx's own, which the next one finds stale, and removes
            sockets = [path for path in sockets
                       if path.name != "internal.sock"]
        assert not sockets, "left on disk: %s" % sockets

    def left(self):
        """Processes that are still there, as text: all but those of other
        hosts, so that who has lost its name and its parent counts too."""

        table = process_table()
        return ["%d %s %s" % (pid, table[pid][0], cmdline(pid)
                              or table[pid][2])
                for pid in self.left_pids() if pid in table]

    def left_pids(self):
        others = [host for host in Host.living if host is not self]
        reap(spared=[host.process.pid for host in Host.living
                     if host.process])
        return [pid for pid in descendants()
                if not any(str(host.dir) in self.whole(pid)
                           for host in others)]

    def cleanup(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def _gid(user):
    import pwd
    return pwd.getpwnam(user).pw_gid


class Background:
    """A request that runs beside the test; result() waits for its answer.
    What the connection raised is raised there."""

    def __init__(self, call):
        self.value = self.error = None
        self.thread = threading.Thread(target=self._run, args=(call,),
                                       daemon=True)
        self.thread.start()

    def _run(self, call):
        try:
            self.value = call()
        except BaseException as error:
            self.error = error

    def is_done(self):
        return not self.thread.is_alive()

    def result(self):
        self.thread.join(PATIENCE)
        assert self.is_done(), "no answer"
        if self.error:
            raise self.error
        return self.value
