"""Drop a shared object, curl a route; replace it, delete it."""

import os
import shutil
import signal
import threading

from harness import ROOT, process_stat, request, wait_until

HELLO = (ROOT / "examples" / "hello.c").read_text()


def answers(host, path, text):
    r = host.get(path)
    return r.status == 200 and text in r.text


def test_dropped_function_answers_and_so_does_its_route(faas):
    host = faas()
    assert host.get("/fn/hello").status == 404

    host.put(host.compile(HELLO), "hello.so")

    wait_until(lambda: answers(host, "/fn/hello", "hello, world"))
    assert host.get("/fn/hello/bob").text == "hello, bob\n"
    assert host.get("/fn/hello/b%C3%B6b").text == "hello, b\u00f6b\n"


def test_function_in_place_before_the_start_serves_the_first_request(faas):
    host = faas(deploy={"hello": HELLO}, ready=False)
    wait_until(lambda: host.answers() or host.process.poll() is not None)
    assert host.get("/fn/hello").text == "hello, world\n"


def test_new_content_replaces_the_old_one(faas):
    host = faas(deploy={"hello": HELLO})
    assert host.get("/fn/hello").text == "hello, world\n"

    host.deploy("hello", HELLO.replace("hello, %s", "goodbye, %s"))
    assert host.get("/fn/hello").text == "goodbye, world\n"


def load(host, path, stop, answers, failures):
    """Requests one after the other until stop is set."""

    while not stop.is_set():
        try:
            r = request(host.port, path)
            if r.status != 200:
                failures.append(r)
            else:
                answers.append(r.text)
        except OSError as error:
            failures.append(error)


def deploy_under_load(host, install, versions):
    """Each version is put in place by install() while clients ask on; no
    request may fail, each answer is one version's, and they come in order."""

    stop, seen, failures = threading.Event(), [[] for _ in range(4)], []
    threads = [threading.Thread(target=load, args=(
        host, "/fn/hello", stop, list_, failures)) for list_ in seen]
    for thread in threads:
        thread.start()
    try:
        for number, shared in versions:
            install(shared)
            text = "version %d\n" % number
            wait_until(lambda: host.get("/fn/hello").text == text)
            # every client has seen it before the next one comes
            wait_until(lambda: all(list_ and list_[-1] == text
                                   for list_ in seen))
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert not failures, failures[:5]
    known = {"version %d\n" % number for number, _ in versions}
    for list_ in seen:
        assert set(list_) <= known | {"hello, world\n"}
        numbers = [int(text.split()[1]) for text in list_ if text in known]
        assert numbers == sorted(numbers)


def versions_of(host, count):
    return [(i, host.compile(HELLO.replace(
        '"hello, %s\\n", name ? name : "world"',
        '"version %%d\\n%%.0s", %d, name ? name : ""' % i)))
        for i in range(1, count + 1)]


def test_rename_over_a_running_function_under_load_fails_no_request(faas):
    host = faas(deploy={"hello": HELLO})
    deploy_under_load(host, lambda shared: host.put(shared, "hello.so"),
                      versions_of(host, 5))


def test_copy_over_a_running_function_under_load_fails_no_request(faas):
    host = faas(deploy={"hello": HELLO})
    target = host.functions / "hello.so"
    deploy_under_load(host, lambda shared: shutil.copyfile(shared, target),
                      versions_of(host, 5))


def test_delete_and_create_under_load_fails_no_request(faas):
    """As linkers and install(1) overwrite."""

    host = faas(deploy={"hello": HELLO})
    target = host.functions / "hello.so"

    def install(shared):
        target.unlink()
        shutil.copyfile(shared, target)
        target.chmod(0o755)

    deploy_under_load(host, install, versions_of(host, 3))


def test_deleted_function_answers_404_and_its_instances_end(faas):
    host = faas(deploy=["probe"])
    pid = host.get("/fn/probe").json["pid"]

    host.remove("probe")

    wait_until(lambda: host.get("/fn/probe").status == 404)
    wait_until(lambda: not os.path.exists("/proc/%d" % pid))

    host.deploy("probe")
    assert host.get("/fn/probe").json["pid"] != pid


def test_request_running_at_a_redeploy_is_finished_by_its_version(faas):
    host = faas(deploy=["probe"])
    gate = host.gates / "g"
    results = []
    thread = threading.Thread(target=lambda: results.append(
        host.get("/fn/probe?gate=%s" % gate).json))
    thread.start()
    wait_until(lambda: host.entered("g"))

    host.deploy("probe", "probe.c", '-DPROBE_VERSION="2"')
    assert host.get("/fn/probe").json["version"] == "2"

    host.open("g")
    thread.join()
    assert results[0]["version"] == "1"


def test_request_running_at_a_removal_is_finished(faas):
    host = faas(deploy=["probe"])
    results = []
    thread = threading.Thread(target=lambda: results.append(
        host.get("/fn/probe?gate=%s/g" % host.gates)))
    thread.start()
    wait_until(lambda: host.entered("g"))

    host.remove("probe")
    wait_until(lambda: host.get("/fn/probe").status == 404)

    host.open("g")
    thread.join()
    assert results[0].status == 200


def test_file_overwritten_with_garbage_does_not_disturb_its_instances(faas):
    """Instances map the store's copy, so truncating the dropped file can not
    fault them."""

    host = faas(deploy=["probe"])
    pid = host.get("/fn/probe").json["pid"]

    with open(host.functions / "probe.so", "r+b") as file:
        file.truncate(100)

    wait_until(lambda: host.function("probe").get("last_error"))
    for _ in range(10):
        assert host.get("/fn/probe").json["pid"] == pid


def test_functions_directory_may_be_made_and_replaced_later(faas):
    host = faas(start=False)
    host.functions.rmdir()
    host.start()
    assert host.get("/fn/hello").status == 404

    host.functions.mkdir()
    host.put(host.compile(HELLO), "hello.so")
    wait_until(lambda: answers(host, "/fn/hello", "hello, world"))

    other = host.dir / "other"
    other.mkdir()
    shutil.copy(host.compile(HELLO), other / "greet.so")
    host.functions.rename(host.dir / "old")
    other.rename(host.functions)
    wait_until(lambda: answers(host, "/fn/greet", "hello, world"))
    wait_until(lambda: host.get("/fn/hello").status == 404)


def test_hello_in_the_readme_is_the_example():
    readme = (ROOT / "README.md").read_text()
    assert HELLO in readme


def test_function_too_many_for_the_scoreboard_is_refused_clearly(faas):
    """A board of 1 MB holds 8 functions, one of them _calls."""

    names = ["f%d" % i for i in range(7)]
    host = faas(deploy={name: HELLO for name in names},
                http="faas_scoreboard 1m;")

    host.put(host.compile(HELLO), "late.so")
    wait_until(lambda: "scoreboard is full" in host.status()["last_error"])
    assert host.log_has('"late"') and host.log_has("faas_scoreboard")
    assert host.get("/fn/late").status == 404

    for name in names:
        assert host.get("/fn/" + name).text == "hello, world\n"

    # there is room again when one goes

    host.remove("f0")
    wait_until(lambda: host.get("/fn/f0").status == 404)
    host.put(host.compile(HELLO + "/* again */"), "late.so")
    wait_until(lambda: answers(host, "/fn/late", "hello, world"))


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: process_stat(pid)[0] == "T")


def test_who_waits_is_served_by_what_took_the_entry_of_the_function(faas):
    """nginx's worker stands still while the function goes, and comes again in
    the same place of the scoreboard."""

    host = faas(deploy=["probe"], http="faas_function probe { min 2; max 2; }")
    other, worker = host.workers()

    try:
        stop(other)

        # POST: what runs is lost, and not tried again
        running = [host.held("g", method="POST") for _ in range(2)]
        wait_until(lambda: len(host.entered("g")) == 2)
        waiting = [host.held("h") for _ in range(2)]
        wait_until(lambda: host.function("probe")["queue"]["waiting"] == 2)

        stop(worker)
        os.kill(other, signal.SIGCONT)

        host.remove("probe")
        for pid in host.entered("g"):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: host.log_has('function "probe" is removed'))

        host.deploy("probe", "probe.c", "-DPROBE_VERSION=\"2\"")
        wait_until(lambda: host.function("probe")["instances"]["idle"] == 2)
        host.open("h")
    finally:
        os.kill(other, signal.SIGCONT)
        os.kill(worker, signal.SIGCONT)

    assert [r.result().status for r in running] == [502, 502]
    assert [r.result().json["version"] for r in waiting] == ["2", "2"]
    assert sorted(host.workers()) == sorted([other, worker])

    wait_until(lambda: host.function("probe")["instances"]["idle"] == 2)
    probe = host.function("probe")
    assert probe["queue"] == {"waiting": 0, "admitted": 0}
    assert probe["totals"]["arrivals"] == 6
