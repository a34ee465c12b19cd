#!/usr/bin/python3

"""Compares docs/directives.md with what the sources say: the module's command
table, the settings of faas_function with their ranges and defaults, and what
faas_pass owns; and looks whether each directive is shown in conf/ and used by
a test.  Exit status 1 and a line for each
difference."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

CONTEXTS = {"NGX_HTTP_MAIN_CONF": "http", "NGX_HTTP_SRV_CONF": "server",
            "NGX_HTTP_LOC_CONF": "location",
            "NGX_HTTP_LIF_CONF": "if in location"}

UNITS = {"ms": 1, "s": 1000, "m": 60 * 1000, "h": 3600 * 1000,
         "d": 24 * 3600 * 1000}
SIZES = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def source(path):
    return (ROOT / path).read_text()


def commands():
    """name -> contexts, of the module's command table."""

    text = source("ngx_faas_module/ngx_http_faas_module.c")
    text = text[text.index("ngx_http_faas_commands[]"):]
    found = {}
    for name, flags in re.findall(
            r'\{ ngx_string\("(\w+)"\),\s+([A-Z0-9_|]+),', text):
        found[name] = ", ".join(CONTEXTS[flag] for flag in flags.split("|")
                                if flag in CONTEXTS)
    return found


def settings():
    """name -> (range or None, may be a ceiling), of faas_function's table."""

    text = source("ngx_faas_module/ngx_http_faas_setting.c")
    text = text[text.index("ngx_http_faas_settings[]"):]
    found = {}
    for name, rest in re.findall(
            r'\{ ngx_string\("(\w+)"\),([^}]*)\}', text):
        if "_later" in rest:
            continue
        given = re.search(r'"([^"]*)"', rest)
        found[name] = (given.group(1) if given else None,
                       rest.rstrip(" ,\n")[-1] == "1")
    return found


def refused():
    text = source("ngx_faas_module/ngx_http_faas_setting.c")
    return re.findall(r'\{ ngx_string\("(\w+)"\), '
                      r'ngx_http_faas_setting_later', text)


def table(name):
    """The first strings of a table in ngx_http_faas_pass.c."""

    text = source("ngx_faas_module/ngx_http_faas_pass.c")
    text = text[text.index(name + "[]"):]
    text = text[:text.index("NULL, NULL")]
    return re.findall(r'\{ "(\w+)"', text)


def defaults():
    """name -> number, of worker/settings.c."""

    text = source("worker/settings.c")
    struct = text[text.index("typedef struct {"):
                  text.index("} settings_rule_t;")]
    fields = re.findall(r"(\w+)(?:\)\([^)]*\))?;", struct)
    text = text[text.index("settings_rules[] = {"):]
    text = text[:text.index("\n};")]
    found = {}
    for entry in re.findall(r"\{ ([^}]*)\}", text):
        rule = dict(zip(fields, (item.strip() for item in entry.split(","))))
        if rule["name"] != "NULL" and re.fullmatch(r"[0-9* ]+",
                                                   rule["value"]):
            found[rule["name"].strip('"')] = eval(rule["value"])
    return found


def documented():
    """name -> {"Syntax": ..., "Context": ..., ...}, of the sections."""

    text = source("docs/directives.md")
    found = {}
    for name, body in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text,
                                 re.M | re.S):
        items = re.sub(r"\n  (?=\S)", " ", body)
        found[name] = dict(re.findall(r"^- (\w+): (.*)$", items, re.M))
        found[name]["example"] = "\n".join(
            re.findall(r"```nginx\n(.*?)```", body, re.S))
        found[name]["body"] = body
    return found


def overview():
    return dict(re.findall(r"^\| \[(\w+)\]\(#\w+\) \| ([^|]*) \|",
                           source("docs/directives.md"), re.M))


def documented_settings():
    """name -> (unit, range, default, ceiling)."""

    body = documented()["faas_function"]["body"]
    found = {}
    for line in re.findall(r"^\| `.*", body, re.M):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].strip("` ").replace("queue N timeout=",
                                            "queue_timeout")
        if len(cells) == 6:
            found[name] = cells[1:5]
    return found


def options(kind):
    """Names of the options of consume, schedule or async lines."""

    text = source("scoreboard/faas_event.c")
    text = text[text.index("event_%s_options[]" % kind):]
    return re.findall(r'\{ "(\w+)"', text[:text.index("{ NULL")])


def documented_options(kind):
    body = documented()["faas_function"]["body"]
    body = body[re.search(r"^`%s[^\n]* takes" % kind, body, re.M).start():]
    rows = re.search(r"^\| option .*?\n\n", body, re.M | re.S).group(0)
    return re.findall(r"^\| `(\w+)=", rows, re.M)


def listed(body, first, last):
    """The `- NAME` list items between two texts."""

    part = body[body.index(first):body.index(last)]
    return re.findall(r"^- `(\w+)`$", part, re.M)


def number(text, unit):
    """A default as the supervisor counts it, or None for prose."""

    m = re.match(r"(\d+)([a-z]*)(?=$|[:;, ])", text)
    if not m:
        return None
    n, suffix = int(m.group(1)), m.group(2)
    if unit == "time":
        return n * UNITS[suffix or "s"]
    if unit == "size":
        return n * SIZES.get(suffix, 1)
    return n if not suffix else None


def files(*patterns):
    return "".join(path.read_text(errors="replace")
                   for pattern in patterns
                   for path in sorted(ROOT.glob(pattern)) if path.is_file())


def differences():
    found = []

    def same(what, one, other):
        if one != other:
            found.append("%s: the sources say %r, the reference %r"
                         % (what, one, other))

    table_of_commands, sections = commands(), documented()

    same("directives", sorted(table_of_commands), sorted(sections))
    same("overview", table_of_commands, overview())

    for name, section in sections.items():
        same("context of " + name, table_of_commands.get(name),
             section.get("Context"))
        for item in ("Syntax", "Default"):
            if item not in section:
                found.append("%s: no %s" % (name, item))
        if name not in section["example"]:
            found.append("%s: no example" % name)

    given, said, default = settings(), documented_settings(), defaults()

    same("settings", sorted(given), sorted(said))
    same("settings with a default of the supervisor's", sorted(default),
         sorted(set(default) & set(said)))
    if len(default) < 10:
        found.append("worker/settings.c: its table was not understood")

    for name in set(given) & set(said):
        unit, span, value, ceiling = said[name]
        if given[name][0]:
            same("range of " + name, given[name][0], span)
        same("ceiling of " + name, "yes" if given[name][1] else "no", ceiling)
        if name in default and number(value, unit) is not None:
            same("default of " + name, default[name], number(value, unit))

    for kind in ("consume", "schedule", "async"):
        same("options of " + kind, options(kind), documented_options(kind))

    body = sections["faas_function"]["body"]
    for name in refused():
        if "`%s`" % name not in body:
            found.append("%s: that it is refused is not said" % name)

    body = sections["faas_pass"]["body"]
    same("owned directives",
         ["fastcgi_pass"] + table("ngx_http_faas_pass_owned"),
         listed(body, "beside it they are errors", "In an outer block"))
    same("parameters", table("ngx_http_faas_pass_cgi"),
         listed(body, "get these parameters", "and all other headers"))
    same("reserved parameters", table("ngx_http_faas_pass_reserved")
         + table("ngx_http_faas_pass_clients"),
         listed(body, "cannot be set:", "Those that begin"))
    same("parameters of calls", table("ngx_http_faas_pass_calls"),
         listed(sections["faas_invoke"]["body"], "cannot be set:",
                "and the first five"))

    shown = {"tests/": files("tests/integration/*.py"),
             "conf/": files("conf/*.conf")}
    for place, text in shown.items():
        for name in table_of_commands:
            if not re.search(r"\b%s\b" % name, text):
                found.append("%s: not in %s" % (name, place))

    return found


if __name__ == "__main__":
    lines = differences()
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(1 if lines else 0)
