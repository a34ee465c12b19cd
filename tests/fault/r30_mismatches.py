#!/usr/bin/env python3
"""R30: module and supervisor of different layouts and releases, whoever of
them is the newer, at a start, beside a running host, at a reload and when the
supervisor is restarted; and the module in an nginx that it was not built for.

What cannot work together says so in a line that names both, and leaves nothing
behind; what runs is not disturbed."""

import os
import shutil
import struct

import fault
import other

FUNCTIONS = {"echo": "max 2; queue 100 timeout=10s; timeout 5s;"}


def bin_of(x, name, *programs):
    """A directory of programs in which some are replaced: paths."""

    made = x.directory / name
    shutil.copytree(x.programs(), made)
    for path in programs:
        shutil.copy(path, made / path.name)
    return made


def host_of(x, programs):
    """One that is not started, with these programs."""

    host = x.host(FUNCTIONS, start=False)
    host.bin = programs
    return host.configure()


def fails(x, what, host, *texts):
    """It must not start, say all these, and leave nothing."""

    host.launch()
    code = host.process.wait(60)
    host.process = None
    log = host.error_log() + host.output()
    host.allowed.append("")
    missing = [text for text in texts if text not in log]
    x.check("%s: refused" % what, code == 1, "exit code %d" % code)
    x.check("%s: names both" % what, not missing, "%s not in %s" % (missing,
                                                                    log))
    began = fault.now_us()
    fault.wait_until(lambda: not host.processes(), "%s: its end" % what)
    x.bound("%s: nothing left after" % what, [(began, fault.now_us())], 5000)
    said = [line.split("] ", 1)[-1] for line in log.splitlines()
            if texts[0] in line]
    x.figure(what, said[0] if said else "nothing")


def starts(x, ours, layouts, releases):
    """Programs that do not belong together are not started."""

    module, supervisor = "ngx_http_faas_module.so", "faas-supervisor"
    mine = "layout %d" % layout_of(ours)
    fails(x, "another layout's module",
          host_of(x, bin_of(x, "bin1", layouts / module)),
          "of layout 99", mine, "must be of one release")
    fails(x, "another layout's supervisor",
          host_of(x, bin_of(x, "bin2", layouts / supervisor)),
          "of layout 99", mine, "must be of one release")

    # releases of one layout get on with each other, and say so
    host = host_of(x, bin_of(x, "bin3", releases / supervisor))
    host.start()
    line = host.log_has("is of release 9.9.9")
    x.check("another release of one layout: said", line
            and "[warn]" in line and "this module of release" in line, line)
    x.check("another release of one layout: works",
            host.get("/fn/echo").status == 200)
    host.stop()


def layout_of(supervisor):
    text = fault.harness.subprocess.run(
        [str(supervisor / "faas-supervisor"), "--version"],
        capture_output=True, text=True).stdout
    return int(text.split()[-1])


def foreign(x, what, old, new, *texts):
    """The module, changed so that it says that it is for another nginx."""

    path = x.directory / what.replace(" ", "-")
    path.mkdir()
    module = path / "ngx_http_faas_module.so"
    data = (x.programs() / module.name).read_bytes()
    assert old in data, what
    module.write_bytes(data.replace(old, new))
    fails(x, what, host_of(x, bin_of(x, path.name + "-bin", module)), *texts)


def beside(x, host, layouts):
    """A second nginx on the state of a running host."""

    second = host_of(x, bin_of(x, "bin4", layouts
                               / "ngx_http_faas_module.so"))
    text = (second.dir / "nginx.conf").read_text()
    (second.dir / "nginx.conf").write_text(text.replace(
        "faas_state %s" % second.state, "faas_state %s" % host.state))
    fails(x, "another layout beside a host", second, "is of layout",
          "of layout 99", "restart nginx to have one")


def replaced_on_disk(x, host, layouts):
    """As an upgraded package does it, under a host that runs on."""

    for name in ("ngx_http_faas_module.so", "faas-supervisor"):
        shutil.copy(layouts / name, host.bin / "new")
        os.replace(host.bin / "new", host.bin / name)
    for name in ("faas-zygote", "faas-events", "faas-tender"):
        (host.bin / "new").write_text("no program\n")
        os.replace(host.bin / "new", host.bin / name)

    host.reload()
    restarts = host.status()["supervisor"]["restarts"]
    for role in ("supervisor", "zygote"):
        for pid in [p for p in host.processes() if fault.role(p) == role]:
            fault.kill(pid)
    fault.wait_until(lambda: host.status()["supervisor"]["restarts"]
                     > restarts, "another supervisor")
    host.reload()


def run(x):
    layouts = other.build(FAAS_SCOREBOARD_LAYOUT=99)
    releases = other.build(module=False, FAAS_RELEASE="9.9.9")
    version = fault.harness.subprocess.run(
        [fault.harness.NGINX, "-v"], capture_output=True,
        text=True).stderr.split("/")[1].split()[0]
    major, minor, patch = map(int, version.split("."))
    number = major * 1000000 + minor * 1000 + patch

    starts(x, x.programs(), layouts, releases)
    foreign(x, "another nginx", struct.pack("<Q", number),
            struct.pack("<Q", number + 1),
            "version %d instead of %d" % (number + 1, number))
    foreign(x, "an nginx built otherwise", b"8,4,8,", b"4,4,8,",
            "is not binary compatible")

    host = host_of(x, bin_of(x, "bin0"))
    ledger = x.ledgers["echo"]
    host.start()
    x.warm(host, FUNCTIONS)
    host.allowed += ["supervisor was killed by signal", "zygote"]
    load = x.load(host, "/fn/echo?ms=5", connections=8,
                  seconds=x.seconds(60, 60), methods={"GET": 1, "POST": 1},
                  body="0-1000", bound=26000)
    beside(x, host, layouts)
    replaced_on_disk(x, host, layouts)
    records = load.stop().result()
    x.summary(records, "requests meanwhile")
    x.check("no request failed", not records.failed(), records.failed()[:3])
    x.check_executions(records, ledger)


# most of the time is the compiler's, once for what is built
fault.main(run, "R30", "what does not belong together says so",
           quick_limit=300)
