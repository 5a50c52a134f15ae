/* What we use of DLPack, the protocol by which torch tells others of a tensor's memory, and what memory holds. */

#ifndef TRAINCHECK_DLPACK_H
#define TRAINCHECK_DLPACK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
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

/* Describes a Python tensor without taking a share in it: 0, or -1 with an error. */
typedef int (*DescribeTensor)(void *tensor, Described *told);

/* Contiguous memory of the host. */
typedef struct {
    const void *values;
    Py_ssize_t size; /* in bytes */
    uint8_t kind, bits;
} Memory;

/* What values are like as a whole. Without a range minimum and maximum are NaN. */
typedef struct {
    double squares; /* their sum; 0 of integers */
    int64_t nonfinite; /* -1 when nobody knows */
    int any; /* whether one is not zero */
    double minimum, maximum;
} Extent;

DescribeTensor find_description(PyObject *exchange);
int locate(const Described *, Memory *);
int measure_extent(const Memory *, int ranged, Extent *);
int count_extent(const Memory *, int ranged, Extent *);
int look_for_any(const Memory *, int ranged, Extent *);

#endif
