// Passes over rows of logits: what the losses in `../losses` say of them, and their gradients. Compiled behind `passes.cu`.

// The lowest log-probability there is, and the least probability whose logarithm is taken.
#define LOWEST (-100.0f)
#define TINY 1e-37f

// What is no number stays so, which fmaxf would hide.
static __device__ float at_least(float least, float x) {
    return x < least ? least : x;
}

// log sum_i exp(x_i / temperature) of rows of v numbers, a block for each; every number is read once (arXiv 1805.02867).
extern "C" __global__ void log_normalisers(const float *x, float *y, u32 v, float inverse_temperature) {
    __shared__ float room[THREADS];
    x += (size_t)blockIdx.x * v;
    float largest = NOWHERE, sum = 0;
    for (u32 i = threadIdx.x; i < v; i += THREADS) {
        float u = x[i] * inverse_temperature;
        if (u > largest) {
            sum *= expf(largest - u);
            largest = u;
        }
        sum += expf(u - largest);
    }
    float top = max_of_block(largest, room);
    sum = sum_of_block(sum * expf(largest - top), room);
    if (threadIdx.x == 0) y[blockIdx.x] = top + logf(sum);
}

// factor (onehot(token) - p), factor times the gradient of log p_token; a thread for each of n x v numbers.
extern "C" __global__ void token_gradient(
    const float *logits, const float *normalisers, const u32 *tokens, const float *factors, float *y, u32 n, u32 v
) {
    size_t at = place();
    if (at >= (size_t)n * v) return;
    u32 row = at / v;
    float here = at % v == tokens[row] ? 1 : 0;
    y[at] = factors[row] * (here - expf(logits[at] - normalisers[row]));
}

#define FORWARD 0
#define REVERSE 1
#define JENSEN_SHANNON 2

// A divergence of the student's p from the teacher's q; `share` is alpha or beta.
struct Divergence {
    u32 kind;
    float share, inverse_temperature;
};

// What an outcome adds to it, p times the slope of that in p, and p.
struct Outcome {
    float f, h, p;
};

static __device__ Outcome outcome(Divergence by, float u, float log_z, float teacher_u, float teacher_log_z) {
    float log_p = at_least(LOWEST, u - log_z), log_q = at_least(LOWEST, teacher_u - teacher_log_z);
    float p = expf(log_p), q = expf(log_q), share = by.share, rest = 1 - by.share;
    Outcome found;
    found.p = p;
    if (by.kind == FORWARD) {
        float m = at_least(TINY, share * q + rest * p);
        // Without a share of the other there is nothing to put together.
        found.f = q * (log_q - (share == 0 ? log_p : logf(m)));
        found.h = -rest * q * (share == 0 ? 1 : p / m);
    } else if (by.kind == REVERSE) {
        float m = at_least(TINY, rest * q + share * p);
        found.f = p * (log_p - (share == 0 ? log_q : logf(m)));
        found.h = found.f + p * (1 - share * (p / m));
    } else {
        float log_m = logf(at_least(TINY, share * q + rest * p));
        found.h = rest * p * (log_p - log_m);
        found.f = share * q * (log_q - log_m) + found.h;
    }
    return found;
}

// Outcome i of a row of a student with v outcomes and a teacher with `known` of them.
static __device__ Outcome outcome_of(
    Divergence by, const float *logits, const float *log_z, const float *teacher, const float *teacher_log_z,
    size_t row, u32 i, u32 v, u32 known
) {
    float u = logits[row * v + i] * by.inverse_temperature;
    float teacher_u = i < known ? teacher[row * known + i] * by.inverse_temperature : NOWHERE;
    return outcome(by, u, log_z[row], teacher_u, teacher_log_z[row]);
}

// Sums over a row's outcomes of f and of h; a block for each row.
extern "C" __global__ void divergence(
    const float *logits, const float *log_z, const float *teacher, const float *teacher_log_z, float *fs, float *hs,
    u32 v, u32 known, u32 kind, float share, float inverse_temperature
) {
    __shared__ float room[THREADS];
    Divergence by = {kind, share, inverse_temperature};
    float f = 0, h = 0;
    for (u32 i = threadIdx.x; i < v; i += THREADS) {
        Outcome found = outcome_of(by, logits, log_z, teacher, teacher_log_z, blockIdx.x, i, v, known);
        f += found.f;
        h += found.h;
    }
    f = sum_of_block(f, room);
    h = sum_of_block(h, room);
    if (threadIdx.x == 0) {
        fs[blockIdx.x] = f;
        hs[blockIdx.x] = h;
    }
}

// factor (h_i - p_i sum of h), factor times the gradient in logits / temperature; a thread for each of n x v numbers.
extern "C" __global__ void divergence_gradient(
    const float *logits, const float *log_z, const float *teacher, const float *teacher_log_z, const float *hs,
    const float *factors, float *y, u32 n, u32 v, u32 known, u32 kind, float share, float inverse_temperature
) {
    size_t at = place();
    if (at >= (size_t)n * v) return;
    Divergence by = {kind, share, inverse_temperature};
    size_t row = at / v;
    Outcome found = outcome_of(by, logits, log_z, teacher, teacher_log_z, row, at % v, v, known);
    y[at] = factors[row] * (found.h - found.p * hs[row]);
}
