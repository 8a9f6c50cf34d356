#include "model/model.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/log.h"
#include "core/status.h"
#include "kernels/dispatch.h"

namespace sl {
namespace {

// Deep enough for any real model, shallow enough for any stack.
constexpr int kMaxDepth = 200;

// Enough for any real model; a Repeat in a small config can ask for more than memory holds.
constexpr int kMaxLayers = 1 << 16;

class TreeBuilder final : public Builder {
 public:
  explicit TreeBuilder(const Registry& registry) : registry_(registry) {}

  std::unique_ptr<Layer> build(Config config, const WeightScope& scope,
                               const std::string& default_name, bool share_scope) const override {
    const TypeFactory* factory = registry_.find(config.type());
    if (!factory) {
      const std::string near = nearest_name(config.type(), registry_.types());
      fail(Code::kConfig, "{}.type: unknown layer type \"{}\"{}", config.path(), config.type(),
           near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
    }
    const Depth depth(this);
    if (++count_ > kMaxLayers) {
      fail(Code::kConfig, "{}: the model has more than {} layers", config.path(), kMaxLayers);
    }
    std::string name = name_of(config, default_name);
    const int64_t before = scope.use().parameters;
    const WeightScope own = share_scope ? scope : scope.child(name);
    std::unique_ptr<Layer> layer = (*factory)(config, Init{own, *this});
    layer->identify(config.type(), std::move(name), scope.use().parameters - before);
    return layer;
  }

  // The root's variables have no name of their own before them.
  std::unique_ptr<Layer> build_root(const Config& config, const WeightScope& scope) const {
    return build(config, scope, "", /*share_scope=*/true);
  }

 private:
  struct Depth {
    explicit Depth(const TreeBuilder* builder) : builder(builder) {
      // Without the path: it is as long as the nesting is deep.
      if (++builder->depth_ > kMaxDepth) {
        fail(Code::kConfig, "$: layers nest deeper than {}", kMaxDepth);
      }
    }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    ~Depth() { --builder->depth_; }
    const TreeBuilder* builder;
  };

  static std::string name_of(const Config& config, const std::string& default_name) {
    const auto it = config.json().find("name");
    if (it == config.json().end() || it->is_null()) return default_name;
    if (!it->is_string())
      config.error("name", fmt::format("expected a string, got {}", it->dump().substr(0, 60)));
    return it->get<std::string>();
  }

  const Registry& registry_;
  mutable int depth_ = 0;
  mutable int count_ = 0;
};

// nlohmann recurses over nested arrays and objects when it frees them: hostile nesting must not
// exhaust the stack.
void check_nesting(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (in_string) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == '"')
        in_string = false;
      continue;
    }
    if (text[i] == '"') in_string = true;
    if (text[i] == '{' || text[i] == '[') ++depth;
    if (text[i] == '}' || text[i] == ']') --depth;
    if (depth > 10 * kMaxDepth) fail(Code::kConfig, "$: JSON nests deeper than {}", 10 * kMaxDepth);
  }
}

Json parse_config(std::string_view text) {
  check_nesting(text);
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    fail(Code::kConfig, "$: not JSON: {}", error.what());
  }
}

// Every tensor must have been used.
void check_all_used(const TensorStore& weights, const WeightUse& use) {
  const std::vector<std::string> used(use.names.begin(), use.names.end());
  for (const std::string& name : weights.names()) {
    if (use.names.contains(name)) continue;
    const std::string near = nearest_name(name, used);
    fail(Code::kWeights, "tensor \"{}\" {} is not used by any layer{}", name,
         to_string(weights.find(name)->shape),
         near.empty() ? "" : fmt::format("; the model has \"{}\"", near));
  }
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(Code::kIo, "{}: cannot be opened: {}", path, std::strerror(errno));
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad()) fail(Code::kIo, "{}: cannot be read", path);
  return text;
}

bool exists(const std::string& path) { return std::ifstream(path).good(); }

}  // namespace

Model::Model(std::string_view config, std::shared_ptr<const TensorStore> weights,
             const ModelOptions& options)
    : weights_(std::move(weights)),
      allocator_(options.allocator),
      parallel_(options.num_threads, options.parallel_for, options.parallel_for_user_data) {
  kernels::warm_dispatch();
  const Json json = parse_config(config);
  WeightUse use;
  const TreeBuilder builder(options.registry ? *options.registry : built_in_registry());
  root_ = builder.build_root(Config(json, "$"), WeightScope(weights_.get(), &use));
  if (weights_) check_all_used(*weights_, use);
  constants_ = ConstantTable(*root_);
  const std::string canonical = json.dump();
  fingerprint_ =
      hash_bytes(canonical.data(), canonical.size(), weights_ ? weights_->fingerprint() : 0);
  log(LogLevel::kInfo, "made a {} with {} parameters, kernels for {}", root_->type(),
      root_->parameter_count(), kernels::active_target());
}

std::unique_ptr<Model> Model::open(const std::string& directory, const ModelOptions& options) {
  const std::string config = read_text(directory + "/config.json");
  const std::string weights = directory + "/model.safetensors";
  return std::make_unique<Model>(config, exists(weights) ? TensorStore::open(weights) : nullptr,
                                 options);
}

std::optional<ChannelSpec> Model::input_spec() const {
  const std::string* recorded = weights_ ? weights_->metadata("input") : nullptr;
  if (!recorded) return root_->implied_input();
  const auto json = Json::parse(*recorded, nullptr, /*allow_exceptions=*/false);
  ChannelSpec spec;
  const bool usable = json.is_object() && json.contains("channel_shape") &&
                      json["channel_shape"].is_array() && json["channel_shape"].size() <= 8;
  if (!usable)
    fail(Code::kWeights,
         "metadata \"input\": expected {{\"channel_shape\": [...], \"dtype\": ...}}");
  for (const auto& dim : json["channel_shape"]) {
    if (!dim.is_number_unsigned())
      fail(Code::kWeights, "metadata \"input\": bad \"channel_shape\"");
    spec.shape.push_back(dim.get<int64_t>());
  }
  if (json.contains("dtype") && json["dtype"].is_string()) {
    const auto dtype = dtype_named(json["dtype"].get<std::string>());
    if (!dtype) fail(Code::kWeights, "metadata \"input\": unknown dtype {}", json["dtype"].dump());
    spec.dtype = *dtype;
  }
  return spec;
}

Sequence Model::apply(Workspace& workspace, const Sequence& x, std::span<Sequence> emits,
                      const Constants& constants) const {
  Run run(Mode::kLayer, workspace, parallel_, constants);
  run.bind_emits(emits);
  return call(run, *root_, x, Side::kA);
}

ChannelSpec Model::output_spec(const ChannelSpec& input, const Constants& constants) const {
  constants_.check(constants, 0);
  return root_->output_spec(input, constants);
}

SequenceSpec Model::output(const SequenceSpec& input, const Constants& constants) const {
  constants_.check(constants, input.batch);
  return root_->output(input, constants);
}

Declaration Model::declare(const SequenceSpec& input, const Constants& constants) const {
  output(input, constants);  // checks the input
  Declaration declaration(constants);
  root_->declare(declaration, input);
  return declaration;
}

}  // namespace sl
