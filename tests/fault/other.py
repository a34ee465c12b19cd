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


def _build_module(directory, flags):
    objs = directory / "nginx/objs"
    (objs / "ngx_http_faas_module.so").unlink()
    text = (objs / "Makefile").read_text()
    (objs / "Makefile").write_text(text.replace(
        "\nCFLAGS = ", "\nCFLAGS = %s " % " ".join(flags), 1))
    _run("make", "-s", "-C", str(directory / "nginx"), "-f", "objs/Makefile",
         "modules")
    shutil.copy(objs / "ngx_http_faas_module.so", directory)


def build(module=True, **defines):
    """A directory with that supervisor, and module if it is wanted;
    build(FAAS_RELEASE=text), build(FAAS_SCOREBOARD_LAYOUT=number).  Made once
    for what is built now."""

    flags = ["-D%s=%s" % (name, '\\"%s\\"' % value
                          if isinstance(value, str) else value)
             for name, value in sorted(defines.items())]
    key = hashlib.sha256(" ".join(flags + ["module"] * module).encode())
    for name in ("ngx_http_faas_module.so", "faas-supervisor"):
        key.update((BUILD / name).read_bytes())
    target = BUILD / "fault" / ("other-" + key.hexdigest()[:12])
    if target.exists():
        return target

    new = target.with_suffix(".%d" % os.getpid())
    shutil.rmtree(new, ignore_errors=True)
    (new / "obj").mkdir(parents=True)
    for part in ["obj/scoreboard", "obj/worker", "obj/base"] \
            + ["nginx"] * module:
        subprocess.run(["cp", "-a", str(BUILD / part), str(new / part)],
                       check=True)
    for source in _sources():
        name = source.relative_to(ROOT).with_suffix(".o")
        for built in (new / "obj" / name, new / "nginx/objs/addon" / name):
            built.unlink(missing_ok=True)
    options = ["OPTIMIZE=-O1 -g", "SANITIZE=-fsanitize=address,undefined "
               "-fno-omit-frame-pointer"] if ASAN else []
    if module:
        _build_module(new, flags)
    _run("make", "-s", "BUILD=%s" % new, "CFLAGS=-Wno-error "
         + " ".join(flags), *options, str(new / "faas-supervisor"))
    for part in ("obj", "nginx"):
        shutil.rmtree(new / part, ignore_errors=True)
    for old in pathlib.Path(BUILD / "fault").glob("other-*"):
        if old.stat().st_mtime < (BUILD / "faas-supervisor").stat().st_mtime:
            shutil.rmtree(old, ignore_errors=True)
    try:
        new.rename(target)
    except OSError:
        assert target.exists()
        shutil.rmtree(new)
    return target
