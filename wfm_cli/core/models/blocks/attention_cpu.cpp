// Self-attention for small heads (d <= 8) on CPU in float32, straight from the fused projection.
//
// qkv (B, N, 3, H, d) -> out (B, N, H, d). The SIMD lanes hold LANES queries (or keys) of one head and the numbers of
// the other side are broadcast, so a head of 5 wastes nothing on padding, nothing is transposed in memory, and the
// scores of a head stay in the first cache. The arithmetic is written with the vector types of GCC and Clang, so it
// compiles for any instruction set.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <vector>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

namespace {

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t ivec __attribute__((vector_size(LANES * 4)));

inline vec load(const float* p) {
  vec x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

inline void store(float* p, vec x) { std::memcpy(p, &x, sizeof x); }

inline vec larger(vec a, vec b) { return a > b ? a : b; }

// 2^x for x <= about 0, relative error below 3e-7. x = n + r with n the nearest integer: a minimax polynomial gives 2^r,
// and n is added to its exponent bits. Adding 1.5 * 2^23 rounds to an integer and leaves n in the lowest bits.
inline vec power_of_two(vec x) {
  x = x < -125.0f ? vec{} - 125.0f : x;  // in this order NaN stays NaN
  const vec shifted = x + 12582912.0f;
  const vec r = x - (shifted - 12582912.0f);
  vec p = r * 1.3276472e-3f + 9.6755413e-3f;
  p = p * r + 5.5507133e-2f;
  p = p * r + 2.4022120e-1f;
  p = p * r + 6.9314697e-1f;
  p = p * r + 1.0f;
  ivec n, bits;
  std::memcpy(&n, &shifted, sizeof n);
  std::memcpy(&bits, &p, sizeof bits);
  bits += n << 23;
  std::memcpy(&p, &bits, sizeof p);
  return p;
}

// Scores are kept in units of log 2, so that their exponential is a power of two.
constexpr float LOG2E = 1.44269504088896341f, LN2 = 0.693147180559945309f;

template <int d>
inline vec dot(const vec* a, const float* b) {
  vec sum = a[0] * b[0];
  for (int c = 1; c < d; c++) sum += a[c] * b[c];
  return sum;
}

int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

template <int d>
void forward(const float* qkv, float* out, float* lse, int64_t heads, int64_t tokens, int64_t begin, int64_t end) {
  const int64_t width = padded(tokens), stride = 3 * heads * d;
  const float scale = LOG2E / std::sqrt(static_cast<float>(d));
  std::vector<float> queries(d * width, 0.0f), keys(tokens * d), values(tokens * d), scores(tokens * LANES);
  float lane[LANES], top[LANES], total[LANES];
  for (int64_t bh = begin; bh < end; bh++) {
    const int64_t batch = bh / heads, head = bh % heads;
    const float* base = qkv + batch * tokens * stride + head * d;
    for (int64_t i = 0; i < tokens; i++)
      for (int c = 0; c < d; c++) {
        queries[c * width + i] = base[i * stride + c] * scale;
        keys[i * d + c] = base[i * stride + heads * d + c];
        values[i * d + c] = base[i * stride + 2 * heads * d + c];
      }
    for (int64_t i0 = 0; i0 < width; i0 += LANES) {
      vec q[d], mixed[d];
      for (int c = 0; c < d; c++) q[c] = load(&queries[c * width + i0]), mixed[c] = vec{};
      vec highest = vec{} - INFINITY, sum = vec{};
      for (int64_t j = 0; j < tokens; j++) {
        const vec s = dot<d>(q, &keys[j * d]);
        store(&scores[j * LANES], s);
        highest = larger(highest, s);
      }
      for (int64_t j = 0; j < tokens; j++) {
        const vec p = power_of_two(load(&scores[j * LANES]) - highest);
        sum += p;
        for (int c = 0; c < d; c++) mixed[c] += p * values[j * d + c];
      }
      const int64_t live = std::min<int64_t>(LANES, tokens - i0);
      for (int c = 0; c < d; c++) {
        store(lane, mixed[c] / sum);
        for (int64_t l = 0; l < live; l++) out[((batch * tokens + i0 + l) * heads + head) * d + c] = lane[l];
      }
      store(top, highest);
      store(total, sum);
      for (int64_t l = 0; l < live; l++) lse[bh * tokens + i0 + l] = top[l] + std::log2(total[l]);
    }
  }
}

// One pass with queries in the lanes gives the gradient of the queries, one with keys in the lanes those of keys and
// values; the probabilities are computed anew from the saved log-sum-exp (base 2) in both.
template <int d>
void backward(const float* qkv, const float* out, const float* lse, const float* grad, float* result, int64_t heads,
              int64_t tokens, int64_t begin, int64_t end) {
  const int64_t width = padded(tokens), stride = 3 * heads * d, across = heads * d;
  const float root = 1.0f / std::sqrt(static_cast<float>(d)), scale = LOG2E * root;
  std::vector<float> rows(4 * width * d, 0.0f), columns(4 * width * d, 0.0f), level(width, 0.0f), inner(width, 0.0f);
  float *q_row = &rows[0], *k_row = q_row + width * d, *v_row = k_row + width * d, *g_row = v_row + width * d;
  float *q_col = &columns[0], *k_col = q_col + width * d, *v_col = k_col + width * d, *g_col = v_col + width * d;
  float lane[LANES];
  for (int64_t bh = begin; bh < end; bh++) {
    const int64_t batch = bh / heads, head = bh % heads;
    const float* base = qkv + batch * tokens * stride + head * d;
    float* target = result + batch * tokens * stride + head * d;
    for (int64_t i = 0; i < tokens; i++) {
      const int64_t at = (batch * tokens + i) * across + head * d;
      float product = 0.0f;
      for (int c = 0; c < d; c++) {
        q_row[i * d + c] = q_col[c * width + i] = base[i * stride + c] * scale;
        k_row[i * d + c] = k_col[c * width + i] = base[i * stride + across + c];
        v_row[i * d + c] = v_col[c * width + i] = base[i * stride + 2 * across + c];
        g_row[i * d + c] = g_col[c * width + i] = grad[at + c];
        product += grad[at + c] * out[at + c];
      }
      level[i] = lse[bh * tokens + i];
      inner[i] = product;
    }
    for (int64_t i0 = 0; i0 < width; i0 += LANES) {
      const int64_t live = std::min<int64_t>(LANES, tokens - i0);
      vec a[d], b[d], sum[d], other[d];
      for (int c = 0; c < d; c++) a[c] = load(q_col + c * width + i0), b[c] = load(g_col + c * width + i0), sum[c] = vec{};
      const vec l0 = load(&level[i0]), d0 = load(&inner[i0]);
      for (int64_t j = 0; j < tokens; j++) {
        const vec ds = power_of_two(dot<d>(a, k_row + j * d) - l0) * (dot<d>(b, v_row + j * d) - d0);
        for (int c = 0; c < d; c++) sum[c] += ds * k_row[j * d + c];
      }
      for (int c = 0; c < d; c++) {
        store(lane, sum[c] * root);
        for (int64_t l = 0; l < live; l++) target[(i0 + l) * stride + c] = lane[l];
      }
      for (int c = 0; c < d; c++)
        a[c] = load(k_col + c * width + i0), b[c] = load(v_col + c * width + i0), sum[c] = other[c] = vec{};
      for (int64_t i = 0; i < tokens; i++) {
        const vec p = power_of_two(dot<d>(a, q_row + i * d) - level[i]);
        const vec ds = p * (dot<d>(b, g_row + i * d) - inner[i]);
        for (int c = 0; c < d; c++) {
          sum[c] += ds * q_row[i * d + c];
          other[c] += p * g_row[i * d + c];
        }
      }
      for (int c = 0; c < d; c++) {
        store(lane, sum[c] * LN2);
        for (int64_t l = 0; l < live; l++) target[(i0 + l) * stride + across + c] = lane[l];
        store(lane, other[c]);
        for (int64_t l = 0; l < live; l++) target[(i0 + l) * stride + 2 * across + c] = lane[l];
      }
    }
  }
}

template <typename Body>
void dispatch(int64_t d, const Body& body) {
  switch (d) {
    case 4: return body(std::integral_constant<int, 4>{});
    case 5: return body(std::integral_constant<int, 5>{});
    case 8: return body(std::integral_constant<int, 8>{});
    default: TORCH_CHECK(false, "attention_forward: no kernel for heads of ", d);
  }
}

void check(const at::Tensor& qkv) {
  TORCH_CHECK(qkv.dim() == 5 && qkv.size(2) == 3 && qkv.scalar_type() == at::kFloat,
              "attention_forward: want float32 (B, N, 3, H, d)");
}

std::tuple<at::Tensor, at::Tensor> attention_forward(const at::Tensor& fused) {
  check(fused);
  const at::Tensor qkv = fused.contiguous();
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), heads = qkv.size(3), d = qkv.size(4);
  at::Tensor out = at::empty({batch, tokens, heads * d}, qkv.options());
  at::Tensor lse = at::empty({batch, heads, tokens}, qkv.options());
  const float* source = qkv.const_data_ptr<float>();
  float *to = out.data_ptr<float>(), *level = lse.data_ptr<float>();
  dispatch(d, [&](auto size) {
    at::parallel_for(0, batch * heads, 8, [&](int64_t begin, int64_t end) {
      forward<decltype(size)::value>(source, to, level, heads, tokens, begin, end);
    });
  });
  return {out, lse};
}

at::Tensor attention_backward(const at::Tensor& fused, const at::Tensor& out, const at::Tensor& lse,
                              const at::Tensor& upstream) {
  check(fused);
  const at::Tensor qkv = fused.contiguous(), grad = upstream.contiguous();
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), heads = qkv.size(3), d = qkv.size(4);
  at::Tensor result = at::empty_like(qkv);
  const float *source = qkv.const_data_ptr<float>(), *mixed = out.const_data_ptr<float>();
  const float *level = lse.const_data_ptr<float>(), *from = grad.const_data_ptr<float>();
  float* to = result.data_ptr<float>();
  dispatch(d, [&](auto size) {
    at::parallel_for(0, batch * heads, 8, [&](int64_t begin, int64_t end) {
      backward<decltype(size)::value>(source, mixed, level, from, to, heads, tokens, begin, end);
    });
  });
  return result;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(wfm, m) {
  m.def("attention_forward(Tensor qkv) -> (Tensor, Tensor)");
  m.def("attention_backward(Tensor qkv, Tensor out, Tensor lse, Tensor grad) -> Tensor");
}

TORCH_LIBRARY_IMPL(wfm, CPU, m) {
  m.impl("attention_forward", attention_forward);
  m.impl("attention_backward", attention_backward);
}
