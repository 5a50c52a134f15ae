/* Sweeps over the variables: what Changes does in Python, where all memory can be read directly. */

#include "digest.h"
#include "sweep.h"
#include <stddef.h>

#define UNMEASURED (-1.0)

/* Cells of what changed, from the front, and of what was never read before, from the back of the room. */
typedef struct {
    PyObject *prints;
    Cell *changed, *first;
    Py_ssize_t changes, firsts;
    int ranged;
} Found;

/* Of the tensors that are to be read those of which a glance does not tell enough; their number, or FAILED. */
static Py_ssize_t glance_at(Sweeper *self, Py_ssize_t count)
{
    Py_ssize_t left = 0;
    for (Py_ssize_t at = 0; at < count; at++) {
        int enough = glance(self->chosen[at]);
        if (enough < 0)
            return FAILED;
        if (!enough)
            self->chosen[left++] = self->chosen[at];
    }
    return left;
}

/* Finds the memory of what was gathered, and reads it: no Python code runs in between. */
static int read_all(Sweeper *self, int column, int ranged, int brief)
{
    Py_ssize_t count = 0;
    Described told;
    for (Item *item = self->items; item < self->items + self->count; item++) {
        if (item->place >= self->kept_room[column] && keep_more(self, column, item->place + 1) != DONE)
            return FAILED;
        if (item->tensor == Py_None) {
            item->read.print = self->gap;
            continue;
        }
        int fit = find_memory(self, item->tensor, &told, &item->read.memory);
        if (fit != DONE)
            return fit;
        if (item->mark.version > 0 && item->mark.values == NULL)
            item->mark.values = address_of(&told);
        item->read.sort = sort_of(&item->read.memory, ranged);
        if (item->read.sort == UNKNOWN)
            return UNFIT;
        self->chosen[count++] = &item->read;
    }
    for (Item *item = self->items; item < self->items + self->count; item++) { /* now that there is room for all */
        item->read.kept = &self->kept[column][item->place];
        item->read.kept->mark = item->mark;
    }
    if (brief && (count = glance_at(self, count)) < 0)
        return FAILED;
    self->reader.side_by_side = PyThread_get_thread_ident() == self->thread;
    self->reader.begins = column == GRAD;
    return read_memory(&self->reader, self->chosen, count, ranged) < 0 ? FAILED : DONE;
}

/* Gives an item a cell, if it is another than before. */
static int compare(Sweeper *self, Item *item, Found *found)
{
    if (item->place >= PyList_GET_SIZE(found->prints))
        return LATER;
    uint64_t before = PyLong_AsUnsignedLongLong(PyList_GET_ITEM(found->prints, item->place));
    if (before == (uint64_t)-1 && PyErr_Occurred())
        return FAILED;
    if (before == item->read.print)
        return DONE;
    item->seen = PyLong_FromUnsignedLongLong(item->read.print);
    item->cell = before == self->unseen ? found->first - ++found->firsts : found->changed + found->changes++;
    return item->seen == NULL ? FAILED : DONE;
}

static void fill(const Sweeper *self, const Item *item, int ranged)
{
    Sort sort = item->read.glanced ? UNKNOWN : item->read.sort; /* UNKNOWN of what is not there, too */
    Extent extent = {.minimum = NAN, .maximum = NAN};
    if (sort != UNKNOWN)
        extent = extent_of(&item->read, ranged);
    *item->cell = (Cell){
        .position = (int32_t)item->position,
        .class = item->read.glanced     ? NONE_ID
                 : sort == UNKNOWN      ? self->none
                 : extent.nonfinite > 0 ? self->nonfinite
                 : extent.any           ? self->nonzero
                                        : self->zero,
        .print = item->read.print,
        .norm = sort == FLOATS ? sqrt(extent.squares) : UNMEASURED,
        .nonfinite = sort == FLOATS || sort == INTEGERS ? extent.nonfinite : NONE_ID,
        .minimum = extent.minimum,
        .maximum = extent.maximum,
    };
}

/* Fills the cells of what is another than before. */
static int tell_changes(Sweeper *self, Found *found)
{
    for (Item *item = self->items; item < self->items + self->count; item++) {
        int fit = compare(self, item, found);
        if (fit != DONE)
            return fit;
        if (item->cell != NULL)
            fill(self, item, found->ranged);
    }
    return DONE;
}

/* As many numbers as the updates of some cells take, one for each name of a variable: the first of them. */
static PyObject *number_updates(Sweeper *self, PyObject *roster, const Cell *cells, Py_ssize_t count)
{
    PyObject *names = SLOT(roster, Roster_tied); /* how many names each has, or None: one each */
    long long taken = names == Py_None ? count : 0;
    for (Py_ssize_t at = 0; names != Py_None && at < count; at++) {
        PyObject *several = PyList_GetItem(names, cells[at].position);
        if (several == NULL)
            return NULL;
        taken += PyLong_AsLong(several);
    }
    return PyLong_FromLongLong(take_numbers(self->counter, taken));
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

/* Which variables stand where now: what the table itself says. */
static PyObject *roster_of(PyObject *table)
{
    PyObject *known = SLOT(table, Table__roster); /* (version, roster) */
    if (PyTuple_GET_ITEM(known, 0) == SLOT(table, Table_version))
        return Py_NewRef(PyTuple_GET_ITEM(known, 1));
    return PyObject_CallMethodNoArgs(table, roster_word);
}

/* All was read: keeps what is new, and notes it, as updates where `told`. */
static int commit(Sweeper *self, int column, PyObject *call, int told, const Found *found)
{
    PyObject *watched = column == DATA ? SLOT(self->table, Table_data) : SLOT(self->table, Table_grad);
    PyObject *roster = roster_of(self->table);
    PyObject *number = PyLong_FromLong(column), *none = PyLong_FromLong(NONE_ID);
    int done = roster == NULL || number == NULL || none == NULL ? FAILED : DONE;
    if (done == DONE && found->prints != SLOT(watched, Column_prints))
        done = LATER; /* meanwhile another thread has left variables out */
    if (done == DONE)
        done = keep(self, column, call, found->prints);
    if (done == DONE && found->firsts)
        done = note(self, roster, number, call, none, found->first - found->firsts, found->firsts);
    if (done == DONE && found->changes) {
        int written = self->written[column] && told;
        PyObject *first = written ? number_updates(self, roster, found->changed, found->changes) : Py_NewRef(none);
        done = note(self, roster, number, call, first, found->changed, found->changes);
        Py_XDECREF(first);
    }
    Py_XDECREF(roster);
    Py_XDECREF(number);
    Py_XDECREF(none);
    return done;
}

/* Reads what was gathered, and lets go of it. */
static int sweep(Sweeper *self, int fit, int column, PyObject *call, int told, int brief)
{
    PyObject *watched = column == DATA ? SLOT(self->table, Table_data) : SLOT(self->table, Table_grad);
    PyObject *prints = Py_NewRef(SLOT(watched, Column_prints));
    Found found = {prints, self->cells, self->cells + 2 * self->room, 0, 0, self->ranged[column]};
    fit = fit == DONE ? read_all(self, column, found.ranged, brief) : fit;
    fit = fit == DONE ? tell_changes(self, &found) : fit;
    if (fit == DONE && found.changes + found.firsts)
        fit = commit(self, column, call, told, &found);
    Py_DECREF(prints);
    let_go(self);
    return fit;
}

/* fingerprint(tensor) */
static PyObject *fingerprint(PyObject *object, PyObject *tensor)
{
    Sweeper *self = (Sweeper *)object;
    Described told;
    Memory memory;
    int fit = find_memory(self, tensor, &told, &memory);
    if (fit != DONE)
        return fit == FAILED ? NULL : Py_NewRef(Py_None);
    return PyLong_FromUnsignedLongLong(finish_digest(add_up_blocks(memory.values, memory.size, 0, NULL), memory.size));
}

/* True when all was done; False when it must be done in Python this time, None when some memory cannot be read here. */
static PyObject *answer(int fit)
{
    return fit == FAILED ? NULL : fit == UNFIT ? Py_NewRef(Py_None) : PyBool_FromLong(fit == DONE);
}

static int sweep_all_data(Sweeper *self, PyObject *call, PyObject *stand_ins)
{
    PyObject *references = Py_NewRef(SLOT(self->table, Table__references));
    int fit = begin(self, PyList_GET_SIZE(references), stand_ins);
    if (fit == DONE)
        fit = sweep(self, gather_data(self, references, stand_ins), DATA, call, 1, 0);
    Py_DECREF(references);
    return fit;
}

static int sweep_all_gradients(Sweeper *self, PyObject *call, PyObject *stand_ins, int told, int brief)
{
    PyObject *references = Py_NewRef(SLOT(self->table, Table__parameters));
    int fit = begin(self, PyList_GET_SIZE(references), stand_ins);
    enum Marked how = brief ? UNMARKED : stand_ins == Py_None ? COUNTED : PLACED;
    if (fit == DONE)
        fit = sweep(self, gather_gradients(self, references, stand_ins, how), GRAD, call, told, brief);
    Py_DECREF(references);
    return fit;
}

/* Whether all gradients have the marks they had; what `begin` and the like return if that cannot be said. */
static int is_untouched(Sweeper *self, int *same)
{
    PyObject *references = Py_NewRef(SLOT(self->table, Table__parameters));
    int fit = begin(self, PyList_GET_SIZE(references), Py_None);
    *same = 1;
    if (fit == DONE) {
        fit = gather_gradients(self, references, Py_None, PLACED);
        for (Item *item = self->items; fit == DONE && *same && item < self->items + self->count; item++) {
            Mark *now = &item->mark;
            *same = now->version >= 0 && item->place < self->kept_room[GRAD]
                    && now->version == self->kept[GRAD][item->place].mark.version
                    && now->values == self->kept[GRAD][item->place].mark.values;
        }
        let_go(self);
    }
    Py_DECREF(references);
    return fit;
}

/* data(call, stand_ins) */
static PyObject *sweep_data(PyObject *object, PyObject *args)
{
    PyObject *call, *stand_ins;
    if (!PyArg_ParseTuple(args, "OO", &call, &stand_ins))
        return NULL;
    return answer(sweep_all_data((Sweeper *)object, call, stand_ins));
}

/* grads(call, stand_ins, told, brief) */
static PyObject *sweep_gradients(PyObject *object, PyObject *args)
{
    PyObject *call, *stand_ins;
    int told, brief;
    if (!PyArg_ParseTuple(args, "OOpp", &call, &stand_ins, &told, &brief))
        return NULL;
    return answer(sweep_all_gradients((Sweeper *)object, call, stand_ins, told, brief));
}

/* What `both` returns when values were swept, and gradients are what they were. */
enum { UNTOUCHED = COLUMNS + 1 };

/* both(call of data, call of gradients, told, counted) */
static PyObject *sweep_both(PyObject *object, PyObject *args)
{
    Sweeper *self = (Sweeper *)object;
    PyObject *data_call, *grad_call;
    int told, counted, same = 0;
    if (!PyArg_ParseTuple(args, "OOpp", &data_call, &grad_call, &told, &counted))
        return NULL;
    int fit = sweep_all_data(self, data_call, Py_None);
    if (fit != DONE)
        return fit == FAILED ? NULL : PyLong_FromLong(DATA);
    fit = counted ? is_untouched(self, &same) : DONE;
    if (fit == DONE && !same)
        fit = sweep_all_gradients(self, grad_call, Py_None, told, 0);
    return fit == FAILED ? NULL : PyLong_FromLong(fit != DONE ? GRAD : same ? UNTOUCHED : COLUMNS);
}

/* untouched() */
static PyObject *are_untouched(PyObject *object, PyObject *Py_UNUSED(none))
{
    int same, fit = is_untouched((Sweeper *)object, &same);
    return fit == FAILED ? NULL : PyBool_FromLong(fit == DONE && same);
}

/* some(call, stand_ins, tensors) */
static PyObject *sweep_some(PyObject *object, PyObject *args)
{
    Sweeper *self = (Sweeper *)object;
    PyObject *call, *stand_ins, *tensors;
    if (!PyArg_ParseTuple(args, "OOO!", &call, &stand_ins, &PyList_Type, &tensors))
        return NULL;
    int fit = begin(self, PyList_GET_SIZE(tensors), stand_ins);
    return answer(fit == DONE ? sweep(self, gather_some(self, tensors, stand_ins), DATA, call, 1, 0) : fit);
}

/* Sweeper(table, waiting, counter, swept, plain, exchange, (gap, unseen, low),
   (none, zero, nonzero, nonfinite), (whether updates are written: data, gradients),
   (whether ranges are wanted: data, gradients)) */
static PyObject *make_sweeper(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Sweeper *self = (Sweeper *)type->tp_alloc(type, 0);
    PyObject *exchange;
    if (self == NULL)
        return NULL;
    int fine = PyArg_ParseTuple(args, "OO!O!OOO(KKK)(iiii)(pp)(pp)", &self->table, &PyList_Type, &self->waiting,
                                &CountType, &self->counter, &self->swept, &self->plain, &exchange,
                                &self->gap, &self->unseen, &self->low, &self->none, &self->zero, &self->nonzero,
                                &self->nonfinite, &self->written[DATA], &self->written[GRAD], &self->ranged[DATA],
                                &self->ranged[GRAD]);
    for (PyObject **part = &self->table; part <= &self->plain; part++)
        Py_XINCREF(*part);
    self->thread = PyThread_get_thread_ident();
    if (!fine || (self->describe = find_description(exchange)) == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void free_sweeper(PyObject *object)
{
    Sweeper *self = (Sweeper *)object;
    for (PyObject **part = &self->table; part <= &self->plain; part++)
        Py_XDECREF(*part);
    PyMem_Free(self->items);
    PyMem_Free(self->cells);
    PyMem_Free(self->chosen);
    PyMem_Free(self->reader.portions);
    for (int column = 0; column < COLUMNS; column++) {
        for (Py_ssize_t place = 0; place < self->kept_room[column]; place++)
            forget(&self->kept[column][place]);
        PyMem_Free(self->kept[column]);
    }
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef methods[] = {
    {"data", sweep_data, METH_VARARGS, "Sweep values and requires_grad within a call."},
    {"grads", sweep_gradients, METH_VARARGS,
     "Sweep gradients within a call: told as updates or not, briefly or whole."},
    {"both", sweep_both, METH_VARARGS,
     "Sweep values within one call and then gradients within another, unless all that may have written to these since "
     "the last time is counted and nothing has; how many of the two were, and one more where nothing has."},
    {"fingerprint", fingerprint, METH_O, "The fingerprint of a tensor; None when its memory cannot be read directly."},
    {"untouched", are_untouched, METH_NOARGS,
     "Whether all gradients are those of the last sweep, and no operation that counts has written to one."},
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
