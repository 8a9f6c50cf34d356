#include "ops/activation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace sl {
namespace {

using kernels::Unary;

struct NamedFunction {
  const char* name;
  Activation function;
  const char* parameter_name = nullptr;  // null if the function has no parameter
};

constexpr NamedFunction row_function(const char* name, RowFunction function, float parameter = 0,
                                     const char* parameter_name = nullptr) {
  return {name, {Unary::kIdentity, parameter, function}, parameter_name};
}

// The functions of jax.nn and jax.numpy that configs name, with their defaults.
constexpr auto kFunctions = std::to_array<NamedFunction>({
    {"abs", {Unary::kAbs}},
    {"celu", {Unary::kCelu, 1}, "alpha"},
    {"cos", {Unary::kCos}},
    {"elu", {Unary::kElu, 1}, "alpha"},
    {"exp", {Unary::kExp}},
    {"gelu", {Unary::kGeluTanh}},
    {"hard_sigmoid", {Unary::kHardSigmoid}},
    {"hard_silu", {Unary::kHardSwish}},
    {"hard_swish", {Unary::kHardSwish}},
    {"hard_tanh", {Unary::kHardTanh}},
    {"identity", {Unary::kIdentity}},
    {"leaky_relu", {Unary::kLeakyRelu, 0.01f}, "negative_slope"},
    {"log", {Unary::kLog}},
    {"log1mexp", {Unary::kLog1mExp}},
    {"log_sigmoid", {Unary::kLogSigmoid}},
    row_function("log_softmax", RowFunction::kLogSoftmax),
    {"mish", {Unary::kMish}},
    {"relu", {Unary::kRelu}},
    {"relu6", {Unary::kRelu6}},
    {"selu", {Unary::kSelu}},
    {"sigmoid", {Unary::kSigmoid}},
    {"silu", {Unary::kSwish}},
    {"sin", {Unary::kSin}},
    {"soft_sign", {Unary::kSoftSign}},
    row_function("softmax", RowFunction::kSoftmax),
    {"softplus", {Unary::kSoftplus}},
    {"sparse_plus", {Unary::kSparsePlus}},
    {"sparse_sigmoid", {Unary::kSparseSigmoid}},
    {"square", {Unary::kSquare}},
    {"squareplus", {Unary::kSquareplus, 4}, "b"},
    row_function("standardize", RowFunction::kStandardize, 1e-5f, "epsilon"),
    {"swish", {Unary::kSwish}},
    {"tanh", {Unary::kTanh}},
});

// Sets the parameter `key` of a function; false if it has none of that name or of that JSON type.
bool set_parameter(const NamedFunction& named, const std::string& key, const Json& value,
                   Activation& out) {
  const auto number = to_number(value);
  if (named.parameter_name && key == named.parameter_name && number) {
    out.parameter = static_cast<float>(*number);
    return true;
  }
  if (!out.is_elementwise() && key == "axis") return number && *number == -1;
  if (out.op == Unary::kGeluTanh && key == "approximate" && value.is_boolean()) {
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
  const auto it = std::ranges::find(kFunctions, name, &NamedFunction::name);
  if (it == kFunctions.end()) {
    std::vector<std::string> names;
    for (const NamedFunction& f : kFunctions) names.emplace_back(f.name);
    const std::string near = nearest_name(name, names);
    config.error(field,
                 fmt::format("unknown function \"{}\"{}", name,
                             near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
  }
  Activation out = it->function;
  if (!is_call) return out;
  for (const auto& item : value.items()) {
    if (item.key() == "function" || set_parameter(*it, item.key(), item.value(), out)) continue;
    const char* last = out.is_elementwise() ? "" : "; it is over the last axis, -1";
    config.error(field, fmt::format("\"{}\" takes no parameter \"{}\": {}{}", name, item.key(),
                                    excerpt(item.value()), last));
  }
  return out;
}

}  // namespace

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
