/* Tensors that are read together: what the parts of a sweep share. */

#ifndef TRAINCHECK_SWEEP_H
#define TRAINCHECK_SWEEP_H

#include "native.h"
#include "reading.h"

enum { DATA, GRAD, COLUMNS }; /* as in replay.py */

/* A row of the type CELL in measures.py. */
typedef struct {
    int32_t position, class;
    uint64_t print;
    double norm;
    int64_t nonfinite;
    double minimum, maximum;
} Cell;

_Static_assert(sizeof(Cell) == 48, "the rows of measures.py have no gaps");

/* A tensor to be read: which of the column's fingerprints is its, and at which position of the table it stands. */
typedef struct {
    PyObject *tensor; /* None for a gradient that is not there */
    Py_ssize_t place, position;
    Mark mark; /* of gradients that are read whole */
    Read read;
    PyObject *seen; /* its fingerprint, if that is another than before */
    Cell *cell;     /* and what is told of it */
} Item;

typedef struct {
    PyObject_HEAD
    PyObject *table, *waiting, *counter; /* the variables, notes that wait, and what numbers updates */
    PyObject *swept, *plain;             /* the type of notes, types whose own memory holds their values */
    DescribeTensor describe;             /* of torch */
    unsigned long long gap, unseen, low; /* prints of None and of what was never read; addresses above are real */
    int none, zero, nonzero, nonfinite;  /* words for classes */
    int written[COLUMNS], ranged[COLUMNS];
    int busy;
    Item *items; /* room that is kept from one sweep to the next; for cells it is twice as much */
    Cell *cells;
    Read **chosen;
    Py_ssize_t room, most, count; /* tensors there is room for, may be added in this sweep, and have been */
    Kept *kept[COLUMNS]; /* of what is at some place, of which there is room for so many */
    Py_ssize_t kept_room[COLUMNS];
    Reader reader;
    unsigned long thread; /* in which this was made */
} Sweeper;

/* What all of these functions return; LATER: not this time. */
enum { FAILED = -1, UNFIT, DONE, LATER };

/* Makes room for so many tensors, as many as the stand-ins, if nobody else is at it; `let_go` ends it. */
int begin(Sweeper *, Py_ssize_t count, PyObject *stand_ins);
void let_go(Sweeper *);

/* Where a tensor's values lie. */
static inline const char *address_of(const Described *told) { return (const char *)told->data + told->offset; }

/* What is read; `stand_ins` are None where tensors stand for themselves. Gradients are marked if so asked: where they
   lie, too, unless it is found out when they are read. */
int gather_data(Sweeper *, PyObject *references, PyObject *stand_ins);
enum Marked { UNMARKED, COUNTED, PLACED };
int gather_gradients(Sweeper *, PyObject *references, PyObject *stand_ins, enum Marked);
int gather_some(Sweeper *, PyObject *tensors, PyObject *stand_ins);

/* Finds the memory of a tensor, and how that is described: true until Python code runs, which may give it another. */
int find_memory(Sweeper *, PyObject *tensor, Described *, Memory *);

/* Room for what is kept of so many places. */
int keep_more(Sweeper *, int column, Py_ssize_t places);

#endif
