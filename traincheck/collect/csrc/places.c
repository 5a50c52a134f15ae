/* Where a call is made, under what contexts, on which object: what Sites, Contexts and Objects know. */

#include "native.h"

int id_from(PyObject *number)
{
    long id = number == NULL ? FAILED_ID : PyLong_AsLong(number);
    Py_XDECREF(number);
    return (int)id;
}

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

static int site_in(State *state, PyObject *frame, int instruction, PyObject *sites)
{
    PyObject *at = PyLong_FromLong(instruction);
    if (at == NULL)
        return FAILED_ID;
    PyObject *found = Py_XNewRef(PyDict_GetItemWithError(sites, at));
    Py_DECREF(at);
    if (found == NULL && !PyErr_Occurred())
        found = PyObject_CallMethodObjArgs(state->sites, _intern_site_word, frame, sites, NULL);
    return id_from(found);
}

/* Finds what there is to know of a place: 1 with a site, its own or not, 0 to look further up, -1 with an error. */
static int find_place(State *state, PyObject *frame, Place *place)
{
    PyObject *sites = Py_XNewRef(sites_of(state, place->code));
    if (sites == NULL && !PyErr_Occurred())
        sites = PyObject_CallMethodObjArgs(state->sites, _classify_word, place->code, NULL);
    if (sites == NULL)
        return -1;
    place->inherited =
        place->inherits && (sites == state->ours || (place->torch_calls_torch && sites == state->foreign));
    int has_one = !place->inherited && PyDict_GET_SIZE(sites) > 0;
    place->site = has_one ? site_in(state, frame, place->instruction, sites) : NONE_ID;
    Py_DECREF(sites);
    return place->site == FAILED_ID ? -1 : has_one || place->inherited;
}

/* Looks at one frame: 1 with a site, 0 to look further up, -1 with an error. */
static int look(Recorder *self, PyObject *frame, const Open *outer, int torch_calls_torch, int *site)
{
    PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
    int instruction = PyFrame_GetLasti((PyFrameObject *)frame), found = 1;
    Place *kept = &self->places[((uintptr_t)code / 64 + (uintptr_t)instruction / 2) % PLACES], place = *kept;
    if (place.code != code || place.instruction != instruction || place.inherits != (outer != NULL)
        || place.torch_calls_torch != torch_calls_torch) {
        place = (Place){code, instruction, NONE_ID, outer != NULL, (char)torch_calls_torch, 0};
        found = find_place(self->state, frame, &place); /* meanwhile other threads may find places */
        if (found == 1) {
            PyObject *old = kept->code;
            *kept = place;
            Py_INCREF(code);
            Py_XDECREF(old);
        }
    }
    Py_DECREF(code);
    if (found == 1)
        *site = place.inherited ? outer->site : place.site;
    return found;
}

/* The id of the site of the nearest user's frame, from the caller's on, of a call within `outer`. */
int find_site(Recorder *self, const Open *outer)
{
    PyObject *frame = caller_frame(self->up);
    int first = outer != NULL && !is_true(SLOT(outer->api, Api_users)), found = 0, site = NONE_ID;
    while (frame != NULL && (found = look(self, frame, outer, first, &site)) == 0) {
        PyObject *back = (PyObject *)PyFrame_GetBack((PyFrameObject *)frame);
        Py_DECREF(frame);
        frame = back;
        first = 0;
    }
    Py_XDECREF(frame);
    return found < 0 ? FAILED_ID : site;
}

/* Looks a context up: its id. */
static int look_up(State *state, PyObject *known, PyObject *grad, PyObject *training, PyObject *autocast)
{
    PyObject *inference = is_true(grad) ? Py_NewRef(Py_False) : PyObject_CallNoArgs(state->is_inference);
    PyObject *key = inference == NULL ? NULL : PyTuple_Pack(4, grad, training, inference, autocast);
    Py_XDECREF(inference);
    if (key == NULL)
        return FAILED_ID;
    PyObject *found = Py_XNewRef(PyDict_GetItemWithError(known, key));
    if (found == NULL && !PyErr_Occurred())
        found = PyObject_CallMethodOneArg(state->contexts, _add_word, key);
    Py_DECREF(key);
    return id_from(found);
}

/* The id of the context that holds now. */
int find_context(State *state, PyObject *training, PyObject *autocast)
{
    PyObject *grad = PyObject_CallNoArgs(state->is_grad_enabled), *known = SLOT(state->contexts, Contexts_known);
    if (grad == NULL)
        return FAILED_ID;
    Context *last = &state->context;
    Py_DECREF(grad); /* True and False outlive this */
    if (is_true(grad) && last->known == known && last->training == training && last->autocast == autocast)
        return last->id;
    Py_INCREF(known);
    Py_INCREF(autocast); /* which this thread may get another of, when Python code runs */
    int id = look_up(state, known, grad, training, autocast), plain = PyBool_Check(training) || training == Py_None;
    if (is_true(grad) && plain && id != FAILED_ID) {
        set_slot(&last->known, Py_NewRef(known));
        set_slot(&last->training, Py_NewRef(training));
        set_slot(&last->autocast, Py_NewRef(autocast));
        last->id = id;
    }
    Py_DECREF(autocast);
    Py_DECREF(known);
    return id;
}

/* The number of an object. */
long long find_number(State *state, PyObject *thing)
{
    PyObject *address = PyLong_FromVoidPtr(thing);
    if (address == NULL)
        return FAILED_ID;
    PyObject *entry = PyDict_GetItemWithError(state->known_objects, address);
    Py_DECREF(address);
    if (entry != NULL && PyWeakref_GetObject(PyTuple_GET_ITEM(entry, 0)) == thing)
        return PyLong_AsLongLong(PyTuple_GET_ITEM(entry, 1));
    PyObject *number = PyErr_Occurred() ? NULL : PyObject_CallMethodOneArg(state->objects, number_word, thing);
    long long found = number == NULL ? FAILED_ID : PyLong_AsLongLong(number);
    Py_XDECREF(number);
    return found;
}
