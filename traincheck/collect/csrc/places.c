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

static PyObject *site_in(State *state, PyObject *frame, int instruction, PyObject *sites)
{
    PyObject *at = PyLong_FromLong(instruction);
    if (at == NULL)
        return NULL;
    PyObject *found = Py_XNewRef(PyDict_GetItemWithError(sites, at));
    Py_DECREF(at);
    if (found == NULL && !PyErr_Occurred())
        found = PyObject_CallMethodObjArgs(state->sites, _intern_site_word, frame, sites, NULL);
    return found;
}

/* Finds what a place is for: 1 when that is its `site`, or NULL when it is inherited; 0 to look further up, -1 with an
   error. */
static int find_place(State *state, PyObject *frame, PyObject *code, Place *place)
{
    PyObject *sites = Py_XNewRef(sites_of(state, code));
    if (sites == NULL && !PyErr_Occurred())
        sites = PyObject_CallMethodObjArgs(state->sites, _classify_word, code, NULL);
    if (sites == NULL)
        return -1;
    int found = 1;
    if (place->inherits && (sites == state->ours || (place->torch_calls_torch && sites == state->foreign)))
        set_slot(&place->site, NULL);
    else if (PyDict_GET_SIZE(sites) == 0)
        found = 0;
    else {
        set_slot(&place->site, site_in(state, frame, place->instruction, sites));
        found = place->site == NULL ? -1 : 1;
    }
    Py_DECREF(sites);
    return found;
}

/* Looks at one frame: 1 with a site, 0 to look further up, -1 with an error. */
static int look(Recorder *self, PyObject *frame, PyObject *inherited, int torch_calls_torch, PyObject **site)
{
    PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
    int instruction = PyFrame_GetLasti((PyFrameObject *)frame), found = 1;
    Place *place = &self->places[((uintptr_t)code / 64 + (uintptr_t)instruction / 2) % PLACES];
    if (place->code != code || place->instruction != instruction || place->inherits != (inherited != NULL)
        || place->torch_calls_torch != torch_calls_torch) {
        set_slot(&place->code, NULL);
        place->instruction = instruction;
        place->inherits = inherited != NULL;
        place->torch_calls_torch = (char)torch_calls_torch;
        if ((found = find_place(self->state, frame, code, place)) == 1)
            place->code = Py_NewRef(code);
    }
    Py_DECREF(code);
    if (found == 1)
        *site = Py_NewRef(place->site == NULL ? inherited : place->site);
    return found;
}

/* The id of the site of the nearest user's frame, from the caller's on: a new reference. */
PyObject *find_site(Recorder *self, PyObject *inherited, int outer_is_users)
{
    PyObject *frame = caller_frame(self->up), *site = NULL;
    int first = !outer_is_users, found = 0;
    while (frame != NULL && (found = look(self, frame, inherited, first, &site)) == 0) {
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
