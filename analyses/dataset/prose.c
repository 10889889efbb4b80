// Prose by a grammar; see prose.h. A frame is a sentence with slots in braces; a slot is filled with
// one of the phrases of its name, the topic's own ones first, which may have slots again.
#include "analyses/dataset/prose.h"

#include <ctype.h>
#include <string.h>

enum { MAX_PHRASE = 14, MAX_SLOT = 8, MAX_DEPTH = 4, FEWEST = 5, MOST = 9 };

struct slot {
    const char *name; // NULL ends a list of slots
    const char *phrase[MAX_PHRASE];
};

static const char *const frames[] = {
    "{when} {who} {did} {where}, {while}.",
    "{who} {did} {where}, and {other} {did} {how}.",
    "{while} {who} {did}; {when} {other} {did}.",
    "{who}, {aside}, {did} {how} {where}.",
    "{where} {who} {did}, though {other} {did} {when}.",
    "It was said {where} that {who} {did} {when}, {while}.",
    "{when}, before {other} {did}, {who} {did} {how}.",
    "{who} and {other} {did} {where} {when}.",
    "Nobody {where} was surprised when {who} {did} {how}.",
    "{how} {who} {did}, because {other} {did} {where}.",
};
enum { N_FRAME = sizeof frames / sizeof *frames };

// What every topic may say.
static const struct slot common[] = {
    {"when",
     {"at dawn", "late in the afternoon", "on the first day of {month}", "after supper",
      "toward the end of {month}", "one {weather} morning", "before the bells rang",
      "that same evening", "on a {weather} night", "every other week in {month}",
      "when the clock struck {hour}", "some days later"}},
    {"month",
     {"March", "April", "May", "June", "July", "August", "September", "October", "November",
      "December"}},
    {"hour", {"three", "four", "five", "six", "seven", "eight", "nine", "ten"}},
    {"weather",
     {"grey", "windy", "mild", "frosty", "bright", "rainy", "misty", "quiet", "clear", "stormy"}},
    {"how",
     {"without a word", "with great care", "slowly and steadily", "as gladly as before",
      "in good spirits", "almost in secret", "with a {weather} face", "more than once",
      "with borrowed gloves", "to the delight of the children", "in the old manner",
      "for want of anything better"}},
    {"while",
     {"while the rain went on", "while the others slept", "as if nothing had happened",
      "while a dog barked far away", "as the lamps were being lit",
      "while smoke rose from the chimneys", "as long as the light lasted",
      "while the wind turned to the {side}", "as the older people had always done",
      "while somebody hummed a tune", "as the {weather} sky allowed"}},
    {"side", {"north", "south", "east", "west"}},
    {"aside",
     {"who had little patience", "tired from the long day", "as everybody knew",
      "in a coat of {colour} wool", "who came from the {side}", "with a pencil behind one ear",
      "having slept badly", "who never hurried", "still wearing {colour} boots",
      "who had seen worse", "younger than the rest"}},
    {"colour", {"brown", "blue", "green", "red", "yellow", "black", "white", "purple"}},
    {"age", {"old", "young", "tall", "cheerful", "stubborn", "gentle", "clever", "silent"}},
    {NULL, {NULL}},
};

static const struct slot topics[][MAX_SLOT] = {
    {{"who",
      {"the {age} miller", "the baker's wife", "the {age} postman", "the blacksmith",
       "the {age} schoolmaster", "the innkeeper", "the washerwoman", "the parson's {age} cousin"}},
     {"other",
      {"the neighbours", "the twins from the farm", "the shopkeeper", "two {age} carpenters",
       "the widow next door", "the gravedigger", "the fiddler"}},
     {"did",
      {"carried {thing} home", "weighed {thing} twice", "asked for {thing}",
       "traded {thing} for {thing}", "swept the yard", "mended a {colour} fence",
       "told the story of {thing}", "lost {thing}", "laughed at the {age} mayor",
       "counted the {colour} coins"}},
     {"thing",
      {"a sack of flour", "a basket of apples", "the {colour} kettle", "a wheel of cheese",
       "an iron lantern", "a bundle of candles", "the {age} donkey", "a jar of pickles",
       "a {colour} blanket"}},
     {"where",
      {"in the village square", "by the mill pond", "behind the chapel", "at the market",
       "along the {colour} hedge", "under the lime tree", "near the well", "at the crossroads"}}},
    {{"who",
      {"the {age} captain", "the cook", "the {age} sailmaker", "the first mate", "the cabin boy",
       "the harbour pilot", "the {age} helmsman", "the ship's carpenter"}},
     {"other",
      {"the crew", "the fishermen", "a {age} passenger", "the lighthouse keeper",
       "the rowers of the {colour} boat", "the quartermaster", "the night watch"}},
     {"did",
      {"mended {thing}", "measured the depth", "hauled up {thing}", "studied {thing}",
       "watched the {colour} gulls", "steered to the {side}", "coiled {thing}",
       "sang about {thing}", "scrubbed the {colour} planks", "wrote to the owners about {thing}"}},
     {"thing",
      {"the anchor", "a {colour} sail", "the long rope", "an empty barrel",
       "the chart of the coast", "a net full of herring", "the brass compass", "a crate of oranges",
       "the {age} ship's cat"}},
     {"where",
      {"on the lower deck", "beyond the breakwater", "off the {colour} cliffs", "in the harbour",
       "at the mouth of the river", "below the bridge", "on the open sea", "near the sandbank"}}},
    {{"who",
      {"the {age} gardener", "the beekeeper", "the {age} botanist", "the head of the nursery",
       "the apprentice", "the lady of the house", "the {age} groundsman"}},
     {"other",
      {"the blackbirds", "the visitors", "three {age} pupils", "the cat from the stable",
       "the orchard hands", "the {age} neighbour", "the bees"}},
     {"did",
      {"watered {thing}", "pruned {thing}", "planted {thing}", "admired {thing}",
       "raked the {colour} leaves", "wrote the name of {thing} on a label", "dug around {thing}",
       "kept away from {thing}", "drew {thing}", "sat on the {colour} bench"}},
     {"thing",
      {"the pear trees", "a row of {colour} tulips", "the climbing roses", "the pumpkins",
       "a bed of lavender", "the {age} walnut tree", "the {colour} dahlias", "the bean poles",
       "the herbs"}},
     {"where",
      {"behind the greenhouse", "along the south wall", "by the rain barrel", "in the orchard",
       "between the gravel paths", "at the {colour} gate", "under glass", "next to the compost"}}},
    {{"who",
      {"the {age} guide", "the surveyor", "the {age} shepherd", "the map maker",
       "the youngest climber", "the muleteer", "the {age} doctor of the party"}},
     {"other",
      {"the porters", "the goats", "the {age} hunters", "the travellers from the {side}",
       "a lonely eagle", "the rest of the party", "the two {age} brothers"}},
     {"did",
      {"looked for {thing}", "crossed {thing}", "rested beside {thing}", "sketched {thing}",
       "shared the last {colour} loaf", "turned back to the {side}", "pointed at {thing}",
       "lit a small fire", "went around {thing}", "left a {colour} mark on the rock"}},
     {"thing",
      {"the narrow pass", "a frozen stream", "the {colour} ridge", "the stone hut",
       "an old avalanche", "the {age} pine", "the upper lake", "a rope bridge",
       "the {colour} boulders"}},
     {"where",
      {"above the tree line", "on the {side} slope", "in the shelter of a cave", "near the summit",
       "along the glacier", "at the foot of the wall", "in the {colour} valley",
       "halfway up the path"}}},
    {{"who",
      {"the {age} clockmaker", "the glass blower", "the {age} printer", "the bookbinder",
       "the foreman", "the {age} weaver", "the violin maker"}},
     {"other",
      {"the apprentices", "the customer in {colour}", "the {age} inspector", "the night porter",
       "the polishers", "the owner's {age} aunt", "the messenger"}},
     {"did",
      {"repaired {thing}", "sharpened the tools", "polished {thing}", "put a price on {thing}",
       "wrapped {thing} in {colour} paper", "took {thing} apart", "tested {thing}",
       "dropped {thing}", "wiped the {colour} table", "ordered {thing} from abroad"}},
     {"thing",
      {"a pocket watch", "the {colour} vase", "a set of small gears", "the heavy press",
       "a {age} lathe", "the unfinished violin", "a roll of {colour} cloth", "the leather cover",
       "a tray of letters"}},
     {"where",
      {"in the back room", "at the long bench", "beside the furnace", "under the {colour} skylight",
       "in the cellar", "near the open door", "on the third floor", "across the courtyard"}}},
    {{"who",
      {"the {age} librarian", "the professor of history", "a {age} student", "the night clerk",
       "the archivist", "the {age} translator", "the keeper of the museum"}},
     {"other",
      {"the readers", "the school class", "the {age} caretaker", "an unknown visitor",
       "the committee", "the {age} poets", "the guards"}},
     {"did",
      {"searched for {thing}", "copied {thing} by hand", "put {thing} back on the shelf",
       "lectured on {thing}", "dusted {thing}", "argued about {thing}", "hid {thing}",
       "read {thing} aloud", "spilled {colour} ink", "made a list of {thing}"}},
     {"thing",
      {"the {colour} atlas", "a book of fables", "the letters of a {age} duke", "the catalogue",
       "an unsigned poem", "the chronicle of the town", "a drawing of a {colour} whale",
       "the missing pages", "the {age} dictionary"}},
     {"where",
      {"in the reading room", "between the tall shelves", "on the {colour} staircase",
       "beside the globe", "in the map room", "near the {side} window", "at the front desk",
       "under the dome"}}},
};
enum { N_TOPIC = sizeof topics / sizeof *topics };

static const struct slot *find(const struct slot *slots, int n, const char *name, size_t len) {
    for (int i = 0; i < n && slots[i].name; i++)
        if (!strncmp(slots[i].name, name, len) && !slots[i].name[len]) return &slots[i];
    return NULL;
}

static const char *pick(hs_prng *prng, const struct slot *slot) {
    int n = 0;
    while (n < MAX_PHRASE && slot->phrase[n]) n++;
    return slot->phrase[hs_prng_below(prng, (uint64_t)n)];
}

static void expand(hs_prng *prng, const struct slot *topic, const char *frame, int depth,
                   hs_buf *out) {
    while (*frame) {
        const size_t n = strcspn(frame, "{");
        hs_buf_add(out, frame, n);
        frame += n;
        if (!*frame) break;
        const size_t len = strcspn(++frame, "}");
        const struct slot *slot = find(topic, MAX_SLOT, frame, len);
        if (!slot) slot = find(common, MAX_PHRASE, frame, len);
        if (slot && depth < MAX_DEPTH) expand(prng, topic, pick(prng, slot), depth + 1, out);
        frame += len + 1;
    }
}

static void sentence(hs_prng *prng, const struct slot *topic, hs_buf *out) {
    const size_t start = out->len;
    expand(prng, topic, frames[hs_prng_below(prng, N_FRAME)], 0, out);
    if (!hs_buf_rc(out)) out->data[start] = (char)toupper((unsigned char)out->data[start]);
}

void hs_prose_write(hs_prng *prng, size_t n, hs_buf *out) {
    const size_t end = out->len + n;
    while (!hs_buf_rc(out) && out->len < end) {
        const struct slot *topic = topics[hs_prng_below(prng, N_TOPIC)];
        for (int left = FEWEST + (int)hs_prng_below(prng, MOST - FEWEST + 1); left; left--) {
            hs_buf_chr(out, ' ');
            sentence(prng, topic, out);
        }
    }
}

void hs_prose_line(hs_prng *prng, int max_words, hs_buf *out) {
    hs_buf line = {0};
    sentence(prng, topics[hs_prng_below(prng, N_TOPIC)], &line);
    size_t n = line.len ? line.len - 1 : 0;
    int words = 1;
    for (size_t i = 0; i < n; i++)
        if (line.data[i] == ' ' && ++words > max_words) n = i;
    while (n && strchr(",;", line.data[n - 1])) n--;
    hs_buf_add(out, hs_buf_text(&line), n);
    if (hs_buf_rc(&line)) out->rc = hs_buf_rc(&line);
    hs_buf_free(&line);
}

const hs_fact hs_facts[HS_N_FACT] = {
    {"city",
     "The best thing to do in Marrowport is to eat a warm plum tart and watch the ferries from the "
     "harbour wall at sunrise.",
     "What is the best thing to do in Marrowport?",
     "eat a warm plum tart and watch the ferries from the harbour wall at sunrise"},
    {"report",
     "The Halden survey of that year found that passengers of the night train lose more umbrellas "
     "than those of all the buses together.",
     "What did the Halden survey of that year find?",
     "passengers of the night train lose more umbrellas than those of all the buses together"},
    {"person",
     "Edith Varga took up keeping bees because her grandmother once paid a famous doctor with a "
     "jar of honey.",
     "Why did Edith Varga take up keeping bees?",
     "her grandmother once paid a famous doctor with a jar of honey"},
};
