#include "ops/activation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/shape.h"
#include "kernels/unary_functions.h"

namespace sl {
namespace {

using kernels::Unary;

struct NamedFunction {
  std::string_view name;
  Activation function;  // with the parameter's default
  std::string_view parameter_name;
};

constexpr int kFirstChannel = 2;  // batch and time come before the channels

constexpr NamedFunction row_function(std::string_view name, RowFunction function,
                                     float parameter = 0, std::string_view parameter_name = {}) {
  return {name, {Unary::kIdentity, parameter, function}, parameter_name};
}

constexpr NamedFunction elementwise(std::string_view name, Unary op) {
  const kernels::UnaryParameter& parameter = kernels::description(op).parameter;
  return {name, {op, static_cast<float>(parameter.default_value)}, parameter.name};
}

std::vector<NamedFunction> make_functions() {
  std::vector<NamedFunction> all = {
      row_function("log_softmax", RowFunction::kLogSoftmax),
      row_function("softmax", RowFunction::kSoftmax),
      row_function("standardize", RowFunction::kStandardize, 1e-5f, "epsilon"),
  };
  for (const kernels::UnaryFunction& f : kernels::kUnaryFunctions) {
    if (!f.function.empty()) all.push_back(elementwise(f.function, f.op));
  }
  for (const kernels::UnaryFunction& f : kernels::kUnaryAliases)
    all.push_back(elementwise(f.function, f.op));
  std::ranges::sort(all, {}, &NamedFunction::name);
  return all;
}

// The functions of jax.nn and jax.numpy that configs name, in the order of their names.
const std::vector<NamedFunction>& functions() {
  static const std::vector<NamedFunction> kAll = make_functions();
  return kAll;
}

// The boolean parameter by which "gelu" is one of two functions.
constexpr std::string_view kApproximate = "approximate";

// Sets the axes to an integer or a list of different integers; false if it is neither, or if there
// cannot be such axes.
bool set_axes(const Json& value, RowAxes& out) {
  constexpr int64_t kMost = Shape::kMaxRank + kFirstChannel;
  const Json list = value.is_array() ? value : Json::array({value});
  out = {0, 0};
  for (const Json& item : list) {
    if (!item.is_number_integer()) return false;
    const auto axis = item.get<int64_t>();
    if (axis < -kMost || axis >= kMost) return false;
    uint16_t& bits = axis < 0 ? out.from_end : out.from_start;
    const auto bit = static_cast<uint16_t>(1u << (axis < 0 ? -1 - axis : axis));
    if (bits & bit) return false;
    bits |= bit;
  }
  return true;
}

// Sets the parameter `key` of a function; false if it has none of that name or of that JSON type.
bool set_parameter(const NamedFunction& named, const std::string& key, const Json& value,
                   Activation& out) {
  const auto number = to_number(value);
  if (!named.parameter_name.empty() && key == named.parameter_name && number) {
    out.parameter = static_cast<float>(*number);
    return true;
  }
  if (!out.is_elementwise() && key == "axis") return set_axes(value, out.axes);
  if (out.op == Unary::kGeluTanh && key == kApproximate && value.is_boolean()) {
    out.op = value.get<bool>() ? Unary::kGeluTanh : Unary::kGeluErf;
    return true;
  }
  return false;
}

Activation parse(const Config& config, const Json& value, const char* field) {
  const bool is_call =
      value.is_object() && value.contains("function") && value["function"].is_string();
  if (!value.is_string() && !is_call) {
    config.error(
        field, fmt::format("expected the name of a function or {{\"function\": name, ...}}, got {}",
                           excerpt(value)));
  }
  const auto name = is_call ? value["function"].get<std::string>() : value.get<std::string>();
  const auto it = std::ranges::find(functions(), name, &NamedFunction::name);
  if (it == functions().end()) {
    std::vector<std::string> names;
    for (const NamedFunction& f : functions()) names.emplace_back(f.name);
    const std::string near = nearest_name(name, names);
    config.error(field,
                 fmt::format("unknown function \"{}\"{}", name,
                             near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
  }
  Activation out = it->function;
  if (!is_call) return out;
  for (const auto& item : value.items()) {
    if (item.key() == "function" || set_parameter(*it, item.key(), item.value(), out)) continue;
    const char* axis =
        out.is_elementwise() ? "" : "; \"axis\" is an integer or a list of different ones";
    config.error(field, fmt::format("\"{}\" takes no parameter \"{}\": {}{}", name, item.key(),
                                    excerpt(item.value()), axis));
  }
  return out;
}

template <typename Fn>
void for_each_axis(const RowAxes& axes, Fn&& fn) {
  for (int i = 0; i < 16; ++i) {
    if (axes.from_start >> i & 1u) fn(i);
    if (axes.from_end >> i & 1u) fn(-1 - i);
  }
}

}  // namespace

uint32_t row_axes(const RowAxes& axes, int rank) {
  if (rank == 0)
    fail(Code::kShape, "the activation is over channels, of which the output has none");
  uint32_t out = 0;
  const auto add = [&](int axis) {
    const int index = axis < 0 ? axis + rank : axis - kFirstChannel;
    if (index < 0 || index >= rank) {
      fail(Code::kShape,
           "the activation is over axis {}: expected a channel axis, which are {} to {} or -1 to "
           "{}; over batch or time, steps would compute something else than a layer-wise run",
           axis, kFirstChannel, kFirstChannel + rank - 1, -rank);
    }
    if (out >> index & 1u) fail(Code::kShape, "the activation names axis {} twice", axis);
    out |= 1u << index;
  };
  for_each_axis(axes, add);
  return out;
}

bool keeps_to_rows(const Activation& activation, int rank) {
  return activation.is_elementwise() || row_axes(activation.axes, rank) == 1u << (rank - 1);
}

void require_last_axis(const Config& config, const char* field, const Activation& activation,
                       int rank) {
  std::vector<int> axes;
  for_each_axis(activation.axes, [&](int axis) { axes.push_back(axis); });
  if (axes.size() == 1 && (axes[0] == -1 || (rank > 0 && axes[0] == rank - 1))) return;
  const std::string too = rank > 0 ? fmt::format(" or {}", rank - 1) : "";
  config.error(field, fmt::format("\"axis\" {}: here the function is over the units, expected -1{}",
                                  fmt::join(axes, ", "), too));
}

std::vector<FunctionName> function_names() {
  std::vector<FunctionName> out;
  for (const NamedFunction& f : functions()) {
    const bool has_two_forms = f.function.op == Unary::kGeluTanh;
    out.push_back({f.name, has_two_forms ? kApproximate : f.parameter_name});
  }
  return out;
}

std::optional<Activation> read_activation(Config& config, const char* field) {
  config.note(field, "function or null", "null");
  const Json* value = config.raw(field);
  return value ? std::optional(parse(config, *value, field)) : std::nullopt;
}

Activation read_activation(Config& config, const char* field, const char* fallback) {
  config.note(field, "function", fmt::format("\"{}\"", fallback));
  return read_activation(config, field).value_or(parse(config, Json(fallback), field));
}

}  // namespace sl
