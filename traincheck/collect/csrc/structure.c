/* Whether modules have the members, and optimizers the tensors and settings, that they had: each as one number.

   Of modules it is what `_members` of variables.py compares, which also counts those that have died. Of groups the
   settings that are followed are kept alive by who follows them (hyperparameters.py): no other object has their ids. */

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
    if (count != 2 || !PyTuple_Check(args[0]) || !PyList_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "structure takes a tuple of names and a list of references");
    Hash hash = 0;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(args[1]); at++) {
        PyObject *part = PyWeakref_GetObject(PyList_GET_ITEM(args[1], at)); /* borrowed */
        if (part == NULL)
            return NULL;
        if (part == Py_None) {
            hash = mixed(hash, NULL);
            continue;
        }
        Py_INCREF(part);
        int status = take_in(&hash, part, args[0]);
        Py_DECREF(part);
        if (status < 0)
            return NULL;
    }
    return PyLong_FromUnsignedLongLong(hash);
}

/* Takes in the tensors that a group of an optimizer holds, which one that was lazy stays when it is no longer. */
static int take_in_params(Hash *hash, PyObject *params)
{
    if (!PyList_Check(params))
        return 0;
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(params); at++) {
        PyObject *param = PyList_GET_ITEM(params, at);
        *hash = mixed(mixed(*hash, param), Py_TYPE(param));
    }
    return 1;
}

/* What groups hold; untold where values may be others without being other objects. */
typedef struct {
    Hash tensors, settings;
    int tensors_told, settings_told;
} Held;

static void take_in_group(Held *held, PyObject *group, PyTypeObject *tensor)
{
    PyObject *name, *value;
    Py_ssize_t place = 0;
    if (!PyDict_Check(group)) {
        held->tensors_told = held->settings_told = 0;
        return;
    }
    held->tensors = mixed(held->tensors, NULL); /* where one ends and another begins */
    held->settings = mixed(held->settings, NULL);
    while (PyDict_Next(group, &place, &name, &value)) {
        if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "params") == 0)
            held->tensors_told &= take_in_params(&held->tensors, value);
        else if (PyObject_TypeCheck(value, tensor))
            held->settings_told = 0;
        else
            held->settings = mixed(mixed(mixed(held->settings, name), value), Py_TYPE(value));
    }
}

static PyObject *number_of(Hash hash, int told)
{
    return told ? PyLong_FromUnsignedLongLong(hash) : Py_NewRef(Py_None);
}

PyObject *groups(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyType_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "groups takes a list of groups and the type of tensors");
    int told = PyList_Check(args[0]);
    Held held = {1, 1, told, told}; /* of 0 no more would come than 0 */
    for (Py_ssize_t at = 0; told && at < PyList_GET_SIZE(args[0]); at++)
        take_in_group(&held, PyList_GET_ITEM(args[0], at), (PyTypeObject *)args[1]);
    return Py_BuildValue("NN", number_of(held.tensors, held.tensors_told),
                         number_of(held.settings, held.settings_told));
}
