// Extractive questions (as SQuAD has them, Rajpurkar et al. 2016): a short passage tells facts of
// several people or things, each fact of each of them, so that every answer stands among others of
// its kind; a question asks for one, and its answer is words of the passage. Names and facts are
// made up: nothing but the passage tells them. Solved passages come first, the same in all prompts,
// which share them.
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "analyses/dataset/long.h"
#include "analyses/dataset/words.h"

enum {
    N_PART = 12,  // halves of names
    N_VALUE = 12, // answers of a kind
    N_TELL = 2,
    N_KIND = 4, // of a topic
    MAX_FACTS = 24,
    MAX_SHOTS = 4,
    MAX_NAMES = (1 + MAX_SHOTS) * MAX_FACTS,
};

// A kind of fact. In `tell` stands {who} once and {what} once, {what} after it; in `ask` {who}.
struct kind {
    const char *tell[N_TELL], *ask, *value[N_VALUE];
};

// What passages are about. Names are one of `first` and one of `last`, with what stands before and
// between them.
struct topic {
    const char *name, *opening, *before, *between, *first[N_PART], *last[N_PART];
    struct kind kind[N_KIND];
};

// clang-format off
static const struct topic topics[] = {
    {"neighbours", "Several people have moved into the old street by the river.", "", " ",
     {"Clara", "Edgar", "Hilda", "Rufus", "Selma", "Conrad", "Ingrid", "Walter", "Agnes", "Hugo", "Dora", "Felix"},
     {"Whitmore", "Tansley", "Brock", "Harding", "Pell", "Marsh", "Oakes", "Lindqvist", "Farrow", "Varga", "Stone", "Holloway"},
     {{{"{who} works as a {what}.", "{who} earns a living as a {what}."}, "What is the job of {who}?",
       {"baker", "potter", "plumber", "nurse", "tailor", "gardener", "painter", "locksmith", "librarian", "carpenter", "dentist", "teacher"}},
      {{"{who} comes from {what}.", "{who} grew up in {what}."}, "Where does {who} come from?",
       {"Ashford", "Millbrook", "Greenhaven", "Stonebridge", "Fairview", "Westport", "Kingsley", "Redhill", "Northfield", "Silverton", "Clearwater", "Bridgeton"}},
      {{"{who} plays the {what} in the evenings.", "{who} is learning to play the {what}."}, "Which instrument does {who} play?",
       {"violin", "trumpet", "flute", "piano", "cello", "guitar", "harp", "drums", "clarinet", "banjo", "trombone", "bagpipes"}},
      {{"{who} keeps a pet {what}.", "{who} has a pet {what}."}, "What pet does {who} keep?",
       {"parrot", "rabbit", "tortoise", "goat", "hedgehog", "canary", "snake", "ferret", "goose", "lizard", "pony", "mouse"}}}},
    {"ships", "Some ships lay in the harbour that week.", "the ", " ",
     {"Silver", "Northern", "Brave", "Golden", "Quiet", "Crimson", "Lucky", "Eastern", "Royal", "Merry", "Swift", "Lonely"},
     {"Heron", "Star", "Dolphin", "Lady", "Falcon", "Queen", "Swan", "Otter", "Wind", "Rose", "Pilgrim", "Lantern"},
     {{{"{who} carries {what}.", "{who} is loaded with {what}."}, "What does {who} carry?",
       {"coal", "copper", "tea", "wool", "salt", "timber", "oranges", "marble", "coffee", "sugar", "grain", "paper"}},
      {{"The captain of {who} is {what}.", "The master of {who} is called {what}."}, "Who is the captain of {who}?",
       {"Anton Reyes", "Bertha Klein", "Simon Hale", "Paula Grant", "Victor Lund", "Nora Quill", "Oscar Finch", "Ruth Carver", "Leo Barnes", "Greta Holm", "Max Porter", "Ida Moss"}},
      {{"{who} was built in {what}.", "{who} was launched in {what}."}, "When was {who} built?",
       {"1841", "1856", "1862", "1873", "1879", "1885", "1890", "1894", "1902", "1907", "1913", "1926"}},
      {{"{who} will sail to {what}.", "{who} is bound for {what}."}, "Where will {who} sail to?",
       {"Lisbon", "Boston", "Cape Town", "Hamburg", "Bombay", "Oslo", "Havana", "Sydney", "Naples", "Dublin", "Montreal", "Shanghai"}}}},
    {"museum", "The museum shows a few new objects this summer.", "the ", " ",
     {"bronze", "wooden", "painted", "broken", "tiny", "heavy", "carved", "ivory", "gilded", "black", "round", "glass"},
     {"lamp", "mask", "bowl", "clock", "drum", "box", "mirror", "statue", "crown", "jar", "shield", "comb"},
     {{{"{who} was found in {what}.", "{who} was dug up in {what}."}, "Where was {who} found?",
       {"a cave", "a garden", "a ruined tower", "a dry well", "a shipwreck", "an old mill", "a swamp", "a royal tomb", "a cellar", "a farmer's field", "a forest", "a quarry"}},
      {{"{who} was given by {what}.", "{who} is a gift of {what}."}, "Who gave {who} to the museum?",
       {"Professor Wells", "a retired sailor", "Lady Ashby", "the town council", "Doctor Meyer", "a rich banker", "Captain Doyle", "the bishop", "a school class", "Baron Keller", "an opera singer", "the railway company"}},
      {{"{who} is {what} years old.", "Experts say that {who} is {what} years old."}, "How old is {who}?",
       {"150", "200", "300", "450", "500", "600", "700", "850", "900", "1200", "1500", "2000"}},
      {{"{who} stands in the {what}.", "Visitors find {who} in the {what}."}, "Where in the museum is {who}?",
       {"entrance hall", "blue room", "north wing", "basement", "library", "east gallery", "round tower", "courtyard", "upper floor", "small chapel", "tea room", "west gallery"}}}},
    {"shops", "New shops opened in the town this year.", "", "'s ",
     {"Barlow", "Quincy", "Mabel", "Rossi", "Tucker", "Winter", "Lopez", "Fletcher", "Hanna", "Crane", "Novak", "Bishop"},
     {"Corner", "Store", "House", "Market", "Cellar", "Workshop", "Bazaar", "Depot", "Parlour", "Stall", "Emporium", "Warehouse"},
     {{{"{who} sells {what}.", "People go to {who} to buy {what}."}, "What does {who} sell?",
       {"candles", "bicycles", "hats", "cheese", "umbrellas", "maps", "boots", "toys", "carpets", "flowers", "kites", "spices"}},
      {{"{who} is on {what}.", "The door of {who} is on {what}."}, "Where is {who}?",
       {"Mill Lane", "Castle Street", "Station Road", "Church Hill", "Park Avenue", "Bridge Street", "Harbour Road", "Queen Square", "Elm Street", "Garden Lane", "Market Place", "River Walk"}},
      {{"{who} opened in {what}.", "The first customers came to {who} in {what}."}, "When did {who} open?",
       {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}},
      {{"{who} is run by {what}.", "The owner of {who} is {what}."}, "Who runs {who}?",
       {"two sisters", "a former pilot", "Widow Pratt", "an old couple", "Uncle Osborne", "three friends", "a young widow", "Miss Fowler", "twin brothers", "a retired judge", "Judge Delgado", "a family of five"}}}},
    {"festivals", "The county holds many festivals.", "the ", " ",
     {"Lantern", "Harvest", "Apple", "River", "Snow", "Kite", "Honey", "Moon", "Rose", "Barrel", "Candle", "Sheep"},
     {"Fair", "Festival", "Parade", "Race", "Dance", "Feast", "Games", "Night", "Carnival", "Show", "Supper", "Contest"},
     {{{"{who} takes place on {what}.", "{who} is held on {what}."}, "When does {who} take place?",
       {"3 March", "19 April", "7 May", "24 May", "11 June", "30 June", "8 July", "15 August", "2 September", "21 October", "5 November", "13 December"}},
      {{"The winner of {who} receives {what}.", "The prize of {who} is {what}."}, "What does the winner of {who} receive?",
       {"a silver spoon", "a wooden horse", "a barrel of cider", "a new hat", "a basket of plums", "a gold coin", "a white goat", "a box of chocolates", "a brass bell", "a warm coat", "a book of songs", "a fishing rod"}},
      {{"{who} was won by {what} last year.", "Last year {who} was won by {what}."}, "Who won {who} last year?",
       {"a blind poet", "Martha Keen", "the miller's son", "Peter Vogel", "a girl of nine", "the fire brigade", "Susan Blake", "an old shepherd", "the village band", "Carl Jensen", "a schoolteacher", "the twins"}},
      {{"{who} begins at {what}.", "People gather for {who} at {what}."}, "Where does {who} begin?",
       {"the town hall", "the old bridge", "the lighthouse", "the mill", "the railway station", "the duck pond", "the castle gate", "the market square", "the post office", "the school yard", "the fountain", "the harbour wall"}}}},
};
// clang-format on
enum { N_TOPIC = sizeof topics / sizeof *topics };

struct fact {
    const struct kind *kind;
    int who, value, tell; // who: number of the name
};

struct passage {
    const struct topic *topic;
    struct fact fact[MAX_FACTS]; // [n_fact], as they are told
    int asked;
};

struct work {
    hs_prompts *out;
    const hs_tok *tok;
    hs_prng prng;
    int32_t bos;
    int n_fact, n_kind; // of a passage
    const char *cue;
    hs_long shots, prompt;
    hs_buf who[MAX_NAMES]; // names in the prompt so far
    int n_who;
    hs_buf text; // scratch
};

// ---- passages -----------------------------------------------------------------------------------

static int draw(struct work *w, int n) {
    return (int)hs_prng_below(&w->prng, (uint64_t)n);
}

// 0 to n - 1 in any order.
static void shuffle(struct work *w, int *order, int n) {
    for (int i = 0; i < n; i++) {
        const int k = draw(w, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
}

static bool is_known(const struct work *w, const hs_buf *name) {
    for (int i = 0; i < w->n_who; i++)
        if (!strcmp(hs_buf_text(&w->who[i]), hs_buf_text(name))) return true;
    return false;
}

// n names of which no two share a half, and none is in the prompt yet.
static int add_names(struct work *w, const struct topic *t, int n) {
    int first[N_PART] = {0}, last[N_PART] = {0};
    bool known;
    do {
        known = false;
        shuffle(w, first, N_PART);
        shuffle(w, last, N_PART);
        for (int i = 0; i < n; i++) {
            hs_buf *b = &w->who[w->n_who + i];
            hs_buf_clear(b);
            hs_buf_printf(b, "%s%s%s%s", t->before, t->first[first[i]], t->between,
                          t->last[last[i]]);
            if (hs_buf_rc(b)) return hs_buf_rc(b);
            known |= is_known(w, b);
        }
    } while (known);
    w->n_who += n;
    return HS_OK;
}

// Kinds take turns, so that each is told of two at least, and no value of a kind twice.
static int draw_passage(struct work *w, struct passage *p) {
    const int first = w->n_who, n_who = (w->n_fact + w->n_kind - 1) / w->n_kind;
    int kind[N_KIND] = {0}, value[N_KIND][N_VALUE] = {{0}}, place[MAX_FACTS] = {0};
    p->topic = &topics[draw(w, N_TOPIC)];
    int rc = add_names(w, p->topic, n_who);
    if (rc) return rc;
    shuffle(w, kind, N_KIND);
    for (int k = 0; k < w->n_kind; k++) shuffle(w, value[k], N_VALUE);
    shuffle(w, place, w->n_fact);
    for (int i = 0; i < w->n_fact; i++) {
        const int k = i % w->n_kind, who = i / w->n_kind;
        p->fact[place[i]] = (struct fact){.kind = &p->topic->kind[kind[k]],
                                          .who = first + who,
                                          .value = value[k][who],
                                          .tell = draw(w, N_TELL)};
    }
    p->asked = draw(w, w->n_fact);
    return rc;
}

// ---- tokens -------------------------------------------------------------------------------------

// Appends what was put into the scratch text, and empties it.
static int say(struct work *w, hs_long *to) {
    int rc = hs_buf_rc(&w->text);
    if (!rc) rc = hs_long_text(to, w->tok, hs_buf_text(&w->text), w->text.len);
    hs_buf_clear(&w->text);
    return rc;
}

// A form up to its mark {what}, or to the end, with the name for {who}.
static void fill(struct work *w, const char *form, const char *who) {
    const char *mark = strstr(form, "{who}"), *end = strstr(form, "{what}");
    if (!end) end = form + strlen(form);
    if (!mark || mark > end) mark = end;
    hs_buf_add(&w->text, form, (size_t)(mark - form));
    if (mark == end) return;
    hs_buf_str(&w->text, who);
    hs_buf_add(&w->text, mark + strlen("{who}"), (size_t)(end - mark) - strlen("{who}"));
}

static const char *value_of(const struct fact *f) {
    return f->kind->value[f->value];
}

// Appends a space and a fact's sentence in the words of `form`, up to the space before its answer.
static void begin(struct work *w, const struct fact *f, const char *form) {
    const size_t at = w->text.len + 1;
    hs_buf_chr(&w->text, ' ');
    fill(w, form, hs_buf_text(&w->who[f->who]));
    if (hs_buf_rc(&w->text)) return;
    w->text.data[at] = (char)toupper((unsigned char)w->text.data[at]);
    w->text.len--;
}

// A sentence in three pieces: the answer is tokenised with the space before it, by itself.
static int tell(struct work *w, hs_long *to, const struct fact *f, int64_t *from, int64_t *end) {
    const char *form = f->kind->tell[f->tell], *rest = strstr(form, "{what}") + strlen("{what}");
    begin(w, f, form);
    int rc = say(w, to);
    *from = to->n;
    hs_buf_printf(&w->text, " %s", value_of(f));
    if (!rc) rc = say(w, to);
    *end = to->n;
    fill(w, rest, hs_buf_text(&w->who[f->who]));
    return rc ? rc : say(w, to);
}

// A passage with its question and cue; the span of the answer in it, and the question's text.
static int put_passage(struct work *w, hs_long *to, const struct passage *p, hs_long_line *line,
                       hs_buf *question) {
    int64_t from = 0, end = 0;
    hs_buf_printf(&w->text, "Passage: %s", p->topic->opening);
    int rc = say(w, to);
    for (int i = 0; i < w->n_fact && !rc; i++) {
        rc = tell(w, to, &p->fact[i], &from, &end);
        if (i != p->asked) continue;
        line->from = from;
        line->to = end;
    }
    const struct fact *f = &p->fact[p->asked];
    fill(w, f->kind->ask, hs_buf_text(&w->who[f->who]));
    hs_buf_clear(question);
    hs_buf_str(question, hs_buf_text(&w->text));
    hs_buf_clear(&w->text);
    hs_buf_printf(&w->text, "\nQuestion: %s\nAnswer:", hs_buf_text(question));
    const bool same = !strcmp(w->cue, "same");
    if (strcmp(w->cue, "no") != 0) begin(w, f, f->kind->tell[same ? f->tell : !f->tell]);
    return rc ? rc : say(w, to);
}

static int add_shots(struct work *w, int n, hs_buf *question) {
    struct passage p;
    hs_long_line line;
    int rc = hs_long_begin(&w->shots, w->bos);
    for (int i = 0; i < n && !rc; i++) {
        rc = draw_passage(w, &p);
        if (!rc) rc = put_passage(w, &w->shots, &p, &line, question);
        hs_buf_printf(&w->text, " %s\n\n", rc ? "" : value_of(&p.fact[p.asked]));
        if (!rc) rc = say(w, &w->shots);
    }
    return rc;
}

static int put_prompt(struct work *w, int n_shared, hs_buf *question) {
    struct passage p;
    hs_long_line line = {0};
    char spans[64];
    w->n_who = n_shared;
    int rc = draw_passage(w, &p);
    if (!rc) rc = hs_long_begin(&w->prompt, w->bos);
    if (!rc) rc = hs_long_add(&w->prompt, &w->shots);
    const int64_t from = w->prompt.n;
    if (!rc) rc = put_passage(w, &w->prompt, &p, &line, question);
    if (!rc) rc = hs_buf_rc(question);
    if (rc) return rc;
    snprintf(spans, sizeof spans, "{\"asked\":[%" PRId64 ",%" PRId64 "]}", from, w->prompt.n);
    line.spans = spans;
    line.length = w->prompt.n;
    line.depth = 100 * (double)p.asked / (double)(w->n_fact - 1);
    line.topic = p.topic->name;
    line.question = hs_buf_text(question);
    return hs_long_put(w->out, w->tok, &w->prompt, &line);
}

// ---- the data set -------------------------------------------------------------------------------

static int qa_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab, const hs_args *args) {
    const int n_fact = (int)hs_args_int(args, "facts");
    struct work w = {.out = out, .tok = tok, .n_fact = n_fact};
    hs_buf question = {0};
    (void)n_vocab; // the tokenizer has it
    w.n_kind = n_fact < 4 ? 1 : n_fact < 12 ? 2 : N_KIND;
    w.cue = hs_args_text(args, "cue");
    w.prng = hs_prng_seed((uint64_t)hs_args_int(args, "seed"));
    int rc = hs_long_needs(tok);
    if (!rc) rc = hs_dataset_bos(&w.bos, out, tok, args);
    if (!rc) rc = add_shots(&w, (int)hs_args_int(args, "shots"), &question);
    const int n_shared = w.n_who;
    for (int64_t i = hs_args_int(args, "n"); i && !rc; i--)
        rc = put_prompt(&w, n_shared, &question);
    hs_long_free(&w.shots);
    hs_long_free(&w.prompt);
    for (int i = 0; i < MAX_NAMES; i++) hs_buf_free(&w.who[i]);
    hs_buf_free(&w.text);
    hs_buf_free(&question);
    return rc;
}

static const hs_param params[] = {
    {"facts", HS_PARAM_INT, "4", 2, MAX_FACTS, NULL, "facts", "sentences of a passage"},
    {"shots", HS_PARAM_INT, "2", 0, MAX_SHOTS, NULL, "passages",
     "solved passages in front, the same ones in all prompts"},
    {"cue", HS_PARAM_ENUM, "other", 0, 0, "other|same|no", NULL,
     "after 'Answer:' comes the fact's sentence up to the answer, in other words than the "
     "passage's or in the same, without which small models answer little; or nothing"},
    HS_DATASET_PARAMS("40"),
    {0},
};

const hs_dataset hs_dataset_qa = {
    .name = "qa",
    .title = "Questions whose answers stand in a passage",
    .about = "A short passage about made-up people and things, and a question whose answer is a "
             "few words of it; the same is told of others beside. Solved passages come first, for "
             "small models. Feeds the retrieval scores, and the answers under masked heads.",
    .reference = "questions as in SQuAD, Rajpurkar et al. 2016, arXiv 1606.05250",
    .params = params,
    .generate = qa_generate,
};
