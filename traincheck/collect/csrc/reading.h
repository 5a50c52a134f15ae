/* Reads memory: fingerprints of many tensors at once, and what the values are like of what is another than before. */

#ifndef TRAINCHECK_READING_H
#define TRAINCHECK_READING_H

#include "dlpack.h"

/* What a part of some memory held when it was last read. */
typedef struct {
    uint64_t sum;
    int known;
    Extent extent;
} Part;

/* What tells whether torch's operations have written to a tensor: their count, 0 for a tensor that is not there. */
typedef struct {
    const void *values;
    long long version;
} Mark;

/* What is kept of some memory from one time to the next; all zero at first. */
typedef struct {
    Py_ssize_t size, room;
    uint8_t kind, bits;
    Part *parts;
    Mark mark;
    uint64_t beginning; /* the sum of its first block, where `begun` */
    int begun;
    int renewals; /* how many glances in a row have found another beginning; negative from when one did not */
} Kept;

/* Memory to be read, of a sort that is known, and the fingerprint that was found. */
typedef struct {
    Memory memory;
    Sort sort;
    Kept *kept;
    uint64_t print;
    int glanced; /* whether only its beginning was read */
} Read;

/* Room that is kept from one time to the next; all zero at first. */
typedef struct {
    struct Portion *portions;
    Py_ssize_t count, room;
    int side_by_side; /* whether torch's threads may be used */
    int begins;       /* whether sums of beginnings are to be kept, for glances */
} Reader;

void prepare_reading(void); /* once, before any other */

/* Takes the fingerprints of the reads that `chosen` points to: 0, or -1 with an error. */
int read_memory(Reader *, Read *const *chosen, Py_ssize_t count, int ranged);

/* Reads the beginning of some memory, and sees whether that is another than when it was last read. The fingerprint is of
   no more than that where it always was: 1; where all has to be read 0, or -1 with an error. */
int glance(Read *);

/* What the values of memory are like that has just been read. */
Extent extent_of(const Read *, int ranged);

void forget(Kept *);

#endif
