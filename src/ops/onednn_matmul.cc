#include "ops/onednn_matmul.h"

#include <initializer_list>
#include <utility>

#include "ops/onednn_library.h"

namespace sl::ops {
namespace {

// The weights are packed once, in the layout that oneDNN prefers for this many rows.
constexpr int64_t kTypicalRows = 256;

// The table of functions. It exists whenever an object of oneDNN does.
const OneDnnFunctions& onednn() { return *onednn_functions(); }

// Thrown when oneDNN refuses a call; the library's own kernels are used instead.
struct Refused {};

void check(dnnl_status_t status) {
  if (status != dnnl_success) throw Refused();
}

// Owns an object of oneDNN. `destroy` is the table's member for the function that destroys it.
template <typename T, auto destroy>
class Owned {
 public:
  Owned() = default;
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  ~Owned() {
    if (object_) (onednn().*destroy)(object_);
  }
  // The address to which a function of oneDNN writes a new object.
  T* out() { return &object_; }
  T get() const { return object_; }

 private:
  T object_ = nullptr;
};

using Engine = Owned<dnnl_engine_t, &OneDnnFunctions::dnnl_engine_destroy>;
using Stream = Owned<dnnl_stream_t, &OneDnnFunctions::dnnl_stream_destroy>;
using Memory = Owned<dnnl_memory_t, &OneDnnFunctions::dnnl_memory_destroy>;
using MemoryDesc = Owned<dnnl_memory_desc_t, &OneDnnFunctions::dnnl_memory_desc_destroy>;
using PostOps = Owned<dnnl_post_ops_t, &OneDnnFunctions::dnnl_post_ops_destroy>;
using Attributes = Owned<dnnl_primitive_attr_t, &OneDnnFunctions::dnnl_primitive_attr_destroy>;
using PrimitiveDesc = Owned<dnnl_primitive_desc_t, &OneDnnFunctions::dnnl_primitive_desc_destroy>;
using Primitive = Owned<dnnl_primitive_t, &OneDnnFunctions::dnnl_primitive_destroy>;

Engine make_engine() {
  Engine engine;
  check(onednn().dnnl_engine_create(engine.out(), dnnl_cpu, 0));
  return engine;
}

// Limits oneDNN's OpenMP to one thread while it exists. Its team of threads stalls whenever another
// process uses a core, so rows are spread over the library's own threads instead.
class OneOmpThread {
 public:
  OneOmpThread() {
    if (!onednn().omp_set_num_threads) return;
    saved_ = onednn().omp_get_max_threads();
    onednn().omp_set_num_threads(1);
  }
  OneOmpThread(const OneOmpThread&) = delete;
  OneOmpThread& operator=(const OneOmpThread&) = delete;
  ~OneOmpThread() {
    if (onednn().omp_set_num_threads) onednn().omp_set_num_threads(saved_);
  }

 private:
  int saved_ = 1;
};

MemoryDesc describe(std::initializer_list<dnnl_dim_t> dims, dnnl_format_tag_t tag) {
  MemoryDesc desc;
  check(onednn().dnnl_memory_desc_create_with_tag(desc.out(), static_cast<int>(dims.size()),
                                                  dims.begin(), dnnl_f32, tag));
  return desc;
}

Memory make_memory(const_dnnl_memory_desc_t desc, const Engine& engine, void* data) {
  Memory memory;
  check(onednn().dnnl_memory_create(memory.out(), desc, engine.get(), data));
  return memory;
}

Memory wrap(const MemoryDesc& desc, const Engine& engine, const float* data) {
  return make_memory(desc.get(), engine, const_cast<float*>(data));
}

Attributes sum_into_output() {
  PostOps sum;
  check(onednn().dnnl_post_ops_create(sum.out()));
  check(onednn().dnnl_post_ops_append_sum(sum.get(), 1.0f, 0, dnnl_data_type_undef));
  Attributes attributes;
  check(onednn().dnnl_primitive_attr_create(attributes.out()));
  check(onednn().dnnl_primitive_attr_set_post_ops(attributes.get(), sum.get()));
  return attributes;
}

// Describes a product; a null `bias` means that there is none.
PrimitiveDesc describe_product(const Engine& engine, const MemoryDesc& x,
                               const_dnnl_memory_desc_t weights, const_dnnl_memory_desc_t bias,
                               const MemoryDesc& y, bool accumulate) {
  const Attributes attributes = accumulate ? sum_into_output() : Attributes();
  PrimitiveDesc desc;
  check(onednn().dnnl_inner_product_forward_primitive_desc_create(
      desc.out(), engine.get(), dnnl_forward_inference, x.get(), weights, bias, y.get(),
      attributes.get()));
  return desc;
}

// Creates and executes a primitive. Creating one again costs little, since oneDNN caches the
// primitives of recent shapes.
void execute(const PrimitiveDesc& desc, const Engine& engine,
             std::initializer_list<dnnl_exec_arg_t> arguments) {
  Primitive primitive;
  check(onednn().dnnl_primitive_create(primitive.out(), desc.get()));
  Stream stream;
  check(onednn().dnnl_stream_create(stream.out(), engine.get(), dnnl_stream_default_flags));
  check(onednn().dnnl_primitive_execute(primitive.get(), stream.get(),
                                        static_cast<int>(arguments.size()), arguments.begin()));
  check(onednn().dnnl_stream_wait(stream.get()));
}

}  // namespace

struct OneDnnMatmul::Weights {
  int64_t inputs;
  int64_t outputs;
  Engine engine;
  Memory packed;
};

OneDnnMatmul::OneDnnMatmul(std::unique_ptr<Weights> weights) : weights_(std::move(weights)) {}
OneDnnMatmul::~OneDnnMatmul() = default;

std::unique_ptr<ExternalMatmul> OneDnnMatmul::create(std::vector<float> w, int64_t inputs,
                                                     int64_t outputs) {
  if (!onednn_functions()) return nullptr;
  const OneOmpThread one_thread;
  try {
    Engine engine = make_engine();
    // oneDNN expects weights [outputs, inputs], the transpose of w.
    const MemoryDesc plain = describe({outputs, inputs}, dnnl_ba);
    const MemoryDesc any = describe({outputs, inputs}, dnnl_format_tag_any);
    const PrimitiveDesc product = describe_product(
        engine, describe({kTypicalRows, inputs}, dnnl_ab), any.get(), /*bias=*/nullptr,
        describe({kTypicalRows, outputs}, dnnl_ab), /*accumulate=*/false);
    const const_dnnl_memory_desc_t best =
        onednn().dnnl_primitive_desc_query_md(product.get(), dnnl_query_weights_md, 0);
    Memory packed = make_memory(best, engine, DNNL_MEMORY_ALLOCATE);
    const Memory source = wrap(plain, engine, w.data());
    PrimitiveDesc reorder;
    check(onednn().dnnl_reorder_primitive_desc_create(reorder.out(), plain.get(), engine.get(),
                                                      best, engine.get(), nullptr));
    execute(reorder, engine, {{DNNL_ARG_FROM, source.get()}, {DNNL_ARG_TO, packed.get()}});
    return std::unique_ptr<ExternalMatmul>(new OneDnnMatmul(
        std::make_unique<Weights>(Weights{inputs, outputs, std::move(engine), std::move(packed)})));
  } catch (const Refused&) {
    return nullptr;
  }
}

bool OneDnnMatmul::apply(const float* x, int64_t rows, const float* bias, bool accumulate,
                         float* y) const noexcept {
  const OneOmpThread one_thread;
  try {
    const Engine& engine = weights_->engine;
    const MemoryDesc x_desc = describe({rows, weights_->inputs}, dnnl_ab);
    const MemoryDesc y_desc = describe({rows, weights_->outputs}, dnnl_ab);
    const MemoryDesc bias_desc = describe({weights_->outputs}, dnnl_a);
    const_dnnl_memory_desc_t packed_desc = nullptr;
    check(onednn().dnnl_memory_get_memory_desc(weights_->packed.get(), &packed_desc));
    const PrimitiveDesc product = describe_product(
        engine, x_desc, packed_desc, bias ? bias_desc.get() : nullptr, y_desc, accumulate);
    const Memory from = wrap(x_desc, engine, x), to = wrap(y_desc, engine, y);
    const dnnl_exec_arg_t source{DNNL_ARG_SRC, from.get()}, target{DNNL_ARG_DST, to.get()},
        packed{DNNL_ARG_WEIGHTS, weights_->packed.get()};
    if (!bias) {
      execute(product, engine, {source, packed, target});
      return true;
    }
    const Memory added = wrap(bias_desc, engine, bias);
    execute(product, engine, {source, packed, target, {DNNL_ARG_BIAS, added.get()}});
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace sl::ops
