/* What we use of DLPack, the protocol by which torch tells others of a tensor's memory, and what memory holds. */

#ifndef TRAINCHECK_DLPACK_H
#define TRAINCHECK_DLPACK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>

/* A tensor as the protocol's version 1 describes it. */
typedef struct {
    void *data;
    int32_t device_type, device;
    int32_t dimensions;
    uint8_t kind, bits;
    uint16_t lanes;
    int64_t *shape, *strides; /* counted in elements */
    uint64_t offset;          /* of the values from `data`, in bytes */
} Described;

enum { HOST_DEVICE = 1, CUDA_DEVICE }; /* device types */

/* Describes a Python tensor without taking a share in it: 0, or -1 with an error. */
typedef int (*DescribeTensor)(void *tensor, Described *told);

/* Contiguous memory of the host. */
typedef struct {
    const void *values;
    Py_ssize_t size; /* in bytes */
    uint8_t kind, bits;
} Memory;

/* What can be told of the values in some memory: nothing, whether one is not zero, their range too, and all. */
typedef enum { UNKNOWN, BITS, INTEGERS, FLOATS } Sort;

/* What values are like as a whole. */
typedef struct {
    double squares;    /* their sum, of floats */
    int64_t nonfinite; /* how many there are among floats */
    int any;           /* whether one is not zero */
    double minimum, maximum;
} Extent;

#define NOTHING ((Extent){.minimum = INFINITY, .maximum = -INFINITY})

void prepare_vectors(void); /* once, before any other */
DescribeTensor find_description(PyObject *exchange);
int locate(const Described *, Memory *);
Sort sort_of(const Memory *, int ranged);
void measure(const Memory *, Sort, const double *squares, int ranged, Extent *);

#endif
