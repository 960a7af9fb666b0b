"""Windows that slide over three axes; of pictures the first has size 1, of sequences the first two have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KERNELS: Final[Mapping[str, str]] = {
    "conv": """
/* Slide kernels w (out_c, c / groups, kd, kh, kw) over x (c, d, h, wd); the result is (out_c, out_d, out_h, out_w). */
static void conv(const float *x, const float *w, const float *bias, float *y, int c, int d, int h, int wd, int out_c,
                 int out_d, int out_h, int out_w, int kd, int kh, int kw, int stride_d, int stride_h, int stride_w,
                 int pad_d, int pad_h, int pad_w, int step_d, int step_h, int step_w, int groups)
{
    const int in_group = c / groups, out_group = out_c / groups, cells = out_d * out_h * out_w;
    for (int o = 0; o < out_c; ++o) {
        float *block = y + (size_t)o * cells;
        for (int i = 0; i < cells; ++i)
            block[i] = bias ? bias[o] : 0.0f;
        for (int k = 0; k < in_group * kd; ++k) { /* A channel, and a plane of the kernel. */
            const float *kernel = w + ((size_t)o * in_group * kd + k) * kh * kw;
            for (int z = 0; z < out_d; ++z) {
                const int depth = z * stride_d + k % kd * step_d - pad_d;
                if (depth < 0 || depth >= d)
                    continue;
                const float *from = x + ((size_t)(o / out_group * in_group + k / kd) * d + depth) * h * wd;
                float *plane = block + (size_t)z * out_h * out_w;
                for (int row = 0; row < kh; ++row) {
                    for (int column = 0; column < kw; ++column) {
                        /* The places whose window has this cell of the kernel inside x, not in the padding. */
                        const float factor = kernel[row * kw + column];
                        const int shift = column * step_w - pad_w;
                        const int first = shift < 0 ? (-shift + stride_w - 1) / stride_w : 0;
                        const int most = wd - 1 - shift < 0 ? 0 : (wd - 1 - shift) / stride_w + 1;
                        const int last = most < out_w ? most : out_w;
                        for (int i = 0; i < out_h; ++i) {
                            const int line = i * stride_h + row * step_h - pad_h;
                            if (line < 0 || line >= h)
                                continue;
                            for (int j = first; j < last; ++j)
                                plane[i * out_w + j] += factor * from[line * wd + j * stride_w + shift];
                        }
                    }
                }
            }
        }
    }
}
""",
    "conv_transpose": """
/* The reverse of a convolution: numbers of x (c, d, h, wd) times w (c, out_c / groups, kd, kh, kw) add up to y. */
static void conv_transpose(const float *x, const float *w, const float *bias, float *y, int c, int d, int h, int wd,
                           int out_c, int out_d, int out_h, int out_w, int kd, int kh, int kw, int stride_d,
                           int stride_h, int stride_w, int pad_d, int pad_h, int pad_w, int step_d, int step_h,
                           int step_w, int groups)
{
    const int in_group = c / groups, out_group = out_c / groups, cells = out_d * out_h * out_w;
    for (int o = 0; o < out_c; ++o)
        for (int i = 0; i < cells; ++i)
            y[(size_t)o * cells + i] = bias ? bias[o] : 0.0f;
    for (int k = 0; k < c * d; ++k) { /* A plane of x. */
        for (int o = 0; o < out_group * kd; ++o) { /* And one of the kernel. */
            const int depth = k % d * stride_d + o % kd * step_d - pad_d;
            if (depth < 0 || depth >= out_d)
                continue;
            float *plane = y + ((size_t)(k / d / in_group * out_group + o / kd) * out_d + depth) * out_h * out_w;
            const float *kernel = w + ((size_t)(k / d) * out_group * kd + o) * kh * kw;
            for (int i = 0; i < h; ++i) {
                for (int j = 0; j < wd; ++j) {
                    for (int row = 0; row < kh; ++row) {
                        const int line = i * stride_h + row * step_h - pad_h;
                        if (line < 0 || line >= out_h)
                            continue;
                        for (int column = 0; column < kw; ++column) {
                            const int place = j * stride_w + column * step_w - pad_w;
                            if (place >= 0 && place < out_w)
                                plane[line * out_w + place] +=
                                    x[((size_t)k * h + i) * wd + j] * kernel[row * kw + column];
                        }
                    }
                }
            }
        }
    }
}
""",
    "max_pool": """
/* The largest number of each window of x (c, d, h, w), of the cells that are no padding; and where it stands in x. */
static void max_pool(const float *x, float *y, int64_t *places, int64_t start, int c, int d, int h, int w, int out_d,
                     int out_h, int out_w, int kd, int kh, int kw, int stride_d, int stride_h, int stride_w, int pad_d,
                     int pad_h, int pad_w, int step_d, int step_h, int step_w)
{
    for (int k = 0; k < c * out_d; ++k) {
        for (int i = 0; i < out_h; ++i) {
            for (int j = 0; j < out_w; ++j) {
                float found = -INFINITY;
                int64_t where = -1;
                for (int z = 0; z < kd; ++z) {
                    const int depth = k % out_d * stride_d + z * step_d - pad_d;
                    if (depth < 0 || depth >= d)
                        continue;
                    const int64_t plane = ((int64_t)(k / out_d) * d + depth) * h * w;
                    for (int row = 0; row < kh; ++row) {
                        for (int column = 0; column < kw; ++column) {
                            const int line = i * stride_h + row * step_h - pad_h;
                            const int place = j * stride_w + column * step_w - pad_w;
                            if (line >= 0 && line < h && place >= 0 && place < w) {
                                const int64_t cell = plane + (int64_t)line * w + place;
                                if (x[cell] > found || x[cell] != x[cell] || where < 0) {
                                    found = x[cell];
                                    where = cell;
                                }
                            }
                        }
                    }
                }
                y[((size_t)k * out_h + i) * out_w + j] = found;
                if (places)
                    places[((size_t)k * out_h + i) * out_w + j] = start + where;
            }
        }
    }
}
""",
    "roi_align": """
/* Regions (left, top, right, bottom) of images x (n, c, h, w) as grids of cells: of each the mean, or the largest
   share, of points between four cells of the image. It returns 1 where there is no such image. */
static int roi_align(const float *x, const float *regions, const int64_t *images, float *y, int n, int c, int h, int w,
                     int count, int out_h, int out_w, int ratio, double scale, double shift, int is_max)
{
    for (int r = 0; r < count; ++r) {
        const int64_t image = images[r] < 0 ? images[r] + n : images[r];
        if (image < 0 || image >= n)
            return 1;
        const double left = regions[r * 4] * scale - shift, top = regions[r * 4 + 1] * scale - shift;
        double wide = regions[r * 4 + 2] * scale - shift - left, high = regions[r * 4 + 3] * scale - shift - top;
        if (shift == 0 && wide < 1) /* Without the shift, a region that is too small is one cell. */
            wide = 1;
        if (shift == 0 && high < 1)
            high = 1;
        const int down = ratio ? ratio : high > 0 ? (int)ceil(high / out_h) : 0;
        const int across = ratio ? ratio : wide > 0 ? (int)ceil(wide / out_w) : 0;
        for (int k = 0; k < c * out_h * out_w; ++k) {
            const float *from = x + ((size_t)image * c + k / out_w / out_h) * h * w;
            double sum = 0, most = down && across ? -INFINITY : 0;
            for (int p = 0; p < down * across; ++p) {
                double line = top + (k / out_w % out_h + (p / across + 0.5) / down) * (high / out_h);
                double place = left + (k % out_w + (p % across + 0.5) / across) * (wide / out_w);
                const int is_inside = line >= -1 && line <= h && place >= -1 && place <= w;
                line = line < 0 ? 0 : line > h - 1 ? h - 1 : line;
                place = place < 0 ? 0 : place > w - 1 ? w - 1 : place;
                for (int corner = 0; corner < 4; ++corner) {
                    const double a = line - floor(line), b = place - floor(place);
                    const int i = (int)floor(line) + corner / 2, j = (int)floor(place) + corner % 2;
                    const double share = (corner / 2 ? a : 1 - a) * (corner % 2 ? b : 1 - b) * is_inside;
                    const double each = share * from[(size_t)(i < h ? i : h - 1) * w + (j < w ? j : w - 1)];
                    sum += each;
                    most = each > most ? each : most;
                }
            }
            y[(size_t)r * c * out_h * out_w + k] = (float)(is_max ? most : sum / (down && across ? down * across : 1));
        }
    }
    return 0;
}
""",
    "average_pool": """
/* The mean of each window of x (c, d, h, w): of the cells of x, and of so much padding around it as counts. */
static void average_pool(const float *x, float *y, int c, int d, int h, int w, int out_d, int out_h, int out_w, int kd,
                         int kh, int kw, int stride_d, int stride_h, int stride_w, int pad_d, int pad_h, int pad_w,
                         int step_d, int step_h, int step_w, int front, int back, int top, int bottom, int left,
                         int right)
{
    for (int k = 0; k < c * out_d; ++k) {
        for (int i = 0; i < out_h; ++i) {
            for (int j = 0; j < out_w; ++j) {
                float sum = 0.0f;
                int count = 0;
                for (int z = 0; z < kd; ++z) {
                    const int depth = k % out_d * stride_d + z * step_d - pad_d;
                    if (depth < -front || depth >= d + back)
                        continue;
                    for (int row = 0; row < kh; ++row) {
                        for (int column = 0; column < kw; ++column) {
                            const int line = i * stride_h + row * step_h - pad_h;
                            const int place = j * stride_w + column * step_w - pad_w;
                            if (line >= -top && line < h + bottom && place >= -left && place < w + right)
                                ++count;
                            if (depth >= 0 && depth < d && line >= 0 && line < h && place >= 0 && place < w)
                                sum += x[(((size_t)(k / out_d) * d + depth) * h + line) * w + place];
                        }
                    }
                }
                y[((size_t)k * out_h + i) * out_w + j] = sum / (float)count;
            }
        }
    }
}
""",
}
