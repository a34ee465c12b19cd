"""Builds of module and supervisor that say that they are of another release,
or have another layout of the scoreboard: all that mentions either is compiled
again, and linked with what there is."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess

from harness import ASAN, BUILD, ROOT

MENTIONED = re.compile(r"\bFAAS_(RELEASE|SCOREBOARD_LAYOUT)\b")


def _sources():
    return sorted(path for directory in ("scoreboard", "worker",
                                         "ngx_faas_module")
                  for path in (ROOT / directory).glob("*.c")
                  if MENTIONED.search(path.read_text()))


def _run(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def build(**defines):
    """A directory with that module and supervisor; other(FAAS_RELEASE=text),
    other(FAAS_SCOREBOARD_LAYOUT=number).  Made once for what is built now."""

    flags = ["-D%s=%s" % (name, '\\"%s\\"' % value
                          if isinstance(value, str) else value)
             for name, value in sorted(defines.items())]
    key = hashlib.sha256(" ".join(flags).encode())
    for name in ("ngx_http_faas_module.so", "faas-supervisor"):
        key.update((BUILD / name).read_bytes())
    target = BUILD / "fault" / ("other-" + key.hexdigest()[:12])
    if target.exists():
        return target

    new = target.with_suffix(".%d" % os.getpid())
    shutil.rmtree(new, ignore_errors=True)
    (new / "obj").mkdir(parents=True)
    for part in ("obj/scoreboard", "obj/worker", "obj/base", "nginx"):
        subprocess.run(["cp", "-a", str(BUILD / part), str(new / part)],
                       check=True)
    for source in _sources():
        name = source.relative_to(ROOT).with_suffix(".o")
        for built in (new / "obj" / name, new / "nginx/objs/addon" / name):
            built.unlink(missing_ok=True)
    objs = new / "nginx/objs"
    (objs / "ngx_http_faas_module.so").unlink()
    text = (objs / "Makefile").read_text()
    (objs / "Makefile").write_text(text.replace(
        "\nCFLAGS = ", "\nCFLAGS = %s " % " ".join(flags), 1))
    options = ["OPTIMIZE=-O1 -g", "SANITIZE=-fsanitize=address,undefined "
               "-fno-omit-frame-pointer"] if ASAN else []
    _run("make", "-s", "-C", str(new / "nginx"), "-f", "objs/Makefile",
         "modules")
    _run("make", "-s", "BUILD=%s" % new, "CFLAGS=-Wno-error "
         + " ".join(flags), *options, str(new / "faas-supervisor"))
    shutil.copy(objs / "ngx_http_faas_module.so", new)
    for part in ("obj", "nginx"):
        shutil.rmtree(new / part)
    for old in pathlib.Path(BUILD / "fault").glob("other-*"):
        if old.stat().st_mtime < (BUILD / "faas-supervisor").stat().st_mtime:
            shutil.rmtree(old, ignore_errors=True)
    try:
        new.rename(target)
    except OSError:
        assert target.exists()
        shutil.rmtree(new)
    return target
