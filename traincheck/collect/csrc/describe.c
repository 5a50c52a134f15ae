/* Describes values as interned sets: what Summaries does, for what is frequent. */

#include "memo.h"

enum { LINK_HASHED = 2 };

/* A row of links. */
typedef struct PACKED {
    int64_t call, tensor;
    uint64_t fingerprint;
    int32_t name;
    int8_t flags;
} LinkRow;

static PyObject *key_of_tensor(PyObject *value)
{
    PyObject *on_cpu = PyObject_GetAttr(value, is_cpu_word);
    if (on_cpu == NULL)
        return NULL;
    PyObject *dtype = PyObject_GetAttr(value, dtype_word);
    PyObject *shape = dtype == NULL ? NULL : PyObject_GetAttr(value, shape_word);
    PyObject *device = NULL, *key = NULL;
    if (shape != NULL && is_true(on_cpu))
        key = PyTuple_Pack(2, dtype, shape);
    else if (shape != NULL && (device = PyObject_GetAttr(value, device_word)) != NULL)
        key = PyTuple_Pack(3, dtype, shape, device);
    Py_DECREF(on_cpu);
    Py_XDECREF(dtype);
    Py_XDECREF(shape);
    Py_XDECREF(device);
    return key;
}

/* A tuple of scalars, such as a stride; NULL without an error for any other. */
static PyObject *key_of_scalars(State *state, PyObject *value)
{
    Py_ssize_t count = PyTuple_GET_SIZE(value);
    if (count > PyTuple_GET_SIZE(state->item_names))
        return NULL;
    for (Py_ssize_t at = 0; at < count; at++)
        if (!is_scalar(Py_TYPE(PyTuple_GET_ITEM(value, at))))
            return NULL;
    PyObject *kinds = PyTuple_New(count);
    if (kinds == NULL)
        return NULL;
    for (Py_ssize_t at = 0; at < count; at++)
        PyTuple_SET_ITEM(kinds, at, Py_NewRef((PyObject *)Py_TYPE(PyTuple_GET_ITEM(value, at))));
    PyObject *key = PyTuple_Pack(3, state->Scalars, value, kinds);
    Py_DECREF(kinds);
    return key;
}

/* Calls a method of Summaries that is given a value with its name, and what is asked of it. */
static PyObject *call_with_value(State *state, PyObject *method, Asked asked, PyObject *name, PyObject *value)
{
    PyObject *call = PyLong_FromLongLong(asked.call), *flags = PyLong_FromLong(asked.flags), *found = NULL;
    if (call != NULL && flags != NULL)
        found = PyObject_CallMethodObjArgs(state->summaries, method, call, name, value, flags,
                                           asked.linked ? Py_True : Py_False, asked.hashed ? Py_True : Py_False, NULL);
    Py_XDECREF(call);
    Py_XDECREF(flags);
    return found;
}

/* The id of a word: borrowed, as all ids of words are kept; NULL with an error. */
static PyObject *id_of(State *state, PyObject *word)
{
    PyObject *known = PyDict_GetItemWithError(state->known_names, word);
    if (known != NULL || PyErr_Occurred())
        return known;
    PyObject *made = PyObject_CallOneArg(state->names, word);
    Py_XDECREF(made);
    return made;
}

/* Links the values of a tensor to a call, but not which tensor it is: 1 when done, 0 when its memory does not tell them
   here, -1 with an error. */
static int link_values(State *state, Asked asked, PyObject *name, PyObject *value)
{
    if (state->fingerprint == Py_None)
        return 0;
    PyObject *found = PyObject_CallOneArg(state->fingerprint, value);
    if (found == NULL || found == Py_None) {
        Py_XDECREF(found);
        return found == NULL ? -1 : 0;
    }
    uint64_t print = PyLong_AsUnsignedLongLong(found);
    Py_DECREF(found);
    PyObject *id = id_of(state, name);
    if (id == NULL)
        return -1;
    LinkRow row = {asked.call, NONE_ID, print, (int32_t)PyLong_AsLong(id), (int8_t)(asked.flags | LINK_HASHED)};
    return add_row(state->links, &row, sizeof row) < 0 ? -1 : 1;
}

/* Links a tensor to a call as it is asked for; -1 with an error. */
static int link_tensor(State *state, Asked asked, PyObject *name, PyObject *value)
{
    if (!asked.linked && !asked.hashed)
        return 0;
    int linked = asked.linked ? 0 : link_values(state, asked, name, value);
    if (linked != 0)
        return linked;
    PyObject *done = call_with_value(state, link_word, asked, name, value);
    Py_XDECREF(done);
    return done == NULL ? -1 : 1;
}

static PyObject *key_of(State *state, Asked asked, PyObject *name, PyObject *value)
{
    PyObject *type = (PyObject *)Py_TYPE(value);
    if (type == state->Tensor || type == state->Parameter) {
        return link_tensor(state, asked, name, value) < 0 ? NULL : key_of_tensor(value);
    }
    if (is_scalar(Py_TYPE(value)) || type == state->dtype || type == state->device)
        return PyTuple_Pack(2, type, value);
    if (PyTuple_CheckExact(value)) {
        PyObject *key = key_of_scalars(state, value);
        if (key != NULL || PyErr_Occurred())
            return key;
    }
    int nested = PyList_CheckExact(value) || PyTuple_Check(value) || PyDict_CheckExact(value);
    if (!nested && (nested = PyObject_IsInstance(value, state->Tensor)) < 0)
        return NULL;
    if (nested)
        return call_with_value(state, _nested_word, asked, name, value);
    return PyTuple_Pack(1, type);
}

/* The id of the set that describes some values. */
int describe(State *state, Asked asked, Items items)
{
    Py_ssize_t count = items.count;
    if (count > PyTuple_GET_SIZE(items.names))
        count = PyTuple_GET_SIZE(items.names);
    Looks looks;
    int told = !asked.linked && !asked.hashed && look_at(state, asked.table, items.values, count, &looks);
    int recalled = told ? recall(asked.table, &looks) : NONE_ID;
    if (recalled != NONE_ID)
        return recalled;
    PyObject *key = PyTuple_New(count);
    for (Py_ssize_t at = 0; key != NULL && at < count; at++) {
        PyObject *entry = key_of(state, asked, PyTuple_GET_ITEM(items.names, at), items.values[at]);
        if (entry == NULL)
            Py_CLEAR(key);
        else
            PyTuple_SET_ITEM(key, at, entry);
    }
    if (key == NULL)
        return FAILED_ID;
    PyObject *known = PyDict_GetItemWithError(SLOT(asked.table, SetTable_known), key), *found = Py_XNewRef(known);
    if (known != NULL && told)
        remember(asked.table, &looks, (int)PyLong_AsLong(known));
    if (known == NULL && !PyErr_Occurred())
        found = PyObject_CallMethodObjArgs(state->summaries, _new_set_word, asked.table, items.names, key, NULL);
    Py_DECREF(key);
    return id_from(found);
}

/* The same of what a call returned. */
int describe_result(State *state, Asked asked, PyObject *result)
{
    if (PyTuple_CheckExact(result) || PyList_CheckExact(result)) {
        PyObject *items = PySequence_Tuple(result);
        if (items == NULL)
            return FAILED_ID;
        Items all = {state->item_names, &PyTuple_GET_ITEM(items, 0), PyTuple_GET_SIZE(items)};
        int found = describe(state, asked, all);
        Py_DECREF(items);
        return found;
    }
    Items single = {state->one, &result, 1};
    return describe(state, asked, single);
}
