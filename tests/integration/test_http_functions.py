"""Backend services over HTTP: kv, queue and sql of baas/functions, dropped in
as an operator does."""

import base64
import json
import random
import re
import subprocess

import pytest

from harness import BUILD, ROOT, wait_until

TOKEN = "a-token-of-more-than-16-bytes"
BEARER = {"Authorization": "Bearer " + TOKEN}
OPENAPI = json.loads((ROOT / "baas/functions/openapi.json").read_text())

CONSUMER = """
#include <stdio.h>
#include <stdlib.h>
#include <faas.h>

static int
handler(faas_request_t *r)
{
    const faas_message_t  *m = faas_message(r, 0);

    if (m == NULL || m->size == 0) {
        return -1;
    }

    return faas_kv_set(r, "seen", faas_text(m->id),
                       (faas_bytes_t) { m->data, m->size }, 0, NULL);
}

FAAS_FUNCTION(.handler = handler)
"""

HTTP = """
    faas_function kv { env TOKEN=%(t)s; share seen; }
    faas_function queue { env TOKEN=%(t)s; }
    faas_function sql { env TOKEN=%(t)s; env WRITE=on; env ROWS=5; }
    faas_function reader { env TOKEN=%(t)s; share reads; }
    faas_function writer { env TOKEN=%(t)s; env WRITE=on; share reads; }
    faas_function guarded { env AUTH=nginx; }
    faas_function short { env TOKEN=short; }
    faas_function odd { env AUTH=none; }
    faas_function consumer { consume orders; share seen; }
""" % {"t": TOKEN}

SERVER = """
    location /db/ { faas_pass kv; }
    location /guarded/ { faas_pass guarded; fastcgi_param AUTH nginx; }
"""


def drop(host, **names):
    """names: function -> which of the three it is."""

    for name, which in names.items():
        host.put(BUILD / "functions" / (which + ".so"), name + ".so")
    wait_until(lambda: all(host.function(name).get("state") == "ready"
                           for name in names), "functions")


@pytest.fixture(scope="module")
def host(faas_module):
    host = faas_module(http=HTTP, server=SERVER,
                       deploy={"consumer": CONSUMER})
    drop(host, kv="kv", queue="queue", sql="sql", reader="sql", writer="sql",
         guarded="kv", short="kv", odd="kv", bare="kv", bareq="queue",
         bares="sql")
    return host


def ask(host, path, method="GET", body=None, **headers):
    headers = {name.replace("_", "-"): value
               for name, value in headers.items()}
    return host.get(path, method, body=body, headers=dict(BEARER, **headers))


def problem(r, status, *texts):
    assert r.status == status, r
    assert r.headers["Content-Type"] == "application/problem+json"
    p = r.json
    assert p["status"] == status and p["title"]
    for text in texts:
        assert text in p["detail"], p
    return p


# -- who may ------------------------------------------------------------------

@pytest.mark.parametrize("path", [
    "/fn/bare/-/k", "/fn/bare/-", "/fn/bareq/q", "/fn/bares/-", "/fn/bare",
    "/fn/short/-/k", "/fn/odd/-/k"])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD"])
def test_all_is_refused_until_somebody_is_allowed(host, path, method):
    r = ask(host, path, method, Authorization="Bearer short")
    assert r.status == 403
    if method != "HEAD":
        problem(r, 403, "operator")


@pytest.mark.parametrize("header", [
    None, "", "Bearer", "Bearer ", "Bearer " + TOKEN[:-1],
    "Bearer " + TOKEN + "x", "Bearer " + TOKEN.upper(), TOKEN,
    "Basic " + TOKEN, "Bearer  x", "Bearer " + TOKEN + " x"])
@pytest.mark.parametrize("path", ["/fn/kv/-/k", "/fn/queue/q", "/fn/sql/-"])
def test_wrong_token_is_401(host, path, header):
    r = host.post(path, b"{}", headers={"Authorization": header}
                  if header is not None else {})
    problem(r, 401)
    assert r.headers["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in r.text


def test_scheme_is_of_any_case(host):
    assert ask(host, "/fn/kv/-", Authorization="bearer " + TOKEN).status == 200


def test_location_that_guards_says_so(host):
    assert host.get("/guarded/-").status == 200
    problem(host.get("/fn/guarded/-"), 403, "does not guard")
    problem(host.get("/fn/guarded/-", headers={"Auth": "nginx"}), 403)


# -- key-value ----------------------------------------------------------------

def test_value_comes_back_with_its_version(host):
    value = bytes(range(256)) * 16
    r = ask(host, "/fn/kv/-/a/b%20c", "PUT", value)
    assert r.status == 204 and re.fullmatch(r'"[1-9][0-9]*"',
                                            r.headers["ETag"])
    g = ask(host, "/fn/kv/-/a/b%20c")
    assert g.status == 200 and g.body == value
    assert g.headers["ETag"] == r.headers["ETag"]
    assert g.headers["Content-Type"] == "application/octet-stream"
    assert g.headers["Faas-TTL"] is None
    h = ask(host, "/fn/kv/-/a/b%20c", "HEAD")
    assert h.status == 200 and h.headers["ETag"] == r.headers["ETag"]
    assert ask(host, "/db/-/a/b%20c").body == value
    assert ask(host, "/fn/kv/-/a/b%20c", "DELETE").status == 204
    problem(ask(host, "/fn/kv/-/a/b%20c"), 404)
    problem(ask(host, "/fn/kv/-/a/b%20c", "DELETE"), 404)


def test_empty_value_is_one(host):
    assert ask(host, "/fn/kv/-/empty", "PUT", b"").status == 204
    r = ask(host, "/fn/kv/-/empty")
    assert r.status == 200 and r.body == b""


def test_compare_and_set(host):
    path = "/fn/kv/-/cas"
    r = ask(host, path, "PUT", b"1", If_None_Match="*")
    assert r.status == 201
    one = r.headers["ETag"]
    problem(ask(host, path, "PUT", b"x", If_None_Match="*"), 412)
    r = ask(host, path, "PUT", b"2", If_Match=one)
    assert r.status == 204
    two = r.headers["ETag"]
    assert two != one
    for stale in (one, "W/" + two, '"0"', '"x"', '"%sx"' % two.strip('"')):
        problem(ask(host, path, "PUT", b"x", If_Match=stale), 412)
    assert ask(host, path, "PUT", b"3", If_Match="*").status == 204
    problem(ask(host, "/fn/kv/-/no", "PUT", b"3", If_Match="*"), 412)
    problem(ask(host, "/fn/kv/-/no", "PUT", b"3", If_Match=two), 412)
    for bad in ({"If_Match": "x"}, {"If_Match": '"1", "2"'},
                {"If_None_Match": two}, {"If_Match": two,
                                         "If_None_Match": "*"}):
        problem(ask(host, path, "PUT", b"x", **bad), 400)
    assert ask(host, path).body == b"3"
    problem(ask(host, path, "DELETE", If_Match="*"), 501)


def test_conditional_get(host):
    path = "/fn/kv/-/cond"
    etag = ask(host, path, "PUT", b"v").headers["ETag"]
    for same in (etag, "W/" + etag, "*", '"a", %s' % etag):
        r = ask(host, path, If_None_Match=same)
        assert r.status == 304 and r.body == b"", same
    for other in ('"1"', "x", "", '"' + etag):
        assert ask(host, path, If_None_Match=other).status == 200
    assert ask(host, path, If_Match=etag).status == 200
    problem(ask(host, path, If_Match='"1"'), 412)
    problem(ask(host, path, If_Match="W/" + etag), 412)


def test_time_to_live(host):
    path = "/fn/kv/-/ttl"
    assert ask(host, path, "PUT", b"v", Faas_TTL="100000").status == 204
    assert 0 < int(ask(host, path).headers["Faas-TTL"]) <= 100000
    assert ask(host, path + "?ttl=0", "POST").status == 204
    assert ask(host, path).headers["Faas-TTL"] is None
    assert ask(host, path + "?ttl=1", "POST").status == 204
    wait_until(lambda: ask(host, path).status == 404)
    problem(ask(host, path + "?ttl=5", "POST"), 404)
    for bad in ("-1", "x", "1.5", "", "99999999999999999999"):
        problem(ask(host, path, "PUT", b"v", Faas_TTL=bad), 400)


def test_numbers_are_added_up(host):
    path = "/fn/kv/-/n"
    assert ask(host, path + "?incr=5", "POST").json == {"value": 5}
    assert ask(host, path + "?incr=-7", "POST").json == {"value": -2}
    assert ask(host, path).body == b"-2"
    most = 2 ** 63 - 1
    assert ask(host, "/fn/kv/-/n2?incr=%d" % most, "POST").json \
        == {"value": most}
    problem(ask(host, "/fn/kv/-/n2?incr=1", "POST"), 400)
    ask(host, "/fn/kv/-/text", "PUT", b"text")
    problem(ask(host, "/fn/kv/-/text?incr=1", "POST"), 400)
    for bad in ("?incr=x", "?incr=", "?incr=1&ttl=1", "", "?incr=%d" % 2**64):
        problem(ask(host, path + bad, "POST"), 400)


def test_keys_of_any_bytes(host):
    for key in (b"\0", b"a//b", b"\xff\xfe", b"/", b"k" * 512):
        name = base64.b64encode(key).decode()
        path = "/fn/kv/-?key64=" + name.replace("+", "%2B")
        assert ask(host, path, "PUT", key).status == 204
        assert ask(host, path).body == key
        url = base64.urlsafe_b64encode(key).decode().rstrip("=")
        assert ask(host, "/fn/kv/-?key64=" + url).body == key
        assert ask(host, path, "DELETE").status == 204
    long = base64.urlsafe_b64encode(b"k" * 513).decode()
    for bad in ("?key64=" + long, "?key64=*", "?key64=A", "?key64=", "?key=",
                "/k?key64=aw", "/k?key=k", "?key=k&key64=aw"):
        problem(ask(host, "/fn/kv/-" + bad), 400)


def test_list_in_order_with_a_cursor(host):
    keys = ["l/%03d" % i for i in range(25)]
    random.Random(1).shuffle(keys)
    for key in keys:
        assert ask(host, "/fn/kv/-/" + key, "PUT",
                   key.encode()).status == 204
    seen, after, pages = [], "", 0
    while True:
        r = ask(host, "/fn/kv/-?prefix=l/&limit=10" + after).json
        seen += r["entries"]
        pages += 1
        if "next" not in r:
            break
        after = "&after=" + r["next"]
    assert pages == 3
    assert [e["key"] for e in seen] == sorted(keys)
    assert all(e["value"] == e["key"] and int(e["version"]) for e in seen)
    r = ask(host, "/fn/kv/-?prefix=l/&values=0&limit=1000").json
    assert len(r["entries"]) == 25 and "value" not in r["entries"][0]
    assert ask(host, "/fn/kv/-?prefix=nothing").json == {"entries": []}


def test_list_tells_bytes_that_are_no_text(host):
    key = b"bin\xff"
    ask(host, "/fn/kv/-?key64=" + base64.urlsafe_b64encode(key).decode(),
        "PUT", b"\xfe\0")
    r = ask(host, "/fn/kv/-?prefix64=" + base64.urlsafe_b64encode(
        b"bin").decode() + "&limit=1").json
    assert base64.b64decode(r["entries"][0]["key64"]) == key
    assert base64.b64decode(r["entries"][0]["value64"]) == b"\xfe\0"
    assert base64.b64decode(r["next64"]) == key
    assert ask(host, "/fn/kv/-?prefix=bin&after64=" + r["next64"].replace(
        "+", "%2B")).json == {"entries": []}


def test_list_ends_at_a_size(host):
    for i in range(6):
        assert ask(host, "/fn/kv/-/big/%d" % i, "PUT",
                   b"x" * (1 << 20)).status == 204
    r = ask(host, "/fn/kv/-?prefix=big/").json
    assert 0 < len(r["entries"]) < 6
    assert r["next"] == r["entries"][-1]["key"]
    r = ask(host, "/fn/kv/-?prefix=big/&after=" + r["next"]).json
    assert r["entries"][-1]["key"] == "big/5" and "next" not in r


@pytest.mark.parametrize("query", [
    "limit=0", "limit=1001", "limit=x", "values=2", "prefix64=*",
    "after=a&after64=YQ"])
def test_list_that_cannot_be(host, query):
    problem(ask(host, "/fn/kv/-?" + query), 400)


def test_limits_of_values(host):
    assert ask(host, "/fn/kv/-/m", "PUT", b"x" * (1 << 20)).status == 204
    problem(ask(host, "/fn/kv/-/m", "PUT", b"x" * ((1 << 20) + 1)), 413)


def test_space_must_be_shared(host):
    assert ask(host, "/fn/kv/seen/k", "PUT", b"v").status == 204
    assert ask(host, "/fn/kv/seen/k").body == b"v"
    problem(ask(host, "/fn/kv/other/k"), 403)
    for bad in ("", "/", "/Seen/k", "/se%20en/k", "/%2e%2e%2fx/k",
                "/" + "a" * 64 + "/k", "/_x/k"):
        assert ask(host, "/fn/kv" + bad).status in (400, 404), bad


def test_other_methods(host):
    for path, method, allow in (
            ("/fn/kv/-/k", "PATCH", "GET, HEAD, PUT, DELETE, POST"),
            ("/fn/kv/-", "PUT", "GET, HEAD"),
            ("/fn/queue/q", "GET", "POST"), ("/fn/sql/-", "GET", "POST")):
        r = ask(host, path, method)
        problem(r, 405)
        assert r.headers["Allow"] == allow


# -- queues -------------------------------------------------------------------

def test_message_is_durable_then_delivered(host):
    r = ask(host, "/fn/queue/orders", "POST", b"hello", Faas_Message_Id="m-1")
    assert r.status == 202 and r.json == {"id": "m-1"}
    wait_until(lambda: ask(host, "/fn/kv/seen/m-1").body == b"hello")
    r = ask(host, "/fn/queue/orders", "POST", b"other", Faas_Message_Id="m-1")
    assert r.status == 202 and r.json == {"id": "m-1"}
    r = ask(host, "/fn/queue/orders", "POST", b"new")
    assert r.status == 202 and r.json["id"]
    wait_until(lambda: ask(host, "/fn/kv/seen/" + r.json["id"]).body == b"new")
    assert ask(host, "/fn/kv/seen/m-1").body == b"hello"


@pytest.mark.parametrize("path,headers,status", [
    ("/fn/queue", {}, 404), ("/fn/queue/", {}, 404), ("/fn/queue/-", {}, 404),
    ("/fn/queue/Q", {}, 404), ("/fn/queue/q/x", {}, 404),
    ("/fn/queue/q", {"Faas_Delay": "x"}, 400),
    ("/fn/queue/q", {"Faas_Delay": "-1"}, 400),
    ("/fn/queue/q", {"Faas_Delay": str(366 * 24 * 3600 * 1000)}, 400),
    ("/fn/queue/q", {"Faas_Message_Id": "a b"}, 400),
    ("/fn/queue/q", {"Faas_Message_Id": "x" * 65}, 400)])
def test_message_that_cannot_be_sent(host, path, headers, status):
    problem(ask(host, path, "POST", b"m", **headers), status)


def test_message_over_its_limit(host):
    problem(ask(host, "/fn/queue/q", "POST", b"x" * ((1 << 20) + 1)), 413)


# -- SQL ----------------------------------------------------------------------

def sql(host, text, params=None, path="/fn/sql/-", **more):
    body = dict(sql=text, **more)
    if params is not None:
        body["params"] = params
    return ask(host, path, "POST", json.dumps(body).encode())


@pytest.fixture(scope="module")
def table(host):
    r = sql(host, "CREATE TABLE t (id INTEGER PRIMARY KEY, v, u UNIQUE)")
    assert r.status == 200, r
    return host


def test_values_of_all_types_come_back(table):
    values = [None, 1, -2 ** 63, 2 ** 63 - 1, 1.5, 2.0, 1e300, "", "text",
              "\u00e4\U0001f600\u2028\"\\\n", {"base64": "AP8="},
              {"base64": ""}]
    for value in values:
        r = sql(table, "SELECT ?1, typeof(?1)", [value])
        assert r.status == 200, r
        assert r.json["rows"][0][0] == value
    assert sql(table, "SELECT ?", [2.0]).text.count("2.0") == 1
    assert sql(table, "SELECT ?, ?", [True, False]).json["rows"] == [[1, 0]]
    assert sql(table, "SELECT typeof(?), typeof(?)", [
        {"base64": "AA"}, "a"]).json["rows"] == [["blob", "text"]]
    assert sql(table, "SELECT 9e999 AS a, CAST(x'ff' AS TEXT) AS b").json \
        == {"columns": ["a", "b"], "rows": [[float("inf"),
                                             {"base64": "/w=="}]],
            "truncated": False, "changes": 0}


def test_rows_are_written_and_read(table):
    r = sql(table, "INSERT INTO t (v, u) VALUES (?, ?), (?, ?)",
            ["a", 1, "b", 2]).json
    assert r["changes"] == 2 and r["last_insert_rowid"] == 2
    assert r["columns"] == [] and r["rows"] == []
    r = sql(table, "SELECT id, v FROM t WHERE v = :v OR v = @w OR v = $x",
            {"v": "b", "w": "x", "x": None}).json
    assert r["columns"] == ["id", "v"] and r["rows"] == [[2, "b"]]
    r = sql(table, "UPDATE t SET v = 'c' WHERE id = 1 RETURNING id, v").json
    assert r["rows"] == [[1, "c"]] and r["changes"] == 1
    r = sql(table, "WITH x AS (SELECT 2 AS i) DELETE FROM t WHERE id IN "
            "(SELECT i FROM x); -- done").json
    assert r["changes"] == 1


def test_rows_end_at_the_limit(table):
    many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n " \
           "WHERE i < %d) SELECT i FROM n"
    r = sql(table, many % 5).json
    assert len(r["rows"]) == 5 and r["truncated"] is False
    r = sql(table, many % 6).json
    assert len(r["rows"]) == 5 and r["truncated"] is True


def test_answer_ends_at_a_size(table):
    r = sql(table, "SELECT hex(zeroblob(1000000)) FROM (VALUES (1), (2), (3),"
            " (4))").json
    assert r["truncated"] is True and len(r["rows"]) == 3


def test_what_cannot_be_told_whole_is_not_written(table):
    before = sql(table, "SELECT count(*) FROM t").json["rows"]
    r = sql(table, "INSERT INTO t (v) VALUES (1), (2), (3), (4), (5), (6) "
            "RETURNING v")
    problem(r, 413)
    assert sql(table, "SELECT count(*) FROM t").json["rows"] == before


def test_broken_constraint_leaves_nothing(table):
    sql(table, "INSERT INTO t (u) VALUES ('once')")
    problem(sql(table, "INSERT INTO t (u) VALUES ('new'), ('once')"), 409,
            "UNIQUE")
    assert sql(table, "SELECT count(*) FROM t WHERE u = 'new'"
               ).json["rows"] == [[0]]


@pytest.mark.parametrize("text,status", [
    ("SELECT", 400), ("SELECT * FROM nothing", 400), ("", 400), (" ; ", 400),
    ("-- only a comment", 400), ("SELECT 1; SELECT 2", 400),
    ("SELECT 1; x", 400), ("BEGIN", 403), ("COMMIT", 403),
    ("SAVEPOINT x", 403), ("PRAGMA user_version = 1", 403),
    ("PRAGMA journal_mode", 403), ("ATTACH ':memory:' AS m", 403),
    ("VACUUM", 403), ("/* x */ -- y\n RELEASE http", 403),
    ("DROP TABLE faas_kv", 403), ("INSERT INTO faas_kv DEFAULT VALUES", 403),
    ("SELECT load_extension('x')", 400),
    ("SELECT hex(fts3_tokenizer('simple'))", 400)])
def test_statement_that_is_refused(table, text, status):
    r = sql(table, text)
    # SQLite looks whether a table is there before it asks who may
    assert r.status == status or (r.status == 400 and "faas_kv" in text), r


def test_reader_writes_nothing(table):
    host = table
    path = "/fn/reader/reads"
    assert sql(host, "CREATE TABLE r (i)", path="/fn/writer/reads"
               ).status == 200
    for text in ("INSERT INTO r VALUES (1)", "DELETE FROM r", "DROP TABLE r",
                 "CREATE TABLE s (i)", "UPDATE r SET i = 1",
                 "WITH x AS (SELECT 1) INSERT INTO r SELECT * FROM x",
                 "REPLACE INTO r VALUES (1)", "PRAGMA user_version = 5",
                 "EXPLAIN INSERT INTO r VALUES (1)", "ANALYZE", "REINDEX"):
        r = sql(host, text, path=path)
        assert r.status == 403 or text.startswith("EXPLAIN"), (text, r)
    assert sql(host, "SELECT count(*) FROM r", path=path).json["rows"] == [[0]]
    assert sql(host, "VALUES (1), (2)", path=path).json["rows"] == [[1], [2]]
    assert sql(host, "EXPLAIN SELECT 1", path=path).status == 200


@pytest.mark.parametrize("body", [
    b"", b"x", b"[]", b"{}", b'{"sql": 1}', b'{"sql": null}',
    b'{"sql": "SELECT 1", "parms": []}', b'{"sql": "SELECT 1", "params": 1}',
    b'{"sql": "SELECT 1", "params": "x"}', b'{"sql": "SELECT \xff"}',
    b'{"sql": "SELECT 1"} x', b'{"sql": "SELECT \\u0000"}',
    b'{"sql": "SELECT 1\0"}', b'{"sql": "SELECT ?", "params": ["\\u0000"]}',
    b'{"sql": "SELECT 1", "params": [1]}', b'{"sql": "SELECT ?"}',
    b'{"sql": "SELECT ?, ?", "params": [1]}',
    b'{"sql": "SELECT :a", "params": {"b": 1}}',
    b'{"sql": "SELECT :a, :b", "params": {"b": 1}}',
    b'{"sql": "SELECT ?", "params": [[1]]}',
    b'{"sql": "SELECT ?", "params": [{"base65": ""}]}',
    b'{"sql": "SELECT ?", "params": [{"base64": 1}]}',
    b'{"sql": "SELECT ?", "params": [{"base64": "*"}]}'])
def test_question_that_is_malformed(host, body):
    problem(ask(host, "/fn/sql/-", "POST", body), 400)


def test_backslashes_are_no_zeroes(host):
    r = ask(host, "/fn/sql/-", "POST",
            b'{"sql": "SELECT ?", "params": ["\\\\u0000"]}')
    assert r.json["rows"] == [["\\u0000"]]


def test_body_over_its_limit(host):
    problem(ask(host, "/fn/sql/-", "POST", b" " * ((1 << 20) + 1)), 413)


def test_database_must_be_ones_own_or_shared(host):
    # what is its own is nobody else's, and made when it is first asked for
    assert sql(host, "SELECT 1", path="/fn/sql/mine").status == 200
    for bad in ("", "/", "/-/x", "/A", "/..", "/a.b", "/" + "a" * 64):
        assert ask(host, "/fn/sql" + bad, "POST", b"{}").status == 404, bad


def test_statement_ends_with_the_requests_time(faas):
    host = faas(http=HTTP + "faas_function slow { env TOKEN=%s; timeout 2s; }"
                % TOKEN)
    drop(host, slow="sql")
    r = sql(host, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 "
            "FROM n) SELECT max(i) FROM n", path="/fn/slow/-")
    assert r.status == 504


# -- what is said of it -------------------------------------------------------

def test_description_is_of_what_there_is():
    paths = OPENAPI["paths"]
    assert set(paths) == {"/kv/{space}", "/kv/{space}/{key}",
                          "/queue/{name}", "/sql/{db}"}
    text = json.dumps(OPENAPI)
    for name in re.findall(r'"#/components/(\w+/\w+)"', text):
        kind, one = name.split("/")
        assert one in OPENAPI["components"][kind], name
    sources = "".join((ROOT / "baas/functions" / name).read_text()
                      for name in ("kv.c", "queue.c", "sql.c", "http.c"))
    for item in paths.values():
        for method, operation in item.items():
            if method == "parameters":
                continue
            assert operation["summary"]
            for parameter in operation.get("parameters", []) + item[
                    "parameters"]:
                if parameter["in"] == "header":
                    assert '"%s"' % parameter["name"] in sources
                assert parameter["in"] != "query" or '"%s"' % parameter[
                    "name"].replace("64", "") in sources
            for status in operation["responses"]:
                assert re.search(r"\b%s\b" % status, sources) \
                    or status == "200", status


def test_they_use_the_public_header_only(host):
    for name in ("kv", "queue", "sql"):
        done = subprocess.run(
            ["nm", "-D", "--undefined-only", str(
                BUILD / "functions" / (name + ".so"))],
            capture_output=True, text=True, check=True)
        for symbol in re.findall(r" U (\w+)$", done.stdout, re.M):
            if symbol.startswith("faas_"):
                assert re.search(r"\b%s\(" % symbol, (
                    ROOT / "worker/include/faas.h").read_text()), symbol
            assert not symbol.startswith(("baas_", "wire_"))
