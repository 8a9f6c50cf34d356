#include "ops/onednn_matmul.h"

#include <omp.h>

#include <exception>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "core/status.h"

namespace sl::ops {
namespace {

using dnnl::inner_product_forward;
using dnnl::memory;

// The weights are packed once, for products of about this many rows.
constexpr int64_t kTypicalRows = 256;

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// oneDNN's OpenMP team would stall whenever another process has a core: rows are spread over our
// own threads instead.
class OneOmpThread {
 public:
  OneOmpThread() : saved_(omp_get_max_threads()) { omp_set_num_threads(1); }
  OneOmpThread(const OneOmpThread&) = delete;
  OneOmpThread& operator=(const OneOmpThread&) = delete;
  ~OneOmpThread() { omp_set_num_threads(saved_); }

 private:
  int saved_;
};

memory::desc rows_desc(int64_t rows, int64_t columns) {
  return {{rows, columns}, memory::data_type::f32, memory::format_tag::ab};
}

inner_product_forward::primitive_desc describe(int64_t rows, int64_t inputs, int64_t outputs,
                                               const memory::desc& weights, bool bias,
                                               bool accumulate) {
  dnnl::primitive_attr attributes;
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const memory::desc bias_desc =
      bias ? memory::desc({outputs}, memory::data_type::f32, memory::format_tag::x)
           : memory::desc();
  return {cpu_engine(),
          dnnl::prop_kind::forward_inference,
          rows_desc(rows, inputs),
          weights,
          bias_desc,
          rows_desc(rows, outputs),
          attributes};
}

memory wrap(const memory::desc& desc, const float* data) {
  return {desc, cpu_engine(), const_cast<float*>(data)};
}

}  // namespace

struct OneDnnMatmul::Weights {
  int64_t inputs;
  int64_t outputs;
  memory packed;
};

OneDnnMatmul::OneDnnMatmul(const float* w, int64_t inputs, int64_t outputs) {
  const OneOmpThread one_thread;
  try {
    // oneDNN's weights are [outputs, inputs]: ours, transposed.
    const memory::desc plain({outputs, inputs}, memory::data_type::f32, memory::format_tag::ba);
    const memory::desc any({outputs, inputs}, memory::data_type::f32, memory::format_tag::any);
    const auto product =
        describe(kTypicalRows, inputs, outputs, any, /*bias=*/false, /*accumulate=*/false);
    weights_ = std::make_unique<Weights>(
        Weights{inputs, outputs, memory(product.weights_desc(), cpu_engine())});
    memory source = wrap(plain, w);
    dnnl::stream stream(cpu_engine());
    dnnl::reorder(source, weights_->packed).execute(stream, source, weights_->packed);
    stream.wait();
  } catch (const dnnl::error& error) {
    fail(Code::kInternal, "oneDNN cannot pack weights [{}, {}]: {}", inputs, outputs, error.what());
  }
}

OneDnnMatmul::~OneDnnMatmul() = default;

bool OneDnnMatmul::apply(const float* x, int64_t rows, const float* bias, bool accumulate,
                         float* y) const noexcept {
  const OneOmpThread one_thread;
  try {
    const auto desc = describe(rows, weights_->inputs, weights_->outputs,
                               weights_->packed.get_desc(), bias != nullptr, accumulate);
    dnnl::stream stream(cpu_engine());
    // oneDNN keeps the primitives of recent shapes: making one again costs little.
    const inner_product_forward product(desc);
    std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, wrap(desc.src_desc(), x)},
                                                 {DNNL_ARG_WEIGHTS, weights_->packed},
                                                 {DNNL_ARG_DST, wrap(desc.dst_desc(), y)}};
    if (bias) arguments.emplace(DNNL_ARG_BIAS, wrap(desc.bias_desc(), bias));
    product.execute(stream, arguments);
    stream.wait();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

bool OneDnnMatmul::preferred() {
  static const bool has_avx512 = static_cast<unsigned>(dnnl::get_effective_cpu_isa()) >=
                                 static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return has_avx512;
}

}  // namespace sl::ops
