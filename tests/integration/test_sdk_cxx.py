"""faas.h in C++20 and in strict C."""

import subprocess

import pytest

from harness import ROOT

CXX = r"""
#include <faas.h>

#include <string>
#include <vector>
#include <stdexcept>

namespace {

class Greeting {
public:
    explicit Greeting(std::string name) : name_(std::move(name)) {}
    std::string text() const { return "hello from C++, " + name_ + "\n"; }
private:
    std::string name_;
};

std::vector<int> *table;

int
start()
{
    table = new std::vector<int>{1, 2, 3};
    return 0;
}

int
greet(faas_request_t *r)
{
    const char *name = faas_param(r, "name");

    try {
        if (faas_query(r, "throw", nullptr) != nullptr) {
            throw std::runtime_error("thrown");
        }
    } catch (const std::exception &e) {
        faas_status(r, 418);
        return faas_printf(r, "%s\n", e.what());
    }

    std::string text = Greeting(name ? name : "world").text();
    faas_header_set(r, "Content-Type", "text/plain");
    faas_header_set(r, "X-Size", std::to_string(table->size()).c_str());
    return faas_write(r, text.data(), text.size());
}

} // namespace

FAAS_FUNCTION(.handler = greet, .init = start, .mode = "resident",
              .routes = "GET /greet/(?<name>[^/]+)")
"""


def test_function_in_cxx20(faas):
    host = faas()
    host.deploy("greet", CXX, "-std=c++20", "-pedantic", language="c++")
    assert host.get("/fn/greet").text == "hello from C++, world\n"
    r = host.get("/fn/greet/bob")
    assert r.text == "hello from C++, bob\n"
    assert r.headers["X-Size"] == "3"
    r = host.get("/fn/greet?throw=1")
    assert (r.status, r.text) == (418, "thrown\n")


@pytest.mark.parametrize("compiler, standard", [
    ("cc", "c99"), ("cc", "c11"), ("cc", "c17"), ("cc", "gnu11"),
    ("c++", "c++20"), ("c++", "gnu++20")])
def test_header_compiles_without_a_warning(tmp_path, compiler, standard):
    source = tmp_path / ("hello." + {"cc": "c", "c++": "cc"}[compiler])
    source.write_text((ROOT / "examples/hello.c").read_text())
    done = subprocess.run(
        [compiler, "-std=" + standard, "-pedantic", "-Wall", "-Wextra",
         "-Wshadow", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden",
         "-I%s" % (ROOT / "worker/include"), "-o", str(tmp_path / "hello.so"),
         str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_descriptor_is_the_only_symbol_exported(tmp_path, compiler):
    shared = compiler((ROOT / "examples/hello.c").read_text(),
                      "-fvisibility=hidden")
    names = subprocess.run(["nm", "-D", "--defined-only", str(shared)],
                           capture_output=True, text=True).stdout
    assert [line.split()[-1] for line in names.splitlines()] == [
        "faas_function"]
