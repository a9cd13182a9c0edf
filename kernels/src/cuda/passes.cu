// Passes over numbers in a GPU's memory, compiled at run time for the GPU at hand.
//
// No two threads add to one place, and every sum runs in an order that is fixed by its own row: the same numbers give the
// same bits, whatever lies beside them.

typedef unsigned int u32;
typedef unsigned short bf16;

// Threads of a block; a power of two.
#define THREADS 256

#define NOWHERE (-1e30f)

// This thread's number among all.
static __device__ __forceinline__ size_t place() {
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

// The sum of x over the block, for each of its threads.
static __device__ float sum_of_block(float x, float *room) {
    room[threadIdx.x] = x;
    __syncthreads();
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
        __syncthreads();
    }
    float sum = room[0];
    __syncthreads();
    return sum;
}

// The largest x of the block, for each of its threads.
static __device__ float max_of_block(float x, float *room) {
    room[threadIdx.x] = x;
    __syncthreads();
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) room[threadIdx.x] = fmaxf(room[threadIdx.x], room[threadIdx.x + half]);
        __syncthreads();
    }
    float largest = room[0];
    __syncthreads();
    return largest;
}

static __device__ __forceinline__ float widened(float x) {
    return x;
}

static __device__ __forceinline__ float widened(bf16 x) {
    return __uint_as_float((u32)x << 16);
}

static __device__ __forceinline__ void put(float *to, float x) {
    *to = x;
}

// To the nearest bf16, to the even one of two; what is no number stays so.
static __device__ __forceinline__ void put(bf16 *to, float x) {
    u32 bits = __float_as_uint(x);
    u32 nearest = bits + 0x7fff + ((bits >> 16) & 1);
    *to = (bf16)((x != x ? bits | 0x00400000 : nearest) >> 16);
}

// y = x / sqrt(mean(x^2) + eps) * w; a block for each row of d numbers.
extern "C" __global__ void rms_norm(const float *x, const float *w, float *y, u32 d, float eps) {
    __shared__ float room[THREADS];
    x += (size_t)blockIdx.x * d;
    y += (size_t)blockIdx.x * d;
    float squares = 0;
    for (u32 i = threadIdx.x; i < d; i += THREADS) squares += x[i] * x[i];
    float s = 1 / sqrtf(sum_of_block(squares, room) / d + eps);
    for (u32 i = threadIdx.x; i < d; i += THREADS) y[i] = x[i] * s * w[i];
}

// dx = s (g - x s^2 mean(g x)) with g = dy w; a block for each row, whose s is kept for the gradient of w.
extern "C" __global__ void rms_norm_dx(
    const float *x, const float *w, const float *dy, float *dx, float *scales, u32 d, float eps
) {
    __shared__ float room[THREADS];
    size_t row = (size_t)blockIdx.x * d;
    x += row; dy += row; dx += row;
    float squares = 0, products = 0;
    for (u32 i = threadIdx.x; i < d; i += THREADS) {
        squares += x[i] * x[i];
        products += dy[i] * w[i] * x[i];
    }
    float s = 1 / sqrtf(sum_of_block(squares, room) / d + eps);
    float shared_part = s * s * s * sum_of_block(products, room) / d;
    for (u32 i = threadIdx.x; i < d; i += THREADS) dx[i] = s * dy[i] * w[i] - x[i] * shared_part;
    if (threadIdx.x == 0) scales[blockIdx.x] = s;
}

// Sums of dy x s over `rows` of n rows at a time, [ceil(n / rows), d]; a thread for each.
extern "C" __global__ void rms_norm_dw(
    const float *x, const float *dy, const float *scales, float *sums, u32 n, u32 d, u32 rows
) {
    size_t at = place();
    u32 parts = (n + rows - 1) / rows;
    if (at >= (size_t)parts * d) return;
    u32 part = at / d, column = at % d;
    u32 end = min(n, (part + 1) * rows);
    float sum = 0;
    for (u32 row = part * rows; row < end; row++) {
        size_t i = (size_t)row * d + column;
        sum += dy[i] * x[i] * scales[row];
    }
    sums[at] = sum;
}

// Turns the last 2 half numbers of each head [n, h, c] by the angles of its row, or back with direction -1; a thread for
// each pair and for each number that passes through.
extern "C" __global__ void rope(
    const float *x, const float *cosines, const float *sines, float *y,
    u32 n, u32 h, u32 c, u32 half, u32 interleaved, float direction
) {
    u32 rest = c - 2 * half, each = rest + half;
    size_t at = place();
    if (at >= (size_t)n * h * each) return;
    u32 i = at % each;
    size_t head = at / each;
    x += head * c;
    y += head * c;
    if (i < rest) {
        y[i] = x[i];
        return;
    }
    u32 pair = i - rest;
    u32 first = rest + (interleaved ? 2 * pair : pair);
    u32 second = interleaved ? first + 1 : first + half;
    size_t angle = head / h * half + pair;
    float cosine = cosines[angle], sine = sines[angle] * direction;
    float a = x[first], b = x[second];
    y[first] = a * cosine - b * sine;
    y[second] = a * sine + b * cosine;
}

// y = silu(gate) up
extern "C" __global__ void swiglu(const float *gate, const float *up, float *y, size_t n) {
    size_t i = place();
    if (i >= n) return;
    float g = gate[i];
    y[i] = g / (1 + expf(-g)) * up[i];
}

extern "C" __global__ void swiglu_backward(
    const float *gate, const float *up, const float *dy, float *dgate, float *dup, size_t n
) {
    size_t i = place();
    if (i >= n) return;
    float g = gate[i], s = 1 / (1 + expf(-g));
    dgate[i] = dy[i] * up[i] * s * (1 + g * (1 - s));
    dup[i] = dy[i] * g * s;
}

// A step of AdamW, all in place but the gradient.
extern "C" __global__ void adamw(
    float *w, const float *gradient, float *m, float *v, size_t n,
    float b1, float b2, float rate, float decay, float root, float eps, float scale
) {
    size_t i = place();
    if (i >= n) return;
    float g = gradient[i] * scale;
    float m_i = b1 * m[i] + (1 - b1) * g;
    float v_i = b2 * v[i] + (1 - b2) * g * g;
    m[i] = m_i;
    v[i] = v_i;
    w[i] = w[i] * decay - rate * m_i / (sqrtf(v_i) * root + eps);
}

// Small floats of `moments.rs`: the leading bits of an f32 from `base` on, with `mantissa` bits behind the exponent.
#define FIRST_MANTISSA 2
#define FIRST_BASE ((127u << FIRST_MANTISSA) - 127)
#define ROOT_MANTISSA 3
#define ROOT_BASE ((127u << ROOT_MANTISSA) - 255)

static __device__ float decoded(u32 code, u32 mantissa, u32 base) {
    return code == 0 ? 0 : __uint_as_float((code + base) << (23 - mantissa));
}

static __device__ u32 coded(float x, u32 chance, u32 mantissa, u32 base) {
    u32 bits = __float_as_uint(x) + (chance & ((1u << (23 - mantissa)) - 1));
    u32 leading = bits >> (23 - mantissa);
    return leading > base ? leading - base : 0;
}

static __device__ u32 chance(u32 at, u32 step) {
    u32 x = at * 0x9e3779b9u ^ step * 0x85ebca6bu;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

// What numbers are multiplied with to lie between 0 and 1.
static __device__ float inverse_of(float largest) {
    float inverse = 1 / largest;
    return inverse <= 3.4028234e38f ? inverse : 0;
}

// The same with moments in 8 bits, the second as its root; a block for each block of moments.
extern "C" __global__ void adamw_coded(
    float *w, const float *gradient, unsigned char *m, float *m_scales, unsigned char *roots, float *root_scales, size_t n,
    float b1, float b2, float rate, float decay, float root, float eps, float scale, u32 step
) {
    __shared__ float room[THREADS];
    size_t i = place();
    float m_i = 0, root_i = 0;
    if (i < n) {
        u32 code = m[i];
        float before = decoded(code & 127, FIRST_MANTISSA, FIRST_BASE) * m_scales[blockIdx.x];
        float root_before = decoded(roots[i], ROOT_MANTISSA, ROOT_BASE) * root_scales[blockIdx.x];
        float g = gradient[i] * scale;
        m_i = b1 * (code & 128 ? -before : before) + (1 - b1) * g;
        float v_i = b2 * (root_before * root_before) + (1 - b2) * g * g;
        w[i] = w[i] * decay - rate * m_i / (sqrtf(v_i) * root + eps);
        root_i = sqrtf(v_i);
    }
    // Scales are read by all before they are written.
    float m_largest = max_of_block(fabsf(m_i), room), root_largest = max_of_block(root_i, room);
    if (threadIdx.x == 0) {
        m_scales[blockIdx.x] = m_largest;
        root_scales[blockIdx.x] = root_largest;
    }
    if (i >= n) return;
    float small = fminf(fabsf(m_i) * inverse_of(m_largest), 1);
    u32 code = coded(small, chance((u32)i, step), FIRST_MANTISSA, FIRST_BASE);
    m[i] = code | (__float_as_uint(m_i) >> 31 << 7);
    small = fminf(root_i * inverse_of(root_largest), 1);
    code = coded(small, chance((u32)i, ~step), ROOT_MANTISSA, ROOT_BASE);
    // A step divides by it.
    roots[i] = root_i > 0 ? (code > 0 ? code : 1) : 0;
}

// e4m3, whose exponent is moved to where f32 has it; see `stored.rs`.
static __device__ float widened_e4m3(u32 code) {
    u32 magnitude = code & 127;
    if (magnitude == 127) return __uint_as_float(0x7fc00000);
    return __uint_as_float((code & 128) << 24 | magnitude << 20) * 1.329227995784916e36f;
}

// y [o, i] from codes with a scale for each block of side x side; a thread for each number.
extern "C" __global__ void widen_fp8(
    const unsigned char *codes, const float *scales, bf16 *y, u32 o, u32 i, u32 side
) {
    size_t at = place();
    if (at >= (size_t)o * i) return;
    u32 row = at / i, column = at % i;
    put(y + at, widened_e4m3(codes[at]) * scales[(size_t)(row / side) * ((i + side - 1) / side) + column / side]);
}

static __device__ float widened_half(u32 bits) {
    u32 exponent = bits >> 10 & 31, fraction = bits & 1023;
    float magnitude = exponent == 0 ? fraction * 5.9604644775390625e-8f
        : __uint_as_float((exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
    return bits & 0x8000 ? -magnitude : magnitude;
}

// y [o, i] from tiles of 16 rows of blocks of 32 columns, as `quantised.rs` has them; codes have 4 or 8 bits.
extern "C" __global__ void widen_blocks(const unsigned char *packed, bf16 *y, u32 o, u32 i, u32 bits) {
    size_t at = place();
    if (at >= (size_t)o * i) return;
    u32 row = at / i, column = at % i, blocks = (i + 31) / 32;
    u32 group = column % 32 / 4, shift = 0;
    if (bits == 4) {
        shift = group / 4 * 4;
        group %= 4;
    }
    const unsigned char *block = packed + ((size_t)(row / 16) * blocks + column / 32) * (32 + 64 * bits);
    u32 scale = block[row % 16 * 2] | block[row % 16 * 2 + 1] << 8;
    u32 code = block[32 + (group * 16 + row % 16) * 4 + column % 4];
    int above = bits == 4 ? (int)(code >> shift & 15) - 8 : (int)code - 128;
    put(y + at, widened_half(scale) * above);
}

// y_t = sum of the rows of x whose numbers are order[offsets[t]] to order[offsets[t + 1] - 1], in that order; a thread for
// each of n x d numbers.
extern "C" __global__ void sum_rows(
    const float *x, const u32 *offsets, const u32 *order, float *y, u32 n, u32 d
) {
    size_t at = place();
    if (at >= (size_t)n * d) return;
    u32 row = at / d, column = at % d;
    float sum = 0;
    for (u32 i = offsets[row]; i < offsets[row + 1]; i++) sum += x[(size_t)order[i] * d + column];
    y[at] = sum;
}

// Softmax of scale times the scores [.., rows, seen] of queries `first` to `first + rows - 1`, of which each sees keys up to
// its own; in place, a block for each row of scores.
extern "C" __global__ void causal_softmax(float *scores, u32 rows, u32 seen, u32 first, float scale) {
    __shared__ float room[THREADS];
    scores += (size_t)blockIdx.x * seen;
    u32 visible = min(seen, first + blockIdx.x % rows + 1);
    float largest = NOWHERE;
    for (u32 i = threadIdx.x; i < visible; i += THREADS) largest = fmaxf(largest, scores[i] * scale);
    largest = max_of_block(largest, room);
    float sum = 0;
    for (u32 i = threadIdx.x; i < visible; i += THREADS) sum += expf(scores[i] * scale - largest);
    sum = sum_of_block(sum, room);
    for (u32 i = threadIdx.x; i < seen; i += THREADS)
        scores[i] = i < visible ? expf(scores[i] * scale - largest) / sum : 0;
}

// Writes row j of x [n, width] into entry places[j] of the cache.
template <typename T> static __device__ void write_cache(const float *x, const u32 *places, T *cache, u32 n, u32 width) {
    size_t at = place();
    if (at >= (size_t)n * width) return;
    put(cache + (size_t)places[at / width] * width + at % width, x[at]);
}

extern "C" __global__ void write_cache_f32(const float *x, const u32 *places, float *cache, u32 n, u32 width) {
    write_cache(x, places, cache, n, width);
}

extern "C" __global__ void write_cache_bf16(const float *x, const u32 *places, bf16 *cache, u32 n, u32 width) {
    write_cache(x, places, cache, n, width);
}

// Attention of one head of one row over the entries that the row sees: a block for each of n rows and h heads, THREADS
// entries at a time, put together as in arXiv 2205.14135. The first of `pages` that row j sees is at pages[j * most]; q has
// c numbers a head, entries have g heads of c and vc numbers, of which y takes the first v_width.
//
// Memory of the block: c numbers for the query and v_width for the result, behind each other.
template <typename T> static __device__ void cached_attention(
    const float *q, const T *k, const T *v, const u32 *pages, const u32 *lens, float *y,
    u32 h, u32 g, u32 c, u32 vc, u32 v_width, u32 most, u32 page_size, float scale
) {
    extern __shared__ float own[];
    __shared__ float room[THREADS], p[THREADS];
    __shared__ u32 entries[THREADS];
    float *query = own, *result = own + c;
    u32 row = blockIdx.x / h, head = blockIdx.x % h, kv_head = head / (h / g);
    q += (size_t)blockIdx.x * c;
    pages += (size_t)row * most;
    for (u32 i = threadIdx.x; i < c; i += THREADS) query[i] = q[i] * scale;
    for (u32 i = threadIdx.x; i < v_width; i += THREADS) result[i] = 0;
    float largest = NOWHERE, sum = 0;
    u32 len = lens[row];
    for (u32 start = 0; start < len; start += THREADS) {
        u32 count = min(len - start, (u32)THREADS);
        __syncthreads();
        float score = NOWHERE;
        if (threadIdx.x < count) {
            u32 entry = start + threadIdx.x;
            entry = pages[entry / page_size] * page_size + entry % page_size;
            entries[threadIdx.x] = entry;
            const T *key = k + ((size_t)entry * g + kv_head) * c;
            score = 0;
            for (u32 i = 0; i < c; i++) score += query[i] * widened(key[i]);
        }
        float before = largest;
        largest = fmaxf(before, max_of_block(score, room));
        float weight = threadIdx.x < count ? expf(score - largest) : 0;
        p[threadIdx.x] = weight;
        float rescaled = expf(before - largest);
        sum = sum * rescaled + sum_of_block(weight, room);
        for (u32 i = threadIdx.x; i < v_width; i += THREADS) {
            float total = result[i] * rescaled;
            for (u32 e = 0; e < count; e++)
                total += p[e] * widened(v[((size_t)entries[e] * g + kv_head) * vc + i]);
            result[i] = total;
        }
    }
    for (u32 i = threadIdx.x; i < v_width; i += THREADS) y[(size_t)blockIdx.x * v_width + i] = result[i] / sum;
}

#define CACHED_ATTENTION(NAME, T) \
    extern "C" __global__ void NAME( \
        const float *q, const T *k, const T *v, const u32 *pages, const u32 *lens, float *y, \
        u32 h, u32 g, u32 c, u32 vc, u32 v_width, u32 most, u32 page_size, float scale \
    ) { \
        cached_attention(q, k, v, pages, lens, y, h, g, c, vc, v_width, most, page_size, scale); \
    }

CACHED_ATTENTION(cached_attention_f32, float)
CACHED_ATTENTION(cached_attention_bf16, bf16)

// Threads that run in step, rows of W that one such warp multiplies side by side, and rows of x for which they are read once.
#define WARP 32
#define SIDE 2
#define TOGETHER 4

// y_j = W_e x_j for W [e, o, i] in bf16, i a multiple of 8. `spans` has (e, first j, end) for each expert with rows; for each
// there are `across` blocks, each with SIDE rows of W for each of its warps.
extern "C" __global__ void few_rows(
    const float *x, const bf16 *w, const u32 *spans, float *y, u32 o, u32 i, u32 across
) {
    spans += blockIdx.x / across * 3;
    u32 lane = threadIdx.x % WARP;
    u32 row = (blockIdx.x % across * (THREADS / WARP) + threadIdx.x / WARP) * SIDE;
    const bf16 *rows[SIDE];
    // Rows beyond the last are the last again, and nobody writes them.
    for (u32 s = 0; s < SIDE; s++) rows[s] = w + ((size_t)spans[0] * o + min(row + s, o - 1)) * i;
    for (u32 first = spans[1]; first < spans[2]; first += TOGETHER) {
        u32 count = min(spans[2] - first, (u32)TOGETHER);
        float sums[SIDE][TOGETHER];
        for (u32 s = 0; s < SIDE; s++)
            for (u32 r = 0; r < TOGETHER; r++) sums[s][r] = 0;
        for (u32 column = lane * 8; column < i; column += WARP * 8) {
            float weights[SIDE][8];
#pragma unroll
            for (u32 s = 0; s < SIDE; s++) {
                uint4 eight = *(const uint4 *)(rows[s] + column);
                u32 pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
                for (u32 p = 0; p < 4; p++) {
                    weights[s][2 * p] = __uint_as_float(pairs[p] << 16);
                    weights[s][2 * p + 1] = __uint_as_float(pairs[p] & 0xffff0000u);
                }
            }
#pragma unroll
            for (u32 r = 0; r < TOGETHER; r++) {
                if (r >= count) break;
                const float4 *from = (const float4 *)(x + (size_t)(first + r) * i + column);
                float4 a = from[0], b = from[1];
                float eight[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
                for (u32 s = 0; s < SIDE; s++)
#pragma unroll
                    for (u32 c = 0; c < 8; c++) sums[s][r] += weights[s][c] * eight[c];
            }
        }
#pragma unroll
        for (u32 s = 0; s < SIDE; s++)
#pragma unroll
            for (u32 r = 0; r < TOGETHER; r++) {
                float sum = sums[s][r];
                for (u32 half = WARP / 2; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
                if (lane == 0 && r < count && row + s < o) y[(size_t)(first + r) * o + row + s] = sum;
            }
    }
}
