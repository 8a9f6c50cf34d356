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
  Unary op;
  float parameter;
  const char* parameter_name;  // null: none
};

// The elementwise functions of jax.nn and jax.numpy that configs name, with their defaults.
constexpr auto kFunctions = std::to_array<NamedFunction>({
    {"abs", Unary::kAbs, 0, nullptr},
    {"celu", Unary::kCelu, 1, "alpha"},
    {"cos", Unary::kCos, 0, nullptr},
    {"elu", Unary::kElu, 1, "alpha"},
    {"exp", Unary::kExp, 0, nullptr},
    {"gelu", Unary::kGeluTanh, 0, nullptr},
    {"hard_sigmoid", Unary::kHardSigmoid, 0, nullptr},
    {"hard_silu", Unary::kHardSwish, 0, nullptr},
    {"hard_swish", Unary::kHardSwish, 0, nullptr},
    {"hard_tanh", Unary::kHardTanh, 0, nullptr},
    {"identity", Unary::kIdentity, 0, nullptr},
    {"leaky_relu", Unary::kLeakyRelu, 0.01f, "negative_slope"},
    {"log", Unary::kLog, 0, nullptr},
    {"log_sigmoid", Unary::kLogSigmoid, 0, nullptr},
    {"mish", Unary::kMish, 0, nullptr},
    {"relu", Unary::kRelu, 0, nullptr},
    {"relu6", Unary::kRelu6, 0, nullptr},
    {"selu", Unary::kSelu, 0, nullptr},
    {"sigmoid", Unary::kSigmoid, 0, nullptr},
    {"silu", Unary::kSwish, 0, nullptr},
    {"sin", Unary::kSin, 0, nullptr},
    {"soft_sign", Unary::kSoftSign, 0, nullptr},
    {"softplus", Unary::kSoftplus, 0, nullptr},
    {"square", Unary::kSquare, 0, nullptr},
    {"squareplus", Unary::kSquareplus, 0, nullptr},
    {"swish", Unary::kSwish, 0, nullptr},
    {"tanh", Unary::kTanh, 0, nullptr},
});

Activation parse(const Config& config, const Json& value, const char* field) {
  const bool is_call =
      value.is_object() && value.contains("function") && value["function"].is_string();
  if (!value.is_string() && !is_call) {
    config.error(
        field, fmt::format("expected the name of a function or {{\"function\": name, ...}}, got {}",
                           value.dump().substr(0, 60)));
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
  Activation out{it->op, it->parameter};
  if (!is_call) return out;
  for (const auto& item : value.items()) {
    if (item.key() == "function") continue;
    const auto number = to_number(item.value());
    if (it->parameter_name && item.key() == it->parameter_name && number) {
      out.parameter = static_cast<float>(*number);
    } else if (name == "gelu" && item.key() == "approximate" && item.value().is_boolean()) {
      out.op = item.value().get<bool>() ? Unary::kGeluTanh : Unary::kGeluErf;
    } else {
      config.error(field, fmt::format("\"{}\" takes no parameter \"{}\": {}", name, item.key(),
                                      item.value().dump()));
    }
  }
  return out;
}

}  // namespace

std::optional<Activation> read_activation(Config& config, const char* field) {
  config.note(field, "function or null", "null");
  const Json* value = config.raw(field);
  return value ? std::optional(parse(config, *value, field)) : std::nullopt;
}

Activation read_activation(Config& config, const char* field, const char* otherwise) {
  config.note(field, "function", fmt::format("\"{}\"", otherwise));
  return read_activation(config, field).value_or(parse(config, Json(otherwise), field));
}

}  // namespace sl
