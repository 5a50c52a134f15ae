/* Gathers the tensors of a sweep, and finds their memory. */

#include "sweep.h"
#include <string.h>

static int make_room(Sweeper *self, Py_ssize_t count)
{
    if (count <= self->room)
        return DONE;
    Item *items = PyMem_Realloc(self->items, count * sizeof(Item));
    self->items = items == NULL ? self->items : items;
    Cell *cells = PyMem_Realloc(self->cells, 2 * count * sizeof(Cell));
    self->cells = cells == NULL ? self->cells : cells;
    Read **chosen = PyMem_Realloc(self->chosen, count * sizeof(Read *));
    self->chosen = chosen == NULL ? self->chosen : chosen;
    if (items == NULL || cells == NULL || chosen == NULL) {
        PyErr_NoMemory();
        return FAILED;
    }
    self->room = count;
    return DONE;
}

int keep_more(Sweeper *self, int column, Py_ssize_t places)
{
    Kept *kept = PyMem_Realloc(self->kept[column], 2 * places * sizeof(Kept));
    if (kept == NULL) {
        PyErr_NoMemory();
        return FAILED;
    }
    memset(kept + self->kept_room[column], 0, (2 * places - self->kept_room[column]) * sizeof(Kept));
    self->kept[column] = kept;
    self->kept_room[column] = 2 * places;
    return DONE;
}

int begin(Sweeper *self, Py_ssize_t count, PyObject *stand_ins)
{
    if (self->busy || (stand_ins != Py_None && (!PyList_Check(stand_ins) || PyList_GET_SIZE(stand_ins) != count)))
        return LATER;
    self->count = 0;
    self->most = count;
    self->busy = make_room(self, count) == DONE;
    return self->busy ? DONE : FAILED;
}

void let_go(Sweeper *self)
{
    for (Item *item = self->items; item < self->items + self->count; item++) {
        Py_DECREF(item->tensor);
        Py_XDECREF(item->seen);
    }
    self->busy = 0;
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

int gather_data(Sweeper *self, PyObject *references, PyObject *stand_ins)
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

/* The mark of a gradient; one that is like no other where there is no count. */
static int mark_of(Sweeper *self, PyObject *gradient, enum Marked how, Mark *mark)
{
    Described told;
    *mark = (Mark){NULL, gradient == Py_None ? 0 : -1};
    if (gradient == Py_None || how == UNMARKED)
        return DONE;
    int placed = 1;
    if (how == PLACED) { /* what is not plain may have no address to tell of */
        placed = PySequence_Contains(self->plain, (PyObject *)Py_TYPE(gradient));
        if (placed < 0)
            return FAILED;
        placed = placed && self->describe(gradient, &told) == 0;
        if (placed)
            mark->values = address_of(&told);
    }
    PyObject *version = placed ? PyObject_GetAttr(gradient, _version_word) : NULL;
    mark->version = version == NULL ? -1 : PyLong_AsLongLong(version) + 1;
    Py_XDECREF(version);
    if (PyErr_Occurred()) { /* sparse, meta, or made in inference mode */
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return FAILED;
        PyErr_Clear();
    }
    return DONE;
}

int gather_gradients(Sweeper *self, PyObject *references, PyObject *stand_ins, enum Marked how)
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
        Item item = {.place = at, .position = PyLong_AsSsize_t(PyList_GET_ITEM(positions, at))};
        int fit = mark_of(self, gradient, how, &item.mark);
        item.tensor = stand_in(gradient, stand_ins, at);
        self->items[self->count++] = item;
        if (fit != DONE)
            return fit;
    }
    return DONE;
}

/* Those of some values that are variables. */
int gather_some(Sweeper *self, PyObject *tensors, PyObject *stand_ins)
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

int find_memory(Sweeper *self, PyObject *tensor, Described *told, Memory *memory)
{
    int plain = PySequence_Contains(self->plain, (PyObject *)Py_TYPE(tensor));
    if (plain != 1)
        return plain < 0 ? FAILED : UNFIT;
    if (self->describe(tensor, told) != 0) { /* sparse, meta or quantised */
        if (!PyErr_ExceptionMatches(PyExc_RuntimeError) && !PyErr_ExceptionMatches(PyExc_BufferError))
            return FAILED;
        PyErr_Clear();
        return UNFIT;
    }
    if (!locate(told, memory))
        return UNFIT;
    return !memory->size || (uintptr_t)memory->values > self->low ? DONE : owns_memory(tensor, told);
}
