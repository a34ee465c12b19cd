"""Clients that are slow and functions that are rude: what they cost is theirs.

The function of these tests, rude.c, writes FastCGI records to nginx by
itself, so what is checked is what nginx and the scheduler make of them: 502
or the answer, no connection kept behind anything odd, and the next request
gets its own answer.
"""

import os
import re
import time

import pytest

import h2
from fcgi_client import END_REQUEST, STDERR, STDOUT, record
from harness import (ASAN, ROOT, Background, Wire, free_port, request,
                     wait_until)

RUDE = ("rude.c", "-pthread", "-D_GNU_SOURCE",
        "-I%s" % (ROOT / "worker"),
        "-I%s" % (ROOT / "scoreboard"))

END = record(END_REQUEST, bytes(8))


def answer(body, *headers, status="200 OK", end=END):
    """A whole FastCGI answer."""

    head = "".join("%s\r\n" % line for line in ("Status: " + status,)
                   + headers)
    return record(STDOUT, head.encode("latin-1") + b"\r\n"
                  + body) + record(STDOUT) + end


@pytest.fixture(scope="module")
def host(faas_module):
    """One nginx worker and one instance: all share one connection."""

    return faas_module(deploy={"rude": RUDE}, workers=1, http="""
        faas_function rude { max 1; timeout 10s; queue 500 timeout=60s; }""",
        server="""location /stream/ { faas_pass; fastcgi_buffering off; }
                  location /direct/ {
                      faas_pass; fastcgi_request_buffering off; }""")


def rude(host, data, query="", where="fn", **options):
    return host.post("/%s/rude?%s" % (where, query), data, **options)


def is_in_order(host, where="fn"):
    """The next ones get their own answers, each its own."""

    for i in range(3):
        text = "next-%d" % i
        r = host.get("/%s/rude?text=%s" % (where, text))
        assert (r.status, r.text) == (200, text)
    return True


# -- what a function writes by itself -----------------------------------------

@pytest.mark.parametrize("where", ["fn", "stream"])
def test_answer_that_a_function_writes_itself(host, where):
    r = rude(host, answer(b"raw", "X-A: b"), "then=quiet", where)
    assert (r.status, r.text, r.headers["X-A"]) == (200, "raw", "b")
    assert is_in_order(host, where)


@pytest.mark.parametrize("where", ["fn", "stream"])
def test_two_answers_are_one_and_the_other_is_nobodys(host, where):
    """The runtime's own follows the one that the function wrote."""

    for i in range(20):
        r = rude(host, answer(b"first"), "text=second", where)
        assert (r.status, r.text) == (200, "first")
        assert is_in_order(host, where)


@pytest.mark.parametrize("where", ["fn", "stream"])
def test_answer_glued_to_an_answer_is_nobodys(host, where):
    for i in range(20):
        r = rude(host, answer(b"first") + answer(b"smuggled"), "then=quiet",
                 where)
        assert (r.status, r.text) == (200, "first")
        assert is_in_order(host, where)


@pytest.mark.parametrize("where", ["fn", "stream"])
def test_answer_that_comes_late_is_nobodys(host, where):
    """A thread writes it to the connection that nginx keeps."""

    for late in (1, 2, 3, 5, 10):
        r = rude(host, answer(b"smuggled"), "text=mine&late=%d" % late, where)
        assert (r.status, r.text) == (200, "mine")
        assert is_in_order(host, where)
        time.sleep(0.02)
        assert is_in_order(host, where)
