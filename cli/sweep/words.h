// Words for what a sweep did, the same in tables and in figures.
#ifndef HS_CLI_SWEEP_WORDS_H
#define HS_CLI_SWEEP_WORDS_H

// Units of a kind (hs_unit_kinds), several: "heads"; "units" for a kind that is not known.
const char *hs_sweep_plural(const char *kind);
// How numbers came about (exact, gradient, race, as it is stored), to follow what they are about:
// ", estimated by gradients"; "" where there is nothing to add.
const char *hs_sweep_how(const char *by);

#endif
