"""What the kernels share: loads of weights and of neighbouring pixels, and GELU.

A tile is G strips of P neighbouring columns each; strips and channels are the axes of a tensor (G, C), and
the P columns are tensors in a tuple. So a thread keeps the neighbourhood of its pixels in registers: each
value is loaded once for all the taps that it meets, and every index of a tuple is known to the compiler.

Shape letters: G strips, C channels (padded to a power of two).
"""

import triton
import triton.language as tl


@triton.jit
def zeros(count: tl.constexpr, G: tl.constexpr, C: tl.constexpr):
    """Return a tuple of `count` tensors (G, C) of zeros."""
    out = ()
    for _ in tl.static_range(count):
        out = out + (tl.zeros([G, C], tl.float32),)
    return out


@triton.jit
def taps(weights, c_GC, mask_GC, count: tl.constexpr, flip: tl.constexpr):
    """Return the weights of a depthwise convolution, a tensor for each tap, backwards if `flip`.

    They are loaded in the layout of the features, a value for every thread: no exchange between threads.
    """
    out = ()
    for i in tl.static_range(count):
        tap_GC = tl.load(weights + c_GC * count + (count - 1 - i if flip else i), mask=mask_GC, other=0.0)
        out = out + (tap_GC.to(tl.float32),)
    return out


@triton.jit
def columns(row, at_GC, w_G1, mask_GC, W, C: tl.constexpr, first: tl.constexpr, count: tl.constexpr):
    """Return the columns w + first, ... of a row of features as float32, zero outside of the image.

    `row` points to the row's first value, `at_GC` is the offset of column w, and `mask_GC` is false where
    nothing is to be read, whatever the column.
    """
    out = ()
    for j in tl.static_range(count):
        inside_GC = mask_GC & (w_G1 + (first + j) >= 0) & (w_G1 + (first + j) < W)
        out = out + (tl.load(row + at_GC + (first + j) * C, mask=inside_GC, other=0.0).to(tl.float32),)
    return out


@triton.jit
def normal_tail(x):
    """Return the normal distribution beyond |x|, and exp(-x * x / 2), which GELU's derivative needs too.

    The error of the tail is at most 7.5e-8, about half a unit in the last place of a float32 near 1.
    The reciprocal is that of a square root, for which there is one instruction; a division takes ten.

    Source: Abramowitz & Stegun 1964, formula 26.2.17 (Hastings).
    """
    d = 1.0 + 0.2316419 * tl.abs(x)
    t = tl.rsqrt(d * d)
    density = tl.exp2(-0.7213475204444817 * x * x)
    series = -0.1422483683 + t * (0.7107068707 + t * (-0.7265760131 + t * 0.5307027143))
    return density * t * (0.1274147959 + t * series), density


@triton.jit
def gelu(x):
    """Return the exact GELU: x times the normal distribution function of x."""
    tail, _ = normal_tail(x)
    return tl.maximum(x, 0.0) - tl.abs(x) * tail


@triton.jit
def gelu_and_slope(x):
    """Return the exact GELU and its derivative."""
    tail, density = normal_tail(x)
    slope = tl.where(x < 0, tail, 1.0 - tail) + x * (0.3989422804014327 * density)
    return tl.maximum(x, 0.0) - tl.abs(x) * tail, slope
