"""Complex numbers in Triton: read and written as one number of 64 bits, and computed with as two floats."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def split(pair):
    """Return real and imaginary part of complex numbers that were read as one number of 64 bits."""
    return pair.to(tl.int32).to(tl.float32, bitcast=True), (pair >> 32).to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
@no_type_check
def join(re, im):
    """Put real and imaginary parts into one number of 64 bits each."""
    low = re.to(tl.uint32, bitcast=True).to(tl.int64)
    return low | (im.to(tl.int32, bitcast=True).to(tl.int64) << 32)
