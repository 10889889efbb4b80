// People, ships and inns; see subjects.h.
#include "analyses/dataset/subjects.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

// clang-format off
const hs_subject hs_subjects[HS_N_SUBJECT] = {
    {"people", "Several people have moved into the old street by the river.", "", " ",
     {"Clara", "Edgar", "Hilda", "Rufus", "Selma", "Conrad", "Ingrid", "Walter", "Agnes", "Hugo", "Dora", "Felix",
      "Paula", "Simon", "Greta", "Leon", "Nora", "Oscar", "Vera", "Arthur", "Lydia", "Julian", "Martha", "Otto"},
     {"Whitmore", "Tansley", "Brock", "Harding", "Pell", "Marsh", "Oakes", "Lindqvist", "Farrow", "Varga", "Stone", "Holloway",
      "Penrose", "Dalton", "Keller", "Moreau", "Ashby", "Quill", "Barnes", "Thorne", "Lowell", "Fenwick", "Garland", "Hobbs"},
     {{{"{who} works as a {what}.", "{who} earns a living as a {what}."}, "What is the job of {who}?",
       {"baker", "potter", "plumber", "nurse", "tailor", "gardener", "painter", "locksmith", "librarian", "carpenter", "dentist", "teacher",
        "lawyer", "farmer", "pilot", "barber", "butcher", "florist", "surgeon", "jeweller", "mechanic", "waiter", "translator", "shoemaker"}},
      {{"{who} comes from {what}.", "{who} grew up in {what}."}, "Where does {who} come from?",
       {"Ashford", "Millbrook", "Greenhaven", "Stonebridge", "Fairview", "Westport", "Kingsley", "Redhill", "Northfield", "Silverton", "Clearwater", "Bridgeton",
        "Oakdale", "Maplewood", "Riverside", "Lakewood", "Winfield", "Brighton", "Hartford", "Springdale", "Newport", "Cliffside", "Meadowbrook", "Eastwick"}},
      {{"{who} keeps a pet {what}.", "{who} has a pet {what}."}, "What pet does {who} keep?",
       {"parrot", "rabbit", "tortoise", "goat", "hedgehog", "canary", "snake", "ferret", "goose", "lizard", "pony", "mouse",
        "hamster", "donkey", "spaniel", "pigeon", "kitten", "llama", "duck", "frog", "turkey", "raven", "beetle", "lamb"}}}},
    {"ships", "Some ships lay in the harbour that week.", "the ", " ",
     {"Silver", "Northern", "Brave", "Golden", "Quiet", "Crimson", "Lucky", "Eastern", "Royal", "Merry", "Swift", "Lonely",
      "Proud", "Ancient", "Gentle", "Scarlet", "Humble", "Southern", "Noble", "Faithful", "Daring", "Weary", "Emerald", "Distant"},
     {"Heron", "Star", "Dolphin", "Lady", "Falcon", "Queen", "Swan", "Otter", "Wind", "Rose", "Pilgrim", "Lantern",
      "Maiden", "Comet", "Turtle", "Arrow", "Thistle", "Mermaid", "Trader", "Beacon", "Sparrow", "Crown", "Voyager", "Willow"},
     {{{"{who} carries {what}.", "{who} is loaded with {what}."}, "What does {who} carry?",
       {"coal", "copper", "tea", "wool", "salt", "timber", "oranges", "marble", "coffee", "sugar", "grain", "paper",
        "silk", "cotton", "rubber", "olives", "cement", "bananas", "steel", "pepper", "leather", "cocoa", "glass", "lemons"}},
      {{"{who} will sail to {what}.", "{who} is bound for {what}."}, "Where will {who} sail to?",
       {"Lisbon", "Boston", "Hamburg", "Bombay", "Oslo", "Havana", "Sydney", "Naples", "Dublin", "Montreal", "Shanghai", "Athens",
        "Marseille", "Lima", "Genoa", "Stockholm", "Tokyo", "Istanbul", "Rotterdam", "Manila", "Glasgow", "Odessa", "Venice", "Jakarta"}},
      {{"{who} was built in {what}.", "{who} was launched in {what}."}, "When was {who} built?",
       {"1841", "1856", "1862", "1873", "1879", "1885", "1890", "1894", "1902", "1907", "1913", "1926",
        "1838", "1845", "1851", "1869", "1877", "1882", "1898", "1905", "1910", "1919", "1921", "1934"}}}},
    {"inns", "The county has many old inns.", "the ", " ",
     {"Blue", "Dancing", "Sleeping", "Hungry", "Laughing", "Thirsty", "Wooden", "Broken", "Flying", "Singing", "Hidden", "Iron",
      "White", "Running", "Jolly", "Painted", "Crooked", "Three-Legged", "Smiling", "Black", "Wandering", "Purple", "Drunken", "Spotted"},
     {"Lion", "Fox", "Badger", "Stag", "Whale", "Tiger", "Camel", "Eagle", "Owl", "Bear", "Wolf", "Hare",
      "Boar", "Bull", "Pelican", "Monkey", "Trumpet", "Barrel", "Anchor", "Kettle", "Horseshoe", "Candle", "Wheel", "Bell"},
     {{{"{who} is famous for its {what}.", "Guests of {who} praise the {what}."}, "What food is {who} famous for?",
       {"trout", "dumplings", "pancakes", "sausages", "noodles", "meatballs", "goulash", "lobster", "risotto", "waffles", "omelettes", "oysters",
        "curry", "tacos", "mushrooms", "ravioli", "salmon", "porridge", "chowder", "burgers", "paella", "pudding", "kebabs", "crab"}},
      {{"{who} stands in {what} Street.", "You find {who} in {what} Street."}, "In which street is {who}?",
       {"Mill", "Castle", "Station", "Church", "Park", "Bridge", "Harbour", "King", "Elm", "Garden", "Market", "Abbey",
        "Canal", "Chapel", "Orchard", "Forest", "Victoria", "Prince", "School", "Tower", "Valley", "Temple", "Prospect", "Juniper"}},
      {{"{who} was bought by {what} last year.", "{who} belongs to {what} since last year."}, "Who bought {who} last year?",
       {"Alan Dyer", "Bertha Klein", "Carl Jensen", "Daisy Wells", "Ernest Cobb", "Fiona Hart", "George Lund", "Hannah Ives", "Isaac Mott", "Jane Rowe", "Kurt Baum", "Lucy Tate",
        "Marcus Gill", "Nellie Shaw", "Owen Price", "Petra Novak", "Quentin Ross", "Rita Bloom", "Stefan Voss", "Tessa Lane", "Ursula Beck", "Victor Nash", "Wanda Frost", "Xavier Pond"}}}},
};
// clang-format on

// ---- drawing ------------------------------------------------------------------------------------

void hs_company_draw(hs_company *c, hs_item *it, const hs_subject *subject, int n) {
    int first[HS_SUBJECT_WORDS] = {0}, last[HS_SUBJECT_WORDS] = {0};
    assert(n <= HS_SUBJECT_WORDS);
    c->subject = subject ? subject : &hs_subjects[hs_item_below(it, HS_N_SUBJECT)];
    c->n_who = n;
    hs_item_shuffle(it, first, HS_SUBJECT_WORDS);
    hs_item_shuffle(it, last, HS_SUBJECT_WORDS);
    for (int i = 0; i < n; i++) {
        hs_buf_clear(&c->who[i]);
        hs_buf_printf(&c->who[i], "%s%s%s%s", c->subject->before,
                      hs_item_word(it, c->subject->first, first[i]), c->subject->between,
                      hs_item_word(it, c->subject->last, last[i]));
    }
    for (int d = 0; d < HS_SUBJECT_DETAILS; d++) hs_item_shuffle(it, c->what[d], HS_SUBJECT_WORDS);
}

void hs_company_free(hs_company *c) {
    for (int i = 0; i < HS_SUBJECT_WORDS; i++) hs_buf_free(&c->who[i]);
}

const char *hs_company_what(const hs_company *c, const hs_item *it, int detail, int who) {
    return hs_item_word(it, c->subject->detail[detail].what, c->what[detail][who]);
}

// ---- sentences ----------------------------------------------------------------------------------

// A form of words with the name for {who} and `what` for {what}; NULL: it ends before the answer.
static void fill(const hs_company *c, hs_item *it, const char *form, int who, const char *what) {
    const size_t at = it->text.len;
    const char *name = hs_buf_text(&c->who[who]);
    while (*form) {
        const size_t n = strcspn(form, "{");
        const bool is_who = !strncmp(form + n, "{who}", strlen("{who}"));
        const bool stops = form[n] && !is_who && !what;
        hs_buf_add(&it->text, form, stops ? n - 1 : n);
        if (!form[n] || stops) break;
        hs_buf_str(&it->text, is_who ? name : what);
        form += n + strcspn(form + n, "}") + 1;
    }
    if (hs_buf_rc(&c->who[who])) it->text.rc = HS_ENOMEM;
    if (!hs_buf_rc(&it->text)) it->text.data[at] = (char)toupper((unsigned char)it->text.data[at]);
}

void hs_company_tell(const hs_company *c, hs_item *it, int detail, int who, int form) {
    fill(c, it, c->subject->detail[detail].tell[form], who, hs_company_what(c, it, detail, who));
}

void hs_company_ask(const hs_company *c, hs_item *it, int detail, int who, int form,
                    const char *cue) {
    const hs_detail *d = &c->subject->detail[detail];
    const bool same = !strcmp(cue, "same");
    hs_buf_str(&it->text, "\nQuestion: ");
    fill(c, it, d->ask, who, "");
    hs_buf_str(&it->text, "\nAnswer:");
    if (!strcmp(cue, "no")) return;
    hs_buf_chr(&it->text, ' ');
    fill(c, it, d->tell[same ? form : !form], who, NULL);
}
