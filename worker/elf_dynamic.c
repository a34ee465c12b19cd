
/*
 * The dynamic section, and what it leads to: strings, hash tables, symbols,
 * relocations, functions that are called at load.  All of them have to be in
 * the file and the segments, lists have to end, and the descriptor has to be
 * among the symbols.
 */


#include <inttypes.h>
#include <string.h>

#include "elf_file.h"


#define ELF_SYMBOL        "faas_function"
#define ELF_SYMBOL_SIZE   16           /* abi, size, handler */

/* words of the GNU hash table read at once */
#define ELF_WORDS         1024


/* a table of fixed entries that the loader walks */

typedef struct {
    const char               *name;
    unsigned int              address;     /* DT_ */
    unsigned int              size;        /* DT_, in bytes */
    unsigned int              entry;       /* bytes */
} elf_table_t;


static int elf_dynamic_section(elf_t *e);
static int elf_dynamic_entry(elf_t *e, const void *entry, uint64_t i);
static int elf_dynamic_strings(elf_t *e);
static int elf_dynamic_string(elf_t *e, const void *entry, uint64_t i);
static int elf_dynamic_tables(elf_t *e);
static int elf_dynamic_functions(elf_t *e);
static int elf_dynamic_hash(elf_t *e);
static int elf_dynamic_hash_value(elf_t *e, const void *entry, uint64_t i);
static int elf_dynamic_gnu_hash(elf_t *e);
static int elf_dynamic_symbols(elf_t *e);
static int elf_dynamic_symbol(elf_t *e, const void *entry, uint64_t i);
static int elf_dynamic_is_named(elf_t *e, const Elf64_Sym *symbol);
static int elf_dynamic_relocations(elf_t *e);
static int elf_dynamic_relocation(elf_t *e, const void *entry, uint64_t i);


static const elf_table_t  elf_table[] = {
    { "relocations", DT_RELA, DT_RELASZ, sizeof(Elf64_Rela) },
    { "jump relocations", DT_JMPREL, DT_PLTRELSZ, sizeof(Elf64_Rela) },
    { "constructors", DT_INIT_ARRAY, DT_INIT_ARRAYSZ, sizeof(Elf64_Addr) },
    { "destructors", DT_FINI_ARRAY, DT_FINI_ARRAYSZ, sizeof(Elf64_Addr) },
#ifdef DT_RELR
    { "relative relocations", DT_RELR, DT_RELRSZ, sizeof(Elf64_Relr) }
#endif
};

#define ELF_TABLES  (sizeof(elf_table) / sizeof(elf_table[0]))


int
elf_dynamic_check(elf_t *e)
{
    if (elf_dynamic_section(e) != 0
        || elf_dynamic_strings(e) != 0
        || elf_dynamic_tables(e) != 0
        || elf_dynamic_functions(e) != 0
        || elf_dynamic_hash(e) != 0
        || elf_dynamic_gnu_hash(e) != 0
        || elf_dynamic_symbols(e) != 0
        || elf_dynamic_relocations(e) != 0)
    {
        return -1;
    }

    return 0;
}


static int
elf_dynamic_section(elf_t *e)
{
    int  rc;

    rc = elf_each(e, e->dynamic->p_offset,
                  e->dynamic->p_filesz / sizeof(Elf64_Dyn), sizeof(Elf64_Dyn),
                  elf_dynamic_entry);

    if (rc == -1) {
        return -1;
    }

    if (rc != ELF_FOUND) {
        return elf_why(e, "damaged: the dynamic section has no end");
    }

    if (e->flags_1 & DF_1_PIE) {
        return elf_why(e, "an executable, not a shared object: link it with"
                       " cc -shared");
    }

    if (e->tag[DT_SYMTAB] == 0 || e->tag[DT_STRTAB] == 0
        || (e->gnu_hash == 0 && e->tag[DT_HASH] == 0))
    {
        return elf_why(e, "damaged: the dynamic section names no symbols,"
                       " strings or hash table");
    }

    if (e->tag[DT_SYMENT] != sizeof(Elf64_Sym)
        || (e->tag[DT_RELA] != 0
            && e->tag[DT_RELAENT] != sizeof(Elf64_Rela))
        || (e->tag[DT_JMPREL] != 0 && e->tag[DT_PLTREL] != DT_RELA)
        || e->tag[DT_REL] != 0)
    {
        return elf_why(e, "damaged: sizes of entries in the dynamic section");
    }

    return 0;
}


static int
elf_dynamic_entry(elf_t *e, const void *entry, uint64_t i)
{
    const Elf64_Dyn  *d;

    (void) i;

    d = entry;

    switch (d->d_tag) {

    case DT_NULL:
        return ELF_FOUND;

    case DT_GNU_HASH:
        e->gnu_hash = d->d_un.d_ptr;
        break;

    case DT_VERSYM:
        e->versym = d->d_un.d_ptr;
        break;

    case DT_RELACOUNT:
        e->relatives = d->d_un.d_val;
        break;

    case DT_FLAGS_1:
        e->flags_1 = d->d_un.d_val;
        break;

    default:
        if (d->d_tag > 0 && d->d_tag < DT_NUM) {
            e->tag[d->d_tag] = d->d_un.d_val;
        }

        break;
    }

    return 0;
}


/* the string table, and what the dynamic section takes from it */

static int
elf_dynamic_strings(elf_t *e)
{
    int       rc;
    char      last;
    uint64_t  n;

    n = e->tag[DT_STRSZ];

    if (n == 0 || elf_offset(e, e->tag[DT_STRTAB], n, &e->strtab) != 0) {
        return elf_why(e, "damaged: the string table is not inside the"
                       " segments");
    }

    if (elf_read(e, e->strtab + n - 1, &last, 1) != 0) {
        return -1;
    }

    if (last != '\0') {
        return elf_why(e, "damaged: the string table does not end with a"
                       " zero");
    }

    rc = elf_each(e, e->dynamic->p_offset,
                  e->dynamic->p_filesz / sizeof(Elf64_Dyn), sizeof(Elf64_Dyn),
                  elf_dynamic_string);

    return (rc == -1) ? -1 : 0;
}


static int
elf_dynamic_string(elf_t *e, const void *entry, uint64_t i)
{
    const Elf64_Dyn  *d;

    d = entry;

    switch (d->d_tag) {

    case DT_NULL:
        return ELF_FOUND;

    case DT_NEEDED:
    case DT_SONAME:
    case DT_RPATH:
    case DT_RUNPATH:
    case DT_AUXILIARY:
    case DT_FILTER:
        if (d->d_un.d_val >= e->tag[DT_STRSZ]) {
            return elf_why(e, "damaged: entry %" PRIu64 " of the dynamic"
                           " section names no string", i);
        }

        break;

    default:
        break;
    }

    return 0;
}


static int
elf_dynamic_tables(elf_t *e)
{
    size_t              i;
    uint64_t            n, address, offset;
    const elf_table_t  *t;

    for (i = 0; i < ELF_TABLES; i++) {
        t = &elf_table[i];

        address = e->tag[t->address];
        n = e->tag[t->size];

        if (address == 0 || n == 0) {
            continue;
        }

        if (n % t->entry != 0 || elf_offset(e, address, n, &offset) != 0) {
            return elf_why(e, "damaged: the table of %s is not inside the"
                           " segments", t->name);
        }
    }

    return 0;
}


/* what is called at load and unload */

static int
elf_dynamic_functions(elf_t *e)
{
    size_t  i;

    static const int  tag[] = { DT_INIT, DT_FINI };

    for (i = 0; i < 2; i++) {
        if (e->tag[tag[i]] != 0
            && !elf_is_mapped(e, e->tag[tag[i]], 1, PF_X))
        {
            return elf_why(e, "damaged: the %s function is not inside the"
                           " code", (tag[i] == DT_INIT) ? "init" : "fini");
        }
    }

    return 0;
}


static int
elf_dynamic_hash(elf_t *e)
{
    uint64_t  n, offset;
    uint32_t  head[2];             /* buckets, chains (one for each symbol) */

    if (e->tag[DT_HASH] == 0) {
        return 0;
    }

    if (elf_offset(e, e->tag[DT_HASH], sizeof(head), &offset) != 0) {
        goto damaged;
    }

    if (elf_read(e, offset, head, sizeof(head)) != 0) {
        return -1;
    }

    n = (uint64_t) head[0] + head[1];

    if (head[0] == 0
        || elf_offset(e, e->tag[DT_HASH], (n + 2) * sizeof(uint32_t), &offset)
           != 0)
    {
        goto damaged;
    }

    e->nsymbols = head[1];

    return elf_each(e, offset + sizeof(head), n, sizeof(uint32_t),
                    elf_dynamic_hash_value);

damaged:

    return elf_why(e, "damaged: the hash table is not inside the segments");
}


static int
elf_dynamic_hash_value(elf_t *e, const void *entry, uint64_t i)
{
    uint32_t  value;

    (void) i;

    memcpy(&value, entry, sizeof(value));

    if (value != 0 && value >= e->nsymbols) {
        return elf_why(e, "damaged: the hash table names no symbol");
    }

    return 0;
}


/*
 * nbuckets, first symbol, words of the bloom filter, its shift; the filter;
 * the buckets; a word for each symbol from the first on, of which bit 0 tells
 * the last one of a chain.  All chains end at the latest where the one that
 * begins last does, and there the symbols end too.
 */

static int
elf_dynamic_gnu_hash(elf_t *e)
{
    size_t    i, count;
    uint32_t  head[4], last, chunk[ELF_WORDS];
    uint64_t  n, done, address, offset;

    if (e->gnu_hash == 0) {
        return 0;
    }

    if (elf_offset(e, e->gnu_hash, sizeof(head), &offset) != 0) {
        goto damaged;
    }

    if (elf_read(e, offset, head, sizeof(head)) != 0) {
        return -1;
    }

    if (head[0] == 0 || head[2] == 0 || (head[2] & (head[2] - 1)) != 0
        || head[3] >= 64)
    {
        goto damaged;
    }

    address = e->gnu_hash + sizeof(head) + (uint64_t) head[2] * 8;
    n = (uint64_t) head[0] * sizeof(uint32_t);

    if (elf_offset(e, e->gnu_hash, address - e->gnu_hash + n, &offset) != 0
        || elf_offset(e, address, n, &offset) != 0)
    {
        goto damaged;
    }

    last = 0;

    for (done = 0; done < head[0]; done += count) {
        count = ELF_WORDS;

        if (count > head[0] - done) {
            count = (size_t) (head[0] - done);
        }

        if (elf_read(e, offset + done * sizeof(uint32_t), chunk,
                     count * sizeof(uint32_t))
            != 0)
        {
            return -1;
        }

        for (i = 0; i < count; i++) {

            if (chunk[i] != 0 && chunk[i] < head[1]) {
                goto damaged;
            }

            if (chunk[i] > last) {
                last = chunk[i];
            }
        }
    }

    if (last == 0) {

        /* nothing is exported */

        if (head[1] > e->nsymbols) {
            e->nsymbols = head[1];
        }

        return 0;
    }

    address += n + (uint64_t) (last - head[1]) * sizeof(uint32_t);

    do {
        if (elf_offset(e, address, sizeof(uint32_t), &offset) != 0) {
            goto damaged;
        }

        if (elf_read(e, offset, chunk, sizeof(uint32_t)) != 0) {
            return -1;
        }

        address += sizeof(uint32_t);
        last++;

    } while (!(chunk[0] & 1));

    if (last > e->nsymbols) {
        e->nsymbols = last;
    }

    return 0;

damaged:

    return elf_why(e, "damaged: the GNU hash table is not inside the"
                   " segments");
}


static int
elf_dynamic_symbols(elf_t *e)
{
    uint64_t  offset;

    if (elf_offset(e, e->tag[DT_SYMTAB], e->nsymbols * sizeof(Elf64_Sym),
                   &e->symtab)
        != 0)
    {
        return elf_why(e, "damaged: the symbol table is not inside the"
                       " segments");
    }

    if (e->versym != 0
        && elf_offset(e, e->versym, e->nsymbols * sizeof(Elf64_Half), &offset)
           != 0)
    {
        return elf_why(e, "damaged: the symbols' versions are not inside the"
                       " segments");
    }

    if (elf_each(e, e->symtab, e->nsymbols, sizeof(Elf64_Sym),
                 elf_dynamic_symbol)
        != 0)
    {
        return -1;
    }

    if (!e->described) {
        return elf_why(e, "no descriptor: the symbol " ELF_SYMBOL " is not"
                       " exported, FAAS_FUNCTION(...) defines it");
    }

    return 0;
}


static int
elf_dynamic_symbol(elf_t *e, const void *entry, uint64_t i)
{
    int               rc;
    const Elf64_Sym  *s;

    s = entry;

    if (s->st_name >= e->tag[DT_STRSZ]) {
        return elf_why(e, "damaged: symbol %" PRIu64 " has no name", i);
    }

    if (s->st_shndx == SHN_UNDEF || s->st_name == 0) {
        return 0;
    }

    rc = elf_dynamic_is_named(e, s);

    if (rc != ELF_FOUND) {
        return rc;
    }

    if (ELF64_ST_TYPE(s->st_info) != STT_OBJECT
        || ELF64_ST_BIND(s->st_info) == STB_LOCAL
        || s->st_shndx == SHN_ABS)
    {
        return elf_why(e, "no descriptor: " ELF_SYMBOL " is not an exported"
                       " object, FAAS_FUNCTION(...) defines one");
    }

    if (s->st_size < ELF_SYMBOL_SIZE) {
        return elf_why(e, "no descriptor: " ELF_SYMBOL " has %" PRIu64
                       " bytes only", (uint64_t) s->st_size);
    }

    if (!elf_is_mapped(e, s->st_value, s->st_size, 0)) {
        return elf_why(e, "damaged: " ELF_SYMBOL " is not inside the"
                       " segments");
    }

    e->described = 1;

    return 0;
}


static int
elf_dynamic_is_named(elf_t *e, const Elf64_Sym *symbol)
{
    char  name[sizeof(ELF_SYMBOL)];

    if (e->tag[DT_STRSZ] - symbol->st_name < sizeof(name)) {
        return 0;
    }

    if (elf_read(e, e->strtab + symbol->st_name, name, sizeof(name)) != 0) {
        return -1;
    }

    return (memcmp(name, ELF_SYMBOL, sizeof(name)) == 0) ? ELF_FOUND : 0;
}


static int
elf_dynamic_relocations(elf_t *e)
{
    size_t    i;
    uint64_t  n, offset;

    /* the first two tables are relocations */

    for (i = 0; i < 2; i++) {
        n = e->tag[elf_table[i].size] / sizeof(Elf64_Rela);

        if (e->tag[elf_table[i].address] == 0) {
            n = 0;
        }

        if (i == 1) {
            e->relatives = 0;

        } else if (e->relatives > n) {
            return elf_why(e, "damaged: fewer relocations than counted");
        }

        if (n == 0) {
            continue;
        }

        if (elf_offset(e, e->tag[elf_table[i].address],
                       n * sizeof(Elf64_Rela), &offset)
            != 0)
        {
            return elf_why(e, "damaged: the table of %s is not inside the"
                           " segments", elf_table[i].name);
        }

        if (elf_each(e, offset, n, sizeof(Elf64_Rela),
                     elf_dynamic_relocation)
            != 0)
        {
            return -1;
        }
    }

    return 0;
}


static int
elf_dynamic_relocation(elf_t *e, const void *entry, uint64_t i)
{
    const Elf64_Rela  *r;

    r = entry;

    if (i < e->relatives && ELF64_R_TYPE(r->r_info) != ELF_RELATIVE) {
        return elf_why(e, "damaged: relocation %" PRIu64 " is not relative",
                       i);
    }

    /* type 0 is none, on every machine */

    if (ELF64_R_TYPE(r->r_info) == 0) {
        return 0;
    }

    if (!elf_is_mapped(e, r->r_offset, 1, 0)
        || ELF64_R_SYM(r->r_info) >= e->nsymbols + (e->nsymbols == 0))
    {
        return elf_why(e, "damaged: relocation %" PRIu64 " is of no symbol or"
                       " place in the segments", i);
    }

    return 0;
}
