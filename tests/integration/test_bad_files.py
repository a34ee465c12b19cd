"""What must cost nothing but a line in the log and in status."""

import os
import shutil
import struct

import pytest

from harness import IS_ROOT, ROOT, wait_until

HELLO = (ROOT / "examples" / "hello.c").read_text()


def corrupt(path, offset, data):
    content = bytearray(path.read_bytes())
    content[offset:offset + len(data)] = data
    return bytes(content)


def text_file(host):
    return b"this is not a shared object\n"


def empty_file(host):
    return b""


def truncated(host):
    content = host.compile(HELLO).read_bytes()
    return content[:len(content) // 2]


def truncated_in_the_header(host):
    return host.compile(HELLO).read_bytes()[:40]


def of_32_bits(host):
    return corrupt(host.compile(HELLO), 4, b"\x01")        # ELFCLASS32


def of_another_machine(host):
    return corrupt(host.compile(HELLO), 18, struct.pack("<H", 243))  # RISC-V


def of_the_other_byte_order(host):
    return corrupt(host.compile(HELLO), 5, b"\x02")


def an_executable(host):
    return corrupt(host.compile(HELLO), 16, struct.pack("<H", 2))    # ET_EXEC


def without_a_descriptor(host):
    return host.compile("int nothing;\n").read_bytes()


def with_a_descriptor_too_small(host):
    return host.compile(
        "__attribute__((visibility(\"default\")))\n"
        "const int faas_function = 1;\n").read_bytes()


def of_a_future_abi(host):
    return host.compile(HELLO.replace(
        "FAAS_FUNCTION(", "#undef FAAS_ABI\n#define FAAS_ABI  77\n"
        "FAAS_FUNCTION(")).read_bytes()


def without_a_handler(host):
    return host.compile("#include <faas.h>\n"
                        "FAAS_FUNCTION(.mode = \"resident\")\n").read_bytes()


def with_an_unknown_mode(host):
    return host.compile(HELLO.replace(
        ".handler = hello", ".handler = hello, .mode = \"sometimes\""
    )).read_bytes()


def with_a_bad_timeout(host):
    return host.compile(HELLO.replace(
        ".handler = hello", ".handler = hello, .timeout = \"soon\""
    )).read_bytes()


def whose_init_fails(host):
    return host.compile(HELLO.replace(
        "FAAS_FUNCTION(", "static int\nfails(void)\n{\n    return -1;\n}\n"
        "FAAS_FUNCTION(.init = fails, ")).read_bytes()


def whose_selftest_fails(host):
    return host.compile(HELLO.replace(
        "FAAS_FUNCTION(", "static int\nfails(void)\n{\n    return -1;\n}\n"
        "FAAS_FUNCTION(.selftest = fails, ")).read_bytes()


def whose_init_exits(host):
    return host.compile(HELLO.replace(
        "#include <faas.h>", "#include <stdlib.h>\n#include <faas.h>"
    ).replace(
        "FAAS_FUNCTION(", "static int\nends(void)\n{\n    exit(0);\n}\n"
        "FAAS_FUNCTION(.init = ends, ")).read_bytes()


def whose_init_crashes(host):
    return host.compile(HELLO.replace(
        "#include <faas.h>", "#include <stdlib.h>\n#include <faas.h>"
    ).replace(
        "FAAS_FUNCTION(", "static int\ncrashes(void)\n{\n    abort();\n}\n"
        "FAAS_FUNCTION(.init = crashes, ")).read_bytes()


def whose_constructor_crashes(host):
    return host.compile(HELLO.replace(
        "#include <faas.h>", "#include <stdlib.h>\n#include <faas.h>"
    ) + "\n__attribute__((constructor)) static void\ncrash(void)\n"
        "{\n    abort();\n}\n").read_bytes()


def whose_init_starts_a_thread(host):
    return host.compile(HELLO.replace(
        "#include <faas.h>", "#include <pthread.h>\n#include <unistd.h>\n"
        "#include <faas.h>").replace("FAAS_FUNCTION(", """
static void *
wait_for_ever(void *data)
{
    (void) data;
    for ( ;; ) {
        pause();
    }
    return NULL;
}

static int
start(void)
{
    pthread_t  thread;

    return pthread_create(&thread, NULL, wait_for_ever, NULL);
}

FAAS_FUNCTION(.init = start, """)).read_bytes()


def with_an_unresolved_symbol(host):
    return host.compile(HELLO.replace(
        "FAAS_FUNCTION(", "int there_is_no_such_thing(void);\n"
        "FAAS_FUNCTION(.init = there_is_no_such_thing, ")).read_bytes()


def with_a_bad_pattern(host):
    return host.compile(HELLO.replace("(?<name>[^/]+)", "(?<name>[^/]+"
                                      )).read_bytes()


# what is wrong, and a word that the reason must hold
BAD = {
    text_file: "text file",
    empty_file: "empty",
    truncated: "truncated",
    truncated_in_the_header: "truncated",
    of_32_bits: "32",
    of_another_machine: "machine",
    of_the_other_byte_order: "byte order",
    an_executable: "shared object",
    without_a_descriptor: "faas_function",
    with_a_descriptor_too_small: "faas_function",
    of_a_future_abi: "77",
    without_a_handler: "handler",
    with_an_unknown_mode: "sometimes",
    with_a_bad_timeout: "soon",
    whose_init_fails: "init",
    whose_selftest_fails: "selftest",
    whose_init_exits: "exited",
    whose_init_crashes: "signal",
    whose_constructor_crashes: "signal",
    whose_init_starts_a_thread: "thread",
    with_an_unresolved_symbol: "there_is_no_such_thing",
    with_a_bad_pattern: "offset",
}


@pytest.fixture(scope="module")
def shared(faas_module):
    return faas_module(deploy={"good": HELLO})


def put_bytes(host, name, content):
    new = host.functions / ".new"
    new.write_bytes(content)
    new.chmod(0o755)
    new.rename(host.functions / name)


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_new_function_is_refused_with_its_reason(shared, make):
    host, word = shared, BAD[make]
    name = "bad-" + make.__name__.replace("_", "-")
    put_bytes(host, name + ".so", make(host))

    wait_until(lambda: host.function(name).get("last_error"),
               "a reason in status")
    assert host.function(name)["state"] == "failed"
    assert word in host.function(name)["last_error"]
    wait_until(lambda: any(
        name in line and word in line
        for line in host.error_log().splitlines()), "a line in the log")
    assert host.get("/fn/" + name).status == 502
    assert host.get("/fn/good").text == "hello, world\n"

    host.remove(name)
    wait_until(lambda: host.get("/fn/" + name).status == 404)


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_new_version_changes_nothing_for_traffic(shared, make):
    host, word = shared, BAD[make]
    host.deploy("good", HELLO)
    version = host.function("good")["version"]
    put_bytes(host, "good.so", make(host))

    wait_until(lambda: word in (host.function("good").get("last_error")
                                or ""), "a reason in status")
    assert host.function("good")["state"] == "ready"
    assert host.function("good")["version"] == version
    assert host.get("/fn/good").text == "hello, world\n"
    assert host.get("/fn/good/bob").status in (200, 404)
    assert host.get("/fn/hello/bob").text == "hello, bob\n"


def test_good_content_clears_the_error(faas):
    host = faas()
    put_bytes(host, "hello.so", b"nonsense")
    wait_until(lambda: host.function("hello").get("last_error"))

    host.deploy("hello", HELLO)
    assert not host.function("hello").get("last_error")
    assert host.get("/fn/hello").status == 200


@pytest.mark.parametrize("name", ["UPPER.so", "with space.so", "a.b.so",
                                  "-dash.so", "x" * 64 + ".so"])
def test_file_whose_name_is_no_function_name_is_named_in_the_log(shared,
                                                                 name):
    host = shared
    put_bytes(host, name, host.compile(HELLO).read_bytes())
    wait_until(lambda: host.log_has(name))
    (host.functions / name).unlink()
    assert host.get("/fn/good").status == 200


def test_symlink_fifo_and_directory_are_refused(shared):
    host = shared
    (host.functions / "link.so").symlink_to(host.compile(HELLO))
    os.mkfifo(host.functions / "pipe.so")
    (host.functions / "folder.so").mkdir()
    for name in ("link", "pipe", "folder"):
        wait_until(lambda: host.log_has(name + ".so"), name)
        assert host.get("/fn/" + name).status in (404, 502)
    (host.functions / "link.so").unlink()
    (host.functions / "pipe.so").unlink()
    (host.functions / "folder.so").rmdir()


def test_file_writable_by_others_is_refused(shared):
    host = shared
    new = host.functions / ".new"
    shutil.copy(host.compile(HELLO), new)
    new.chmod(0o777)
    new.rename(host.functions / "open.so")
    wait_until(lambda: "writable" in (host.function("open").get("last_error")
                                      or ""))
    assert host.get("/fn/open").status == 502

    # and it is taken once that is mended
    (host.functions / "open.so").chmod(0o755)
    wait_until(lambda: host.get("/fn/open").status == 200)
    host.remove("open")


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_file_of_a_stranger_is_refused(shared):
    host = shared
    new = host.functions / ".new"
    shutil.copy(host.compile(HELLO), new)
    new.chmod(0o755)
    os.chown(new, 12345, 12345)
    new.rename(host.functions / "stranger.so")
    wait_until(lambda: "own" in (host.function("stranger").get("last_error")
                                 or ""))
    assert host.get("/fn/stranger").status == 502
    host.remove("stranger")


def test_hundred_bad_files_leave_nginx_and_supervisor_alone(faas):
    host = faas(deploy={"good": HELLO})
    workers = host.workers()
    supervisor = host.status()["supervisor"]["pid"]
    content = host.compile(HELLO).read_bytes()
    for i in range(100):
        put_bytes(host, "bad%d.so" % i, content[:len(content) * i // 100])
    wait_until(lambda: all(host.function("bad%d" % i).get("last_error")
                           for i in range(100)), timeout=60)
    assert host.workers() == workers
    assert host.status()["supervisor"]["pid"] == supervisor
    assert host.get("/fn/good").status == 200
