#include "testing/metadata.h"

namespace sl::testing {
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

json read_receptive_field_per_step(const Layer& layer) {
  json fields = json::object();
  for (const sequence_layers::ReceptiveField& field : layer.receptive_field_per_step())
    fields[std::to_string(fields.size())] = receptive_field_json(field);
  return fields;
}

bool is_error(const json& value) { return value.is_object() && value.contains("error"); }

}  // namespace

json receptive_field_json(const sequence_layers::ReceptiveField& field) {
  if (!field.exists) return nullptr;
  return {bound(field.start), bound(field.end)};
}

json read_metadata(const Layer& layer) {
  json out;
  out["block_size"] = value_or_error([&] { return json(layer.block_size()); });
  out["output_ratio"] = value_or_error([&] { return json(layer.output_ratio()); });
  out["supports_step"] = value_or_error([&] { return json(layer.supports_step()); });
  out["input_latency"] = value_or_error([&] { return json(layer.input_latency()); });
  out["output_latency"] = value_or_error([&] { return json(layer.output_latency()); });
  out["receptive_field"] =
      value_or_error([&] { return receptive_field_json(layer.receptive_field()); });
  out["receptive_field_per_step"] =
      value_or_error([&] { return read_receptive_field_per_step(layer); });
  return out;
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

json read_output_spec(const Layer& layer, const Input& input) {
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

}  // namespace sl::testing
