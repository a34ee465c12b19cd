
/*
 * wordcount: counts the words of the text that is posted, and says which
 * language it is in.
 *
 *     curl --data-binary @book.txt 'http://127.0.0.1:8080/fn/wordcount?top=5'
 *
 *     {"bytes":17,"lines":1,"words":4,"distinct":3,"language":"en",
 *      "top":[{"word":"harbour","count":2}]}
 *
 * `top` is how many of the most frequent words are listed (0 to 100, default
 * 10); the commonest words of the language itself ("the", "and") are not
 * among them.
 *
 * Resident.  The language is told by a model that is made once, in init:
 * for each sequence of three letters, the logarithm of the probability of
 * each possible fourth one, in eight languages.  That is 32^4 * 8 floats,
 * 32 MiB, learnt from the 80 commonest words of each language.  The template
 * makes it and makes it read-only; every instance is a fork and reads the
 * same pages, so an instance more costs none of it.
 *
 *     400  not UTF-8, a bad `top`
 *     405  neither POST nor PUT
 *     413  over 16 MiB
 *     415  not text
 */


#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <wctype.h>

#include <faas.h>


#define WORDCOUNT_BYTES      (16 * 1024 * 1024)
#define WORDCOUNT_TOP        10
#define WORDCOUNT_TOP_MAX    100
#define WORDCOUNT_WORD       64         /* bytes of a word that are told
                                           apart; words may be longer */

#define WORDCOUNT_LANGUAGES  8
#define WORDCOUNT_SYMBOLS    32
#define WORDCOUNT_CONTEXTS   (WORDCOUNT_SYMBOLS * WORDCOUNT_SYMBOLS           \
                              * WORDCOUNT_SYMBOLS)
#define WORDCOUNT_GRAMS      (WORDCOUNT_CONTEXTS * WORDCOUNT_SYMBOLS)
#define WORDCOUNT_SURE       12         /* letters that a guess needs */


/* for each sequence of four symbols, log2 of the probability of the last one
   after the other three, in each language */

typedef struct {
    float                 log[WORDCOUNT_GRAMS][WORDCOUNT_LANGUAGES];
} wordcount_model_t;


/* A language and its commonest words, most frequent first, in lower case. */

typedef struct {
    const char           *code;         /* ISO 639-1 */
    const char           *words;
} wordcount_language_t;


/* A word of the text, folded to lower case; in the hash table of its text. */

typedef struct {
    unsigned              count;        /* 0: the place is empty */
    unsigned              hash;
    unsigned              length;       /* bytes */
    char                  text[WORDCOUNT_WORD];
} wordcount_word_t;


/* one text being counted; made and freed by wordcount() */

typedef struct {
    wordcount_word_t     *words;        /* of size places, a power of two */
    size_t                size;
    size_t                distinct;
    unsigned long long    total;
    unsigned long long    lines;
    unsigned long long    letters;      /* that the model has seen */
    double                score[WORDCOUNT_LANGUAGES];
} wordcount_text_t;


static int wordcount_fail(faas_request_t *r, int status, const char *text);
static int wordcount_is_text(const char *type);
static int wordcount_top(faas_request_t *r);
static int wordcount_count(wordcount_text_t *text, const char *p, size_t n);
static int wordcount_decode(const unsigned char *p, size_t n,
    unsigned *code);
static void wordcount_append(char *word, size_t *used, unsigned code);
static int wordcount_add(wordcount_text_t *text, const char *word,
    size_t length);
static int wordcount_grow(wordcount_text_t *text);
static wordcount_word_t *wordcount_place(wordcount_text_t *text,
    const char *word, size_t length, unsigned hash);
static void wordcount_score(wordcount_text_t *text, const char *word,
    size_t length);
static int wordcount_guess(const wordcount_text_t *text);
static int wordcount_answer(faas_request_t *r, wordcount_text_t *text,
    size_t bytes, int top);
static int wordcount_is_common(int language, const wordcount_word_t *word);
static int wordcount_compare(const void *one, const void *two);
static int wordcount_init(void);
static void wordcount_learn(int language, float *counts);
static unsigned wordcount_symbol(unsigned code);


static const wordcount_language_t  wordcount_languages[] = {

    { "en", "the of and to in a is that for it as was with be by on not he "
            "his but at are this have from or had an they which one you "
            "were all her she there would their we him been has when who "
            "will no more if out so up said what its about than into them "
            "can only other time new some could these two may first then "
            "do any like my now over such our man me even most made after "
            "also" },

    { "de", "der die und in den von zu das mit sich des auf für ist im "
            "dem nicht ein eine als auch es an werden aus er hat dass sie "
            "nach wird bei einer um am sind noch wie einem über einen so "
            "zum war haben nur oder aber vor zur bis mehr durch man sein "
            "wurde sei ich ihr wenn kann doch schon wir unter gegen jahre "
            "vom können ihre zwei ohne dieser diese immer seine mir alle "
            "wieder uns" },

    { "fr", "de la le et les des en un du une que est pour qui dans a par "
            "plus pas au sur ne se ce il sont avec ou son aux elle nous "
            "mais cette je comme été sa tout fait ses deux même être "
            "leur on ont leurs aussi entre après sans peut temps très "
            "ces encore vous avait bien autres où dont faire moins si "
            "avant c'est était toujours jour jamais fois rien chez sous "
            "autre ans notre" },

    { "es", "de la que el en y a los se del las un por con no una su para "
            "es al lo como más o pero sus le ha me si sin sobre este ya "
            "entre cuando todo esta ser son dos también fue había era "
            "muy años hasta desde está mi porque qué sólo han yo hay "
            "vez puede todos así nos ni parte tiene él uno donde bien "
            "tiempo mismo ese ahora cada vida otro después te otros "
            "aunque esa eso hace" },

    { "it", "di e il la che in a per un del non è con le si una da i "
            "della al sono come dei nel alla più anche ma lo gli ha delle "
            "se su questo ci dal o mi questa quando loro io stato era "
            "degli molto tutti essere due prima suo dopo anni fatto cui "
            "dalla nella ai stata lui perché cosa solo senza sua così "
            "tra fra ancora hanno tutto ogni quello parte altri sempre "
            "dove bene poi già qui" },

    { "pt", "de a o que e do da em um para é com não uma os no se na por "
            "mais as dos como mas foi ao ele das tem à seu sua ou ser "
            "quando muito há nos já está eu também só pelo pela até "
            "isso ela entre era depois sem mesmo aos ter seus quem nas me "
            "esse eles estão você tinha foram essa num nem suas meu às "
            "minha têm numa pelos elas havia seja qual será nós tenho "
            "lhe deles essas esses anos" },

    { "nl", "de van het een en in is dat op te zijn voor met die niet aan "
            "er om ook als dan maar bij of uit nog naar heeft hij ik door "
            "over ze wordt tot je werd wel geen jaar was worden kan hebben "
            "deze veel meer mensen moet haar zich al zo we dit hun mijn "
            "wat had waar nu zou hem tegen onder wil daar na twee alle "
            "goed maken men iets wij andere tijd leven toen omdat zonder "
            "zeer hoe ons" },

    { "sv", "och i att det som en på är av för med till den har de inte "
            "om ett han men var jag sig från vi så kan man när år "
            "säger hon under också efter eller nu sin där vid mot ska "
            "skulle kommer ut får finns vara hade alla andra mycket än "
            "här då sedan över bara in blir upp även vad få två vill "
            "ha många hur mer går sverige detta nya procent skall hans "
            "utan sina något svenska allt ingen" }
};


static const wordcount_model_t  *wordcount_model;
static locale_t                  wordcount_locale;


static int
wordcount(faas_request_t *r)
{
    int               rc, top;
    size_t            n;
    const char       *method, *body;
    wordcount_text_t  text;

    method = faas_method(r);

    if (strcmp(method, "POST") != 0 && strcmp(method, "PUT") != 0) {
        faas_header_set(r, "Allow", "POST, PUT");
        return wordcount_fail(r, 405, "post the text to count");
    }

    if (!wordcount_is_text(faas_header(r, "Content-Type"))) {
        return wordcount_fail(r, 415, "post plain text");
    }

    top = wordcount_top(r);
    if (top == -1) {
        return wordcount_fail(r, 400, "top is a number, 0 to 100");
    }

    if (faas_content_length(r) > WORDCOUNT_BYTES) {
        return wordcount_fail(r, 413, "more than 16 MiB");
    }

    body = faas_body(r, WORDCOUNT_BYTES, &n);
    if (body == NULL) {
        return wordcount_fail(r, 400, "the body could not be read");
    }

    memset(&text, 0, sizeof(wordcount_text_t));

    rc = wordcount_grow(&text);

    if (rc == FAAS_OK) {
        rc = wordcount_count(&text, body, n);

        if (rc > 0) {
            rc = wordcount_fail(r, rc, "not UTF-8");

        } else if (rc == FAAS_OK) {
            rc = wordcount_answer(r, &text, n, top);
        }
    }

    free(text.words);

    return rc;
}


static int
wordcount_fail(faas_request_t *r, int status, const char *text)
{
    faas_status(r, status);
    faas_header_set(r, "Content-Type", "text/plain");

    return faas_printf(r, "%s\n", text);
}


/* what says that it is a picture or an archive is not counted; "form" is
   what curl says when it is told nothing */

static int
wordcount_is_text(const char *type)
{
    return type == NULL || *type == '\0'
           || strncasecmp(type, "text/", 5) == 0
           || strncasecmp(type, "application/octet-stream", 24) == 0
           || strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0;
}


static int
wordcount_top(faas_request_t *r)
{
    int          n;
    const char  *p;

    p = faas_query(r, "top", NULL);

    if (p == NULL) {
        return WORDCOUNT_TOP;
    }

    if (*p == '\0') {
        return -1;
    }

    for (n = 0; *p >= '0' && *p <= '9' && n <= WORDCOUNT_TOP_MAX; p++) {
        n = n * 10 + (*p - '0');
    }

    return (*p == '\0' && n <= WORDCOUNT_TOP_MAX) ? n : -1;
}


/*
 * A word is a run of letters and digits; apostrophes inside belong to it.
 * 0; negative when memory is short; 400 when the text is not UTF-8.
 */

static int
wordcount_count(wordcount_text_t *text, const char *p, size_t n)
{
    int       length;
    char      word[WORDCOUNT_WORD];
    size_t    used;
    unsigned  code, apostrophe;

    used = 0;
    apostrophe = 0;

    for ( ;; ) {

        code = 0;
        length = 0;

        if (n > 0) {
            length = wordcount_decode((const unsigned char *) p, n, &code);
            if (length == 0) {
                return 400;
            }
        }

        if (n > 0 && iswalnum_l((wint_t) code, wordcount_locale)) {

            if (apostrophe) {
                wordcount_append(word, &used, '\'');
                apostrophe = 0;
            }

            code = (unsigned) towlower_l((wint_t) code, wordcount_locale);
            wordcount_append(word, &used, code);

        } else if (used > 0 && (code == '\'' || code == 0x2019)
                   && !apostrophe)
        {
            apostrophe = 1;

        } else {

            if (used > 0 && wordcount_add(text, word, used) != FAAS_OK) {
                return FAAS_ERROR;
            }

            used = 0;
            apostrophe = 0;

            if (code == '\n') {
                text->lines++;
            }
        }

        if (n == 0) {
            return FAAS_OK;
        }

        p += length;
        n -= (size_t) length;
    }
}


/* the code point at p, and its length in bytes; 0: not UTF-8 (RFC 3629) */

static int
wordcount_decode(const unsigned char *p, size_t n, unsigned *code)
{
    int       i, length;
    unsigned  c;

    static const unsigned  least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    c = *p;

    if (c < 0x80) {
        *code = c;
        return 1;
    }

    if (c < 0xc2 || c > 0xf4) {
        return 0;
    }

    length = (c >= 0xf0) ? 4 : (c >= 0xe0) ? 3 : 2;
    c &= 0x7fu >> length;

    if ((size_t) length > n) {
        return 0;
    }

    for (i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0;
    }

    *code = c;

    return length;
}


/* what does not fit whole is left out: words are told apart by their first
   WORDCOUNT_WORD bytes */

static void
wordcount_append(char *word, size_t *used, unsigned code)
{
    int     i, more;
    size_t  n;

    static const unsigned char  lead[] = { 0, 0xc0, 0xe0, 0xf0 };

    more = (code >= 0x10000) ? 3 : (code >= 0x800) ? 2 : (code >= 0x80);
    n = *used;

    if (n + 1 + (size_t) more > WORDCOUNT_WORD) {
        return;
    }

    word[n++] = (char) (lead[more] | code >> 6 * more);

    for (i = more - 1; i >= 0; i--) {
        word[n++] = (char) (0x80 | (code >> 6 * i & 0x3f));
    }

    *used = n;
}


/* -- the words of a text --------------------------------------------------- */

static int
wordcount_add(wordcount_text_t *text, const char *word, size_t length)
{
    size_t             i;
    unsigned           hash;
    wordcount_word_t  *place;

    /* FNV-1a */

    hash = 2166136261u;

    for (i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char) word[i]) * 16777619u;
    }

    place = wordcount_place(text, word, length, hash);

    if (place->count == 0) {

        if (text->distinct >= text->size / 2) {
            if (wordcount_grow(text) != FAAS_OK) {
                return FAAS_ERROR;
            }

            place = wordcount_place(text, word, length, hash);
        }

        place->hash = hash;
        place->length = (unsigned) length;
        memcpy(place->text, word, length);
        text->distinct++;
    }

    place->count++;
    text->total++;

    wordcount_score(text, word, length);

    return FAAS_OK;
}


static int
wordcount_grow(wordcount_text_t *text)
{
    size_t            i;
    wordcount_text_t  larger;

    larger = *text;
    larger.size = text->size ? text->size * 2 : 1024;
    larger.words = calloc(larger.size, sizeof(wordcount_word_t));

    if (larger.words == NULL) {
        return FAAS_ERROR;
    }

    for (i = 0; i < text->size; i++) {
        if (text->words[i].count) {
            *wordcount_place(&larger, text->words[i].text,
                             text->words[i].length, text->words[i].hash)
                = text->words[i];
        }
    }

    free(text->words);
    *text = larger;

    return FAAS_OK;
}


/* where the word is, or would be: the table is never full */

static wordcount_word_t *
wordcount_place(wordcount_text_t *text, const char *word, size_t length,
    unsigned hash)
{
    size_t             i;
    wordcount_word_t  *place;

    for (i = hash; /* void */ ; i++) {
        place = &text->words[i & (text->size - 1)];

        if (place->count == 0
            || (place->hash == hash && place->length == length
                && memcmp(place->text, word, length) == 0))
        {
            return place;
        }
    }
}


static void
wordcount_score(wordcount_text_t *text, const char *word, size_t length)
{
    int           i, n;
    size_t        at;
    unsigned      code, gram;
    const float  *log;

    gram = 0;

    for (at = 0; at < length; at += (size_t) n) {

        n = wordcount_decode((const unsigned char *) word + at, length - at,
                             &code);

        gram = (gram * WORDCOUNT_SYMBOLS + wordcount_symbol(code))
               % WORDCOUNT_GRAMS;

        log = wordcount_model->log[gram];

        for (i = 0; i < WORDCOUNT_LANGUAGES; i++) {
            text->score[i] += (double) log[i];
        }

        text->letters++;
    }

    /* and the end of the word */

    log = wordcount_model->log[gram * WORDCOUNT_SYMBOLS % WORDCOUNT_GRAMS];

    for (i = 0; i < WORDCOUNT_LANGUAGES; i++) {
        text->score[i] += (double) log[i];
    }
}


static int
wordcount_guess(const wordcount_text_t *text)
{
    int  i, best;

    if (text->letters < WORDCOUNT_SURE) {
        return -1;
    }

    best = 0;

    for (i = 1; i < WORDCOUNT_LANGUAGES; i++) {
        if (text->score[i] > text->score[best]) {
            best = i;
        }
    }

    return best;
}


/* words hold letters, digits and apostrophes, so JSON needs no escapes */

static int
wordcount_answer(faas_request_t *r, wordcount_text_t *text, size_t bytes,
    int top)
{
    int                language;
    size_t             i, used;
    const char        *comma;
    wordcount_word_t  *word;

    language = wordcount_guess(text);

    if (faas_header_set(r, "Content-Type", "application/json") != FAAS_OK
        || faas_printf(r, "{\"bytes\":%zu,\"lines\":%llu,\"words\":%llu,"
                       "\"distinct\":%zu,\"language\":", bytes, text->lines,
                       text->total, text->distinct)
           != FAAS_OK)
    {
        return FAAS_ERROR;
    }

    if (faas_printf(r, language == -1 ? "null%s" : "\"%s\"",
                    language == -1 ? "" : wordcount_languages[language].code)
        != FAAS_OK
        || faas_printf(r, ",\"top\":[") != FAAS_OK)
    {
        return FAAS_ERROR;
    }

    /* the used places to the front, sorted: nothing is looked up any more */

    used = 0;

    for (i = 0; i < text->size; i++) {
        word = &text->words[i];

        if (word->count && !wordcount_is_common(language, word)) {
            text->words[used++] = *word;
        }
    }

    qsort(text->words, used, sizeof(wordcount_word_t), wordcount_compare);

    comma = "";

    for (i = 0; i < used && i < (size_t) top; i++) {
        word = &text->words[i];

        if (faas_printf(r, "%s{\"word\":\"%.*s\",\"count\":%u}", comma,
                        (int) word->length, word->text, word->count)
            != FAAS_OK)
        {
            return FAAS_ERROR;
        }

        comma = ",";
    }

    return faas_printf(r, "]}\n");
}


/* is it among the words that the model was learnt from? */

static int
wordcount_is_common(int language, const wordcount_word_t *word)
{
    size_t       n;
    const char  *p;

    if (language == -1) {
        return 0;
    }

    for (p = wordcount_languages[language].words; *p; p += n) {
        p += (*p == ' ');
        n = strcspn(p, " ");

        if (n == word->length && memcmp(p, word->text, n) == 0) {
            return 1;
        }
    }

    return 0;
}


/* the more frequent first; among equals, alphabetically by bytes */

static int
wordcount_compare(const void *one, const void *two)
{
    int                      rc;
    size_t                   n;
    const wordcount_word_t  *a = one, *b = two;

    if (a->count != b->count) {
        return (a->count > b->count) ? -1 : 1;
    }

    n = (a->length < b->length) ? a->length : b->length;
    rc = memcmp(a->text, b->text, n);

    return rc ? rc : (a->length > b->length) - (a->length < b->length);
}


/* -- the model ------------------------------------------------------------- */

/*
 * Once, in the template.  The probability of a symbol after three others is
 * interpolated from what was counted after three, two, one and none, so that
 * nothing is impossible and every entry of the table has its own value.
 */

static int
wordcount_init(void)
{
    int                 i;
    float              *counts;
    wordcount_model_t  *model;

    wordcount_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t) 0);

    if (wordcount_locale == (locale_t) 0) {
        faas_log(NULL, "no locale C.UTF-8");
        return FAAS_ERROR;
    }

    model = mmap(NULL, sizeof(wordcount_model_t), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (model == MAP_FAILED) {
        faas_log(NULL, "no memory for the model");
        return FAAS_ERROR;
    }

    /* fewer page tables to copy with each fork; not vital */

    (void) madvise(model, sizeof(wordcount_model_t), MADV_HUGEPAGE);

    counts = malloc(WORDCOUNT_GRAMS * sizeof(float));

    if (counts == NULL) {
        (void) munmap(model, sizeof(wordcount_model_t));
        faas_log(NULL, "no memory to learn");
        return FAAS_ERROR;
    }

    wordcount_model = model;

    for (i = 0; i < WORDCOUNT_LANGUAGES; i++) {
        memset(counts, 0, WORDCOUNT_GRAMS * sizeof(float));
        wordcount_learn(i, counts);
    }

    free(counts);

    /* a stray write is a crash of one instance, not a wrong answer */

    if (mprotect(model, sizeof(wordcount_model_t), PROT_READ) == -1) {
        faas_log(NULL, "the model could not be made read-only");
        return FAAS_ERROR;
    }

    return FAAS_OK;
}


/*
 * Words count as Zipf's law has it: the n-th by 1/n.  counts is zeroed, and
 * holds one number for each sequence of four symbols.
 */

static void
wordcount_learn(int language, float *counts)
{
    int                 n, rank;
    float               after_1[WORDCOUNT_SYMBOLS];
    float               after_2[WORDCOUNT_SYMBOLS];
    float               after_3[WORDCOUNT_SYMBOLS];
    float               p, total_1, total_2, total_3;
    unsigned            code, gram, context, symbol, i;
    const char         *s;
    wordcount_model_t  *model;

    /* pairs and triples, by their last two and three symbols */

    static float        pairs[WORDCOUNT_SYMBOLS * WORDCOUNT_SYMBOLS];
    static float        triples[WORDCOUNT_CONTEXTS];

    memset(pairs, 0, sizeof(pairs));
    memset(triples, 0, sizeof(triples));

    model = (wordcount_model_t *) wordcount_model;
    gram = 0;
    rank = 1;

    for (s = wordcount_languages[language].words; ; s += n) {

        n = 1;
        code = 0;

        if (*s != '\0' && *s != ' ') {
            n = wordcount_decode((const unsigned char *) s, strlen(s), &code);
        }

        symbol = code ? wordcount_symbol(code) : 0;
        gram = (gram * WORDCOUNT_SYMBOLS + symbol) % WORDCOUNT_GRAMS;

        counts[gram] += 1.0f / (float) rank;
        triples[gram % WORDCOUNT_CONTEXTS] += 1.0f / (float) rank;
        pairs[gram % (WORDCOUNT_SYMBOLS * WORDCOUNT_SYMBOLS)]
            += 1.0f / (float) rank;

        if (*s == '\0') {
            break;
        }

        if (*s == ' ') {
            gram = 0;
            rank++;
        }
    }

    for (context = 0; context < WORDCOUNT_CONTEXTS; context++) {

        total_1 = total_2 = total_3 = 0.0f;

        for (i = 0; i < WORDCOUNT_SYMBOLS; i++) {
            after_1[i] = pairs[context % WORDCOUNT_SYMBOLS
                               * WORDCOUNT_SYMBOLS + i];
            after_2[i] = triples[context
                                 % (WORDCOUNT_SYMBOLS * WORDCOUNT_SYMBOLS)
                                 * WORDCOUNT_SYMBOLS + i];
            after_3[i] = counts[context * WORDCOUNT_SYMBOLS + i];

            total_1 += after_1[i];
            total_2 += after_2[i];
            total_3 += after_3[i];
        }

        for (i = 0; i < WORDCOUNT_SYMBOLS; i++) {
            p = 0.1f / WORDCOUNT_SYMBOLS;

            p += (total_1 > 0.0f) ? 0.2f * after_1[i] / total_1 : 0.0f;
            p += (total_2 > 0.0f) ? 0.3f * after_2[i] / total_2 : 0.0f;
            p += (total_3 > 0.0f) ? 0.4f * after_3[i] / total_3 : 0.0f;

            model->log[context * WORDCOUNT_SYMBOLS + i][language] = log2f(p);
        }
    }
}


/*
 * Symbols: 0 is what bounds a word, 1 to 26 the plain letters; those with
 * marks are gathered by the mark, as that tells languages apart: 27 umlauts,
 * 28 acute, 29 grave and circumflex, 30 tilde and cedilla, 31 all else.
 */

static unsigned
wordcount_symbol(unsigned code)
{
    size_t                 i;

    static const struct {
        unsigned           code;
        unsigned           symbol;
    } marked[] = {
        { 0xe4, 27 }, { 0xf6, 27 }, { 0xfc, 27 }, { 0xdf, 27 },
        { 0xe1, 28 }, { 0xe9, 28 }, { 0xed, 28 }, { 0xf3, 28 }, { 0xfa, 28 },
        { 0xe0, 29 }, { 0xe8, 29 }, { 0xec, 29 }, { 0xf2, 29 }, { 0xf9, 29 },
        { 0xe2, 29 }, { 0xea, 29 }, { 0xee, 29 }, { 0xfb, 29 },
        { 0xf1, 30 }, { 0xe3, 30 }, { 0xf5, 30 }, { 0xe7, 30 }
    };

    if (code >= 'a' && code <= 'z') {
        return code - 'a' + 1;
    }

    for (i = 0; i < sizeof(marked) / sizeof(marked[0]); i++) {
        if (marked[i].code == code) {
            return marked[i].symbol;
        }
    }

    return 31;
}


FAAS_FUNCTION(.handler = wordcount, .init = wordcount_init,
              .mode = "resident", .timeout = "10s")
