#include "contract/trees.h"

namespace sl::testing {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 4;

// Constraints on a layer from its position in the tree.
struct Place {
  bool keep_spec = false;  // the output spec must equal the input spec
  bool keep_time = false;  // one output step per input step, without latency
  int depth = 0;

  Place deeper() const { return {keep_spec, keep_time, depth + 1}; }
};

class TreeMaker {
 public:
  TreeMaker(uint32_t seed, bool careful) : rng_(seed), careful_(careful) {}

  Tree make() {
    Tree tree;
    channels_ = {pick({1, 2, 4, 6})};
    if (chance(4)) channels_.insert(channels_.begin(), pick({2, 3, 5}));
    tree.channels = channels_;
    const json config = serial(Place());
    tree.config = config.dump();
    tree.hints = std::move(hints_);
    return tree;
  }

 private:
  using Channels = std::vector<int64_t>;

  int64_t pick(const std::vector<int64_t>& values) {
    return values[std::uniform_int_distribution<size_t>(0, values.size() - 1)(rng_)];
  }
  // True once in n calls on average.
  bool chance(int64_t n) { return std::uniform_int_distribution<int64_t>(1, n)(rng_) == 1; }

  // A new name, for which the hint for the weights is recorded.
  std::string name(int64_t any) {
    std::string name = "layer_" + std::to_string(count_++);
    hints_[name] = {any, stack_, {}};
    return name;
  }

  json layer(const Place& place) {
    if (place.depth < kMaxDepth) {
      switch (pick({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13})) {
        case 0:
          return serial(place.deeper());
        case 1:
          return residual(place.deeper());
        case 2:
          return parallel(place.deeper());
        case 3:
          return repeat(place.deeper());
        case 4:
          return blockwise(place.deeper());
        case 5:
          return parallel_channels(place.deeper());
        case 6:
          if (!chance(4)) break;
          return bidirectional(place.deeper());
        default:
          break;
      }
    }
    if (!place.keep_time && !warm_up_ && chance(3)) return timed(place);
    if (chance(3)) return pointwise();
    return channels_.size() == 1 ? mixing(place) : spatial(place);
  }

  json serial(const Place& place) {
    json layers = json::array();
    for (int64_t n = pick({1, 2, 2, 3, 4}); n > 0; --n) layers.push_back(layer(place));
    return {{"type", "Serial"}, {"layers", layers}};
  }

  // A Residual around layers that keep spec and time, around layers with a projection on the
  // shortcut, or around a latency that a Delay on the shortcut compensates.
  json residual(const Place& place) {
    json out = {{"type", "Residual"}};
    if (!place.keep_time && channels_.size() == 1 && !latency_ && chance(3)) {
      latency_ = true;
      const int64_t kernel = pick({2, 3});
      json body = convolution(channels_.back(), kernel, "reverse_causal_valid");
      latency_ = careful_;
      out["layers"] = json::array({body});
      out["shortcut_layers"] =
          json::array({{{"type", "Delay"}, {"length", kernel - 1}, {"delay_layer_output", false}}});
      return out;
    }
    const Place inside = {true, true, place.depth};
    out["layers"] = {layer(inside), layer(inside)};
    if (chance(3)) out["shortcut_layers"] = json::array({layer(inside)});
    return out;
  }

  json parallel(const Place& place) {
    const Place inside = {true, true, place.depth};
    json out = {{"type", "Parallel"}};
    json layers = json::array();
    if (place.keep_spec || chance(2)) {
      for (int64_t n = pick({1, 2, 3}); n > 0; --n) layers.push_back(layer(inside));
      out["combination"] = chance(2) ? "mean" : "add";
    } else {
      const Channels before = channels_;
      int64_t total = 0;
      for (int64_t n = pick({2, 3}); n > 0; --n) {
        channels_ = before;
        layers.push_back(dense(pick({1, 2, 3})));
        total += channels_.back();
      }
      channels_.back() = total;
      out["combination"] = "concat";
    }
    out["layers"] = layers;
    return out;
  }

  json repeat(const Place& place) {
    const int64_t count = pick({1, 2, 3});
    stack_.push_back(count);
    const json inside = layer({true, true, place.depth});
    stack_.pop_back();
    return {{"type", "Repeat"}, {"num_repeats", count}, {"layer", inside}};
  }

  // A child that shares its parent's scope: its weights are found under the parent's name, not its
  // own.
  json sharing(json parent, json child) {
    const std::string name = "layer_" + std::to_string(count_++);
    parent["name"] = name;
    if (!child.contains("name")) child["name"] = "layer_" + std::to_string(count_++);
    const auto hint = hints_.find(child["name"].get<std::string>());
    if (hint != hints_.end()) hints_[name] = WeightHint(hint->second);
    parent["child_layer"] = child;
    return parent;
  }

  json blockwise(const Place& place) {
    const int64_t around = block_;
    if (around == 0 && !place.keep_time && channels_.size() == 1 && !latency_ && chance(3)) {
      const int64_t strides = pick({2, 3});
      return sharing({{"type", "Blockwise"}, {"block_size", strides * pick({1, 2})}},
                     convolution(place.keep_spec ? channels_.back() : 2, 3, "causal", strides));
    }
    const int64_t block = around == 0 ? pick({1, 2, 3, 6}) : chance(2) ? around : 1;
    block_ = block;
    const json child = layer({true, true, place.depth});
    block_ = around;
    return sharing({{"type", "Blockwise"}, {"block_size", block}}, child);
  }

  json parallel_channels(const Place& place) {
    const Channels before = channels_;
    const int64_t groups = channels_.back() % 2 == 0 ? 2 : channels_.back() % 3 == 0 ? 3 : 1;
    json out = {{"type", "ParallelChannels"}, {"num_groups", groups}, {"combination", "concat"}};
    channels_.back() /= groups;
    const json child = layer({true, true, place.depth});
    if (place.keep_spec || chance(2)) {
      channels_ = before;
    } else {
      out["combination"] = chance(2) ? "mean" : "product";
    }
    return sharing(out, child);
  }

  // If a layer that runs backwards treats padding as valid, the padding meets the invalid steps at
  // the end first. The last valid steps then depend on whether there are invalid ones, in the
  // reference too.
  json bidirectional(const Place& place) {
    const Place inside = {true, true, place.depth};
    const bool around = mirrored_;
    mirrored_ = true;
    json out = {{"type", "Bidirectional"}, {"forward", layer(inside)}, {"backward", layer(inside)}};
    mirrored_ = around;
    out["combination"] = place.keep_spec || chance(2) ? "mean" : "concat";
    if (out["combination"] == "concat") channels_.back() *= 2;
    return out;
  }

  json pointwise() {
    static const std::vector<json> all = {
        {{"type", "Relu"}},
        {{"type", "Tanh"}},
        {{"type", "Sigmoid"}},
        {{"type", "Gelu"}},
        {{"type", "Swish"}},
        {{"type", "Abs"}},
        {{"type", "Softmax"}},
        {{"type", "Softplus"}},
        {{"type", "MaskInvalid"}},
        {{"type", "Identity"}},
        {{"type", "Emit"}},
        {{"type", "Scale"}, {"scale", -0.5}},
        {{"type", "Add"}, {"shift", 0.25}},
    };
    return all[static_cast<size_t>(pick({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}))];
  }

  json dense(int64_t features) {
    const json out = {{"type", "Dense"}, {"features", features}, {"name", name(channels_.back())}};
    channels_.back() = features;
    return out;
  }

  json convolution(int64_t filters, int64_t kernel, const char* padding, int64_t strides = 1) {
    const int64_t inputs = channels_.back();
    const int64_t groups = inputs % 2 == 0 && filters % 2 == 0 ? pick({1, 2}) : 1;
    const int64_t dilation = pick({1, 1, 2});
    channels_.back() = filters;
    return {{"type", "Conv1D"},      {"filters", filters},
            {"kernel_size", kernel}, {"padding", padding},
            {"strides", strides},    {"dilation_rate", latency_ ? 1 : dilation},
            {"groups", groups},      {"name", name(inputs / groups)}};
  }

  // Pools over time, and over width if there is such an axis.
  json pooling(const char* padding, int64_t strides = 1) {
    static const std::vector<std::string> kinds = {"Min", "Max", "Average"};
    const std::string kind = kinds[static_cast<size_t>(pick({0, 1, 2}))];
    const int64_t size = pick({1, 2, 3, 5}), dilation = latency_ ? 1 : pick({1, 1, 2});
    json out;
    if (channels_.size() == 1) {
      out = {{"type", kind + "Pooling1D"},
             {"pool_size", size},
             {"padding", padding},
             {"strides", strides},
             {"dilation_rate", dilation}};
    } else {
      out = {{"type", kind + "Pooling2D"},
             {"pool_size", {size, 3}},
             {"time_padding", padding},
             {"strides", {strides, 1}},
             {"dilation_rate", {dilation, 1}}};
    }
    if (kind == "Average") out["masked_average"] = chance(2);
    return out;
  }

  // Layers that mix channels, or the present with the past. Behind a latency, the steps before the
  // first one are not zero as padding is. As in the reference, only layers that mask their input
  // keep the contract there, and if those steps are valid, no layer that reads past steps does.
  json mixing(const Place& place) {
    const int64_t out = place.keep_spec ? channels_.back() : pick({1, 2, 3, 4, 6});
    const char* padding = latency_ || mirrored_ || chance(2) ? "causal" : "causal_valid";
    if (warm_up_) return dense(out);
    if (!careful_ && chance(3)) return counting();
    if (chance(6)) return pooling("causal");
    switch (pick({0, 1, 2, 3, 4})) {
      case 0:
        return dense(out);
      case 1: {
        const json lstm = {{"type", "LSTM"}, {"units", out}, {"name", name(channels_.back())}};
        channels_.back() = out;
        return lstm;
      }
      case 2: {
        const int64_t multiplier = place.keep_spec ? 1 : pick({1, 2});
        channels_.back() *= multiplier;
        return {{"type", "DepthwiseConv1D"}, {"kernel_size", pick({1, 2, 3})},
                {"padding", padding},        {"depth_multiplier", multiplier},
                {"use_bias", chance(2)},     {"name", name(channels_.back())}};
      }
      default:
        return convolution(out, pick({1, 2, 3, 5}), padding);
    }
  }

  // Layers that count invalid steps or keep them in their state.
  json counting() {
    const int64_t channels = channels_.back();
    switch (pick({0, 1, 2})) {
      case 0:
        return {{"type", "RGLRU"}, {"units", channels}, {"num_heads", 1}, {"name", name(channels)}};
      case 1:
        return {{"type", "SequenceDense"},
                {"features", channels},
                {"num_steps", 512},
                {"name", name(channels)}};
      default:
        return {{"type", "AddTimingSignal"}, {"only_advance_position_for_valid_timesteps", false}};
    }
  }

  // Layers for inputs with two channel axes.
  json spatial(const Place& place) {
    if (!place.keep_spec && chance(3)) {
      channels_ = {channels_[0] * channels_[1]};
      return {{"type", "Flatten"}};
    }
    if (!place.keep_spec && chance(3)) {
      std::swap(channels_[0], channels_[1]);
      return {{"type", "Transpose"}};
    }
    const int64_t inputs = channels_.back();
    const int64_t out = place.keep_spec ? inputs : pick({1, 2, 3});
    if (warm_up_ || chance(2)) return dense(out);
    if (chance(4)) return pooling("causal");
    channels_.back() = out;
    return {{"type", "Conv2D"},          {"filters", out},
            {"kernel_size", {2, 3}},     {"time_padding", "causal"},
            {"spatial_padding", "same"}, {"name", name(inputs)}};
  }

  // Layers that change the rate or look ahead. Behind a latency, strides are left out: the latency
  // would have to be a multiple of them.
  json timed(const Place& place) {
    const int64_t out = place.keep_spec ? channels_.back() : pick({1, 2, 4});
    switch (pick({0, 1, 2, 3, 4, 5})) {
      case 0:
        // For two upsamplings in a row the reference, and so the library, reports too small a
        // receptive field.
        if (upsampled_) return pointwise();
        upsampled_ = true;
        return {{"type", "Upsample1D"}, {"rate", 2}};
      case 1:
        delayed_ = careful_;
        return {{"type", "Delay"}, {"length", pick({1, 2, 3})}};
      case 2:
        // As in the reference, steps of a Lookahead drop the first valid inputs, which after a
        // Delay are not the delayed ones.
        if (delayed_) return pointwise();
        latency_ = careful_;
        return {{"type", "Lookahead"}, {"length", pick({1, 2})}};
      case 3:
        if (channels_.size() != 1) return pointwise();
        if (chance(3)) return convolution(out, pick({2, 3}), "same");  // cannot step
        latency_ = warm_up_ = careful_;
        return look_ahead(out);
      default:
        if (!latency_ && chance(3)) return pooling(chance(2) ? "causal" : "semicausal", 2);
        if (channels_.size() != 1 || latency_) return pointwise();
        return strided(out);
    }
  }

  // Random numbers are drawn in statements: the order of arguments differs between compilers.
  json look_ahead(int64_t out) {
    const char* padding = chance(2) ? "reverse_causal" : "reverse_causal_valid";
    return convolution(out, pick({2, 3}), padding);
  }

  json strided(int64_t out) {
    const int64_t strides = pick({2, 3});
    const char* padding = chance(2) ? "causal" : "semicausal";
    return convolution(out, pick({2, 3, 5}), padding, strides);
  }

  std::mt19937 rng_;
  bool careful_;
  Channels channels_;  // output channels of the layers so far
  WeightHints hints_;
  std::vector<int64_t> stack_;
  int64_t count_ = 0;
  int64_t block_ = 0;      // block size of the enclosing Blockwise, which those inside must divide
  bool mirrored_ = false;  // inside a Bidirectional
  bool upsampled_ = false;
  bool delayed_ = false;
  bool latency_ = false;  // outputs have latency
  bool warm_up_ = false;  // outputs before the latency has passed are valid
};

}  // namespace

Tree make_tree(uint32_t seed) { return TreeMaker(seed, /*careful=*/true).make(); }

Tree make_careless_tree(uint32_t seed) { return TreeMaker(seed, /*careful=*/false).make(); }

Layer make_tree_model(const Tree& tree, uint32_t seed) {
  std::mt19937 rng(seed);
  const Weights weights = make_weights(tree.config, tree.hints, rng);
  return Layer(tree.config, weights);
}

}  // namespace sl::testing
