#include "cli/metadata.h"

#include <cstring>

namespace sl::cli {
namespace {

using nlohmann::json;

template <typename Read>
json value_or_error(Read&& read) {
  try {
    return read();
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

json bound(int64_t value) {
  if (value == SL_INFINITE) return "inf";
  if (value == -SL_INFINITE) return "-inf";
  return value;
}

json read_ratio(const sl_layer* layer) {
  int64_t numerator = 0, denominator = 0;
  check([&](sl_error* e) { return sl_layer_output_ratio(layer, &numerator, &denominator, e); });
  return {numerator, denominator};
}

json read_receptive_field(const sl_layer* layer) {
  int32_t exists = 0;
  int64_t start = 0, end = 0;
  check([&](sl_error* e) { return sl_layer_receptive_field(layer, &exists, &start, &end, e); });
  return receptive_field_json(exists, start, end);
}

json read_receptive_field_per_step(const sl_layer* layer) {
  json fields = json::object();
  const int64_t count =
      check_count([&](sl_error* e) { return sl_layer_receptive_field_count(layer, e); });
  for (int64_t i = 0; i < count; ++i) {
    int32_t exists = 0;
    int64_t start = 0, end = 0;
    check([&](sl_error* e) {
      return sl_layer_receptive_field_at(layer, i, &exists, &start, &end, e);
    });
    fields[std::to_string(i)] = receptive_field_json(exists, start, end);
  }
  return fields;
}

bool is_error(const json& value) { return value.is_object() && value.contains("error"); }

}  // namespace

json receptive_field_json(int32_t exists, int64_t start, int64_t end) {
  if (exists == 0) return nullptr;
  return {bound(start), bound(end)};
}

json read_metadata(const sl_layer* layer) {
  json out;
  out["block_size"] = value_or_error([&] { return json(get(sl_layer_block_size, layer)); });
  out["output_ratio"] = value_or_error([&] { return read_ratio(layer); });
  out["supports_step"] =
      value_or_error([&] { return json(get(sl_layer_supports_step, layer) != 0); });
  out["input_latency"] = value_or_error([&] { return json(get(sl_layer_input_latency, layer)); });
  out["output_latency"] = value_or_error([&] { return json(get(sl_layer_output_latency, layer)); });
  out["receptive_field"] = value_or_error([&] { return read_receptive_field(layer); });
  out["receptive_field_per_step"] =
      value_or_error([&] { return read_receptive_field_per_step(layer); });
  return out;
}

std::vector<sl_step_difference> step_differences(const sl_layer* layer) {
  std::vector<sl_step_difference> all;
  for (int64_t i = 0; i < sl_layer_step_difference_count(layer); ++i) {
    sl_step_difference difference = SL_STEP_DIFFERENCE_INIT;
    check([&](sl_error* e) { return sl_layer_step_difference(layer, i, &difference, e); });
    all.push_back(difference);
  }
  return all;
}

std::string step_difference_text(const sl_step_difference& difference) {
  std::string text = difference.type;
  if (difference.layer[0] != '\0') text += std::string(" \"") + difference.layer + "\"";
  text += std::string(": ") + difference.reason;
  if (difference.condition == SL_STEP_DIFFERENCE_HOLES)
    text += " (where invalid steps come before valid ones)";
  if (difference.condition == SL_STEP_DIFFERENCE_PADDING) text += " (of whole runs)";
  return text + "; cure: " + difference.cure;
}

json spec_json(const sl_channel_spec& spec) {
  const char* dtype = sl_dtype_name(spec.dtype);
  json shape = json::array();
  for (int32_t i = 0; i < spec.rank; ++i) shape.push_back(spec.dims[i]);
  return {{"channel_shape", shape}, {"dtype", dtype != nullptr ? dtype : "unknown"}};
}

json read_output_spec(const sl_layer* layer, const Input& input) {
  return value_or_error([&] { return spec_json(output_spec(layer, input)); });
}

std::string compare_metadata(const json& got, const json& want) {
  for (const auto& [key, value] : got.items()) {
    if (!want.contains(key)) continue;
    const json& expected = want[key];
    if (is_error(expected) ? is_error(value) : value == expected) continue;
    return key + " is " + value.dump() + ", want " + expected.dump();
  }
  return "";
}

}  // namespace sl::cli
