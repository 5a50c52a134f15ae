/* Reads tensors: what Reader does for those whose memory can be read directly. */

#include "native.h"
#include <math.h>
#include <stddef.h>

typedef struct {
    unsigned long long pointer;
    Py_ssize_t size;
    PyObject *view; /* the memory as bytes */
} Place;

typedef struct {
    PyObject_HEAD
    PyObject *plain, *hash, *view, *strided, *data_ptr; /* types, functions and the layout that is fast */
    PyObject *known;                                    /* (pointer, size, dtype) -> (view, values or None) */
    PyObject *small;                                    /* the values of each tensor just read, or None */
    Place *places;
    Py_ssize_t count;
    unsigned long long low; /* addresses up to here are none */
} QuickReader;

enum { MOST_VIEWS = 4096 };

static void drop_places(QuickReader *self)
{
    for (Py_ssize_t at = 0; at < self->count; at++)
        Py_XDECREF(self->places[at].view);
    PyMem_Free(self->places);
    self->places = NULL;
    self->count = 0;
}

static int make_places(QuickReader *self, Py_ssize_t count)
{
    drop_places(self);
    set_slot(&self->small, PyList_New(count));
    self->places = PyMem_Calloc(count ? count : 1, sizeof(Place));
    if (self->places == NULL || self->small == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->count = count;
    for (Py_ssize_t at = 0; at < count; at++) {
        self->places[at].size = -1;
        PyList_SET_ITEM(self->small, at, Py_NewRef(Py_None));
    }
    return 0;
}

/* Whether an attribute, or what a method without arguments gives, is `wanted`; -1 with an error. */
static int has(PyObject *object, PyObject *name, PyObject *wanted, int call)
{
    PyObject *found = call ? PyObject_CallMethodNoArgs(object, name) : PyObject_GetAttr(object, name);
    Py_XDECREF(found); /* True, False and layouts outlive this */
    return found == NULL ? -1 : found == wanted;
}

/* Takes the view of memory that has moved: 1 when done, 0 when it cannot be read directly, -1 with an error. */
static int take_view(QuickReader *self, Py_ssize_t at, PyObject *tensor, unsigned long long pointer, Py_ssize_t size)
{
    int fast = pointer > self->low ? has(tensor, layout_word, self->strided, 0) : 0;
    if (fast > 0)
        fast = has(tensor, is_cpu_word, Py_True, 0);
    if (fast > 0)
        fast = has(tensor, is_contiguous_word, Py_True, 1);
    if (fast <= 0)
        return fast;
    PyObject *dtype = PyObject_GetAttr(tensor, dtype_word), *found = NULL;
    PyObject *key = dtype == NULL ? NULL : Py_BuildValue("(KnO)", pointer, size, dtype);
    if (key != NULL && (found = Py_XNewRef(PyDict_GetItemWithError(self->known, key))) == NULL && !PyErr_Occurred()) {
        if (PyDict_GET_SIZE(self->known) > MOST_VIEWS)
            PyDict_Clear(self->known);
        found = PyObject_Call(self->view, key, NULL);
        if (found != NULL && PyDict_SetItem(self->known, key, found) < 0)
            Py_CLEAR(found);
    }
    Py_XDECREF(key);
    Py_XDECREF(dtype);
    if (found == NULL)
        return -1;
    Place *place = &self->places[at];
    place->pointer = pointer;
    place->size = size;
    set_slot(&place->view, Py_NewRef(PyTuple_GET_ITEM(found, 0)));
    PyList_SetItem(self->small, at, Py_NewRef(PyTuple_GET_ITEM(found, 1)));
    Py_DECREF(found);
    return 1;
}

/* Finds the memory of one tensor: 1, 0 or -1 as `take_view`. */
static int find_memory(QuickReader *self, Py_ssize_t at, PyObject *tensor)
{
    if (!PySequence_Contains(self->plain, (PyObject *)Py_TYPE(tensor)))
        return 0;
    PyObject *address = PyObject_CallOneArg(self->data_ptr, tensor);
    PyObject *bytes = address == NULL ? NULL : PyObject_GetAttr(tensor, nbytes_word);
    int found = -1;
    if (bytes != NULL) {
        unsigned long long pointer = PyLong_AsUnsignedLongLong(address);
        Py_ssize_t size = PyLong_AsSsize_t(bytes);
        Place *place = &self->places[at];
        found = place->pointer == pointer && place->size == size ? 1 : take_view(self, at, tensor, pointer, size);
    }
    else if (PyErr_ExceptionMatches(PyExc_RuntimeError)) { /* a tensor without memory of its own */
        PyErr_Clear();
        found = 0;
    }
    Py_XDECREF(address);
    Py_XDECREF(bytes);
    return found;
}

/* The fingerprints of a list of tensors; None when one of them cannot be read directly. */
static PyObject *read_all(PyObject *object, PyObject *args, PyObject *kwargs)
{
    QuickReader *self = (QuickReader *)object;
    PyObject *tensors;
    if (!PyArg_ParseTuple(args, "O!", &PyList_Type, &tensors))
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(tensors);
    if (count != self->count && make_places(self, count) < 0)
        return NULL;
    int fast = 1;
    for (Py_ssize_t at = 0; fast > 0 && at < count; at++)
        fast = find_memory(self, at, PyList_GET_ITEM(tensors, at));
    if (fast <= 0) {
        drop_places(self);
        return fast < 0 ? NULL : Py_NewRef(Py_None);
    }
    PyObject *found = PyList_New(count);
    for (Py_ssize_t at = 0; found != NULL && at < count; at++) {
        PyObject *seen = PyObject_CallOneArg(self->hash, self->places[at].view);
        if (seen == NULL)
            Py_CLEAR(found);
        else
            PyList_SET_ITEM(found, at, seen);
    }
    return found;
}

static PyObject *make_reader(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"plain", "hash", "view", "strided", "data_ptr", "low", NULL};
    PyObject *plain, *hash, *view, *strided, *data_ptr;
    unsigned long long low;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOK", names, &plain, &hash, &view, &strided, &data_ptr, &low))
        return NULL;
    QuickReader *self = (QuickReader *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->plain = Py_NewRef(plain);
    self->hash = Py_NewRef(hash);
    self->view = Py_NewRef(view);
    self->strided = Py_NewRef(strided);
    self->data_ptr = Py_NewRef(data_ptr);
    self->low = low;
    self->known = PyDict_New();
    self->small = PyList_New(0);
    if (self->known == NULL || self->small == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void free_reader(PyObject *object)
{
    QuickReader *self = (QuickReader *)object;
    drop_places(self);
    Py_XDECREF(self->plain);
    Py_XDECREF(self->hash);
    Py_XDECREF(self->view);
    Py_XDECREF(self->strided);
    Py_XDECREF(self->data_ptr);
    Py_XDECREF(self->known);
    Py_XDECREF(self->small);
    Py_TYPE(object)->tp_free(object);
}

static PyMemberDef members[] = {
    {"small", T_OBJECT_EX, offsetof(QuickReader, small), READONLY, "Values of the tensors just read, or None."},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject QuickReaderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "traincheck.collect._native.QuickReader",
    .tp_doc = "Takes the fingerprints of tensors whose memory can be read directly.",
    .tp_basicsize = sizeof(QuickReader),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_call = read_all,
    .tp_members = members,
    .tp_new = make_reader,
    .tp_dealloc = free_reader,
};

static double sum_of_squares(const float *values, Py_ssize_t count)
{
    enum { LANES = 16 };
    float lanes[LANES] = {0};
    double sum = 0;
    Py_ssize_t at = 0;
    for (; at + LANES <= count; at += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] += values[at + lane] * values[at + lane];
    for (int lane = 0; lane < LANES; lane++)
        sum += lanes[lane];
    for (; at < count; at++)
        sum += (double)values[at] * values[at];
    return sum;
}

/* The norm of an array of float32: NULL without an error for None, zero, and what is not finite. */
static PyObject *ordinary_norm(PyObject *array)
{
    Py_buffer buffer;
    if (array == Py_None || PyObject_GetBuffer(array, &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    double sum = sum_of_squares(buffer.buf, buffer.len / (Py_ssize_t)sizeof(float));
    PyBuffer_Release(&buffer);
    return sum > 0.0 && sum < Py_HUGE_VAL ? PyFloat_FromDouble(sqrt(sum)) : NULL; /* NULL for NaN */
}

/* news(now, before, small): where two lists of integers differ, and the norms there, None if one is not ordinary. */
PyObject *news(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !PyList_Check(args[0]) || !PyList_Check(args[1]) || !PyList_Check(args[2])
        || PyList_GET_SIZE(args[0]) != PyList_GET_SIZE(args[1])
        || PyList_GET_SIZE(args[0]) != PyList_GET_SIZE(args[2]))
        return PyErr_Format(PyExc_TypeError, "news takes three lists of one length");
    PyObject *places = PyList_New(0), *norms = PyList_New(0);
    for (Py_ssize_t at = 0; places != NULL && norms != NULL && at < PyList_GET_SIZE(args[0]); at++) {
        int same = PyObject_RichCompareBool(PyList_GET_ITEM(args[0], at), PyList_GET_ITEM(args[1], at), Py_EQ);
        if (same > 0)
            continue;
        PyObject *place = same < 0 ? NULL : PyLong_FromSsize_t(at);
        if (place == NULL || PyList_Append(places, place) < 0)
            Py_CLEAR(places);
        Py_XDECREF(place);
        if (places == NULL || norms == Py_None)
            continue;
        PyObject *norm = ordinary_norm(PyList_GET_ITEM(args[2], at));
        if (norm == NULL && !PyErr_Occurred())
            set_slot(&norms, Py_NewRef(Py_None));
        else if (norm == NULL || PyList_Append(norms, norm) < 0)
            Py_CLEAR(norms);
        Py_XDECREF(norm);
    }
    if (places != NULL && norms != NULL)
        return Py_BuildValue("(NN)", places, norms);
    Py_XDECREF(places);
    Py_XDECREF(norms);
    return NULL;
}

/* What some weak references refer to; None for what is gone. */
PyObject *referents(PyObject *module, PyObject *references)
{
    Py_ssize_t count = PyList_Check(references) ? PyList_GET_SIZE(references) : -1;
    PyObject *found = count < 0 ? PyErr_Format(PyExc_TypeError, "a list of references") : PyList_New(count);
    for (Py_ssize_t at = 0; found != NULL && at < count; at++) {
        PyObject *thing = PyWeakref_GetObject(PyList_GET_ITEM(references, at));
        if (thing == NULL)
            Py_CLEAR(found);
        else
            PyList_SET_ITEM(found, at, Py_NewRef(thing));
    }
    return found;
}
