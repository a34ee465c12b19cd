#!/usr/bin/env python3
"""R11: 200 deploys under load, half by rename, half by a copy over the file in
place; then hundreds of bad files.

No request fails, and each is answered by exactly one version, which was one of
those deployed; each bad file is refused with a reason of its own, whatever is
wrong with it, and no process of nginx or the host dies of it."""

import hashlib
import shutil
import struct
import time

import fault

FUNCTIONS = {
    "echo": "max 4; queue 1000 timeout=20s; timeout 5s;",
    "id": "max 4; queue 1000 timeout=20s; timeout 5s;",
}

# one of these is in the line about what was refused
REFUSED = ("is refused", "not loaded", "could not")


def versions(x, n):
    """n shared objects of echo: number -> path."""

    return {i: x.source("echo", "-DRECORD_VERSION=%d" % i)
            for i in range(2, n + 2)}


def in_place(host, path, name):
    """As `cp` does it: the same inode, truncated, then written."""

    target = host.functions / (name + ".so")
    with open(path, "rb") as source, open(target, "r+b") as out:
        out.truncate(0)
        while data := source.read(8192):
            out.write(data)


def deploys(x, host):
    count = x.times(8, 200, 120)
    made = versions(x, min(count, 20))
    load = x.load(host, ["/fn/echo?ms=5", "/fn/id?ms=2"],
                  connections=x.pick(20, 100), seconds=x.seconds(60, 300),
                  methods={"GET": 1, "POST": 1}, body="0-20000", bound=26000)
    spans, order = [], list(made)
    current = last = None
    for i in range(count):
        while current == last:
            current = x.random.choice(order)
        last, path = current, made[current]
        begin = fault.now_us()
        if i % 2:
            in_place(host, path, "echo")
        else:
            host.put(path, "echo.so")
        host.wait_version("echo", path)
        spans.append((begin, fault.now_us()))
    records = load.stop().result()

    x.summary(records, "requests, %d deploys" % count)
    x.check("no request failed", not records.failed(), records.failed()[:3])
    x.bound("a deploy was in force", spans, 2000)
    runs = x.check_executions(records, *x.ledgers.values())
    mixed = [r for r in records if r.kind == "ok" and runs.get(r.id)
             and int(r.version) != runs[r.id][-1].version]
    x.check("each answer is of the version that ran", not mixed, mixed[:3])
    used = {e.version for e in x.ledgers["echo"].executions()}
    x.figure("versions that answered", len(used))
    x.check("only what was deployed answered",
            used <= set(made) | {1}, used)
    fault.wait_until(lambda: len(host.function("echo")["versions"]) == 1,
                     "old versions to be gone")


def sections(data):
    """Where the header says that tables begin, and how big they are."""

    shoff, = struct.unpack_from("<Q", data, 40)
    shentsize, shnum = struct.unpack_from("<HH", data, 58)
    return shoff, shentsize, shnum


def bad_content(x, i, good, sources):
    kind = ("truncated", "flipped", "zero-tailed", "machine", "class",
            "garbage", "segments", "sections", "code")[i % 9]
    data = bytearray(good)
    n = len(data)
    if kind == "truncated":
        del data[x.random.randrange(n):]
    elif kind == "flipped":
        for _ in range(1 + x.random.randrange(3)):
            data[x.random.randrange(4096)] ^= 1 << x.random.randrange(8)
    elif kind == "zero-tailed":
        at = x.random.randrange(n // 2)
        data[at:] = bytes(n - at)
    elif kind == "machine":
        struct.pack_into("<H", data, 18, x.random.choice((3, 40, 183, 243)))
    elif kind == "class":
        data[4] = 1
    elif kind == "garbage":
        data = bytearray(x.random.randbytes(x.random.randrange(100000)))
    elif kind == "segments":
        # any field of a program header, made any number
        phoff, = struct.unpack_from("<Q", data, 32)
        phnum, = struct.unpack_from("<H", data, 56)
        struct.pack_into("<Q", data, phoff + 56 * x.random.randrange(phnum)
                         + 8 * x.random.randrange(1, 7),
                         x.random.getrandbits(x.random.randrange(1, 64)))
    elif kind == "sections":
        shoff, size, number = sections(data)
        struct.pack_into("<Q", data, shoff + size
                         * x.random.randrange(1, number)
                         + 8 * x.random.randrange(2, 8),
                         x.random.getrandbits(x.random.randrange(1, 64)))
    else:
        data = bytearray(x.random.choice(sources).read_bytes())
    # each is another content, so that each is looked at
    return kind, bytes(data) + b"%d" % i


BROKEN = {
    "symbol": "int there_is_none(void);\nstatic int h(faas_request_t *r) "
              "{ (void) r; return there_is_none(); }\n"
              "FAAS_FUNCTION(.handler = h)\n",
    "constructor": "#include <stdlib.h>\n__attribute__((constructor)) static "
                   "void c(void) { abort(); }\nstatic int h(faas_request_t *r)"
                   " { (void) r; return 0; }\nFAAS_FUNCTION(.handler = h)\n",
    "init": "static int i(void) { return -1; }\nstatic int "
            "h(faas_request_t *r) { (void) r; return 0; }\n"
            "FAAS_FUNCTION(.handler = h, .init = i)\n",
    "exits": "#include <stdlib.h>\nstatic int i(void) { exit(0); }\nstatic int"
             " h(faas_request_t *r) { (void) r; return 0; }\n"
             "FAAS_FUNCTION(.handler = h, .init = i)\n",
    "descriptor": "int nothing;\n",
    "pattern": "static int h(faas_request_t *r) { (void) r; return 0; }\n"
               "FAAS_FUNCTION(.handler = h, .routes = \"GET /a(b\")\n",
}


def bad_files(x, host):
    good = x.source("echo").read_bytes()
    sources = [x.compile("#include <faas.h>\n" + text)
               for text in BROKEN.values()]
    seen = {"refused": 0, "taken": 0}
    kinds, silent, spans = {}, [], []
    pids = host.workers(), host.status()["supervisor"]["pid"]
    for i in range(x.times(54, 800, 120)):
        kind, data = bad_content(x, i, good, sources)
        name = "bad%d" % (i % 16)
        begin = fault.now_us()
        verdict = verdict_of(host, name, data)
        spans.append((begin, fault.now_us()))
        if verdict is None:
            silent.append((kind, i))
            continue
        seen[verdict] += 1
        kinds.setdefault(kind, [0, 0])[verdict == "taken"] += 1
    x.figure("bad files", "%d refused, %d taken since what is wrong with them"
             " does no harm" % (seen["refused"], seen["taken"]))
    x.figure("refused, taken", ", ".join(
        "%s %d %d" % (kind, *n) for kind, n in sorted(kinds.items())))
    x.check("each has its verdict", not silent, silent[:5])
    x.bound("the verdict took", spans, 2000)
    x.check("neither nginx nor supervisor died", pids == (
        host.workers(), host.status()["supervisor"]["pid"]))
    x.check("what was there serves", host.get("/fn/echo").status == 200)
    for i in range(16):
        (host.functions / ("bad%d.so" % i)).unlink(missing_ok=True)
    fault.wait_until(lambda: not [f for f in host.status()["functions"]
                                  if f["name"].startswith("bad")],
                     "bad functions to be gone")


def put(host, name, data):
    new = host.functions / ".bad.new"
    new.write_bytes(data)
    new.chmod(0o755)
    if host.user:
        shutil.chown(new, host.user)
    new.rename(host.functions / (name + ".so"))


def log_from(host, offset):
    with open(host.dir / "error.log", "rb") as log:
        log.seek(offset)
        return log.read().decode(errors="replace").splitlines()


def verdict_of(host, name, data):
    """Of a file that is put there: "refused", with a reason of its own;
    "taken", as this version; None in 20 s."""

    version = hashlib.sha256(data).hexdigest()[:8]
    since = (host.dir / "error.log").stat().st_size
    put(host, name, data)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        f = host.function(name)
        if f.get("version") == version:
            return "taken"
        if any("\"%s\"" % name in line and any(word in line
                                               for word in REFUSED)
               for line in log_from(host, since)):
            return "refused"
        time.sleep(0.005)
    return None


def run(x):
    host = x.host(FUNCTIONS)
    x.allow_slots(host, 2 * x.limits["echo"])
    deploys(x, host)
    x.at_rest(host)
    bad_files(x, host)


fault.main(run, "R11", "deploys and bad files cost nothing")
