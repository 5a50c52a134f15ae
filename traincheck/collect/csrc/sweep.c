/* Sweeps over the variables: what Changes does in Python, where all memory can be read directly. */

#include "dlpack.h"
#include "native.h"
#include <math.h>
#include <stddef.h>

enum { DATA, GRAD, COLUMNS }; /* as in replay.py */

/* A tensor to be read: which of the column's fingerprints is its, and at which position of the table it stands. */
typedef struct {
    PyObject *tensor; /* None for a gradient that is not there */
    Py_ssize_t place, position;
    PyObject *seen; /* its fingerprint, if that is another than before */
} Item;

/* A row of the type CELL in measures.py. */
typedef struct {
    int32_t position, class;
    uint64_t print;
    double norm;
    int64_t nonfinite;
    double minimum, maximum;
} Cell;

_Static_assert(sizeof(Cell) == 48, "the rows of measures.py have no gaps");

typedef struct {
    PyObject_HEAD
    PyObject *table, *waiting, *counter; /* the variables, notes that wait, and what numbers updates */
    PyObject *swept, *plain;             /* the type of notes, types whose own memory holds their values */
    PyObject *hash, *hasher;             /* xxh3, and the type that takes it in portions */
    DescribeTensor describe;             /* of torch */
    unsigned long long gap, unseen, low; /* prints of None and of what was never read; addresses above are real */
    int none, zero, nonzero, nonfinite;  /* words for classes */
    int written[COLUMNS], ranged[COLUMNS];
    int busy;
    Item *items; /* room that is kept from one sweep to the next; for cells it is twice as much */
    Cell *cells;
    Py_ssize_t room, most, count; /* tensors there is room for, may be added in this sweep, and have been */
} Sweeper;

enum { FAILED = -1, UNFIT, DONE, LATER }; /* LATER: not this time */

#define UNMEASURED (-1.0)

static int make_room(Sweeper *self, Py_ssize_t count)
{
    if (count <= self->room)
        return DONE;
    Item *items = PyMem_Realloc(self->items, count * sizeof(Item));
    self->items = items == NULL ? self->items : items;
    Cell *cells = PyMem_Realloc(self->cells, 2 * count * sizeof(Cell));
    self->cells = cells == NULL ? self->cells : cells;
    if (items == NULL || cells == NULL) {
        PyErr_NoMemory();
        return FAILED;
    }
    self->room = count;
    return DONE;
}

/* One more tensor to be read; takes the reference. */
static void add_item(Sweeper *self, PyObject *tensor, Py_ssize_t place, Py_ssize_t position)
{
    self->items[self->count++] = (Item){.tensor = tensor, .place = place, .position = position};
}

/* What is read in place of a tensor: takes its reference. `stand_ins` are None where tensors stand for themselves. */
static PyObject *stand_in(PyObject *tensor, PyObject *stand_ins, Py_ssize_t at)
{
    if (stand_ins == Py_None)
        return tensor;
    Py_DECREF(tensor);
    return Py_NewRef(PyList_GET_ITEM(stand_ins, at));
}

/* Another thread may add variables as soon as Python code runs: then there would not be room. */
static int is_full(const Sweeper *self) { return self->count >= self->most; }

static int gather_data(Sweeper *self, PyObject *references, PyObject *stand_ins)
{
    PyObject *flags = SLOT(self->table, Table_flags);
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(references); at++) {
        if (is_full(self))
            return LATER;
        PyObject *tensor = Py_NewRef(PyWeakref_GET_OBJECT(PyList_GET_ITEM(references, at)));
        PyObject *flag = tensor == Py_None ? NULL : PyObject_GetAttr(tensor, requires_grad_word);
        Py_XDECREF(flag); /* True and False outlive this */
        add_item(self, stand_in(tensor, stand_ins, at), at, at);
        if (flag == NULL)
            return PyErr_Occurred() ? FAILED : LATER;
        if (flags != SLOT(self->table, Table_flags) || at >= PyList_GET_SIZE(flags)
            || flag != PyList_GET_ITEM(flags, at))
            return LATER;
    }
    return DONE;
}

static int gather_gradients(Sweeper *self, PyObject *references, PyObject *stand_ins)
{
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(references); at++) {
        PyObject *tensor = Py_NewRef(PyWeakref_GET_OBJECT(PyList_GET_ITEM(references, at)));
        PyObject *gradient = tensor == Py_None ? NULL : PyObject_GetAttr(tensor, grad_word);
        Py_DECREF(tensor);
        if (gradient == NULL)
            return PyErr_Occurred() ? FAILED : LATER;
        PyObject *positions = SLOT(self->table, Table_trained);
        if (is_full(self) || at >= PyList_GET_SIZE(positions)) {
            Py_DECREF(gradient);
            return LATER;
        }
        add_item(self, stand_in(gradient, stand_ins, at), at, PyLong_AsSsize_t(PyList_GET_ITEM(positions, at)));
    }
    return DONE;
}

/* Those of some values that are variables. */
static int gather_some(Sweeper *self, PyObject *tensors, PyObject *stand_ins)
{
    PyObject *known = SLOT(self->table, Table__by_tensor);
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(tensors); at++) {
        PyObject *tensor = PyList_GET_ITEM(tensors, at), *id = PyLong_FromVoidPtr(tensor);
        PyObject *variable = id == NULL ? NULL : PyDict_GetItemWithError(known, id);
        Py_XDECREF(id);
        if (variable == NULL && PyErr_Occurred())
            return FAILED;
        if (variable != NULL && PyWeakref_GET_OBJECT(SLOT(variable, Variable_tensor)) == tensor) {
            Py_ssize_t index = PyLong_AsSsize_t(SLOT(variable, Variable_index));
            add_item(self, stand_in(Py_NewRef(tensor), stand_ins, at), index, index);
        }
    }
    return DONE;
}

/* What a function makes of some memory. */
static PyObject *call_with(PyObject *function, const char *values, Py_ssize_t size)
{
    PyObject *view = PyMemoryView_FromMemory((char *)values, size, PyBUF_READ);
    PyObject *found = view == NULL ? NULL : PyObject_CallOneArg(function, view);
    Py_XDECREF(view);
    return found;
}

enum { PORTION = 1 << 15 };

/* More than a portion at a time, and xxhash would let other threads run, who may free the memory while it is read. */
static PyObject *hash_of(Sweeper *self, const Memory *memory)
{
    if (memory->size <= PORTION)
        return call_with(self->hash, memory->values, memory->size);
    PyObject *hasher = PyObject_CallNoArgs(self->hasher);
    PyObject *update = hasher == NULL ? NULL : PyObject_GetAttr(hasher, update_word), *found = NULL;
    Py_ssize_t at = 0;
    for (Py_ssize_t size; update != NULL && at < memory->size; at += size) {
        size = memory->size - at < PORTION ? memory->size - at : PORTION;
        PyObject *done = call_with(update, (const char *)memory->values + at, size);
        if (done == NULL)
            break;
        Py_DECREF(done);
    }
    if (update != NULL && at >= memory->size)
        found = PyObject_CallMethodNoArgs(hasher, intdigest_word);
    Py_XDECREF(update);
    Py_XDECREF(hasher);
    return found;
}

/* Whether an address is more than an offset: FSDP frees a storage and keeps the tensors in it. */
static int owns_memory(PyObject *tensor, const Described *told)
{
    PyObject *offset = PyObject_CallMethodNoArgs(tensor, storage_offset_word);
    unsigned long long elements = offset == NULL ? 0 : PyLong_AsUnsignedLongLong(offset);
    Py_XDECREF(offset);
    if (PyErr_Occurred())
        return FAILED;
    return elements * told->bits / 8 == (uintptr_t)told->data + told->offset ? UNFIT : DONE;
}

static int find_memory(Sweeper *self, PyObject *tensor, Memory *memory)
{
    int plain = PySequence_Contains(self->plain, (PyObject *)Py_TYPE(tensor));
    if (plain != 1)
        return plain < 0 ? FAILED : UNFIT;
    Described told;
    if (self->describe(tensor, &told) != 0) { /* sparse, meta or quantised */
        if (!PyErr_ExceptionMatches(PyExc_RuntimeError) && !PyErr_ExceptionMatches(PyExc_BufferError))
            return FAILED;
        PyErr_Clear();
        return UNFIT;
    }
    if (!locate(&told, memory))
        return UNFIT;
    return !memory->size || (uintptr_t)memory->values > self->low ? DONE : owns_memory(tensor, &told);
}

/* Fills in what there is to know of values, but for position and fingerprint. */
static int measure(Sweeper *self, const Memory *memory, int ranged, Cell *cell)
{
    Extent extent;
    int measured = measure_extent(memory, ranged, &extent);
    if (!measured && !count_extent(memory, ranged, &extent) && !look_for_any(memory, ranged, &extent))
        return UNFIT;
    cell->norm = measured ? sqrt(extent.squares) : UNMEASURED;
    cell->nonfinite = extent.nonfinite;
    cell->minimum = extent.minimum;
    cell->maximum = extent.maximum;
    cell->class = extent.nonfinite > 0 ? self->nonfinite : extent.any ? self->nonzero : self->zero;
    return DONE;
}

static int measure_absent(Sweeper *self, Cell *cell)
{
    cell->class = self->none;
    cell->norm = UNMEASURED;
    cell->nonfinite = NONE_ID;
    cell->minimum = cell->maximum = Py_NAN;
    return DONE;
}

/* Cells of what changed, from the front, and of what was never read before, from the back of the room. */
typedef struct {
    PyObject *prints;
    Cell *changed, *first;
    Py_ssize_t changes, firsts;
    int ranged;
} Found;

static int read_item(Sweeper *self, Item *item, Found *found)
{
    Memory memory;
    int gone = item->tensor == Py_None, fit = gone ? DONE : find_memory(self, item->tensor, &memory);
    if (fit != DONE)
        return fit;
    PyObject *seen = gone ? PyLong_FromUnsignedLongLong(self->gap) : hash_of(self, &memory);
    if (item->place >= PyList_GET_SIZE(found->prints)) {
        Py_XDECREF(seen);
        return seen == NULL ? FAILED : LATER;
    }
    PyObject *before = PyList_GET_ITEM(found->prints, item->place);
    int same = seen == NULL ? -1 : PyObject_RichCompareBool(seen, before, Py_EQ);
    if (same != 0) {
        Py_XDECREF(seen);
        return same < 0 ? FAILED : DONE;
    }
    item->seen = seen;
    int first = PyLong_AsUnsignedLongLong(before) == self->unseen;
    Cell *cell = first ? found->first - ++found->firsts : found->changed + found->changes++;
    cell->position = (int32_t)item->position;
    cell->print = PyLong_AsUnsignedLongLong(seen);
    if (PyErr_Occurred())
        return FAILED;
    return gone ? measure_absent(self, cell) : measure(self, &memory, found->ranged, cell);
}

/* As many numbers as the updates of some cells take, one for each name of a variable: the first of them. */
static PyObject *take_numbers(Sweeper *self, PyObject *roster, const Cell *cells, Py_ssize_t count)
{
    PyObject *names = SLOT(roster, Roster_tied), *first = NULL; /* how many names each has, or None: one each */
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *several = names == Py_None ? NULL : PyList_GetItem(names, cells[at].position);
        long taken = names == Py_None ? 1 : several == NULL ? -1 : PyLong_AsLong(several);
        if (taken < 0) {
            Py_XDECREF(first);
            return NULL;
        }
        for (; taken > 0; taken--) {
            PyObject *number = PyIter_Next(self->counter);
            if (number == NULL) {
                Py_XDECREF(first);
                return NULL;
            }
            if (first == NULL)
                first = number;
            else
                Py_DECREF(number);
        }
    }
    return first == NULL ? PyIter_Next(self->counter) : first;
}

/* Adds a note of the type Swept; `number` is that of its first update. */
static int note(Sweeper *self, PyObject *roster, PyObject *column, PyObject *call, PyObject *number, const Cell *cells,
                Py_ssize_t count)
{
    PyObject *rows = PyBytes_FromStringAndSize((const char *)cells, count * (Py_ssize_t)sizeof(Cell));
    PyObject *swept = rows == NULL || number == NULL ? NULL : PyType_GenericAlloc((PyTypeObject *)self->swept, 5);
    if (swept != NULL) {
        PyTuple_SET_ITEM(swept, 0, Py_NewRef(roster));
        PyTuple_SET_ITEM(swept, 1, Py_NewRef(column));
        PyTuple_SET_ITEM(swept, 2, Py_NewRef(call));
        PyTuple_SET_ITEM(swept, 3, Py_NewRef(number));
        PyTuple_SET_ITEM(swept, 4, Py_NewRef(rows));
    }
    int failed = swept == NULL || PyList_Append(self->waiting, swept) < 0;
    Py_XDECREF(rows);
    Py_XDECREF(swept);
    return failed ? FAILED : DONE;
}

/* Keeps the fingerprints that are new. */
static int keep(Sweeper *self, int column, PyObject *call, PyObject *prints)
{
    PyObject *calls = SLOT(SLOT(self->table, Table_data), Column_calls);
    for (Item *item = self->items; item < self->items + self->count; item++)
        if (item->seen != NULL) {
            int failed = PyList_SetItem(prints, item->place, item->seen) < 0;
            item->seen = NULL;
            if (failed || (column == DATA && PyList_SetItem(calls, item->place, Py_NewRef(call)) < 0))
                return FAILED;
        }
    return DONE;
}

/* All was read: keeps what is new, and notes it. */
static int commit(Sweeper *self, int column, PyObject *call, const Found *found)
{
    PyObject *watched = column == DATA ? SLOT(self->table, Table_data) : SLOT(self->table, Table_grad);
    PyObject *roster = PyObject_CallMethodNoArgs(self->table, roster_word);
    PyObject *number = PyLong_FromLong(column), *none = PyLong_FromLong(NONE_ID);
    int done = roster == NULL || number == NULL || none == NULL ? FAILED : DONE;
    if (done == DONE && found->prints != SLOT(watched, Column_prints))
        done = LATER; /* meanwhile another thread has left variables out */
    if (done == DONE)
        done = keep(self, column, call, found->prints);
    if (done == DONE && found->firsts)
        done = note(self, roster, number, call, none, found->first - found->firsts, found->firsts);
    if (done == DONE && found->changes) {
        int written = self->written[column];
        PyObject *first = written ? take_numbers(self, roster, found->changed, found->changes) : Py_NewRef(none);
        done = note(self, roster, number, call, first, found->changed, found->changes);
        Py_XDECREF(first);
    }
    Py_XDECREF(roster);
    Py_XDECREF(number);
    Py_XDECREF(none);
    return done;
}

/* Reads what was gathered, and lets go of it. */
static int sweep(Sweeper *self, int fit, int column, PyObject *call)
{
    PyObject *watched = column == DATA ? SLOT(self->table, Table_data) : SLOT(self->table, Table_grad);
    PyObject *prints = Py_NewRef(SLOT(watched, Column_prints));
    Found found = {prints, self->cells, self->cells + 2 * self->room, 0, 0, self->ranged[column]};
    for (Py_ssize_t at = 0; fit == DONE && at < self->count; at++)
        fit = read_item(self, &self->items[at], &found);
    if (fit == DONE && found.changes + found.firsts)
        fit = commit(self, column, call, &found);
    Py_DECREF(prints);
    for (Item *item = self->items; item < self->items + self->count; item++) {
        Py_DECREF(item->tensor);
        Py_XDECREF(item->seen);
    }
    self->busy = 0;
    return fit;
}

/* Whether there is room for so many tensors, as many stand-ins, and nobody else at it. */
static int begin(Sweeper *self, Py_ssize_t count, PyObject *stand_ins)
{
    if (self->busy || (stand_ins != Py_None && (!PyList_Check(stand_ins) || PyList_GET_SIZE(stand_ins) != count)))
        return LATER;
    self->count = 0;
    self->most = count;
    self->busy = make_room(self, count) == DONE;
    return self->busy ? DONE : FAILED;
}

/* True when all was done; False when it must be done in Python this time, None when some memory cannot be read here. */
static PyObject *told(int fit)
{
    return fit == FAILED ? NULL : fit == UNFIT ? Py_NewRef(Py_None) : PyBool_FromLong(fit == DONE);
}

static PyObject *sweep_all(Sweeper *self, PyObject *args, int column)
{
    PyObject *call, *stand_ins;
    if (!PyArg_ParseTuple(args, "OO", &call, &stand_ins))
        return NULL;
    PyObject *slot = column == DATA ? SLOT(self->table, Table__references) : SLOT(self->table, Table__parameters);
    PyObject *references = Py_NewRef(slot);
    int fit = begin(self, PyList_GET_SIZE(references), stand_ins);
    if (fit == DONE) {
        fit = column == DATA ? gather_data(self, references, stand_ins) : gather_gradients(self, references, stand_ins);
        fit = sweep(self, fit, column, call);
    }
    Py_DECREF(references);
    return told(fit);
}

/* data(call, stand_ins) */
static PyObject *sweep_data(PyObject *self, PyObject *args) { return sweep_all((Sweeper *)self, args, DATA); }

/* grads(call, stand_ins) */
static PyObject *sweep_gradients(PyObject *self, PyObject *args) { return sweep_all((Sweeper *)self, args, GRAD); }

/* some(call, stand_ins, tensors) */
static PyObject *sweep_some(PyObject *object, PyObject *args)
{
    Sweeper *self = (Sweeper *)object;
    PyObject *call, *stand_ins, *tensors;
    if (!PyArg_ParseTuple(args, "OOO!", &call, &stand_ins, &PyList_Type, &tensors))
        return NULL;
    int fit = begin(self, PyList_GET_SIZE(tensors), stand_ins);
    return told(fit == DONE ? sweep(self, gather_some(self, tensors, stand_ins), DATA, call) : fit);
}

/* Sweeper(table, waiting, counter, swept, plain, hash, hasher, exchange, (gap, unseen, low),
   (none, zero, nonzero, nonfinite), (whether updates are written: data, gradients),
   (whether ranges are wanted: data, gradients)) */
static PyObject *make_sweeper(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Sweeper *self = (Sweeper *)type->tp_alloc(type, 0);
    PyObject *exchange;
    if (self == NULL)
        return NULL;
    int fine = PyArg_ParseTuple(args, "OO!OOOOOO(KKK)(iiii)(pp)(pp)", &self->table, &PyList_Type, &self->waiting,
                                &self->counter, &self->swept, &self->plain, &self->hash, &self->hasher, &exchange,
                                &self->gap, &self->unseen, &self->low, &self->none, &self->zero, &self->nonzero,
                                &self->nonfinite, &self->written[DATA], &self->written[GRAD], &self->ranged[DATA],
                                &self->ranged[GRAD]);
    for (PyObject **part = &self->table; part <= &self->hasher; part++)
        Py_XINCREF(*part);
    if (!fine || (self->describe = find_description(exchange)) == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void free_sweeper(PyObject *object)
{
    Sweeper *self = (Sweeper *)object;
    for (PyObject **part = &self->table; part <= &self->hasher; part++)
        Py_XDECREF(*part);
    PyMem_Free(self->items);
    PyMem_Free(self->cells);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef methods[] = {
    {"data", sweep_data, METH_VARARGS, "Sweep values and requires_grad within a call."},
    {"grads", sweep_gradients, METH_VARARGS, "Sweep gradients within a call."},
    {"some", sweep_some, METH_VARARGS, "Sweep the values of some tensors within a call."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject SweeperType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "traincheck.collect._native.Sweeper",
    .tp_doc = "Sees what changed, and notes it, where all memory can be read directly.",
    .tp_basicsize = sizeof(Sweeper),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = methods,
    .tp_new = make_sweeper,
    .tp_dealloc = free_sweeper,
};
