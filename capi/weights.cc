#include "convert.h"
#include "handles.h"

namespace {

using sl::Code;
using sl::capi::guard;
using sl::capi::not_null;

sl_weights* wrap(std::shared_ptr<sl::TensorStore> store) {
  return new sl_weights{std::move(store)};
}

}  // namespace

sl_status sl_weights_create(sl_weights** out, sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    *out = wrap(std::make_shared<sl::TensorStore>());
  });
}

sl_status sl_weights_open(const char* path, sl_weights** out, sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    *out = wrap(sl::TensorStore::open(not_null(path, "path")));
  });
}

sl_status sl_weights_read(const void* data, size_t size, sl_weights** out, sl_error* error) {
  return guard(error, [&] {
    not_null(out, "out");
    *out = wrap(sl::TensorStore::read(not_null(data, "data"), size));
  });
}

sl_status sl_weights_add(sl_weights* weights, const char* name, const sl_sequence* tensor,
                         sl_error* error) {
  return guard(error, [&] {
    not_null(weights, "weights");
    sl_sequence array = *not_null(tensor, "tensor");
    array.is_array = 1;
    const sl::View view = sl::capi::to_view(&array, not_null(name, "name"), /*needs_data=*/true);
    if (!view.contiguous())
      sl::fail(Code::kInvalidArgument, "tensor \"{}\" is not contiguous", name);
    weights->store->add(name, view.dtype, view.dims, view.data);
  });
}

int64_t sl_weights_tensor_count(const sl_weights* weights) {
  return weights ? static_cast<int64_t>(weights->store->size()) : 0;
}

sl_status sl_weights_tensor(const sl_weights* weights, int64_t index, const char** name,
                            sl_sequence* tensor, sl_error* error) {
  return guard(error, [&] {
    not_null(weights, "weights");
    if (index < 0 || index >= sl_weights_tensor_count(weights)) {
      sl::fail(Code::kInvalidArgument, "tensor {} of {}", index, sl_weights_tensor_count(weights));
    }
    const std::string& key = weights->store->name_at(static_cast<size_t>(index));
    if (name) *name = key.c_str();
    if (tensor) sl::capi::set_tensor(*weights->store->find(key), tensor, "tensor");
  });
}

sl_status sl_weights_find(const sl_weights* weights, const char* name, sl_sequence* tensor,
                          sl_error* error) {
  return guard(error, [&] {
    const sl::Tensor* found = not_null(weights, "weights")->store->find(not_null(name, "name"));
    if (!found) sl::fail(Code::kWeights, "there is no tensor \"{}\"", name);
    sl::capi::set_tensor(*found, not_null(tensor, "tensor"), "tensor");
  });
}

const char* sl_weights_metadata(const sl_weights* weights, const char* key) {
  const std::string* value = weights && key ? weights->store->metadata(key) : nullptr;
  return value ? value->c_str() : nullptr;
}

void sl_weights_free(sl_weights* weights) { delete weights; }
