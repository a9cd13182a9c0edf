// The passes of `../src/cuda/passes.cu` and `losses.cu` run on a CPU, thread by thread, and compared with their formulas in
// f64. What this shows is that their arithmetic and their indices are right; what a GPU makes of them it cannot show.
// `check.sh` builds it.

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

// What a kernel finds on a GPU. The threads of a block are coroutines, which change at every barrier; blocks follow each
// other, so that shared memory may be static.
struct Triple {
    unsigned x, y, z;
};
static Triple threadIdx, blockIdx, blockDim;
static ucontext_t scheduler;
static std::vector<ucontext_t> threads;
static void __syncthreads() {
    unsigned me = threadIdx.x;
    swapcontext(&threads[me], &scheduler);
    threadIdx.x = me;
}
static float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
// All threads of a block come here together.
static float __shfl_xor_sync(unsigned, float x, unsigned by) {
    static float given[1024];
    given[threadIdx.x] = x;
    __syncthreads();
    float found = given[threadIdx.x ^ by];
    __syncthreads();
    return found;
}
static unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
float own[1 << 14];
#define __global__
#define __device__
#define __forceinline__
#define __shared__ static
#include "passes.cpp"

static std::function<void()> kernel;
static unsigned finished;
static void entry() {
    kernel();
    finished++;
}

static void launch(size_t blocks, std::function<void()> of_thread) {
    static std::vector<char> stacks((size_t)THREADS << 16);
    kernel = of_thread;
    blockDim = {THREADS, 1, 1};
    threads.resize(THREADS);
    for (blockIdx = {0, 0, 0}; blockIdx.x < blocks; blockIdx.x++) {
        finished = 0;
        for (unsigned i = 0; i < THREADS; i++) {
            getcontext(&threads[i]);
            threads[i].uc_stack.ss_sp = &stacks[(size_t)i << 16];
            threads[i].uc_stack.ss_size = 1 << 16;
            threads[i].uc_link = &scheduler;
            makecontext(&threads[i], entry, 0);
        }
        std::vector<bool> done(THREADS, false);
        while (finished < THREADS) {
            for (unsigned i = 0; i < THREADS; i++) {
                if (done[i]) continue;
                unsigned before = finished;
                threadIdx.x = i;
                swapcontext(&scheduler, &threads[i]);
                done[i] = finished > before;
            }
        }
    }
}
static void each(size_t n, std::function<void()> of_thread) { launch((n + THREADS - 1) / THREADS, of_thread); }

typedef std::vector<float> Numbers;
static unsigned long long state = 1;
static float uniform() {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (float)(state >> 40) / (1 << 23) - 1;
}
static Numbers numbers(size_t n, float scale = 1) {
    Numbers x(n);
    for (float &each : x) each = uniform() * scale;
    return x;
}
static void close(const char *what, double found, double expected, double tolerance = 1e-5) {
    if (!(std::fabs(found - expected) <= tolerance * (1 + std::fabs(expected)))) {
        printf("%s: found %.9g, expected %.9g\n", what, found, expected);
        exit(1);
    }
}

static void norms(u32 n, u32 d) {
    const u32 rows = 128;
    const float eps = 1e-6f;
    u32 parts = (n + rows - 1) / rows;
    Numbers x = numbers((size_t)n * d), w = numbers(d), dy = numbers(x.size()), y(x.size()), dx(x.size()), s(n), sums(parts * d);
    launch(n, [&] { rms_norm(x.data(), w.data(), y.data(), d, eps); });
    launch(n, [&] { rms_norm_dx(x.data(), w.data(), dy.data(), dx.data(), s.data(), d, eps); });
    each(sums.size(), [&] { rms_norm_dw(x.data(), dy.data(), s.data(), sums.data(), n, d, rows); });
    std::vector<double> dw(d, 0);
    for (u32 r = 0; r < n; r++) {
        double squares = 0, products = 0;
        for (u32 i = 0; i < d; i++) {
            size_t at = (size_t)r * d + i;
            squares += (double)x[at] * x[at];
            products += (double)dy[at] * w[i] * x[at];
        }
        double scale = 1 / std::sqrt(squares / d + eps);
        for (u32 i = 0; i < d; i++) {
            size_t at = (size_t)r * d + i;
            close("rms_norm", y[at], x[at] * scale * w[i]);
            close("rms_norm_dx", dx[at], scale * dy[at] * w[i] - x[at] * scale * scale * scale * products / d, 1e-4);
            dw[i] += dy[at] * x[at] * scale;
        }
    }
    for (u32 i = 0; i < d; i++) {
        double sum = 0;
        for (u32 part = 0; part < parts; part++) sum += sums[(size_t)part * d + i];
        close("rms_norm_dw", sum, dw[i], 1e-4);
    }
}

static void rotations(u32 n, u32 h, u32 c, u32 half) {
    u32 rest = c - 2 * half;
    Numbers x = numbers((size_t)n * h * c), cosines(n * half), sines(n * half);
    for (size_t i = 0; i < cosines.size(); i++) {
        cosines[i] = std::cos(0.37f * i);
        sines[i] = std::sin(0.37f * i);
    }
    for (u32 interleaved : {0u, 1u}) {
        Numbers y(x.size()), back(x.size());
        size_t work = (size_t)n * h * (c - half);
        each(work, [&] { rope(x.data(), cosines.data(), sines.data(), y.data(), n, h, c, half, interleaved, 1); });
        each(work, [&] { rope(y.data(), cosines.data(), sines.data(), back.data(), n, h, c, half, interleaved, -1); });
        for (size_t head = 0; head < (size_t)n * h; head++) {
            for (u32 i = 0; i < rest; i++) close("rope, passed", y[head * c + i], x[head * c + i], 0);
            for (u32 i = 0; i < half; i++) {
                size_t first = head * c + rest + (interleaved ? 2 * i : i), second = first + (interleaved ? 1 : half);
                double angle = 0.37f * (head / h * half + i), a = x[first], b = x[second];
                close("rope", y[first], a * std::cos(angle) - b * std::sin(angle), 1e-3);
                close("rope", y[second], a * std::sin(angle) + b * std::cos(angle), 1e-3);
            }
        }
        for (size_t i = 0; i < x.size(); i++) close("rope and back", back[i], x[i]);
    }
}

static void gates(size_t n) {
    Numbers gate = numbers(n, 9), up = numbers(n), dy = numbers(n), y(n), dgate(n), dup(n);
    each(n, [&] { swiglu(gate.data(), up.data(), y.data(), n); });
    each(n, [&] { swiglu_backward(gate.data(), up.data(), dy.data(), dgate.data(), dup.data(), n); });
    for (size_t i = 0; i < n; i++) {
        auto f = [&](double g, double u) { return g / (1 + std::exp(-g)) * u; };
        close("swiglu", y[i], f(gate[i], up[i]));
        const double step = 1e-5;
        close("dgate", dgate[i], dy[i] * (f(gate[i] + step, up[i]) - f(gate[i] - step, up[i])) / (2 * step), 1e-4);
        close("dup", dup[i], dy[i] * f(gate[i], 1));
    }
}

static void steps(size_t n) {
    Numbers w = numbers(n), m(n), v(n);
    std::vector<double> w64(w.begin(), w.end()), m64(n), v64(n);
    for (int t = 1; t <= 5; t++) {
        Numbers g = numbers(n);
        double c1 = 1 - std::pow(0.9, t), c2 = std::sqrt(1 - std::pow(0.95, t));
        each(n, [&] {
            adamw(w.data(), g.data(), m.data(), v.data(), n, 0.9f, 0.95f, 0.01 / c1, 1 - 0.01 * 0.1, 1 / c2, 1e-8f, 0.5f);
        });
        for (size_t i = 0; i < n; i++) {
            double half = g[i] * 0.5;
            m64[i] = 0.9 * m64[i] + 0.1 * half;
            v64[i] = 0.95 * v64[i] + 0.05 * half * half;
            w64[i] -= 0.01 * (m64[i] / c1 / (std::sqrt(v64[i]) / c2 + 1e-8) + 0.1 * w64[i]);
            close("adamw", w[i], w64[i]);
        }
    }
}

// A step from given moments is exact but for rounding, and what is kept is the codes' next number below or above.
static void coded_steps(size_t n) {
    // As `moments.rs` has them.
    if (chance(0, 1) != 0x1efee872u || chance(255, 7) != 0x04830cc2u || chance(1 << 20, ~7u) != 0x8e621553u) puts("chance is another than on a CPU"), exit(1);
    size_t blocks = (n + THREADS - 1) / THREADS;
    Numbers w = numbers(n), g = numbers(n), m_scales(blocks), root_scales(blocks);
    for (size_t i = 0; i < n; i++) g[i] *= std::pow(10.f, -(float)(i % 9));
    std::vector<unsigned char> m(n), roots(n);
    for (u32 step = 1; step <= 4; step++) {
        double c1 = 1 - std::pow(0.9, step), c2 = std::sqrt(1 - std::pow(0.95, step));
        std::vector<double> w_before(w.begin(), w.end()), m64(n), root64(n);
        auto m_at = [&](size_t i) {
            double x = decoded(m[i] & 127, FIRST_MANTISSA, FIRST_BASE) * (double)m_scales[i / THREADS];
            return m[i] & 128 ? -x : x;
        };
        auto root_at = [&](size_t i) {
            return decoded(roots[i], ROOT_MANTISSA, ROOT_BASE) * (double)root_scales[i / THREADS];
        };
        for (size_t i = 0; i < n; i++) {
            double half = g[i] * 0.5;
            m64[i] = 0.9 * m_at(i) + 0.1 * half;
            root64[i] = std::sqrt(0.95 * root_at(i) * root_at(i) + 0.05 * half * half);
        }
        each(n, [&] {
            adamw_coded(w.data(), g.data(), m.data(), m_scales.data(), roots.data(), root_scales.data(), n,
                0.9f, 0.95f, 0.01 / c1, 1 - 0.01 * 0.1, 1 / c2, 1e-8f, 0.5f, step);
        });
        for (size_t block = 0; block < blocks; block++) {
            double m_largest = 0, root_largest = 0;
            for (size_t i = block * THREADS; i < std::min(n, (block + 1) * THREADS); i++) {
                m_largest = std::max(m_largest, std::fabs(m64[i]));
                root_largest = std::max(root_largest, root64[i]);
            }
            close("scale of first moments", m_scales[block], m_largest);
            close("scale of roots", root_scales[block], root_largest);
        }
        for (size_t i = 0; i < n; i++) {
            close("adamw_coded", w[i], w_before[i] * (1 - 0.01 * 0.1) - 0.01 * (m64[i] / c1 / (root64[i] / c2 + 1e-8)), 2e-5);
            // Two bits and three behind the point, and nothing below 2^-31 of the largest.
            double m_step = std::fabs(m64[i]) * 0.2501 + 5e-10 * m_scales[i / THREADS];
            double root_step = root64[i] * 0.12501 + 5e-10 * root_scales[i / THREADS];
            if (std::fabs(m_at(i) - m64[i]) > m_step || std::fabs(root_at(i) - root64[i]) > root_step || (root64[i] > 0 && roots[i] == 0)) {
                printf("adamw_coded: weight %zu keeps %g and %g of %g and %g\n", i, m_at(i), root_at(i), m64[i], root64[i]);
                exit(1);
            }
        }
    }
}

static void fp8(u32 o, u32 i) {
    u32 columns = (i + 127) / 128;
    std::vector<unsigned char> codes((size_t)o * i);
    std::vector<bf16> y(codes.size());
    Numbers scales = numbers((o + 127) / 128 * columns);
    for (size_t at = 0; at < codes.size(); at++) codes[at] = at * 37;
    each(y.size(), [&] { widen_fp8(codes.data(), scales.data(), y.data(), o, i, 128); });
    for (size_t at = 0; at < codes.size(); at++) {
        int code = codes[at], exponent = code >> 3 & 15, fraction = code & 7;
        if ((code & 127) == 127) {
            if (widened(y[at]) == widened(y[at])) printf("widen_fp8: %d is no number\n", code), exit(1);
            continue;
        }
        double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
        double expected = (code & 128 ? -magnitude : magnitude) * scales[at / i / 128 * columns + at % i / 128];
        close("widen_fp8", widened(y[at]) / (1e-9 + std::fabs(expected)), expected / (1e-9 + std::fabs(expected)), 0.002);
    }
}

static void blocks(u32 o, u32 i, u32 bits) {
    u32 across = (i + 31) / 32, bytes = 32 + 64 * bits;
    std::vector<unsigned char> packed((size_t)(o + 15) / 16 * across * bytes);
    std::vector<bf16> y((size_t)o * i);
    for (size_t at = 0; at < packed.size(); at++) packed[at] = (uniform() + 1) * 128;
    // Scales that are 2^-e (1 + f/1024), and one below the smallest normal half.
    auto block_of = [&](u32 row, u32 column) { return &packed[((size_t)(row / 16) * across + column / 32) * bytes]; };
    auto half = [](u32 at) { return at % 5 == 4 ? 0x0123u : (u32)((at % 20 + 1) << 10 | at * 77 % 1024 | at % 3 / 2 << 15); };
    for (u32 row = 0; row < o; row++)
        for (u32 column = 0; column < i; column += 32) {
            u32 scale = half(row + column);
            block_of(row, column)[2 * (row % 16)] = scale;
            block_of(row, column)[2 * (row % 16) + 1] = scale >> 8;
        }
    each(y.size(), [&] { widen_blocks(packed.data(), y.data(), o, i, bits); });
    for (u32 row = 0; row < o; row++)
        for (u32 column = 0; column < i; column++) {
            u32 bits_of_scale = half(row + column / 32 * 32), in = column % 32;
            double scale = (bits_of_scale >> 10 & 31) == 0 ? std::ldexp(bits_of_scale & 1023, -24)
                : std::ldexp(1024 + (bits_of_scale & 1023), (int)(bits_of_scale >> 10 & 31) - 25);
            if (bits_of_scale & 0x8000) scale = -scale;
            const unsigned char *codes = block_of(row, column) + 32;
            double code = bits == 8 ? codes[in / 4 * 64 + row % 16 * 4 + in % 4] - 128
                : (codes[in % 16 / 4 * 64 + row % 16 * 4 + in % 4] >> (in < 16 ? 0 : 4) & 15) - 8;
            double found = widened(y[(size_t)row * i + column]), size = std::fabs(scale) + 1e-12;
            close("widen_blocks", found / size, code * scale / size, 0.004);
        }
}

static void products(u32 o, u32 i) {
    std::vector<u32> offsets = {0, 1, 1, 6, 22}, spans;
    u32 experts = offsets.size() - 1, m = offsets.back(), across = (o + SIDE * THREADS / WARP - 1) / (SIDE * THREADS / WARP);
    // Whole vectors, which lie where vectors may.
    std::vector<uint4> room(experts * o * i / 8);
    std::vector<float4> room_x(m * i / 4);
    bf16 *w = (bf16 *)room.data();
    float *x = (float *)room_x.data();
    for (size_t at = 0; at < (size_t)experts * o * i; at++) put(w + at, uniform());
    for (size_t at = 0; at < (size_t)m * i; at++) x[at] = uniform();
    for (u32 e = 0; e < experts; e++)
        if (offsets[e] < offsets[e + 1]) spans.insert(spans.end(), {e, offsets[e], offsets[e + 1]});
    Numbers y((size_t)m * o, NAN);
    launch(spans.size() / 3 * across, [&] { few_rows(x, w, spans.data(), y.data(), o, i, across); });
    for (u32 e = 0; e < experts; e++)
        for (u32 j = offsets[e]; j < offsets[e + 1]; j++)
            for (u32 row = 0; row < o; row++) {
                double sum = 0;
                for (u32 c = 0; c < i; c++) sum += (double)x[(size_t)j * i + c] * widened(w[((size_t)e * o + row) * i + c]);
                close("few_rows", y[(size_t)j * o + row], sum, 1e-4);
            }
}

static void tokens(u32 n, u32 v) {
    // So large that exponentials overflow unless the largest is taken off.
    Numbers logits = numbers((size_t)n * v, 300), log_z(n), factors = numbers(n), y(logits.size(), NAN);
    std::vector<u32> of(n);
    for (u32 row = 0; row < n; row++) of[row] = (row * 37 + 5) % v;
    launch(n, [&] { log_normalisers(logits.data(), log_z.data(), v, 1); });
    each(y.size(), [&] { token_gradient(logits.data(), log_z.data(), of.data(), factors.data(), y.data(), n, v); });
    for (u32 row = 0; row < n; row++) {
        double sum = 0;
        for (u32 i = 0; i < v; i++) sum += std::exp((double)logits[(size_t)row * v + i]);
        close("log_normalisers", log_z[row], std::log(sum), 1e-6);
        for (u32 i = 0; i < v; i++) {
            size_t at = (size_t)row * v + i;
            close("token_gradient", y[at], factors[row] * ((i == of[row]) - std::exp((double)logits[at]) / sum), 1e-4);
        }
    }
}

// A divergence in f64, of u = z / T that are given.
static double divergence_of(u32 kind, double share, const std::vector<double> &u, const std::vector<double> &teacher_u) {
    auto log_softmax = [](const std::vector<double> &x) {
        double top = *std::max_element(x.begin(), x.end()), sum = 0;
        for (double each : x) sum += std::exp(each - top);
        std::vector<double> y;
        for (double each : x) y.push_back(each - top - std::log(sum));
        return y;
    };
    std::vector<double> log_p = log_softmax(u), log_q = log_softmax(teacher_u);
    double total = 0;
    for (size_t i = 0; i < u.size(); i++) {
        double lq = i < log_q.size() ? log_q[i] : -100, p = std::exp(log_p[i]), q = std::exp(lq);
        double m = kind == REVERSE ? (1 - share) * q + share * p : share * q + (1 - share) * p;
        if (kind == FORWARD) total += q * (lq - std::log(m));
        if (kind == REVERSE) total += p * (log_p[i] - std::log(m));
        if (kind == JENSEN_SHANNON) total += share * q * (lq - std::log(m)) + (1 - share) * p * (log_p[i] - std::log(m));
    }
    return total;
}

static void divergences(u32 n, u32 v, u32 known, float temperature) {
    for (u32 kind : {FORWARD, REVERSE, JENSEN_SHANNON})
        for (float share : {0.f, 0.1f, 0.7f}) {
            if (kind == JENSEN_SHANNON && share == 0) continue;
            Numbers logits = numbers((size_t)n * v, 4), teacher = numbers((size_t)n * known, 4), factors = numbers(n);
            Numbers log_z(n), teacher_log_z(n), fs(n, NAN), hs(n, NAN), y(logits.size(), NAN);
            launch(n, [&] { log_normalisers(logits.data(), log_z.data(), v, 1 / temperature); });
            launch(n, [&] { log_normalisers(teacher.data(), teacher_log_z.data(), known, 1 / temperature); });
            launch(n, [&] {
                divergence(logits.data(), log_z.data(), teacher.data(), teacher_log_z.data(), fs.data(), hs.data(),
                    v, known, kind, share, 1 / temperature);
            });
            each(y.size(), [&] {
                divergence_gradient(logits.data(), log_z.data(), teacher.data(), teacher_log_z.data(), hs.data(),
                    factors.data(), y.data(), n, v, known, kind, share, 1 / temperature);
            });
            for (u32 row = 0; row < n; row++) {
                std::vector<double> u(v), teacher_u(known);
                for (u32 i = 0; i < v; i++) u[i] = logits[(size_t)row * v + i] / temperature;
                for (u32 i = 0; i < known; i++) teacher_u[i] = teacher[(size_t)row * known + i] / temperature;
                close("divergence", fs[row], divergence_of(kind, share, u, teacher_u), 2e-5);
                for (u32 i = 0; i < v; i++) {
                    const double step = 1e-5, before = u[i];
                    u[i] = before + step;
                    double above = divergence_of(kind, share, u, teacher_u);
                    u[i] = before - step;
                    double below = divergence_of(kind, share, u, teacher_u);
                    u[i] = before;
                    close("divergence_gradient", y[(size_t)row * v + i], factors[row] * (above - below) / (2 * step), 2e-5);
                }
            }
        }
}

// What is impossible adds nothing, and what is no number is not hidden.
static void edges_of_divergences() {
    const u32 v = 5;
    for (u32 kind : {FORWARD, REVERSE, JENSEN_SHANNON})
        for (float share : {0.f, 0.3f})
            for (float odd : {-INFINITY, (float)NAN}) {
                Numbers logits = {1, -INFINITY, 3, -2, 0}, teacher = {2, -INFINITY, odd, 1, 0};
                float log_z, teacher_log_z, f, h;
                launch(1, [&] { log_normalisers(logits.data(), &log_z, v, 1); });
                launch(1, [&] { log_normalisers(teacher.data(), &teacher_log_z, v, 1); });
                launch(1, [&] { divergence(logits.data(), &log_z, teacher.data(), &teacher_log_z, &f, &h, v, v, kind, share, 1); });
                if (std::isfinite(f) != (odd == -INFINITY)) printf("divergence: %g and %g of a teacher that says %g\n", f, h, odd), exit(1);
            }
}

static void sums(u32 n, u32 d, u32 m) {
    Numbers x = numbers((size_t)m * d), y((size_t)n * d, NAN);
    std::vector<u32> rows(m), offsets(n + 1), order(m);
    for (u32 j = 0; j < m; j++) rows[j] = j * 7 % (n - 1);  // the last row has none
    for (u32 row : rows) offsets[row + 1]++;
    for (u32 row = 0; row < n; row++) offsets[row + 1] += offsets[row];
    std::vector<u32> free = offsets;
    for (u32 j = 0; j < m; j++) order[free[rows[j]]++] = j;
    each(y.size(), [&] { sum_rows(x.data(), offsets.data(), order.data(), y.data(), n, d); });
    std::vector<double> expected(y.size());
    for (size_t i = 0; i < x.size(); i++) expected[(size_t)rows[i / d] * d + i % d] += x[i];
    for (size_t i = 0; i < y.size(); i++) close("sum_rows", y[i], expected[i]);
}

static void softmaxes(u32 groups, u32 first, u32 rows) {
    u32 seen = first + rows;
    // So large that exponentials overflow unless the largest is taken off.
    Numbers scores = numbers((size_t)groups * rows * seen, 1500), before = scores;
    launch((size_t)groups * rows, [&] { causal_softmax(scores.data(), rows, seen, first, 0.3f); });
    for (size_t row = 0; row < (size_t)groups * rows; row++) {
        u32 visible = first + row % rows + 1;
        double sum = 0;
        for (u32 i = 0; i < visible; i++) sum += std::exp(0.3 * before[row * seen + i]);
        for (u32 i = 0; i < seen; i++) {
            double expected = i < visible ? std::exp(0.3 * before[row * seen + i]) / sum : 0;
            close("causal_softmax", scores[row * seen + i], expected, 1e-4);
        }
    }
}

template <typename T, typename Write, typename Attend>
static void caches(Write write, Attend attend, u32 h, u32 g, u32 c, u32 vc, u32 v_width) {
    const u32 page_size = 64, pages = 9, n = 4, most = 7;
    std::vector<T> k((size_t)pages * page_size * g * c), v((size_t)pages * page_size * g * vc);
    // Every entry is written, by another way round.
    u32 entries = pages * page_size;
    std::vector<u32> places(entries);
    for (u32 i = 0; i < entries; i++) places[i] = (i * 5 + 3) % entries;
    Numbers new_k = numbers(k.size()), new_v = numbers(v.size());
    each(k.size(), [&] { write(new_k.data(), places.data(), k.data(), entries, g * c); });
    each(v.size(), [&] { write(new_v.data(), places.data(), v.data(), entries, g * vc); });
    for (size_t i = 0; i < k.size(); i++) {
        float written = widened(k[(size_t)places[i / (g * c)] * g * c + i % (g * c)]);
        close("write_cache", written, new_k[i], sizeof(T) == 4 ? 0 : 0.004);
    }
    std::vector<u32> lens = {1, 64, 65, 64 * 6 + 17}, lists(n * most);
    for (u32 row = 0; row < n; row++)
        for (u32 at = 0; at < most; at++) lists[row * most + at] = (row * 2 + at * 4) % pages;
    Numbers q = numbers((size_t)n * h * c), y((size_t)n * h * v_width);
    launch((size_t)n * h, [&] {
        attend(q.data(), k.data(), v.data(), lists.data(), lens.data(), y.data(), h, g, c, vc, v_width, most, page_size, 0.4f);
    });
    for (u32 row = 0; row < n; row++)
        for (u32 head = 0; head < h; head++) {
            std::vector<double> expected(v_width);
            double sum = 0;
            for (u32 i = 0; i < lens[row]; i++) {
                size_t entry = (size_t)lists[row * most + i / page_size] * page_size + i % page_size;
                const T *key = &k[(entry * g + head / (h / g)) * c], *value = &v[(entry * g + head / (h / g)) * vc];
                double score = 0;
                for (u32 j = 0; j < c; j++) score += (double)q[((size_t)row * h + head) * c + j] * widened(key[j]);
                double weight = std::exp(0.4 * score);
                sum += weight;
                for (u32 j = 0; j < v_width; j++) expected[j] += weight * widened(value[j]);
            }
            for (u32 j = 0; j < v_width; j++)
                close("cached_attention", y[((size_t)row * h + head) * v_width + j], expected[j] / sum, 2e-5);
        }
}

int main() {
    norms(1, 5), norms(3, 256), norms(300, 33), norms(2, 700);
    rotations(3, 2, 8, 4), rotations(70, 3, 24, 8), rotations(5, 1, 2, 1);
    gates(1), gates(1000);
    steps(37), steps(600);
    coded_steps(37), coded_steps(600);
    fp8(3, 5), fp8(130, 300);
    blocks(16, 32, 4), blocks(37, 70, 4), blocks(37, 70, 8);
    products(1, 8), products(37, 264), products(16, 1032);
    tokens(1, 3), tokens(5, 700);
    divergences(3, 37, 37, 1), divergences(2, 300, 41, 2.5f), divergences(2, 37, 300, 1);
    edges_of_divergences();
    sums(5, 33, 40), sums(9, 300, 3);
    softmaxes(2, 0, 5), softmaxes(3, 300, 48);
    caches<float>(write_cache_f32, cached_attention_f32, 4, 2, 6, 5, 5);
    caches<bf16>(write_cache_bf16, cached_attention_bf16, 6, 1, 96, 96, 64);
    puts("every pass computes its formula");
}
