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
static int tell(PyObject *thread, PyObject *told, PyObject *opened, PyObject *receiver, PyObject *thing)
{
    set_slot(&SLOT(thread, Thread_busy), Py_NewRef(Py_True));
    PyObject *done = PyObject_CallFunctionObjArgs(told, thread, opened, receiver, thing, NULL);
    set_slot(&SLOT(thread, Thread_busy), Py_NewRef(Py_False));
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int tell_before(PyObject *thread, PyObject *watch, PyObject *opened, Made made)
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
static PyObject *planned(Recorder *self, PyObject *api, Asked asked, Made made)
{
    enum { MOST = 16 };
    PyObject *few[MOST], **values = few, *plan = Py_XNewRef(plan_of(&self->last, api, made)), *found = NULL;
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

static PyObject *arguments(Recorder *self, PyObject *api, PyObject *opened, Made made, int linked, int hashed)
{
    if (!is_true(SLOT(api, Api_takes)))
        return PyLong_FromLong(NONE_ID);
    PyObject *names = SLOT(api, Api_names);
    Asked asked = {SLOT(api, Api_args), SLOT(opened, Open_enter), 0, linked, hashed};
    if ((made.kwnames != NULL && PyTuple_GET_SIZE(made.kwnames) > 0) || made.count > PyTuple_GET_SIZE(names)
        || SLOT(api, Api_only) != Py_None)
        return planned(self, api, asked, made);
    Items items = {names, made.args, made.count};
    return describe(self->state, asked, items);
}

/* Whether a call within `outer` is part of it: a method that calls the one it overrides, or of the same group. */
static int is_part(PyObject *outer, PyObject *api, PyObject *number, PyObject *group)
{
    if (SLOT(outer, Open_api) == api && PyLong_AsLongLong(number) != NONE_ID
        && PyLong_AsLongLong(SLOT(outer, Open_receiver)) == PyLong_AsLongLong(number))
        return 1;
    return PyUnicode_GET_LENGTH(group) > 0
           && PyUnicode_Compare(SLOT(SLOT(outer, Open_api), Api_group), group) == 0;
}

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

static PyObject *now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return PyLong_FromLongLong((long long)time.tv_sec * 1000000000LL + time.tv_nsec);
}

/* A new Open with what it inherits from `outer`; NULL with an error. Steals `number`. */
static PyObject *opening(State *state, PyObject *watch, PyObject *api, PyObject *outer, PyObject *number,
                         PyObject *training)
{
    PyTypeObject *type = (PyTypeObject *)state->Open;
    PyObject *opened = type->tp_alloc(type, 0);
    if (opened == NULL) {
        Py_DECREF(number);
        return NULL;
    }
    SLOT(opened, Open_receiver) = number;
    SLOT(opened, Open_api) = Py_NewRef(api);
    int forward = is_true(SLOT(watch, Watch_forward));
    if (outer == NULL) {
        int stage = stage_now(state, watch);
        SLOT(opened, Open_parent) = PyLong_FromLong(NONE_ID);
        SLOT(opened, Open_stage) = stage < 0 ? NULL : PyLong_FromLong(stage);
        SLOT(opened, Open_time) = now();
        SLOT(opened, Open_in_forward) = Py_NewRef(forward ? Py_True : Py_False);
        SLOT(opened, Open_training) = Py_NewRef(training);
    }
    else {
        int passing = is_true(SLOT(outer, Open_passing));
        PyObject *inner = forward ? Py_True : SLOT(outer, Open_in_forward);
        SLOT(opened, Open_parent) = Py_NewRef(passing ? SLOT(outer, Open_parent) : SLOT(outer, Open_enter));
        SLOT(opened, Open_stage) = Py_NewRef(SLOT(outer, Open_stage));
        SLOT(opened, Open_time) = Py_NewRef(SLOT(outer, Open_time));
        SLOT(opened, Open_in_forward) = Py_NewRef(inner);
        SLOT(opened, Open_training) = Py_NewRef(training == Py_None ? SLOT(outer, Open_training) : training);
    }
    SLOT(opened, Open_passing) = Py_NewRef(Py_False);
    SLOT(opened, Open_enter) = PyIter_Next(state->counter);
    if (SLOT(opened, Open_stage) == NULL || SLOT(opened, Open_time) == NULL || SLOT(opened, Open_enter) == NULL)
        Py_CLEAR(opened);
    return opened;
}

/* Notes arguments, site and contexts of a call; -1 with an error. */
static int fill(Recorder *self, PyObject *thread, PyObject *api, PyObject *opened, PyObject *outer, Made made)
{
    State *state = self->state;
    int forward = is_true(SLOT(self->watch, Watch_forward));
    int hashed = forward && (outer == NULL || !is_true(SLOT(outer, Open_in_forward)));
    int linked = links(self->watch, api, hashed, outer == NULL);
    PyObject *inherited = outer == NULL ? NULL : SLOT(outer, Open_site);
    int users = outer == NULL || is_true(SLOT(SLOT(outer, Open_api), Api_users));
    SLOT(opened, Open_args) = arguments(self, api, opened, made, linked, hashed && is_true(SLOT(api, Api_hashed)));
    if (SLOT(opened, Open_args) == NULL)
        return -1;
    int sites = is_true(state->wants_sites), contexts = is_true(state->wants_contexts);
    SLOT(opened, Open_site) =
        sites ? find_site(self, inherited, users) : PyLong_FromLong(NONE_ID);
    if (SLOT(opened, Open_site) == NULL)
        return -1;
    SLOT(opened, Open_contexts) = contexts ? find_context(state, SLOT(opened, Open_training),
                                                          SLOT(thread, Thread_autocast))
                                           : PyLong_FromLong(NONE_ID);
    return SLOT(opened, Open_contexts) == NULL ? -1 : 0;
}

/* Leaves a call that is entered to be told later, if there is room: 1 when there was; -1 with an error. */
static int leave_pending(State *state, PyObject *opened)
{
    PyObject *limit = PyObject_GetAttr(state->steps, limit_word);
    if (limit == NULL)
        return -1;
    int room = PyList_GET_SIZE(state->pending) < PyLong_AsLong(limit);
    Py_DECREF(limit);
    return !room ? 0 : PyList_Append(state->pending, opened) < 0 ? -1 : 1;
}

/* The state of an opened call in a step that is left out: 1 when it stays so, 0 when a step begins that is not. */
static int pass_by(Recorder *self, PyObject *thread, PyObject *opened, Made made)
{
    set_slot(&SLOT(opened, Open_passing), Py_NewRef(Py_True));
    SLOT(opened, Open_args) = PyLong_FromLong(NONE_ID);
    SLOT(opened, Open_site) = PyLong_FromLong(NONE_ID);
    SLOT(opened, Open_contexts) = PyLong_FromLong(NONE_ID);
    int later = is_true(SLOT(self->watch, Watch_later)) ? leave_pending(self->state, opened) : 0;
    int told = later != 0 ? later < 0 ? -1 : 0
               : SLOT(self->watch, Watch_before) == Py_None ? 0
               : is_true(SLOT(self->watch, Watch_counts)) ? 1 : flag(self->state->steps, waits_word);
    if (told < 0 || (told && tell_before(thread, self->watch, opened, made) < 0))
        return -1;
    if (!is_open(self->state->full))
        return 1;
    set_slot(&SLOT(opened, Open_passing), Py_NewRef(Py_False));
    Py_CLEAR(SLOT(opened, Open_args));
    Py_CLEAR(SLOT(opened, Open_site));
    Py_CLEAR(SLOT(opened, Open_contexts));
    return 0;
}

/* Opens a call that is to be recorded and puts it on the stack: a new reference; NULL with an error. */
static PyObject *push(Recorder *self, PyObject *thread, PyObject *api, PyObject *outer, PyObject *number, Made made)
{
    PyObject *watch = self->watch, *training = Py_NewRef(Py_None), *stack = SLOT(thread, Thread_stack);
    int forward = is_true(SLOT(watch, Watch_forward)), full = is_open(self->state->full);
    if (forward)
        set_slot(&training, PyObject_GetAttr(made.receiver, training_word));
    if (training == NULL) {
        Py_DECREF(number);
        return NULL;
    }
    set_slot(&SLOT(api, Api_group), Py_NewRef(SLOT(watch, Watch_group)));
    PyObject *opened = opening(self->state, watch, api, outer, number, training);
    Py_DECREF(training);
    if (opened == NULL)
        return NULL;
    int within = forward && outer != NULL && is_true(SLOT(outer, Open_in_forward));
    int waits = is_true(SLOT(watch, Watch_starts)) ? flag(self->state->steps, waits_word) : 1;
    int told = SLOT(watch, Watch_before) == Py_None || within || !waits, passing = waits < 0 ? -1 : 0;
    if (passing == 0 && !full && is_true(SLOT(watch, Watch_frequent))) {
        passing = pass_by(self, thread, opened, made);
        told = 1;
    }
    if (passing < 0 || (!passing && fill(self, thread, api, opened, outer, made) < 0)
        || PyList_Append(stack, opened) < 0
        || (!told && tell_before(thread, watch, opened, made) < 0))
        Py_CLEAR(opened);
    return opened;
}

/* Opens a call; NULL without an error when it is not to be recorded. */
PyObject *enter(Recorder *self, PyObject *thread, Made *made)
{
    PyObject *watch = self->watch, *outer = last_of(SLOT(thread, Thread_stack));
    int full = is_open(self->state->full), structural = is_true(SLOT(watch, Watch_structural));
    int within = is_true(SLOT(watch, Watch_forward)) && outer != NULL && is_true(SLOT(outer, Open_in_forward));
    if (!full && (!structural || within))
        return NULL;
    PyObject *api = identify(watch, made);
    if (api == NULL || (!(is_true(SLOT(api, Api_wanted)) && full) && (!structural || within)))
        return NULL;
    PyObject *number =
        made->receiver == Py_None ? PyLong_FromLong(NONE_ID) : find_number(self->state, made->receiver);
    if (number == NULL)
        return NULL;
    if (outer != NULL && is_part(outer, api, number, SLOT(watch, Watch_group))) {
        Py_DECREF(number);
        return NULL;
    }
    Py_XINCREF(outer);
    Py_INCREF(api);
    PyObject *opened = push(self, thread, api, outer, number, *made);
    Py_DECREF(api);
    Py_XDECREF(outer);
    return opened;
}
