#include "model/model.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/file.h"
#include "core/json_text.h"
#include "core/log.h"
#include "core/status.h"
#include "kernels/dispatch.h"
#include "model/type_hints.h"
#include "ops/elementwise.h"

namespace sl {
namespace {

// Maximum nesting of layers, deep enough for any real model. A debug build takes 2.5 KiB of stack
// per level to create a model and 1.6 KiB to run it. With the needs of the innermost layer,
// creation fits into 128 KiB of stack and a run into 64 KiB.
constexpr int kMaxDepth = 32;

// Maximum number of layers, enough for any real model. Without it, nested Repeat layers in a small
// config could ask for more than memory holds.
constexpr int kMaxLayers = 1 << 16;

class TreeBuilder final : public Builder {
 public:
  TreeBuilder(const Registry& registry, WeightFormat kv_format)
      : registry_(registry), kv_format_(kv_format) {}

  std::unique_ptr<Layer> build(Config config, const WeightScope& scope,
                               const std::string& default_name, bool share_scope) const override {
    const std::string name = name_of(config, default_name);
    scope.reserve(name, config.path());
    return build_in(share_scope ? scope : scope.child(name), std::move(config), name);
  }

  WeightFormat kv_format() const override { return kv_format_; }

  // The names of the root's weights have no prefix; without a name, errors call the root "$".
  std::unique_ptr<Layer> build_root(const Config& config, const WeightScope& scope) const {
    return build_in(scope, config, name_of(config, "$"));
  }

 private:
  std::unique_ptr<Layer> build_in(const WeightScope& scope, Config config,
                                  const std::string& name) const {
    const TypeFactory* factory = registry_.find(config.type());
    if (!factory) {
      const std::string advice = advice_for_type(config.type(), registry_.types());
      fail(Code::kConfig, "{}.type: unknown layer type \"{}\"{}{}", config.path(), config.type(),
           advice.empty() ? "" : "; ", advice);
    }
    const Depth depth(this);
    if (++count_ > kMaxLayers) {
      fail(Code::kConfig, "{}: the model has more than {} layers", config.path(), kMaxLayers);
    }
    const int64_t before = scope.use().parameters;
    WeightBytes bytes = scope.use().weight_bytes;
    const Within within(this, name);
    std::unique_ptr<Layer> layer =
        make(*factory, config, Init{scope.owned_by(config.path()), *this});
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = scope.use().weight_bytes[i] - bytes[i];
    layer->identify(config.type(), name, within.parent, scope.use().parameters - before, bytes);
    return layer;
  }

  // Sizes and times that overflow are errors of the config, reported at the layer that causes them.
  static std::unique_ptr<Layer> make(const TypeFactory& factory, Config& config, const Init& init) {
    try {
      std::unique_ptr<Layer> layer = factory(config, init);
      check_times(*layer);
      return layer;
    } catch (const SizeError& error) {
      const Code code = error.code() == Code::kShape ? Code::kConfig : error.code();
      fail(code, "{} ({}): {}", config.path(), config.type(), error.what());
    }
  }

  static void check_times(const Layer& layer) {
    try {
      layer.output_ratio();
      layer.block_size();
      layer.input_latency();
      layer.output_latency();
    } catch (const SizeError&) {
      throw;
    } catch (const Error&) {
      // Any other error is reported when a caller asks for the property.
    }
  }

  struct Depth {
    explicit Depth(const TreeBuilder* builder) : builder(builder) {
      // The message leaves out the path, which grows with the depth.
      if (++builder->depth_ > kMaxDepth) {
        fail(Code::kConfig, "$: layers nest deeper than {}", kMaxDepth);
      }
    }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    ~Depth() { --builder->depth_; }
    const TreeBuilder* builder;
  };

  // While it lives, the builder makes children of the layer of this name.
  struct Within {
    Within(const TreeBuilder* builder, const std::string& name)
        : builder(builder), parent(builder->place_) {
      builder->place_ = std::make_shared<const LayerPlace>(LayerPlace{name, parent});
    }
    Within(const Within&) = delete;
    Within& operator=(const Within&) = delete;
    ~Within() { builder->place_ = parent; }
    const TreeBuilder* builder;
    const std::shared_ptr<const LayerPlace> parent;
  };

  static std::string name_of(const Config& config, const std::string& default_name) {
    const auto it = config.json().find("name");
    if (it == config.json().end() || it->is_null()) return default_name;
    if (!it->is_string())
      config.error("name", fmt::format("expected a string, got {}", excerpt(*it)));
    std::string name = it->get<std::string>();
    // The name is a part of every path below the layer, so its length is limited.
    constexpr size_t kMaxNameBytes = 1024;
    if (name.size() > kMaxNameBytes) {
      config.error("name", fmt::format("expected at most {} bytes, got {}: {}", kMaxNameBytes,
                                       name.size(), excerpt(*it)));
    }
    return name.empty() ? default_name : name;
  }

  const Registry& registry_;
  mutable std::shared_ptr<const LayerPlace> place_;  // of the layer that is made now
  const WeightFormat kv_format_;
  mutable int depth_ = 0;
  mutable int count_ = 0;
};

// Each nested layer adds an object and a list around it; fields of the innermost layer may nest
// lists further.
constexpr int kMaxJsonDepth = 2 * kMaxDepth + 16;

// Maximum size of a config file, far more than a config needs when its weights are in their own
// file.
constexpr size_t kMaxConfigBytes = size_t{1} << 27;

JsonDocument parse_config_text(std::string_view text) {
  try {
    return parse_json(text, kMaxJsonDepth);
  } catch (const JsonError& error) {
    fail(Code::kConfig, "{}: {}", error.path(), error.what());
  }
}

// Fails if the weights contain a tensor that no layer has read.
void check_all_used(const TensorStore& weights, const WeightUse& use) {
  const std::vector<std::string> used(use.names.begin(), use.names.end());
  for (const std::string& name : weights.names()) {
    if (use.names.contains(name)) continue;
    const std::string near = nearest_name(name, used);
    const Tensor* tensor = weights.find(name);
    fail(Code::kWeights, "tensor \"{}\" {} is not used by any layer{}", name,
         to_string((tensor ? tensor : weights.find_packed(name))->shape),
         near.empty() ? "" : fmt::format("; the model has \"{}\"", near));
  }
}

// The tensors of which layers make matrices, or would in another format: those of which they have
// not kept the values.
std::vector<std::string> matrix_tensors(const WeightUse& use) {
  std::set<std::string> names;
  for (const WeightMatrix& matrix : use.matrices)
    names.insert(matrix.sources.begin(), matrix.sources.end());
  for (const std::string& name : use.names) {
    if (!use.values.contains(name) && name.find(kPanelsSuffix) == std::string::npos)
      names.insert(name);
  }
  return {names.begin(), names.end()};
}

// Limits for the metadata "input"; the maximum rank is that of the C ABI.
constexpr int kMaxSpecDepth = 16;
constexpr size_t kMaxChannelRank = 8;
constexpr int64_t kMaxChannels = int64_t{1} << 40;

[[noreturn]] void fail_input(std::string_view what) {
  fail(Code::kWeights, "metadata \"input\": {}", what);
}

ChannelSpec parse_input_spec(const std::string& text) {
  JsonDocument document;
  try {
    document = parse_json(text, kMaxSpecDepth);
  } catch (const JsonError& error) {
    fail_input(fmt::format("{}: {}", error.path(), error.what()));
  }
  const Json& json = document.value();
  ChannelSpec spec;
  const bool usable = json.is_object() && json.contains("channel_shape") &&
                      json["channel_shape"].is_array() &&
                      json["channel_shape"].size() <= kMaxChannelRank;
  if (!usable) {
    fail_input(fmt::format(
        "expected {{\"channel_shape\": [...], \"dtype\": ...}} of at most {} dimensions",
        kMaxChannelRank));
  }
  int64_t channels = 1;
  for (const auto& dim : json["channel_shape"]) {
    const bool fits = dim.is_number_unsigned() && dim.get<uint64_t>() >= 1 &&
                      dim.get<uint64_t>() <= static_cast<uint64_t>(kMaxChannels / channels);
    if (!fits) {
      fail_input(fmt::format(
          "bad \"channel_shape\" at {}: expected sizes of at least 1, in total at most {}",
          dim.is_structured() ? dim.type_name() : dim.dump(), kMaxChannels));
    }
    channels *= dim.get<int64_t>();
    spec.shape.push_back(dim.get<int64_t>());
  }
  if (!json.contains("dtype")) return spec;
  const Json& dtype = json["dtype"];
  const auto known = dtype.is_string() ? dtype_named(dtype.get<std::string>()) : std::nullopt;
  if (!known) {
    fail_input(fmt::format("unknown dtype {}: expected one such as \"float32\"",
                           dtype.is_structured() ? dtype.type_name() : dtype.dump()));
  }
  spec.dtype = *known;
  return spec;
}

bool reads_invalid_steps(const Layer& layer) {
  return layer.reads_invalid_steps() ||
         std::ranges::any_of(layer.children(),
                             [](const Layer* child) { return reads_invalid_steps(*child); });
}

// Returns x, or a copy with zeros in its invalid steps if it has any.
Sequence masked(Stack& stack, const Sequence& x) {
  if (x.all_valid()) return x;
  Sequence y = x;
  y.values = stack.allocate(x.bytes());
  ops::copy_masked(x, y);
  return y;
}

// Finds where steps differ from layer-wise runs. A tree whose latency is an error has no steps, and
// so no differences.
std::vector<StepDifference> differences_of(const Layer& root) {
  StepDifferences differences;
  EarlySteps before;
  if (!root.supports_finite_step()) before.kind = EarlySteps::Kind::kNone;
  try {
    root.follow(before, differences);
  } catch (const Error& error) {
    if (error.code() == Code::kOutOfMemory) throw;
    return {};
  }
  return differences.take();
}

void warn_of(const std::vector<StepDifference>& differences) {
  constexpr size_t kMaxListed = 4;
  std::string text;
  size_t count = 0;
  for (const StepDifference& difference : differences) {
    if (difference.condition != StepDifference::Condition::kAlways || ++count > kMaxListed)
      continue;
    text += fmt::format("{}{}: {} ({})", text.empty() ? "" : "; ", difference.where(),
                        difference.reason, difference.cure);
  }
  if (count == 0) return;
  log(LogLevel::kWarning, "steps of this model do not give what whole runs give: {}{}", text,
      count > kMaxListed ? fmt::format("; and {} more", count - kMaxListed) : "");
}

}  // namespace

Model::Model(std::string_view config, std::shared_ptr<const TensorStore> weights,
             const ModelOptions& options)
    : weights_(std::move(weights)),
      allocator_(options.allocator),
      parallel_(options.num_threads, options.parallel_for, options.parallel_for_user_data),
      step_team_(options.num_step_threads, /*on_idle_cpus_only=*/true, options.max_lent_threads),
      step_parallel_(step_team_.threads() > 1 ? &step_team_ : nullptr) {
  parallel_.use(options.matmul_backend);
  kernels::warm_dispatch();
  if (weights_) weights_->check_unchanged();
  const JsonDocument document = parse_config_text(config);
  const Json& json = document.value();
  use_.max_bytes = allocator_.max_bytes;
  use_.formats = WeightFormats(options.weight_format);
  use_.maker = options.matrix_maker;
  const TreeBuilder builder(options.registry ? *options.registry : built_in_registry(),
                            options.kv_format);
  root_ = builder.build_root(Config(json, "$"), WeightScope(weights_.get(), &use_));
  if (weights_) check_all_used(*weights_, use_);
  use_.formats.check_used(matrix_tensors(use_));
  use_.maker = nullptr;
  use_.owners.clear();  // only needed while layers are made
  constants_ = ConstantTable(*root_);
  step_differences_ = differences_of(*root_);
  masks_input_ = reads_invalid_steps(*root_);
  const std::string canonical = json.dump();
  fingerprint_ =
      hash_bytes(canonical.data(), canonical.size(), weights_ ? weights_->fingerprint() : 0);
  if (options.kv_format != WeightFormat::kFloat32) {
    const std::string_view name = name_of(options.kv_format);
    fingerprint_ = hash_bytes(name.data(), name.size(), fingerprint_);
  }
  for (const WeightMatrix& matrix : use_.matrices) {
    const WeightFormat format = matrix.panels.format();
    if (format == WeightFormat::kFloat32) continue;
    fingerprint_ = hash_bytes(matrix.name.data(), matrix.name.size(), fingerprint_);
    fingerprint_ = hash_bytes(&format, sizeof(format), fingerprint_);
  }
  log(LogLevel::kInfo, "made a {} with {} parameters, kernels for {}", root_->type(),
      root_->parameter_count(), kernels::active_target());
  warn_of(step_differences_);
}

std::unique_ptr<Model> Model::open(const std::string& directory, const ModelOptions& options) {
  const std::string config = File(directory + "/config.json").read(kMaxConfigBytes);
  const std::string weights = directory + "/model.safetensors";
  return std::make_unique<Model>(
      config, path_exists(weights) ? TensorStore::open(weights) : nullptr, options);
}

void Model::lend_thread(StepTeam::KeepGoing keep_going, void* data) const {
  if (step_team_.max_lent() == 0) {
    fail(Code::kInvalidArgument, "the layer takes no lent threads: its max_lent_threads is 0");
  }
  if (!step_team_.lend(keep_going, data)) {
    fail(Code::kInvalidArgument, "the layer has all {} threads that its max_lent_threads allows",
         step_team_.max_lent());
  }
}

const std::string* Model::metadata(std::string_view key) const {
  return weights_ ? weights_->metadata(key) : nullptr;
}

std::optional<ChannelSpec> Model::input_spec() const {
  const std::string* recorded = metadata("input");
  if (!recorded) return root_->implied_input();
  return parse_input_spec(*recorded);
}

Sequence Model::apply(Workspace& workspace, const Parallel& parallel, const Sequence& x,
                      std::span<Sequence> emits, const Constants& constants) const {
  if (!masks_input_) return run_layer(workspace, parallel, x, emits, constants);
  Stack& stack = workspace.on(Side::kB);
  std::vector<Constant> masked_constants(constants.begin(), constants.end());
  for (Constant& constant : masked_constants) {
    if (!constant.is_array) constant.sequence = masked(stack, constant.sequence);
  }
  return run_layer(workspace, parallel, masked(stack, x), emits, Constants(masked_constants));
}

Sequence Model::run_layer(Workspace& workspace, const Parallel& parallel, const Sequence& x,
                          std::span<Sequence> emits, const Constants& constants) const {
  const Parallel::Active active(parallel);
  Run run(Mode::kLayer, workspace, parallel, constants);
  run.compute_invalid_steps(masks_input_);
  run.bind_emits(emits);
  run.allow_allocation();
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
  output(input, constants);  // fails if the input does not fit
  Declaration declaration(constants);
  root_->declare(declaration, input);
  return declaration;
}

}  // namespace sl
