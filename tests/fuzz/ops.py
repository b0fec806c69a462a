"""The table of ops that random programs are made of.

A line is a template of Python. What stands behind a colon is the kind of an argument, as `kinds.py` has them:

    any number float integer bool     a tensor of such a dtype; `float>=2`, `float==3`: of such a rank too
    like x, broadcast x               a tensor that broadcasts with x, of its dtype or of any
    same x, shaped x integer          a tensor of x's shape, of its dtype or of a class of dtypes
    into x, typed x, along x          a tensor that broadcasts to x; of its dtype; of its dtype and rank
    right x, part x                   a right operand of x.t() @ ; a tensor of the shape of x[0]
    dim x, dims x, order x, axis x d  an axis of x, several, all of them shuffled; a position on axis d of x
    size, scalar x, flag, dtype       a size, a number that suits x, True or False, a dtype
    bound, step                       of a slice
    weight (3, x[-1])                 a tensor of the model's own, of x's dtype; in the kind, x is its shape
    = a b c                           one of these words
"""

from tests.fuzz.computing import COMPARE, NETWORK, POINTWISE, PRODUCT, REDUCTION, SORTING
from tests.fuzz.moving import INDEXING, JOINING, VIEW, WRITE
from tests.fuzz.sizing import BRANCH, CREATION, SIZE

FAMILIES = (POINTWISE, COMPARE, REDUCTION, VIEW, INDEXING, WRITE, JOINING, SIZE, CREATION, PRODUCT, NETWORK, SORTING,
            BRANCH)  # fmt: skip
