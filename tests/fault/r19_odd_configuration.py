#!/usr/bin/env python3
"""R19: `nginx -t` with 500 odd fragments: each directive and setting in each
context, with too few and too many and strange arguments, twice, nested, cut
off in the middle, with control characters and zero bytes, in included files.

Each is taken, or refused with a line that names file and line of the fragment;
nginx does not crash, and leaves nothing: no directory, no process.  So does a
reload with it: what ran before runs on."""

import re
import subprocess

import fault
import harness

# name -> a value that is taken in its own context
HTTP = {
    "faas_functions": "functions", "faas_state": "state",
    "faas_supervisor": "/bin/true", "faas_user": "nobody",
    "faas_deployer": "nobody", "faas_scoreboard": "64m",
    "faas_memory": "1g", "faas_busy_status": "429", "faas_kv": "sqlite",
    "faas_queue": "sqlite", "faas_callback": "http://127.0.0.1:1/ x",
    "faas_function": "f { max 2; }", "faas_async": "off",
}
SERVER = {"faas_internal": "", "faas_async": "off"}
LOCATION = {"faas_pass": "", "faas_invoke": "", "faas_status": "",
            "faas_async": "off"}
SETTINGS = {
    "mode": "oneshot", "min": "1", "max": "4", "spare": "1",
    "queue": "10 timeout=1s", "timeout": "5s", "init_timeout": "2s",
    "idle_timeout": "60s", "template_timeout": "10m", "max_requests": "100",
    "memory": "64m", "accel": "on", "user": "nobody", "routes": "/a/",
    "env": "A=B", "consume": "q", "schedule": "daily '0 4 * * *'",
    "async": "always", "share": "s", "exactly_once": "on",
    "durability": "full", "cpu": "1", "network": "off",
}
OWNED = ["fastcgi_pass 127.0.0.1:9", "fastcgi_keep_conn off",
         "fastcgi_next_upstream error", "fastcgi_connect_timeout 1s",
         "fastcgi_send_timeout 1s", "fastcgi_read_timeout 1s",
         "proxy_pass http://127.0.0.1:9", "return 200", "empty_gif",
         "stub_status", "fastcgi_param A B", "fastcgi_cache_key $uri"]

ODD = ["", "''", "\"\"", "0", "-1", "1", "18446744073709551616",
       "99999999999999999999999999", "2147483648", "1.5", "1e9", "0x10",
       "10kk", "10 m", "1h1h", "1s1h", "-5s", "4294967296s", "on", "off",
       "ON", "$uri", "${", "${uri", "$", "$nothing_of_the_kind", "\\", "\\\\",
       "'a b'", "\"a;b\"", "a\\;b", "{", "}", ";", "/", "//", "/a/../b", "..",
       ".", "~ ^/(a+)+$", "=", "*", "**", "* *", "f", "F", "_calls", "a.b",
       "\x01\x02", "\x7f", "\xff\xfe", "a\rb", "a\tb", "a\nb", "%n%s%x",
       "redis://", "redis://:@[::1", "redis://h:99999/0", "unix:",
       "http://[", "timeout=", "timeout=1s", "timeout=-1", "= =", "A=", "=A",
       "x" * 64, "x" * 300, "x" * 4200, "1 2", "1 2 3 4", " ".join("a" * 60),
       "root", "no-such-user", "0 0 31 2 *", "'* * * * *'", "'60 * * * *'"]

HEAD = """\
load_module %(bin)s/ngx_http_faas_module.so;
daemon off;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log;
events { }
"""
HOST = """\
    faas_functions %(dir)s/functions;
    faas_state %(dir)s/state;
    faas_supervisor %(bin)s/faas-supervisor;
    client_body_temp_path %(dir)s/tmp/body;
    fastcgi_temp_path %(dir)s/tmp/fastcgi;
    proxy_temp_path %(dir)s/tmp/proxy;
    scgi_temp_path %(dir)s/tmp/scgi;
    uwsgi_temp_path %(dir)s/tmp/uwsgi;
"""
SERVE = "server { listen unix:%(dir)s/http.sock;\n"

# where a fragment may stand: what is before it, and after
CONTEXTS = {
    "main": (HEAD, "\nhttp {\n" + HOST + SERVE + "} }\n"),
    "events": (HEAD.replace("events { }\n", "events {\n"),
               "\n}\nhttp {\n" + HOST + SERVE + "} }\n"),
    "http": (HEAD + "http {\n" + HOST, "\n" + SERVE + "} }\n"),
    "bare": (HEAD + "http {\n", "\n" + SERVE + "} }\n"),
    "server": (HEAD + "http {\n" + HOST + SERVE, "\n} }\n"),
    "location": (HEAD + "http {\n" + HOST + SERVE + "location /x/ {\n",
                 "\n} } }\n"),
    "pass": (HEAD + "http {\n" + HOST + SERVE
             + "location /x/ { faas_pass;\n", "\n} } }\n"),
    "named": (HEAD + "http {\n" + HOST + SERVE + "location @x {\n",
              "\n} } }\n"),
    "regex": (HEAD + "http {\n" + HOST + SERVE + "location ~ ^/(.*)$ {\n",
              "\n} } }\n"),
    "if": (HEAD + "http {\n" + HOST + SERVE
           + "location /x/ { if ($args) {\n", "\n} } } }\n"),
    "nested": (HEAD + "http {\n" + HOST + SERVE
               + "location /x/ { faas_pass; location /x/y { if ($args) {\n",
               "\n} } } } }\n"),
    "server if": (HEAD + "http {\n" + HOST + SERVE + "if ($args) {\n",
                  "\n} } }\n"),
    "except": (HEAD + "http {\n" + HOST + SERVE
               + "location /x/ { faas_pass; limit_except GET {\n",
               "\n} } } }\n"),
    "upstream": (HEAD + "http {\n" + HOST + "upstream u { server 127.0.0.1:9;"
                 "\n", "\n}\n" + SERVE + "} }\n"),
    "map": (HEAD + "http {\n" + HOST + "map $uri $mapped {\n",
            "\n}\n" + SERVE + "} }\n"),
    "function": (HEAD + "http {\n" + HOST + "faas_function f {\n",
                 "\n}\n" + SERVE + "location / { faas_pass; } } }\n"),
    "all": (HEAD + "http {\n" + HOST + "faas_function * {\n",
            "\n}\n" + SERVE + "location / { faas_pass; } } }\n"),
}

# must be refused, whatever the seed
REFUSED = [
    ("bare", "server { location / { faas_pass; } }"),
    ("http", "faas_function f { max 2; max 3; }"),
    ("http", "faas_function f { } faas_function f { }"),
    ("http", "faas_function f { min 5; max 2; }"),
    ("http", "faas_function f { max 0; }"),
    ("http", "faas_function f {"),
    ("server", "location / { faas_pass; } } }"),
    ("http", "faas_function f { include nothing.conf; }"),
    ("http", "faas_function f { faas_function g { } }"),
    ("http", "faas_function ../f { }"),
    ("http", "faas_busy_status 200;"),
    ("http", "faas_kv mysql://h;"),
    ("http", "faas_scoreboard 1k;"),
    ("server", "faas_pass;"),
    ("server", "location / { faas_pass; faas_pass; }"),
    ("server", "location / { faas_pass; fastcgi_pass 127.0.0.1:9; }"),
    ("server", "location / { faas_pass; proxy_pass http://127.0.0.1:9; }"),
    ("location", "faas_pass a b;"),
    ("function", "timeout 5s"),
    ("function", "no_such_setting 1;"),
    ("function", "timeout 0;"),
    ("function", "queue 10 timeout=;"),
    ("function", "if ($args) { max 1; }"),
    ("map", "faas_pass;\n} map $uri $other { a faas_pass b;"),
]


def statement(x, name, value):
    return "%s %s%s" % (name, value, "" if value.endswith("}") else ";")


def argument(x, name, good):
    """Mostly odd, sometimes what would be right, or more of it."""

    roll = x.random.random()
    if roll < 0.15:
        return good
    if roll < 0.25:
        return good + " " + x.random.choice(ODD)
    odd = x.random.choice(ODD)
    if name == "faas_function":
        setting = x.random.choice(sorted(SETTINGS))
        return x.random.choice([
            odd, "f { %s %s; }" % (setting, odd), "%s { }" % odd,
            "f { %s }" % odd, "f %s { }" % odd])
    return odd


def directive(x):
    """One of ours, in some context, with some argument."""

    name, good = x.random.choice(sorted(
        list(HTTP.items()) + list(SERVER.items()) + list(LOCATION.items())))
    home = "http" if name in HTTP else "server" if name in SERVER \
        else "location"
    place = home if x.random.random() < 0.6 \
        else x.random.choice(sorted(CONTEXTS))
    return place, statement(x, name, argument(x, name, good))


def setting(x):
    names = x.random.sample(sorted(SETTINGS), x.random.choice([1, 1, 2, 3]))
    return x.random.choice(["function", "function", "all"]), "\n".join(
        statement(x, name, argument(x, name, SETTINGS[name]))
        for name in names)


def pairs(x):
    """What stands beside faas_pass, or twice."""

    ours = x.random.choice(sorted(LOCATION))
    other = x.random.choice(OWNED + sorted(LOCATION) + ["faas_pass $uri"])
    both = [ours + ";", other + ";"]
    x.random.shuffle(both)
    return x.random.choice(["location", "regex", "named", "if", "nested"]), \
        "\n".join(both)


def cut(x):
    """A good one with a piece cut out, twice, or with a byte put into it."""

    place, text = x.random.choice([
        ("http", "faas_function f { mode oneshot; queue 5 timeout=1s;"
                 " env A='b c'; schedule daily '0 4 * * *'; }"),
        ("server", "location /fn/ { faas_pass; faas_async off; }"),
        ("server", "faas_internal; location / { faas_invoke; }"),
        ("server", "location = /r { faas_pass $arg_name; if ($args) {"
                   " faas_pass other; } }"),
        ("http", "faas_kv redis://127.0.0.1:6379/0; faas_memory 1g;")])
    at = x.random.randrange(len(text))
    end = at + x.random.choice([0, 1, 1, 2, 5, len(text)])
    return place, x.random.choice([
        text[:at] + text[end:],
        text[:at] + x.random.choice("\0\1\r\n\t'\"{};\\$#\xff") + text[at:],
        text[:end] + text[at:]])


GENERATORS = [directive, directive, setting, setting, pairs, cut]


class Tester:
    def __init__(self, x):
        self.x = x
        self.dir = x.directory / "conf"
        self.values = {"dir": self.dir, "bin": x.programs()}
        # logs: of an nginx that was built to have its own there
        for path in (self.dir, self.dir / "functions", self.dir / "tmp",
                     self.dir / "logs"):
            path.mkdir()
        self.conf = self.dir / "nginx.conf"
        self.more = self.dir / "more.conf"
        self.taken = self.refused = 0

    def write(self, place, text, include=False):
        """The files; returns name and lines of the fragment."""

        before, after = CONTEXTS[place]
        before, after = before % self.values, after % self.values
        self.more.unlink(missing_ok=True)
        if include:
            self.more.write_bytes(text.encode("latin-1"))
            self.conf.write_text(before + "include more.conf;" + after)
            return self.more, 1, text.count("\n") + 1
        self.conf.write_bytes((before + text + after).encode("latin-1"))
        first = before.count("\n") + 1
        return self.conf, first, first + text.count("\n")

    def entries(self):
        return sorted(str(path) for path in self.dir.rglob("*")
                      if path.name not in ("error.log", "access.log"))

    def test(self, place, text, include=False, must_fail=False):
        what = "%s%s: %r" % (place, " (included)" if include else "",
                             text[:120])
        file, first, last = self.write(place, text, include)
        before = self.entries()
        done = subprocess.run(
            [harness.NGINX, "-t", "-p", str(self.dir), "-e",
             str(self.dir / "error.log"), "-c", str(self.conf)],
            capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
            env=harness.nginx_environment())
        output = done.stderr.decode("latin-1")
        check = self.x.check
        check("nginx -t ends by itself", done.returncode in (0, 1),
              (what, done.returncode, output[-400:]))
        check("no sanitizer, no alert",
              not harness.SANITIZER.search(output)
              and "[alert]" not in output, (what, output[-1000:]))
        # nginx itself makes the directories of temporary files
        left = [path for path in self.entries() if path not in before
                and "/tmp/" not in path]
        check("nginx -t leaves nothing", not left, (what, left))
        if done.returncode == 0:
            self.taken += 1
            check("what cannot be is refused", not must_fail, what)
            return
        self.refused += 1
        self.check_named(what, output, file, first, last)

    def check_named(self, what, output, file, first, last):
        """The first error names a file that there is, and a line in it; when
        it is of ours, a line of the fragment."""

        line = next((line for line in output.splitlines()
                     if "[emerg]" in line), "")
        # nginx looks for variables when it has read all, and names none
        if re.search(r'\] unknown "[^"]*" variable$', line):
            return
        named = re.search(r" in (\S+):(\d+)$", line)
        if not self.x.check("a refusal names file and line",
                            bool(named), (what, output[-400:])):
            return
        where, number = named.group(1), int(named.group(2))
        lines = {str(path): path.read_bytes().count(b"\n") + 1
                 for path in (self.conf, self.more) if path.exists()}
        self.x.check("a refusal names a line that there is",
                     1 <= number <= lines.get(where, 0), (what, line))
        if re.search(r"faas|function|\"(%s)\"" % "|".join(SETTINGS),
                     line[:named.start()]) \
                and "unexpected" not in line \
                and "not terminated" not in line:
            self.x.check("a refusal of ours names the fragment's line",
                         where == str(file) and first <= number <= last,
                         (what, line, first, last))


def reload(x):
    """What ran before runs on, and the next good one is taken."""

    host = x.host({"echo": "max 2;"}, warm=False)
    good = (host.dir / "nginx.conf").read_text()
    workers = host.workers()
    host.allowed.append("[emerg]")
    refused = 0
    for place, text in x.random.sample(REFUSED, x.pick(4, len(REFUSED))):
        before, after = CONTEXTS[place]
        values = {"dir": host.dir, "bin": x.programs()}
        mark = len(host.error_log())
        (host.dir / "nginx.conf").write_text(
            (before + text + after) % values
            if "%" not in text else good + text)
        host.send(fault.signal.SIGHUP)
        fault.wait_until(lambda: "[emerg]" in host.error_log()[mark:],
                         "the refusal of %r" % text)
        refused += 1
        x.check("a refused reload changes no worker",
                host.workers() == workers, text)
        x.check("and serves", host.get("/fn/echo?ms=0",
                                       headers={"X-Id": "1"}).status < 500)
    (host.dir / "nginx.conf").write_text(good)
    host.reload()
    x.figure("reloads refused while it serves", refused)


def run(x):
    tester = Tester(x)
    for place, text in REFUSED:
        tester.test(place, text, must_fail=True)
    for _ in range(x.times(100, 500 - len(REFUSED))):
        place, text = x.random.choice(GENERATORS)(x)
        # "include" and names of files are nginx's own affair
        include = "\0" not in text and x.random.random() < 0.2
        tester.test(place, text, include)
    x.figure("fragments", "%d taken, %d refused" % (tester.taken,
                                                    tester.refused))
    x.check("some are taken", tester.taken)
    x.check("most are refused", tester.refused > tester.taken)
    reload(x)


fault.main(run, "R19", "odd configuration is refused with its file and line")
