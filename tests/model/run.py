"""
Builds the model, runs its scenarios, and then shows that it would have found
mistakes: each of a list is made in a copy of its source, and the model has to
fail.

usage: run.py BUILD NGINX CC [NAME...]

BUILD is where to build, NGINX a configured tree of nginx; names pick scenarios
and mutants.
"""

import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))

# what each mistake is found in, and what is to be found there
SLOT = 'scoreboard/faas_slot.c'
QUEUE = 'ngx_faas_module/ngx_http_faas_queue.c'
PATROL = 'worker/patrol.c'
POOL = 'worker/pool.c'
REPORT = 'worker/report.c'
WORKER = 'tests/model/worker.c'

# name, scenario, source, what is there, what it becomes
MUTANTS = [
    ('a slot is taken without compare-and-swap', 'one slot', SLOT,
     'if (!atomic_compare_exchange_strong(&s->word, &word, next)) {',
     'atomic_store(&s->word, next);\n    if (0) {'),

    ('the generation does not rise', 'timeout', SLOT,
     'generation = faas_slot_generation(atomic_load(&s->word)) + 1;',
     'generation = faas_slot_generation(atomic_load(&s->word));'),

    ('a hint that was cleared is not put back', 'client goes away', SLOT,
     'atomic_fetch_or(hint, bit);\n\n    if (faas_slot_found',
     'if (faas_slot_found'),

    ('nobody is told of a hint that was put back', 'client goes away', SLOT,
     'if (faas_slot_found != NULL) {', 'if (0) {'),

    ('no look after it has said that it waits', 'one slot', QUEUE,
     'ngx_http_faas_queue_serve(fifo);\n\n    if (!ctx->waiting) {',
     'if (!ctx->waiting) {'),

    ('it does not say that it waits', 'one slot', QUEUE,
     'atomic_fetch_or(word, bit);', '(void) word;'),

    ('it goes on saying that it waits', 'one slot', QUEUE,
     'atomic_fetch_and(word, ~bit);', '(void) word;'),

    ('who lets go of a slot wakes nobody', 'one slot', QUEUE,
     'ctx->word, FAAS_SLOT_HANDED, other) == FAAS_OK) {'
     ' ngx_http_faas_host_wake(other);',
     'ctx->word, FAAS_SLOT_HANDED, other) == FAAS_OK)\n    {'),

    ('what was handed over is not passed on', 'client goes away', QUEUE,
     'while (faas_slot_take_handed(sb, version, ngx_http_faas_host.worker,',
     'while (0 && faas_slot_take_handed(sb, version,'
     ' ngx_http_faas_host.worker,'),

    ('the kick is taken back after the figures', 'cold', POOL,
     'atomic_store(&f->sh->kick, 0); memset(&in, 0, sizeof(in));'
     ' pool_figures(f, &in);',
     'memset(&in, 0, sizeof(in));\n    pool_figures(f, &in);\n'
     '    atomic_store(&f->sh->kick, 0);'),

    ('an instance that is ready wakes nobody', 'cold', REPORT,
     '{ supervisor_wake(w); }', '{\n            (void) w;\n        }'),

    ("a dead worker's slots stay its own", 'worker dies', PATROL,
     'if (faas_slot_orphan(supervisor.board, s->index, worker) != FAAS_OK)',
     'if (1)'),

    ('what a dead worker was handed stays there', 'worker dies', PATROL,
     'if (s->handed != word) {', 'if (1) {'),

    ('hints are not mended after a restart', 'supervisor dies', POOL,
     '(void) faas_slot_orphan(supervisor.board, s->index, FAAS_WORKER_NONE);',
     '(void) 0;'),

    ('nobody is woken after a restart', 'supervisor dies', POOL,
     'if (state == FAAS_SLOT_IDLE) {', 'if (0) {'),

    ('who connects does not look at the word again', 'instance dies', WORKER,
     'if (atomic_load(&faas_scoreboard_slot(model.board, ctx->slot)->word)'
     ' != ctx->word)', 'if (0)'),
]

C = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-g', '-fPIC',
     '-fvisibility=hidden', '-ffunction-sections', '-fdata-sections',
     '-ftrivial-auto-var-init=zero', '-fno-stack-protector', '-Wall',
     '-Wextra', '-Werror', '-Iscoreboard', '-Ibase', '-Iworker',
     '-Ingx_faas_module', '-Itests/model']
PROCESS = ['-include', 'tests/model/points.h', '-shared', '-Wl,-Bsymbolic',
           '-Wl,-z,now', '-Wl,-z,relro', '-Wl,-z,defs', '-Wl,--gc-sections']
BOARD = ['scoreboard/faas_slot.c', 'scoreboard/faas_scoreboard.c']
INCLUDED = ['src/core', 'src/event', 'src/event/modules', 'src/os/unix',
            'objs', 'src/http', 'src/http/modules', 'src/http/v2']


def compile(cc, out, sources, options, changed):
    sources = [changed.get(s, s) for s in sources]

    subprocess.run(cc + C + options + ['-o', out] + sources
                   + (['-ldl'] if '-shared' not in options else []),
                   cwd=TREE, check=True)


def build(cc, nginx, out, changed):
    """the processes of the model, with some sources in other versions"""

    os.makedirs(out, exist_ok=True)

    # two copies are two processes, each with memory of its own
    compile(cc, f'{out}/worker0.so', [WORKER, QUEUE] + BOARD,
            PROCESS + [f'-I{nginx}/{d}' for d in INCLUDED], changed)
    shutil.copy(f'{out}/worker0.so', f'{out}/worker1.so')

    compile(cc, f'{out}/supervisor.so',
            ['tests/model/supervisor.c', POOL, PATROL, REPORT] + BOARD,
            PROCESS, changed)


def explore(explorer, out, scenario):
    return subprocess.run([explorer, f'{out}/worker0.so', f'{out}/worker1.so',
                           f'{out}/supervisor.so']
                          + ([scenario] if scenario else []),
                          stdout=subprocess.PIPE, text=True, check=False)


def words(text):
    """a pattern for text, whatever blanks are in it"""

    return r'\s+'.join(re.escape(w) for w in text.split())


def mutate(out, source, there, becomes):
    """the source with one change, as a file in out"""

    with open(f'{TREE}/{source}', encoding='utf-8') as f:
        text, n = re.subn(words(there), lambda m: becomes, f.read())

    if n != 1:
        sys.exit(f'model: {source} has {n} times what a mutant changes:\n'
                 f'{there}')

    os.makedirs(out, exist_ok=True)
    name = f'{out}/{os.path.basename(source)}'

    with open(name, 'w', encoding='utf-8') as f:
        f.write(text)

    return name


def main():
    out, nginx, cc, names = (os.path.abspath(sys.argv[1]),
                             os.path.abspath(sys.argv[2]),
                             sys.argv[3].split(), sys.argv[4:])
    explorer = f'{out}/explore'
    passed = failed = 0

    build(cc, nginx, out, {})
    compile(cc, explorer, ['tests/model/explore.c'] + BOARD, [], {})

    listed = explore(explorer, out, 'list').stdout.splitlines()

    for scenario in listed:
        if names and scenario not in names:
            continue

        p = explore(explorer, out, scenario)
        print(p.stdout, end='', flush=True)
        passed += p.returncode == 0
        failed += p.returncode != 0

    for name, scenario, source, there, becomes in MUTANTS:
        if names and name not in names:
            continue

        build(cc, nginx, f'{out}/mutant',
              {source: mutate(f'{out}/mutant', source, there, becomes)})

        p = explore(explorer, f'{out}/mutant', scenario)
        found = p.returncode == 1 and 'FAILED: ' in p.stdout
        says = p.stdout.splitlines()[0].split(': ')[-1] if found else ''

        print(f'model: mutant: {name}: '
              + (f'found: {says}' if found else 'NOT FOUND'), flush=True)
        passed += found
        failed += not found

    print(f'{passed} passed, {failed} failed')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
