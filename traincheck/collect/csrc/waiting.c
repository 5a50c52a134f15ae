/* Rows that wait to be written, and what numbers events: Rows and Count of buffers.py, without an object for each. */

#include "native.h"

enum { FIRST_ROOM = 1 << 12, MOST_ROOM = 1 << 20 }; /* bytes; more than that is given back once it was taken */

/* Packed rows of one family, one behind the other. */
typedef struct {
    PyObject_HEAD
    char *bytes;
    Py_ssize_t size, room;
} Rows;

static int make_room(Rows *self, Py_ssize_t more)
{
    if (more <= self->room - self->size)
        return 0;
    Py_ssize_t room = self->room ? self->room : FIRST_ROOM;
    while (room < self->size + more)
        room *= 2;
    char *bytes = PyMem_Realloc(self->bytes, room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->bytes = bytes;
    self->room = room;
    return 0;
}

int add_row(PyObject *rows, const void *row, Py_ssize_t size)
{
    Rows *self = (Rows *)rows;
    if (make_room(self, size) < 0)
        return -1;
    memcpy(self->bytes + self->size, row, size);
    self->size += size;
    return 0;
}

static PyObject *append(PyObject *rows, PyObject *row)
{
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(row, &bytes, &size) < 0 || add_row(rows, bytes, size) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *take(PyObject *rows, PyObject *Py_UNUSED(none))
{
    Rows *self = (Rows *)rows;
    PyObject *taken = PyBytes_FromStringAndSize(self->bytes, self->size);
    if (taken == NULL)
        return NULL;
    self->size = 0;
    if (self->room > MOST_ROOM) {
        PyMem_Free(self->bytes);
        self->bytes = NULL;
        self->room = 0;
    }
    return taken;
}

static PyObject *restore(PyObject *rows, PyObject *taken)
{
    Rows *self = (Rows *)rows;
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(taken, &bytes, &size) < 0 || make_room(self, size) < 0)
        return NULL;
    if (size) {
        memmove(self->bytes + size, self->bytes, self->size);
        memcpy(self->bytes, bytes, size);
        self->size += size;
    }
    Py_RETURN_NONE;
}

static void free_rows(PyObject *rows)
{
    PyMem_Free(((Rows *)rows)->bytes);
    Py_TYPE(rows)->tp_free(rows);
}

static PyMethodDef rows_methods[] = {
    {"append", append, METH_O, "Add packed rows, one or many."},
    {"take", take, METH_NOARGS, "Take all that wait."},
    {"restore", restore, METH_O, "Put back what was taken, in front of what has come since."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject RowsType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "traincheck.collect._native.Rows",
    .tp_doc = "Packed rows that wait to be written.",
    .tp_methods = rows_methods,
    .tp_basicsize = sizeof(Rows),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = free_rows,
};

static PyObject *next(PyObject *count) { return PyLong_FromLongLong(take_numbers(count, 1)); }

static PyObject *reserve(PyObject *count, PyObject *many)
{
    long long wanted = PyLong_AsLongLong(many);
    return wanted == -1 && PyErr_Occurred() ? NULL : PyLong_FromLongLong(take_numbers(count, wanted));
}

static PyObject *upcoming(PyObject *count, PyObject *Py_UNUSED(none))
{
    return PyLong_FromLongLong(((Count *)count)->upcoming);
}

static PyObject *make_count(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    Count *self = (Count *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->upcoming = 1;
    return (PyObject *)self;
}

static PyMethodDef count_methods[] = {
    {"reserve", reserve, METH_O, "Take so many numbers, one at least; the first of them."},
    {"upcoming", upcoming, METH_NOARGS, "The number that comes next, without using it up."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject CountType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "traincheck.collect._native.Count",
    .tp_doc = "Numbers events, from 1 on.",
    .tp_methods = count_methods,
    .tp_basicsize = sizeof(Count),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = next,
    .tp_new = make_count,
};
