/* Where a call is made, under what contexts, on which object: what Sites, Contexts and Objects know. */

#include "native.h"

static PyObject *caller_frame(int up)
{
    PyFrameObject *frame = PyEval_GetFrame();
    Py_XINCREF(frame);
    while (up-- > 0 && frame != NULL) {
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    return (PyObject *)frame;
}

/* The sites of a code object by instruction: borrowed; NULL without an error when it has not been seen. */
static PyObject *sites_of(State *state, PyObject *code)
{
    PyObject *address = PyLong_FromVoidPtr(code);
    if (address == NULL)
        return NULL;
    PyObject *found = PyDict_GetItemWithError(state->codes, address);
    Py_DECREF(address);
    return found;
}

static PyObject *site_in(State *state, PyObject *frame, PyObject *sites)
{
    PyObject *at = PyLong_FromLong(PyFrame_GetLasti((PyFrameObject *)frame));
    if (at == NULL)
        return NULL;
    PyObject *found = Py_XNewRef(PyDict_GetItemWithError(sites, at));
    Py_DECREF(at);
    if (found == NULL && !PyErr_Occurred())
        found = PyObject_CallMethodObjArgs(state->sites, _intern_site_word, frame, sites, NULL);
    return found;
}

/* Looks at one frame: 1 with a site, 0 to look further up, -1 with an error. */
static int look(State *state, PyObject *frame, PyObject *inherited, int torch_calls_torch, PyObject **site)
{
    PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
    PyObject *sites = Py_XNewRef(sites_of(state, code));
    if (sites == NULL && !PyErr_Occurred())
        sites = PyObject_CallMethodObjArgs(state->sites, _classify_word, code, NULL);
    Py_DECREF(code);
    if (sites == NULL)
        return -1;
    if (inherited != NULL && (sites == state->ours || (torch_calls_torch && sites == state->foreign)))
        *site = Py_NewRef(inherited);
    else if (PyDict_GET_SIZE(sites) > 0)
        *site = site_in(state, frame, sites);
    else {
        Py_DECREF(sites);
        return 0;
    }
    Py_DECREF(sites);
    return *site == NULL ? -1 : 1;
}

/* The id of the site of the nearest user's frame, from the one that is `up` above the current one: a new reference. */
PyObject *find_site(State *state, int up, PyObject *inherited, int outer_is_users)
{
    PyObject *frame = caller_frame(up), *site = NULL;
    int first = !outer_is_users, found = 0;
    while (frame != NULL && (found = look(state, frame, inherited, first, &site)) == 0) {
        PyObject *back = (PyObject *)PyFrame_GetBack((PyFrameObject *)frame);
        Py_DECREF(frame);
        frame = back;
        first = 0;
    }
    Py_XDECREF(frame);
    return found == 0 ? PyLong_FromLong(NONE_ID) : site;
}

/* The id of the context that holds now: a new reference. */
PyObject *find_context(State *state, PyObject *training, PyObject *autocast)
{
    PyObject *grad = PyObject_CallNoArgs(state->is_grad_enabled);
    if (grad == NULL)
        return NULL;
    PyObject *inference = is_true(grad) ? Py_NewRef(Py_False) : PyObject_CallNoArgs(state->is_inference);
    PyObject *key = inference == NULL ? NULL : PyTuple_Pack(4, grad, training, inference, autocast);
    Py_DECREF(grad);
    Py_XDECREF(inference);
    if (key == NULL)
        return NULL;
    PyObject *found = Py_XNewRef(PyDict_GetItemWithError(state->known_contexts, key));
    if (found == NULL && !PyErr_Occurred())
        found = PyObject_CallMethodOneArg(state->contexts, _add_word, key);
    Py_DECREF(key);
    return found;
}

/* The number of an object: a new reference. */
PyObject *find_number(State *state, PyObject *thing)
{
    PyObject *address = PyLong_FromVoidPtr(thing);
    if (address == NULL)
        return NULL;
    PyObject *entry = PyDict_GetItemWithError(state->known_objects, address);
    Py_DECREF(address);
    if (entry != NULL && PyWeakref_GetObject(PyTuple_GET_ITEM(entry, 0)) == thing)
        return Py_NewRef(PyTuple_GET_ITEM(entry, 1));
    return PyErr_Occurred() ? NULL : PyObject_CallMethodOneArg(state->objects, number_word, thing);
}
