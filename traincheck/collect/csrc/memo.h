/* Which set describes which values, as far as a look at them tells. */

#ifndef TRAINCHECK_MEMO_H
#define TRAINCHECK_MEMO_H

#include "native.h"

enum { MOST_LOOKS = 6, DIMENSIONS = 5 };

/* All that describes a value, in words without gaps between them: the object itself, or what kind of tensor it is. */
typedef struct {
    PyObject *same;
    uint64_t kind, device;
    int64_t shape[DIMENSIONS];
} Look;

_Static_assert(sizeof(Look) % sizeof(uint64_t) == 0, "looks are compared and counted by their words");

typedef struct {
    int count;
    Look each[MOST_LOOKS];
} Looks;

/* Looks at values that are to be described for a table: 0 when that does not tell all that describes them. */
int look_at(State *, PyObject *table, PyObject *const *values, Py_ssize_t count, Looks *);

/* The id of the set that was remembered, or NONE_ID. Both are about what was just looked at. */
int recall(PyObject *table, const Looks *);
void remember(PyObject *table, const Looks *, int set);

extern PyTypeObject MemoType;

#endif
