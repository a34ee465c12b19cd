"""Each example does what its head comment says."""

import json
import os
import pathlib
import re
import struct
import subprocess
import zlib

import pytest

from harness import ASAN, BUILD, IS_ROOT, PATIENCE, wait_until


@pytest.fixture(scope="module")
def host(faas_module):
    host = faas_module(http="faas_function wordcount { max 4; }")
    for path in (BUILD / "examples").glob("*.sql"):
        host.put(path, path.name)
    for path in sorted((BUILD / "examples").glob("*.so")):
        host.put(path, path.name)
        wait_until(lambda: host.function(path.stem).get("state") == "ready",
                   path.stem)
    return host


def test_every_example_is_a_function(host):
    names = {p.stem for p in (pathlib.Path(__file__).parents[2]
                              / "examples").glob("*.c")}
    assert names == {"hello", "echo", "thumbnail", "markdown", "wordcount",
                     "guestbook", "orders"}
    for name in names:
        assert host.function(name)["state"] == "ready"


# hello

def test_hello(host):
    assert host.get("/fn/hello").text == "hello, world\n"
    assert host.get("/fn/hello/bob").text == "hello, bob\n"
    assert host.get("/fn/hello").headers["Content-Type"] == "text/plain"


# guestbook

def test_guestbook_keeps_entries_and_counts_visits(host):
    r = host.post("/fn/guestbook/ann", b"It was 'nice' here.")
    assert (r.status, r.text) == (201, "thank you, ann\n")
    assert host.post("/fn/guestbook/bob", b"Robert'); --").status == 201
    lines = host.get("/fn/guestbook").text.splitlines()
    assert lines[0] == "visit 1"
    assert [line[20:] for line in lines[1:]] == [
        "bob: Robert'); --", "ann: It was 'nice' here."]
    assert host.get("/fn/guestbook").text.startswith("visit 2\n")
    assert host.post("/fn/guestbook/ann", b"x" * 4001).status == 413


# orders

def test_orders_are_taken_filled_and_counted(host):
    for order in (b"3 apples", b"later"):
        r = host.post("/fn/orders", order)
        assert r.status == 202 and r.text.startswith("accepted as ")
    assert host.post("/fn/orders", b"").status == 400
    wait_until(lambda: host.get("/fn/orders").text.startswith("2 orders"),
               "both orders, one of them at its second attempt")
    wait_until(lambda: "counted 0 times" not in host.get("/fn/orders").text,
               "the timer")


# echo

@pytest.mark.parametrize("size", [0, 1, 65536, 1000003, 8 << 20])
def test_echo_gives_back_what_it_got(host, size):
    data = os.urandom(size)
    r = host.post("/fn/echo", data, headers={"Content-Type": "x/y"})
    assert r.status == 200 and r.body == data
    assert r.headers["Content-Type"] == "x/y"


def test_echo_of_a_large_body_is_streamed(host):
    """1 GB there and back; the instance keeps none of it in memory."""

    size = 1 << (26 if ASAN else 30)
    up, down = host.dir / "up", host.dir / "down"
    with open(up, "wb") as file:
        file.truncate(size)
        file.seek(size - 10)
        file.write(b"0123456789")
    done = subprocess.run(
        ["curl", "-sS", "-m", str(PATIENCE * 5), "-T", str(up), "-H",
         "Expect:", "-o", str(down), "-w", "%{http_code}",
         "http://127.0.0.1:%d/fn/echo" % host.port],
        capture_output=True, text=True)
    assert done.stdout == "200", done
    assert subprocess.run(["cmp", str(up), str(down)]).returncode == 0
    up.unlink()
    down.unlink()
    if not ASAN:
        for pid in host.processes():
            try:
                text = pathlib.Path("/proc/%d/status" % pid).read_text()
            except OSError:
                continue
            high = re.search(r"VmHWM:\s+(\d+)", text)
            assert not high or int(high.group(1)) < 100 << 10


# markdown

def test_markdown(host):
    r = host.post("/fn/markdown", "# Title\n\n*so* **be** it\n")
    assert r.status == 200
    assert r.text == ("<h1>Title</h1>\n<p><em>so</em> <strong>be</strong> "
                      "it</p>\n")
    assert r.headers["Content-Type"] == "text/html; charset=utf-8"


def test_markdown_is_safe(host):
    text = host.post("/fn/markdown", "<script>alert(1)</script>\n\n"
                     "[x](javascript:alert(1))\n").text
    assert "<script" not in text and "javascript:" not in text


def test_markdown_refuses_what_it_can_not_render(host):
    assert host.get("/fn/markdown").status == 405
    assert host.get("/fn/markdown").headers["Allow"] == "POST, PUT"
    assert host.post("/fn/markdown", b"\xff\xfe").status == 400
    assert host.post("/fn/markdown", b"\xed\xa0\x80").status == 400
    assert host.post("/fn/markdown", b"x", headers={
        "Content-Type": "image/png"}).status == 415
    assert host.post("/fn/markdown", b"x" * (5 << 20)).status == 413
    assert host.post("/fn/markdown", b"").status == 200


# wordcount

@pytest.mark.parametrize("language, text", [
    ("en", "the harbour was quiet and the harbour was dark"),
    ("de", "Der Hafen lag ruhig da und niemand sprach ein Wort"),
    ("fr", "Le port était calme et personne ne parlait dans la nuit"),
    ("es", "El puerto estaba tranquilo y nadie hablaba de ello"),
    ("it", "Il porto era tranquillo e nessuno parlava della notte"),
    ("pt", "O porto estava calmo e ninguém falava da noite"),
    ("nl", "De haven was rustig en niemand sprak een woord"),
    ("sv", "Hamnen var lugn och ingen talade om natten")])
def test_wordcount_tells_the_language(host, language, text):
    r = host.post("/fn/wordcount", text.encode()).json
    assert r["language"] == language
    assert r["words"] == len(text.split())
    assert r["distinct"] == len(set(text.lower().split()))


def test_wordcount_counts(host):
    r = host.post("/fn/wordcount?top=2", (
        "Harbour, harbour; HARBOUR!\nÉtÉ été's quay quay it's\n"
        "we\u2019re\n").encode()).json
    assert r == {"bytes": 64, "lines": 3, "words": 9, "distinct": 6,
                 "language": r["language"],
                 "top": [{"word": "harbour", "count": 3},
                         {"word": "quay", "count": 2}]}


def test_wordcount_of_nothing(host):
    r = host.post("/fn/wordcount", b"").json
    assert (r["words"], r["language"], r["top"]) == (0, None, [])


def test_wordcount_refuses_what_it_can_not_count(host):
    assert host.get("/fn/wordcount").status == 405
    assert host.post("/fn/wordcount", b"\xff").status == 400
    assert host.post("/fn/wordcount?top=101", b"x").status == 400
    assert host.post("/fn/wordcount?top=x", b"x").status == 400
    assert host.post("/fn/wordcount", b"x" * (17 << 20)).status == 413
    assert host.post("/fn/wordcount", b"x", headers={
        "Content-Type": "image/png"}).status == 415


@pytest.mark.skipif(not IS_ROOT, reason="only root may look")
def test_wordcount_instances_share_the_table(host):
    """32 MiB that init made, read-only, in each instance; none of it is an
    instance's own."""

    size, instances = 32 << 20, 0
    for _ in range(4):
        host.post("/fn/wordcount", b"some words to touch the table")
    for pid in host.processes():
        try:
            text = pathlib.Path("/proc/%d/smaps" % pid).read_text()
        except OSError:
            continue
        for area in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", text):
            bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", area)
            if not bounds or bounds.group(3) != "r--p":
                continue
            if int(bounds.group(2), 16) - int(bounds.group(1), 16) == size:
                field = dict(re.findall(r"(\w+):\s+(\d+) kB", area))
                instances += 1
                assert int(field["Private_Dirty"]) == 0 or int(
                    field["Shared_Dirty"]) > 0
    # the template and at least one instance
    assert instances >= 2


# thumbnail

def png(width, height, pixel=lambda x, y: (x % 256, y % 256, 99), depth=8,
        kind=2, damage=None):
    def chunk(name, data):
        return (struct.pack(">I", len(data)) + name + data
                + struct.pack(">I", zlib.crc32(name + data)))
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(width))
                    for y in range(height)) if damage is None else damage
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth,
                                         kind, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def png_size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def jpeg_size(data):
    assert data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9"
    at = 2
    while True:
        marker, length = data[at + 1], struct.unpack(">H",
                                                     data[at + 2:at + 4])[0]
        if marker in (0xc0, 0xc1, 0xc2):
            height, width = struct.unpack(">HH", data[at + 5:at + 9])
            return width, height
        at += 2 + length


MAKE_JPEG = r"""
#include <stdio.h>
#include <stdlib.h>
#include <turbojpeg.h>

int
main(int argc, char **argv)
{
    int             x, y, w, h;
    unsigned char  *p, *jpeg = NULL;
    unsigned long   size = 0;

    w = atoi(argv[1]);
    h = atoi(argv[2]);
    p = calloc((size_t) w * h, 3);

    for (y = 0; y < h; y++) {
        for (x = 0; x < w; x++) {
            p[(y * w + x) * 3] = x < w / 2 ? 255 : 0;
            p[(y * w + x) * 3 + 1] = y < h / 2 ? 255 : 0;
        }
    }

    tjCompress2(tjInitCompress(), p, w, 0, h, TJPF_RGB, &jpeg, &size,
                TJSAMP_420, 90, argc > 3 ? TJFLAG_PROGRESSIVE : 0);
    fwrite(jpeg, 1, size, stdout);
    return 0;
}
"""


@pytest.fixture(scope="module")
def jpeg(session_directory):
    source = session_directory / "jpeg.c"
    source.write_text(MAKE_JPEG)
    program = session_directory / "jpeg"
    subprocess.run(["cc", "-o", str(program), str(source), "-lturbojpeg"],
                   check=True)

    def make(*arguments):
        return subprocess.run([str(program)] + [str(a) for a in arguments],
                              check=True, capture_output=True).stdout
    return make


def test_thumbnail_of_a_png(host):
    r = host.post("/fn/thumbnail?w=100&h=90", png(640, 400))
    assert r.status == 200
    assert r.headers["Content-Type"] == "image/png"
    assert png_size(r.body) == (100, 62)
    assert png_size(host.post("/fn/thumbnail", png(300, 400)).body) == (
        150, 200)
    assert png_size(host.post("/fn/thumbnail?w=30", png(300, 400)).body) == (
        30, 40)
    assert png_size(host.post("/fn/thumbnail?h=40", png(300, 400)).body) == (
        30, 40)


def test_thumbnail_is_never_larger(host):
    assert png_size(host.post("/fn/thumbnail?w=500&h=500",
                              png(20, 10)).body) == (20, 10)
    assert png_size(host.post("/fn/thumbnail?w=10&h=10",
                              png(1, 300)).body) == (1, 10)


def test_thumbnail_of_a_jpeg(host, jpeg):
    for progressive in ([], ["progressive"]):
        r = host.post("/fn/thumbnail?w=300&h=300",
                      jpeg(1500, 1000, *progressive))
        assert r.status == 200
        assert r.headers["Content-Type"] == "image/jpeg"
        assert jpeg_size(r.body) == (300, 200)


def test_thumbnail_stands_upright(host, jpeg):
    data = jpeg(640, 400)
    for orientation in range(1, 9):
        exif = (b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"
                + bytes([orientation]) + b"\0\0\0\0\0\0\0")
        tagged = (data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2)
                  + exif + data[2:])
        r = host.post("/fn/thumbnail?w=320&h=320", tagged)
        assert jpeg_size(r.body) == ((320, 200) if orientation < 5
                                     else (200, 320))


def test_thumbnail_has_a_process_for_each_picture(host):
    before = host.function("thumbnail")
    for _ in range(3):
        assert host.post("/fn/thumbnail", png(9, 9)).status == 200
    assert before["mode"] == "oneshot"


def test_thumbnail_refuses_bombs_before_it_decodes(host, jpeg):
    bomb = png(60000, 60000, damage=b"\0" * 1000)
    assert host.post("/fn/thumbnail", bomb).status == 413

    data = jpeg(64, 64)
    at = data.index(b"\xff\xc0") + 5
    bomb = data[:at] + struct.pack(">HH", 65000, 65000) + data[at + 4:]
    assert host.post("/fn/thumbnail", bomb).status == 413

    assert host.post("/fn/thumbnail", b"\xff\xd8\xff" + bytes(33 << 20)
                     ).status == 413


def test_thumbnail_refuses_bad_input(host, jpeg):
    assert host.get("/fn/thumbnail").status == 405
    assert host.post("/fn/thumbnail").status == 400
    assert host.post("/fn/thumbnail", b"text").status == 415
    assert host.post("/fn/thumbnail?w=0", png(9, 9)).status == 400
    assert host.post("/fn/thumbnail?w=x", png(9, 9)).status == 400
    assert host.post("/fn/thumbnail?h=99999", png(9, 9)).status == 400
    picture = png(200, 200)
    assert host.post("/fn/thumbnail",
                     picture[:len(picture) // 2]).status == 400
    picture = jpeg(300, 300)
    assert host.post("/fn/thumbnail",
                     picture[:len(picture) // 2]).status == 400
    for n in range(0, 60, 3):
        assert host.post("/fn/thumbnail", picture[:n]).status in (400, 415)


def test_thumbnail_of_mutated_pictures_never_breaks_the_host(host, jpeg):
    import random
    random.seed(1)
    for original in (png(60, 40), jpeg(60, 40), jpeg(60, 40, "p")):
        for _ in range(20):
            data = bytearray(original)
            for _ in range(random.randint(1, 8)):
                data[random.randrange(3, len(data))] = random.randrange(256)
            assert host.post("/fn/thumbnail", bytes(data)).status in (
                200, 400, 413, 415)


def test_status_knows_all_of_them(host):
    assert json.dumps(host.status())
