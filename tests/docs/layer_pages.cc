#include "docs/layer_pages.h"

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "core/dtype.h"
#include "core/ratio.h"
#include "core/status.h"
#include "layers/dsp/window_function.h"
#include "model/registry.h"
#include "ops/activation.h"
#include "support/models.h"
#include "testing/contract.h"
#include "testing/metadata.h"

namespace sl::testing {
namespace {

// ---- Examples

// An example: a block of JSON. Words after "json" give what the config does not determine:
// input=float32[8]; any=8, the size of weights that only the input determines; stack=2, the counts
// of the enclosing Repeats; shape=3,8, the whole shape of a weight of unknown rank;
// constant.<name>=float32[8] for a sequence and array.<name>=float32[4,8] for an array.
// any.<layer>=, stack.<layer>= and shape.<layer>= apply to the layers of that name only.
struct Example {
  std::string config;
  std::map<std::string, std::string> words;
};

std::vector<int64_t> parse_dims(std::string text) {
  std::replace(text.begin(), text.end(), ',', ' ');
  std::istringstream in(text);
  std::vector<int64_t> dims;
  for (int64_t dim; in >> dim;) dims.push_back(dim);
  if (!in.eof()) throw std::runtime_error("\"" + text + "\" is not a list of sizes");
  return dims;
}

// Parses a spec such as "float32[4,8]".
Tensor parse_spec(const std::string& text) {
  const size_t open = text.find('[');
  if (open == std::string::npos || text.back() != ']') {
    throw std::runtime_error("\"" + text + "\" is not a spec such as float32[4,8]");
  }
  return make_array(parse_dtype(text.substr(0, open)),
                    parse_dims(text.substr(open + 1, text.size() - open - 2)));
}

std::map<std::string, std::string> parse_words(const std::string& info) {
  std::map<std::string, std::string> out;
  std::istringstream in(info);
  for (std::string word; in >> word;) {
    const size_t equals = word.find('=');
    const std::string key = word.substr(0, word.find_first_of(".="));
    const bool known = key == "input" || key == "any" || key == "stack" || key == "shape" ||
                       key == "constant" || key == "array";
    if (!known || equals == std::string::npos) {
      throw std::runtime_error("\"" + word +
                               "\": expected input=, any=, stack=, shape=, constant.<name>= or "
                               "array.<name>= after \"json\"");
    }
    out[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return out;
}

// Calls fn(name, value) for each word "<key>.<name>", and with an empty name for "<key>".
template <typename Fn>
void each_word(const Example& example, const std::string& key, Fn&& fn) {
  for (const auto& [word, value] : example.words) {
    if (word == key) fn(std::string(), value);
    if (word.starts_with(key + ".")) fn(word.substr(key.size() + 1), value);
  }
}

WeightHints hints_of(const Example& example, int64_t any) {
  WeightHints hints;
  hints[""].any = any;
  each_word(example, "stack", [&](const std::string& name, const std::string& value) {
    hints[name] = {any, parse_dims(value), {}};
  });
  each_word(example, "shape", [&](const std::string& name, const std::string& value) {
    hints.try_emplace(name, WeightHint{any, {}, {}}).first->second.shape = parse_dims(value);
  });
  each_word(example, "any", [&](const std::string& name, const std::string& value) {
    hints[name].any = std::stoll(value);
  });
  return hints;
}

// ---- Models

// The example's model with random weights, and the spec of its input.
struct Sampled {
  Weights weights;
  Layer layer;
  Tensor spec;  // dtype and channel shape
  Constants constants;
};

std::vector<int64_t> with_steps(const Tensor& spec, int64_t batch, int64_t time) {
  std::vector<int64_t> dims = {batch, time};
  dims.insert(dims.end(), spec.dims.begin(), spec.dims.end());
  return dims;
}

Constants constants_of(const Example& example, int64_t batch, int64_t time) {
  Constants out;
  each_word(example, "constant", [&](const std::string& name, const std::string& value) {
    const Tensor spec = parse_spec(value);
    out.push_back({name, make_sequence(spec.dtype, with_steps(spec, batch, time))});
  });
  each_word(example, "array", [&](const std::string& name, const std::string& value) {
    out.push_back({name, parse_spec(value)});
  });
  return out;
}

Tensor input_spec(const Example& example, const Layer& layer) {
  const auto word = example.words.find("input");
  if (word != example.words.end()) return parse_spec(word->second);
  const sl_channel_spec spec = layer.input_spec();
  return make_array(spec.dtype, {spec.dims, spec.dims + spec.rank});
}

Input input_of(const Example& example, const Sampled& model, int64_t batch) {
  const int64_t time = model.layer.block_size();
  return {make_sequence(model.spec.dtype, with_steps(model.spec, batch, time)),
          constants_of(example, batch, time)};
}

Sampled make_sampled(const Example& example, int64_t any) {
  std::mt19937 rng(1);
  Weights weights = make_weights(example.config, hints_of(example, any), rng);
  Layer layer(example.config, weights);
  Sampled out{std::move(weights), std::move(layer), {}, {}};
  out.spec = input_spec(example, out.layer);
  output_spec(out.layer, input_of(example, out, 1));
  return out;
}

// Open sizes of weights are mostly that of the input's last axis, or a small multiple of it.
Sampled sample(const Example& example) {
  const auto word = example.words.find("input");
  int64_t last = 1;
  if (word != example.words.end()) {
    const Tensor spec = parse_spec(word->second);
    if (!spec.dims.empty()) last = spec.dims.back();
  }
  std::string reason;
  for (const int64_t any : {last, int64_t{1}, 2 * last}) {
    try {
      return make_sampled(example, any);
    } catch (const Error& error) {
      if (reason.empty()) reason = error.what();
    }
  }
  throw std::runtime_error(reason);
}

// ---- Facts about the models

class NoBuilder final : public Builder {
 public:
  std::unique_ptr<sl::Layer> build(Config, const WeightScope&, const std::string&,
                                   bool) const override {
    fail(Code::kInternal, "the fields have been read: no children are needed");
  }
};

// The fields of a layer, required ones first. A layer reads all of its fields before its children
// and weights, which are missing here.
std::vector<Field> fields_of(const std::string& config) {
  const Json json = Json::parse(config);
  Config reader(json, "$");
  WeightUse use;
  const NoBuilder builder;
  try {
    (*built_in_registry().find(reader.type()))(reader, {WeightScope(nullptr, &use), builder});
  } catch (const sl::Error&) {
  }
  std::vector<Field> fields = reader.fields();
  std::stable_partition(fields.begin(), fields.end(),
                        [](const Field& f) { return f.otherwise.empty(); });
  return fields;
}

std::string list_of(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "" : ", ") + item;
  return out;
}

std::string code(const std::string& text) { return "`" + text + "`"; }

void tell_fields(std::ostream& out, const std::string& config) {
  std::vector<std::string> ignored;
  bool any = false;
  for (const Field& field : fields_of(config)) {
    if (field.name == "name") continue;
    if (field.accepts.empty()) {
      ignored.push_back(code(field.name));
      continue;
    }
    if (!any) out << "| Field | Accepts | Default |\n|---|---|---|\n";
    any = true;
    out << "| " << code(field.name) << " | " << field.accepts << " | "
        << (field.otherwise.empty() ? "required" : code(field.otherwise)) << " |\n";
  }
  if (any) out << "\n";
  if (!ignored.empty()) out << "Ignored: " << list_of(ignored) << ".\n\n";
}

std::string named_spec_text(sl_dtype dtype, const std::vector<std::string>& dims) {
  return code(sl_dtype_name(dtype) + ("[" + list_of(dims) + "]"));
}

std::string spec_text(sl_dtype dtype, const std::vector<int64_t>& dims) {
  std::vector<std::string> text;
  for (const int64_t dim : dims) text.push_back(std::to_string(dim));
  return named_spec_text(dtype, text);
}

std::string weights_text(const Weights& weights) {
  std::vector<std::string> out;
  for (int64_t i = 0; i < weights.tensor_count(); ++i) {
    const auto [name, tensor] = weights.tensor(i);
    out.push_back(code(name) + " " +
                  spec_text(tensor.dtype, {tensor.dims, tensor.dims + tensor.rank}));
  }
  return list_of(out);
}

std::vector<NamedTensor> state_of(const Example& example, const Sampled& model, int64_t batch) {
  const Input input = input_of(example, model, batch);
  const std::vector<sl_constant> constants = views(input.constants);
  const State state(model.layer,
                    sequence_layers::state_options(channel_spec(input.x), batch, 0, constants));
  std::vector<NamedTensor> out;
  for (int64_t i = 0; i < state.tensor_count(); ++i) {
    const auto [name, tensor] = state.tensor(i);
    out.push_back({name, copy_of(tensor)});
  }
  return out;
}

// The size of a dimension, for batches of 2 and 3: "batch" if it is proportional to them.
std::string dim_text(int64_t of_two, int64_t of_three) {
  const int64_t factor = of_three - of_two;
  if (factor == 0 || of_two != 2 * factor) return std::to_string(of_two);
  return factor == 1 ? "batch" : std::to_string(factor) + " batch";
}

std::string state_text(const Example& example, const Sampled& model) {
  const auto two = state_of(example, model, 2), three = state_of(example, model, 3);
  std::vector<std::string> out;
  for (size_t i = 0; i < two.size(); ++i) {
    const Tensor& tensor = two[i].value;
    std::vector<std::string> dims;
    for (size_t d = 0; d < tensor.dims.size(); ++d) {
      dims.push_back(dim_text(tensor.dims[d], three[i].value.dims[d]));
    }
    out.push_back(code(two[i].name) + " " + named_spec_text(tensor.dtype, dims));
  }
  return list_of(out);
}

std::string emits_text(const Sampled& model, const Input& input) {
  std::vector<std::string> out;
  const auto emits = make_emits(model.layer, SL_MODE_LAYER, input.x, input.constants);
  for (const NamedTensor& emit : emits) {
    const std::vector<int64_t>& dims = emit.value.dims;
    out.push_back((emit.name.empty() ? "" : code(emit.name) + " ") +
                  spec_text(emit.value.dtype, {dims.begin() + 2, dims.end()}));
  }
  return list_of(out);
}

std::string constants_text(const Example& example) {
  std::vector<std::string> out;
  for (const char* kind : {"constant", "array"}) {
    each_word(example, kind, [&](const std::string& name, const std::string& value) {
      const Tensor spec = parse_spec(value);
      out.push_back(code(name) + " " + spec_text(spec.dtype, spec.dims) +
                    (std::string(kind) == "array" ? " (an array)" : ""));
    });
  }
  return list_of(out);
}

std::string value_text(const nlohmann::json& value) {
  if (value.is_object()) throw std::runtime_error(value.value("error", value.dump()));
  return value.dump();
}

std::string field_text(const nlohmann::json& field) {
  if (field.is_null()) return "none";
  const auto bound = [](const nlohmann::json& v) {
    return v.is_string() ? v.get<std::string>() : value_text(v);
  };
  return "[" + bound(field[0]) + ", " + bound(field[1]) + "]";
}

std::string time_text(const nlohmann::json& metadata) {
  const nlohmann::json& ratio = metadata["output_ratio"];
  return "block size " + value_text(metadata["block_size"]) + ", output ratio " +
         value_text(ratio[0]) + (ratio[1] == 1 ? "" : "/" + value_text(ratio[1])) +
         ", input latency " + value_text(metadata["input_latency"]) + ", output latency " +
         value_text(metadata["output_latency"]) + ", receptive field " +
         field_text(metadata["receptive_field"]);
}

std::string tell(const Example& example) {
  std::ostringstream out;
  const Sampled model = sample(example);
  tell_fields(out, example.config);
  const Input input = input_of(example, model, 1);
  const sl_channel_spec output = output_spec(model.layer, input);
  const nlohmann::json metadata = read_metadata(model.layer);
  const auto item = [&](const char* name, const std::string& text) {
    if (!text.empty()) out << "- " << name << ": " << text << "\n";
  };
  item("Input", spec_text(model.spec.dtype, model.spec.dims));
  item("Constants", constants_text(example));
  item("Output", spec_text(output.dtype, {output.dims, output.dims + output.rank}));
  item("Emits", emits_text(model, input));
  item("Weights", weights_text(model.weights));
  item("Time", time_text(metadata));
  const bool steps = metadata["supports_step"] == true;
  item("State", steps ? state_text(example, model) : "layer-wise only, no steps");
  return out.str();
}

std::string type_of(const Example& example) {
  const auto json = nlohmann::json::parse(example.config, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("type") || !json["type"].is_string()) {
    throw std::runtime_error("the block of JSON before it is no layer's config");
  }
  return json["type"].get<std::string>();
}

// ---- The contract

// Fills a tensor with random values: parsed specs hold zeros.
void randomize(Tensor& x, std::mt19937& rng) {
  const Tensor random = random_sequence(x.dtype, {1, x.size()}, rng);
  for (int64_t i = 0; i < x.size(); ++i) x.set(i, random.at(i));
}

// The part of the contract that the example's model violates; empty if there is none.
std::string broken_contract(const Example& example) {
  // These layers take exactly as many steps as their config says.
  static const std::set<std::string> kOneLength = {"GlobalReshape", "GlobalEinopsRearrange",
                                                   "MaskedDense"};
  // These layers give NaN for negative numbers. The probe uses NaN to find which inputs an output
  // depends on.
  static const std::set<std::string> kUnprobed = {"Log", "Power"};
  const bool one_length = kOneLength.contains(type_of(example));
  const Sampled model = sample(example);
  const int64_t block = model.layer.block_size();
  const int64_t batch = 2, time = one_length ? block : block * ceil_div(8, block) + block;
  std::mt19937 rng(1);
  Case c;
  c.layer = &model.layer;
  // Integers can be tokens or classes, of which there may be few.
  c.input.x = random_sequence(model.spec.dtype, with_steps(model.spec, batch, time), rng, 4);
  c.input.constants = constants_of(example, batch, time);
  for (NamedTensor& constant : c.input.constants) randomize(constant.value, rng);
  c.test_padding_invariance = c.test_batching = !one_length;
  c.probe_receptive_field = !one_length && !kUnprobed.contains(type_of(example));
  return check_contract(c).failures();
}

// ---- Pages

constexpr const char* kBegin = "<!-- generated -->";
constexpr const char* kEnd = "<!-- end -->";

std::string in_line(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "" : ", ") + item;
  return out + ".\n";
}

std::string dtypes() {
  std::vector<std::string> items;
  for (const DTypeInfo& info : kDTypeInfos) items.push_back("`\"" + std::string(info.name) + "\"`");
  return in_line(items);
}

std::string functions() {
  std::vector<std::string> items;
  for (const FunctionName& function : function_names()) {
    items.push_back(code(std::string(function.name)));
    if (!function.parameter.empty())
      items.back() += " (" + code(std::string(function.parameter)) + ")";
  }
  return in_line(items);
}

std::string windows() {
  std::vector<std::string> items;
  for (const std::string& name : window_names()) items.push_back(code(name));
  return in_line(items);
}

// Lists of the library that are generated between the marker lines and kEnd.
const std::map<std::string, std::string (*)()> kLists = {
    {"<!-- dtypes -->", dtypes},
    {"<!-- functions -->", functions},
    {"<!-- windows -->", windows},
};

class Renewal {
 public:
  // Generates the text below an example.
  using Tell = std::function<std::string(const Example&)>;
  explicit Renewal(Tell tell) : tell_(std::move(tell)) {}

  RenewedPage run(const std::string& page) {
    std::istringstream in(page);
    for (std::string text; std::getline(in, text);) {
      ++line_;
      try {
        line(text);
      } catch (const std::exception& error) {
        complain(error.what());
      }
    }
    if (generated_) complain(std::string("there is no \"") + kEnd + "\" before it");
    page_.text = out_.str();
    return page_;
  }

 private:
  void line(const std::string& text) {
    if (generated_) {
      generated_ = text != kEnd;
      if (generated_) return;
    }
    out_ << text << "\n";
    if (text.starts_with("```")) {
      fence(text);
    } else if (in_json_) {
      example_->config += text + "\n";
    } else if (!in_code_ && text == kBegin) {
      generated_ = true;
      if (!example_) throw std::runtime_error("there is no block of JSON before it");
      const Example example = *std::exchange(example_, std::nullopt);
      page_.types.insert(type_of(example));
      out_ << tell_(example);
    } else if (const auto list = kLists.find(text); !in_code_ && list != kLists.end()) {
      generated_ = true;
      out_ << list->second();
    }
  }

  void fence(const std::string& text) {
    in_code_ = !in_code_;
    in_json_ = in_code_ && (text == "```json" || text.starts_with("```json "));
    if (!in_json_) return;
    example_.emplace();
    example_->words = parse_words(text.substr(7));
  }

  void complain(const std::string& reason) {
    page_.errors.push_back("line " + std::to_string(line_) + ": " + reason);
  }

  Tell tell_;
  RenewedPage page_;
  std::ostringstream out_;
  std::optional<Example> example_;
  int line_ = 0;
  bool in_code_ = false;
  bool in_json_ = false;
  bool generated_ = false;
};

}  // namespace

RenewedPage renew(const std::string& page) { return Renewal(tell).run(page); }

CheckedPage check_examples(const std::string& page) {
  CheckedPage out;
  Renewal renewal([&](const Example& example) {
    ++out.examples;
    const std::string failures = broken_contract(example);
    if (!failures.empty()) throw std::runtime_error(type_of(example) + ": " + failures);
    return std::string();
  });
  out.failures = renewal.run(page).errors;
  return out;
}

std::vector<std::string> types_without_section(const std::set<std::string>& documented) {
  std::vector<std::string> out;
  for (const std::string& type : built_in_registry().types()) {
    if (!documented.contains(type)) out.push_back(type);
  }
  return out;
}

}  // namespace sl::testing
