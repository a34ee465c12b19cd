"""What a sanitizer says is seen, whichever process it is in."""

import os
import pathlib

import pytest

import harness
from harness import wait_until

SAYS = """
#include <faas.h>
#include <stdio.h>
static int handle(faas_request_t *r) {
    fprintf(stderr, "x.c:1:2: runtime error: signed integer overflow\\n");
    return faas_printf(r, "said");
}
FAAS_FUNCTION(.handler = handle)
"""


def test_what_an_instance_says_fails_the_test(programs, compiler):
    host = harness.Host(programs, compiler)
    host.deploy("probe", SAYS)
    host.start()
    assert host.get("/fn/probe").text == "said"
    wait_until(lambda: "runtime error" in host.function_log("probe"))
    with pytest.raises(AssertionError, match="signed integer overflow"):
        host.finish()


@pytest.mark.parametrize("name", ["asan.123", "error.log", "output",
                                  "state/log/probe.log"])
def test_what_is_in_a_log_fails_the_test(programs, compiler, name):
    host = harness.Host(programs, compiler)
    host.start()
    with open(host.dir / name, "a") as log:
        log.write("==1==ERROR: AddressSanitizer: heap-use-after-free\n")
    with pytest.raises(AssertionError, match="heap-use-after-free"):
        host.finish()


def test_stderr_of_each_process_is_a_log_that_is_looked_at(faas):
    """Of functions it is a pipe: the supervisor writes what comes."""

    host = faas(deploy=["probe"], http="faas_function probe { min 1; }")
    assert host.get("/fn/probe").status == 200
    functions = 0
    for pid in [host.pid(), *host.workers(), *host.processes()]:
        place = pathlib.Path(os.readlink("/proc/%d/fd/2" % pid))
        if harness.cmdline(pid).split()[1:2] in (["probe"], ["_calls"]):
            assert place.name.startswith("pipe:"), harness.cmdline(pid)
            functions += 1
        else:
            assert place.is_relative_to(host.dir), harness.cmdline(pid)
            assert harness.REPORTS.match(place.name), harness.cmdline(pid)
    assert functions >= 3
