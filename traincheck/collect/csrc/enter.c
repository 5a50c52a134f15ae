/* Opens calls: what Calls.enter does. */

#include "native.h"
#include <time.h>

enum { INIT, TRAIN, EVAL };

static PyObject *tuple_of(PyObject *const *values, Py_ssize_t count)
{
    PyObject *found = PyTuple_New(count);
    for (Py_ssize_t at = 0; found != NULL && at < count; at++)
        PyTuple_SET_ITEM(found, at, Py_NewRef(values[at]));
    return found;
}

/* An attribute that is true or false; -1 with an error. */
int flag(PyObject *object, PyObject *name)
{
    PyObject *found = PyObject_GetAttr(object, name);
    if (found == NULL)
        return -1;
    int truth = PyObject_IsTrue(found);
    Py_DECREF(found);
    return truth;
}

/* Calls `told` while the thread is marked as busy with us. */
static int tell(PyObject *thread, PyObject *told, Open *opened, PyObject *receiver, PyObject *thing)
{
    set_slot(&SLOT(thread, Thread_busy), Py_NewRef(Py_True));
    PyObject *done = PyObject_CallFunctionObjArgs(told, thread, (PyObject *)opened, receiver, thing, NULL);
    set_slot(&SLOT(thread, Thread_busy), Py_NewRef(Py_False));
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int tell_before(PyObject *thread, PyObject *watch, Open *opened, Made made)
{
    PyObject *args = tuple_of(made.args, made.count);
    if (args == NULL)
        return -1;
    int status = tell(thread, SLOT(watch, Watch_before), opened, made.receiver, args);
    Py_DECREF(args);
    return status;
}

/* The API of a call, borrowed from its watch or held by `made`; sets the receiver of a method apart. */
static PyObject *identify(PyObject *watch, Made *made)
{
    PyObject *api = SLOT(watch, Watch_api);
    if (api != Py_None)
        return api;
    PyObject *receiver = made->args[0];
    api = PyDict_GetItemWithError(SLOT(watch, Watch_by_class), (PyObject *)Py_TYPE(receiver));
    if (api != NULL) {
        made->receiver = receiver;
        made->args++;
        made->count--;
        return api;
    }
    PyObject *args = PyErr_Occurred() ? NULL : tuple_of(made->args, made->count);
    if (args == NULL)
        return NULL;
    made->held = PyObject_CallOneArg(SLOT(watch, Watch_identify), args); /* (api, receiver, arguments) */
    Py_DECREF(args);
    if (made->held == NULL)
        return NULL;
    PyObject *rest = PyTuple_GET_ITEM(made->held, 2);
    made->receiver = PyTuple_GET_ITEM(made->held, 1);
    made->args = &PyTuple_GET_ITEM(rest, 0);
    made->count = PyTuple_GET_SIZE(rest);
    return PyTuple_GET_ITEM(made->held, 0);
}

/* Whether a call is one like that which a plan was last found for. */
static int is_alike(const Planned *last, PyObject *api, Made made)
{
    Py_ssize_t keywords = made.kwnames == NULL ? 0 : PyTuple_GET_SIZE(made.kwnames);
    if (last->api != api || last->count != made.count || PyTuple_GET_SIZE(last->keywords) != keywords)
        return 0;
    for (Py_ssize_t at = 0; at < keywords; at++) /* names are interned, most often */
        if (PyTuple_GET_ITEM(last->keywords, at) != PyTuple_GET_ITEM(made.kwnames, at))
            return 0;
    return 1;
}

/* The plan of a call: borrowed from `last`; NULL with an error. */
static PyObject *plan_of(Planned *last, PyObject *api, Made made)
{
    if (is_alike(last, api, made))
        return last->plan;
    PyObject *count = PyLong_FromSsize_t(made.count);
    PyObject *keywords = made.kwnames == NULL ? PyTuple_New(0) : Py_NewRef(made.kwnames);
    PyObject *key = count == NULL || keywords == NULL ? NULL : PyTuple_Pack(2, count, keywords);
    PyObject *plan = key == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(SLOT(api, Api__plans), key));
    if (plan == NULL && key != NULL && !PyErr_Occurred())
        plan = PyObject_CallMethodObjArgs(api, plan_word, count, keywords, NULL);
    Py_XDECREF(key);
    Py_XDECREF(count);
    if (plan == NULL) {
        Py_XDECREF(keywords);
        return NULL;
    }
    last->count = made.count;
    set_slot(&last->api, Py_NewRef(api));
    set_slot(&last->keywords, keywords);
    set_slot(&last->plan, plan);
    return plan;
}

/* Describes a call that has keywords, more arguments than names, or some that nobody asks for. */
static int planned(Recorder *self, PyObject *api, Asked asked, Made made)
{
    enum { MOST = 16 };
    PyObject *few[MOST], **values = few, *plan = Py_XNewRef(plan_of(&self->last, api, made));
    int found = FAILED_ID;
    Py_ssize_t chosen = plan == NULL ? 0 : PyList_GET_SIZE(PyTuple_GET_ITEM(plan, 2));
    if (chosen > MOST && (values = PyMem_Malloc(chosen * sizeof *values)) == NULL)
        PyErr_NoMemory();
    if (plan != NULL && values != NULL) {
        for (Py_ssize_t at = 0; at < chosen; at++) {
            Py_ssize_t place = PyLong_AsSsize_t(PyList_GET_ITEM(PyTuple_GET_ITEM(plan, 2), at));
            values[at] = place < made.count ? made.args[place] : made.keywords[place - made.count];
        }
        asked.table = PyTuple_GET_ITEM(plan, 0);
        Items items = {PyTuple_GET_ITEM(plan, 1), values, chosen};
        found = describe(self->state, asked, items);
    }
    if (values != few)
        PyMem_Free(values);
    Py_XDECREF(plan);
    return found;
}

/* The id of the set of a call's arguments. */
static int arguments(Recorder *self, PyObject *api, const Open *opened, Made made, int linked, int hashed)
{
    if (!is_true(SLOT(api, Api_takes)))
        return NONE_ID;
    PyObject *names = SLOT(api, Api_names);
    Asked asked = {SLOT(api, Api_args), opened->enter, 0, linked, hashed};
    if ((made.kwnames != NULL && PyTuple_GET_SIZE(made.kwnames) > 0) || made.count > PyTuple_GET_SIZE(names)
        || SLOT(api, Api_only) != Py_None)
        return planned(self, api, asked, made);
    Items items = {names, made.args, made.count};
    return describe(self->state, asked, items);
}

/* Whether a call within `outer` is part of it: a method that calls the one it overrides, or of the same group. */
static int is_part(const Open *outer, PyObject *api, long long number, PyObject *group)
{
    if (outer->api == api && number != NONE_ID && outer->receiver == number)
        return 1;
    return PyUnicode_GET_LENGTH(group) > 0 && PyUnicode_Compare(SLOT(outer->api, Api_group), group) == 0;
}

/* The stage that an outermost call is in; -1 with an error. */
static int stage_now(State *state, PyObject *watch)
{
    int begun = is_true(SLOT(watch, Watch_begins)) ? 1 : flag(state->calls, started_word);
    if (begun <= 0)
        return begun < 0 ? -1 : INIT;
    PyObject *grad = PyObject_CallNoArgs(state->is_grad_enabled);
    if (grad == NULL)
        return -1;
    int stage = is_true(grad) ? TRAIN : EVAL;
    Py_DECREF(grad);
    return stage;
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (long long)time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* A new Open with what it inherits from `outer`; NULL with an error. */
static Open *opening(State *state, PyObject *watch, PyObject *api, const Open *outer, long long number,
                     PyObject *training)
{
    int stage = outer == NULL ? stage_now(state, watch) : outer->stage;
    Open *opened = stage < 0 ? NULL : new_open(api, training == Py_None && outer != NULL ? outer->training : training);
    if (opened == NULL)
        return NULL;
    opened->receiver = number;
    opened->stage = (char)stage;
    opened->in_forward = (char)(is_true(SLOT(watch, Watch_forward)) || (outer != NULL && outer->in_forward));
    opened->parent = outer == NULL ? NONE_ID : outer->passing ? outer->parent : outer->enter;
    opened->time = outer == NULL ? now() : outer->time;
    opened->enter = next_number(state);
    return opened;
}

/* Notes arguments, site and contexts of a call; -1 with an error. */
static int fill(Recorder *self, PyObject *thread, PyObject *api, Open *opened, const Open *outer, Made made)
{
    State *state = self->state;
    int forward = is_true(SLOT(self->watch, Watch_forward));
    int hashed = forward && (outer == NULL || !outer->in_forward);
    int linked = links(self->watch, api, hashed, outer == NULL);
    opened->args = arguments(self, api, opened, made, linked, hashed && is_true(SLOT(api, Api_hashed)));
    if (opened->args == FAILED_ID)
        return -1;
    opened->site = is_true(state->wants_sites) ? find_site(self, outer) : NONE_ID;
    if (opened->site == FAILED_ID)
        return -1;
    opened->contexts = is_true(state->wants_contexts)
                           ? find_context(state, opened->training, SLOT(thread, Thread_autocast))
                           : NONE_ID;
    return opened->contexts == FAILED_ID ? -1 : 0;
}

/* Leaves a call that is entered to be told later, if there is room: 1 when there was; -1 with an error. */
static int leave_pending(State *state, Open *opened)
{
    PyObject *limit = PyObject_GetAttr(state->steps, limit_word);
    if (limit == NULL)
        return -1;
    int room = PyList_GET_SIZE(state->pending) < PyLong_AsLong(limit);
    Py_DECREF(limit);
    return !room ? 0 : PyList_Append(state->pending, (PyObject *)opened) < 0 ? -1 : 1;
}

/* The state of an opened call in a step that is left out: 1 when it stays so, 0 when a step begins that is not. */
static int pass_by(Recorder *self, PyObject *thread, Open *opened, Made made)
{
    opened->passing = 1;
    opened->args = opened->site = opened->contexts = NONE_ID;
    int later = is_true(SLOT(self->watch, Watch_later)) ? leave_pending(self->state, opened) : 0;
    int told = later != 0 ? later < 0 ? -1 : 0
               : SLOT(self->watch, Watch_before) == Py_None ? 0
               : is_true(SLOT(self->watch, Watch_counts)) ? 1 : flag(self->state->steps, waits_word);
    if (told < 0 || (told && tell_before(thread, self->watch, opened, made) < 0))
        return -1;
    opened->passing = !is_open(self->state->full);
    return opened->passing;
}

/* Opens a call that is to be recorded and puts it on the stack: a new reference; NULL with an error. */
static Open *push(Recorder *self, PyObject *thread, PyObject *api, const Open *outer, long long number, Made made)
{
    PyObject *watch = self->watch, *training = Py_NewRef(Py_None), *stack = SLOT(thread, Thread_stack);
    int forward = is_true(SLOT(watch, Watch_forward)), full = is_open(self->state->full);
    if (forward)
        set_slot(&training, PyObject_GetAttr(made.receiver, training_word));
    if (training == NULL)
        return NULL;
    set_slot(&SLOT(api, Api_group), Py_NewRef(SLOT(watch, Watch_group)));
    Open *opened = opening(self->state, watch, api, outer, number, training);
    Py_DECREF(training);
    if (opened == NULL)
        return NULL;
    int within = forward && outer != NULL && outer->in_forward;
    int waits = is_true(SLOT(watch, Watch_starts)) ? flag(self->state->steps, waits_word) : 1;
    int told = SLOT(watch, Watch_before) == Py_None || within || !waits, passing = waits < 0 ? -1 : 0;
    if (passing == 0 && !full && is_true(SLOT(watch, Watch_frequent))) {
        passing = pass_by(self, thread, opened, made);
        told = 1;
    }
    if (passing < 0 || (!passing && fill(self, thread, api, opened, outer, made) < 0)
        || PyList_Append(stack, (PyObject *)opened) < 0
        || (!told && tell_before(thread, watch, opened, made) < 0))
        Py_CLEAR(opened);
    return opened;
}

/* Opens a call; NULL without an error when it is not to be recorded. */
Open *enter(Recorder *self, PyObject *thread, Made *made)
{
    PyObject *watch = self->watch;
    Open *outer = innermost(thread);
    int full = is_open(self->state->full), structural = is_true(SLOT(watch, Watch_structural));
    int within = is_true(SLOT(watch, Watch_forward)) && outer != NULL && outer->in_forward;
    if (!full && (!structural || within))
        return NULL;
    PyObject *api = identify(watch, made);
    if (api == NULL || (!(is_true(SLOT(api, Api_wanted)) && full) && (!structural || within)))
        return NULL;
    long long number = made->receiver == Py_None ? NONE_ID : find_number(self->state, made->receiver);
    if (number == FAILED_ID || (outer != NULL && is_part(outer, api, number, SLOT(watch, Watch_group))))
        return NULL;
    Py_XINCREF(outer);
    Py_INCREF(api);
    Open *opened = push(self, thread, api, outer, number, *made);
    Py_DECREF(api);
    Py_XDECREF(outer);
    return opened;
}
