/* Whether some modules have the members that they had: what `_members` of variables.py compares, as one number. */

#include "native.h"

typedef unsigned long long Hash;

static Hash mixed(Hash hash, const void *word)
{
    hash ^= (Hash)(Py_uintptr_t)word;
    hash *= 0x9e3779b97f4a7c15ULL; /* the golden ratio, as Knuth multiplies */
    return hash ^ (hash >> 29);
}

/* Takes in the tables of one object; -1 with an error. */
static int take_in(Hash *hash, PyObject *part, PyObject *tables)
{
    PyObject *attributes = PyObject_GenericGetDict(part, NULL);
    if (attributes == NULL)
        return -1;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(tables); at++) {
        PyObject *table = PyDict_GetItemWithError(attributes, PyTuple_GET_ITEM(tables, at)), *name, *member;
        if (table == NULL || !PyDict_Check(table)) {
            Py_DECREF(attributes);
            if (!PyErr_Occurred())
                PyErr_SetObject(PyExc_KeyError, PyTuple_GET_ITEM(tables, at));
            return -1;
        }
        Py_ssize_t place = 0;
        while (PyDict_Next(table, &place, &name, &member))
            *hash = mixed(mixed(*hash, name), member);
        *hash = mixed(*hash, (void *)PyDict_GET_SIZE(table));
    }
    Py_DECREF(attributes);
    return 0;
}

PyObject *structure(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyList_Check(args[0]) || !PyTuple_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "structure takes a list of references and a tuple of names");
    Hash hash = 0;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(args[0]); at++) {
        PyObject *part = PyWeakref_GetObject(PyList_GET_ITEM(args[0], at)); /* borrowed */
        if (part == NULL)
            return NULL;
        if (part == Py_None) {
            hash = mixed(hash, NULL);
            continue;
        }
        Py_INCREF(part);
        int status = take_in(&hash, part, args[1]);
        Py_DECREF(part);
        if (status < 0)
            return NULL;
    }
    return PyLong_FromUnsignedLongLong(hash);
}
