"""faas_kv_* and faas_redis from inside a function, with a real redis-server
that is paused, killed and restarted."""

import os
import pathlib

import pytest

import redis_server
import runtime
from services import CODES, Function, state, zygote             # noqa: F401


@pytest.fixture(scope="module")
def redis():
    server = redis_server.Redis().start()
    yield server
    server.cleanup()


@pytest.fixture(autouse=True)
def spared(zygote, redis):                                      # noqa: F811
    zygote.spared = lambda: [redis.process.pid]


@pytest.fixture
def function(zygote, state, redis):                             # noqa: F811
    redis.command("FLUSHALL")
    function = Function(zygote, state, kv=redis.url,
                        limits={"timeout_ms": 3000})
    yield function
    function.close()


def code(text):
    return int(text.split()[0])


def test_kv_calls_do_what_faas_h_says(function):
    say = function.say
    assert code(say("kv_get", key="k")) == CODES["NOTFOUND"]
    assert code(say("kv_cas", key="k", value="1", expected=0)) == 0
    assert code(say("kv_cas", key="k", value="2", expected=0)) \
        == CODES["CONFLICT"]
    version = say("kv_get", key="k").split()[1]
    assert code(say("kv_cas", key="k", value="2", expected=version)) == 0
    assert say("kv_incr", key="k", by=40) == "0 42"
    assert code(say("kv_incr", key="k", by=2 ** 63 - 1)) == CODES["INVAL"]
    assert code(say("kv_expire", key="k", ttl=100000)) == 0
    assert 0 < int(say("kv_get", key="k").split()[2]) <= 100000
    for key in ("b/2", "b/1", "c"):
        say("kv_set", key=key, value="v")
    assert say("kv_scan", prefix="b/", limit=10) == "b/1=v\nb/2=v\n0"
    assert code(say("kv_delete", key="k")) == 0
    assert code(say("kv_delete", key="k")) == CODES["NOTFOUND"]
    # SQL stays where it was
    assert function.sql("SELECT 1") == "1\nrc 0"


def test_shared_space_is_another_and_may_be_read_only(zygote, state, redis,
                                                      function):
    state.share("common")
    writer = Function(zygote, state, kv=redis.url, share=["common w"])
    reader = Function(zygote, state, kv=redis.url, share=["common r"])
    assert code(writer.say("kv_set", space="common", key="k", value="v")) == 0
    assert code(writer.say("kv_get", key="k")) == CODES["NOTFOUND"]
    assert reader.say("kv_get", space="common", key="k").endswith("v")
    assert code(reader.say("kv_set", space="common", key="k", value="w")) \
        == CODES["READONLY"]
    assert code(function.say("kv_get", space="common", key="k")) \
        == CODES["DENIED"]
    for each in (writer, reader):
        each.close()


def test_context_is_hirediss_own_and_ready(function):
    assert function.say("redis", command="PING") == "5 0 PONG"
    assert function.say("redis", command="INCR mine") == "3 1 "


def test_what_a_request_leaves_on_its_context_is_gone_in_the_next(function):
    assert function.say("redis", command="MULTI").endswith("OK")
    assert function.say("redis", command="PING") == "5 0 PONG"
    assert function.say("redis", command="SUBSCRIBE c").startswith("2 ")
    assert function.say("redis", command="PING") == "5 0 PONG"
    assert function.say("redis", command="SELECT 5").endswith("OK")
    assert function.say("redis", command="INCR five") == "3 1 "
    assert function.say("redis", command="GET five") == "1 0 1"


def test_what_is_printed_goes_to_no_service(function):
    """Whatever descriptors the function has closed."""

    assert function.say("closed") == "0 0 0: 0"


def test_context_of_queues_engine_when_only_that_is_redis(zygote, state,
                                                         redis):
    function = Function(zygote, state, queue=redis.url)
    assert function.say("redis", command="PING") == "5 0 PONG"
    assert code(function.say("kv_set", key="k", value="v")) == 0
    assert (state.data / "test.db").exists()
    function.close()


@pytest.mark.parametrize("first", [None, "1"])
def test_child_that_a_function_forks_is_refused(function, first):
    unsupported = CODES["UNSUPPORTED"]
    function.say("redis", command="PING")
    codes = function.say("fork", first=first).split(": ")[1]
    assert list(map(int, codes.split())) == [
        unsupported, unsupported, unsupported, 0, unsupported, unsupported,
        0, unsupported]
    assert function.say("redis", command="PING") == "5 0 PONG"


def test_connections_are_not_inherited_by_what_is_executed(function):
    function.say("redis", command="PING")
    function.say("kv_set", key="k", value="v")
    for path in pathlib.Path("/proc/%d/fd" % function.slot.pid).iterdir():
        if "socket" in os.readlink(path):
            info = pathlib.Path("/proc/%d/fdinfo/%s"
                                % (function.slot.pid, path.name)).read_text()
            flags = int(info.split("flags:")[1].split()[0], 8)
            assert flags & os.O_CLOEXEC, (path, os.readlink(path))


def test_redis_that_says_nothing_is_timed_out_and_then_back(function, redis):
    assert code(function.say("kv_set", key="k", value="v")) == 0
    redis.pause()
    try:
        assert code(function.say("kv_get", key="k",
                                 params={"HTTP_FAAS_TIMEOUT": "0.3"})) \
            in (CODES["TIMEDOUT"], CODES["UNAVAILABLE"])
        assert function.say("plain").startswith("plain")
        assert function.sql("SELECT 1") == "1\nrc 0"
    finally:
        redis.resume()

    def back():
        return function.say("kv_get", key="k").endswith("v")

    runtime.harness.wait_until(back, "Redis again")


def test_redis_that_is_killed_comes_back_with_what_it_had(function, redis):
    assert code(function.say("kv_set", key="k", value="kept")) == 0
    redis.kill()
    assert code(function.say("kv_get", key="k")) in (CODES["UNAVAILABLE"],
                                                     CODES["TIMEDOUT"])
    assert code(function.say("redis", command="PING").split()[-1]) \
        == CODES["UNAVAILABLE"]
    redis.start()
    runtime.harness.wait_until(
        lambda: function.say("kv_get", key="k").endswith("kept"), "Redis")
    runtime.harness.wait_until(
        lambda: function.say("redis", command="PING") == "5 0 PONG", "Redis")


def test_exactly_once_refuses_what_is_in_redis(zygote, state, redis):
    function = Function(zygote, state, kv=redis.url, exactly_once=1)
    key = {"HTTP_IDEMPOTENCY_KEY": "k"}
    assert code(function.say("kv_set", params=key, key="k", value="v")) \
        == CODES["UNSUPPORTED"]
    assert code(function.say("kv_set", key="k", value="v")) == 0
    function.close()
