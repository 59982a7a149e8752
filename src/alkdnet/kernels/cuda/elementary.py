"""What the kernels share: where a program is, loads and stores of neighbouring pixels, weights, and GELU.

A tile is G strips of P neighbouring columns each; strips and channels are the axes of a tensor (G, C), and
the P columns are tensors in a tuple. So a thread keeps the neighbourhood of its pixels in registers: each
value is loaded once for all the taps that it meets, and every index of a tuple is known to the compiler.

Shape letters: B batch, H height, W width, G strips, C channels (CP: padded to a power of two).
"""

import triton
import triton.language as tl


@triton.jit
def position(bands, rows, C: tl.constexpr, CP: tl.constexpr, P: tl.constexpr, G: tl.constexpr):
    """Return where a program works, by a Tiling: image, first row, first column of each strip, channels.

    The last value is false where the channels are padding. The image is a 64-bit number, and so are all
    offsets beyond a row: a large image has more values than 32 bits can count.
    """
    b = (tl.program_id(0) // bands).to(tl.int64)
    h0 = (tl.program_id(0) % bands) * rows
    w_G1 = ((tl.program_id(1) * G + tl.arange(0, G)) * P)[:, None]
    c_GC = tl.zeros([G, 1], tl.int32) + tl.arange(0, CP)[None, :]
    return b, h0, w_G1, c_GC, c_GC < C


@triton.jit
def columns(
    image, h, w_G1, c_GC, real_GC, H, W, C: tl.constexpr, first: tl.constexpr, count: tl.constexpr
):  # fmt: skip
    """Return the columns w + first, ... of row h of an image as float32, zero outside of it."""
    row = image + h.to(tl.int64) * W * C
    at_GC = w_G1 * C + c_GC
    mask_GC = real_GC & (h >= 0) & (h < H)
    out = ()
    for j in tl.static_range(count):
        inside_GC = mask_GC & (w_G1 + (first + j) >= 0) & (w_G1 + (first + j) < W)
        out = out + (tl.load(row + at_GC + (first + j) * C, mask=inside_GC, other=0.0).to(tl.float32),)
    return out


@triton.jit
def store(image, h, w_G1, c_GC, real_GC, H, W, C: tl.constexpr, value_GC):
    """Store column w of row h of an image, in the image's type; nothing outside of it."""
    at_GC = image + h.to(tl.int64) * W * C + (w_G1 * C + c_GC)
    tl.store(at_GC, value_GC.to(image.dtype.element_ty), mask=real_GC & (w_G1 < W) & (h < H))


@triton.jit
def taps(weights, c_GC, real_GC, count: tl.constexpr, flip: tl.constexpr):
    """Return the weights of a depthwise convolution, a tensor for each tap, backwards if `flip`."""
    out = ()
    for i in tl.static_range(count):
        tap_GC = tl.load(weights + c_GC * count + (count - 1 - i if flip else i), mask=real_GC, other=0.0)
        out = out + (tap_GC.to(tl.float32),)
    return out


@triton.jit
def channel_values(values, c_GC, real_GC):
    """Return one value for each channel: a bias, a scale."""
    return tl.load(values + c_GC, mask=real_GC, other=0.0).to(tl.float32)


@triton.jit
def zeros(count: tl.constexpr, G: tl.constexpr, CP: tl.constexpr):
    """Return a tuple of `count` tensors (G, C) of zeros."""
    out = ()
    for _ in tl.static_range(count):
        out = out + (tl.zeros([G, CP], tl.float32),)
    return out


@triton.jit
def own_sums(sums, length: tl.constexpr):
    """Return the place of this program's `length` sums."""
    return sums + (tl.program_id(0).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)) * length


@triton.jit
def store_sums(to, sums, C: tl.constexpr, CP: tl.constexpr, stride: tl.constexpr, count: tl.constexpr):
    """Store sums over the strips as `count` taps of a depthwise weight (C, stride)."""
    c_C = tl.arange(0, CP)
    for i in tl.static_range(count):
        tl.store(to + c_C * stride + i, tl.sum(sums[i], 0), mask=c_C < C)


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


@triton.jit
def sigmoid(x):
    """Return the logistic function, by the reciprocal of `normal_tail`."""
    d = 1.0 + tl.exp2(-1.4426950408889634 * x)
    return tl.rsqrt(d * d)
