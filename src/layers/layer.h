// The interface of every layer. Combinators use their children only through it, and no layer knows
// another type of layer.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/declaration.h"
#include "core/ratio.h"
#include "core/receptive_field.h"
#include "core/run.h"
#include "core/sequence.h"
#include "core/weight_format.h"
#include "layers/step_difference.h"

namespace sl {

// A constant that a layer reads.
struct ConstantSpec {
  enum class Kind : int32_t { kAny, kSequence, kArray };

  std::string name;
  Kind kind = Kind::kAny;
  bool required = true;
  // In a stream the constant comes block by block along with x instead of whole. That applies to
  // arrays only if the kind is kArray; their second axis is then time.
  bool streamed = false;
  bool broadcasts = false;  // a batch of 1 serves every item
  // Expected dtype and channels, if known; a size may be kAnySize. For an array, `channels` are all
  // axes but the batch.
  std::optional<DType> dtype;
  std::optional<Shape> channels;

  // Whether a stream gets a part of the constant with each block.
  bool is_streamed(bool is_array) const { return streamed && (!is_array || kind == Kind::kArray); }
};

// The position of a layer in the tree of layers.
struct LayerPlace {
  std::string name;
  std::shared_ptr<const LayerPlace> parent;  // null for the root
};

// Where a layer may be among consecutive layers that run in pieces: kFirst if it reads much for
// each piece beside its input, so that its pieces are larger.
enum class InPieces { kNo, kFirst, kAnywhere };

// A layer has its parsed config, packed weights and metadata, and never changes after construction.
// All that changes is in the run.
//
// Public functions that can fail are not virtual. They call a private virtual function `do_<name>`,
// which the layer overrides, add the type and path of the layer to errors, and check results in
// debug builds.
class Layer {
 public:
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  const std::string& type() const { return type_; }
  const std::string& name() const { return name_; }
  // The names of the layers from the root to this one, joined by dots. That of the root is left out
  // unless this is the root.
  std::string path() const;
  // How errors name the layer: `Dense "encoder.projection"`.
  std::string label() const;
  int64_t parameter_count() const { return parameter_count_; }
  // Bytes of the weights of the layer and its children. Tensors that are no matrices are float32.
  const WeightBytes& weight_bytes() const { return weight_bytes_; }
  virtual std::vector<const Layer*> children() const { return {}; }
  // The input spec of a child when the layer gets `input`.
  virtual ChannelSpec child_input(const Layer&, const ChannelSpec& input, const Constants&) const {
    return input;
  }
  // The input specs of all children, in their order, when the layer gets `input`.
  virtual std::vector<ChannelSpec> child_inputs(const ChannelSpec& input,
                                                const Constants& constants) const;

  // The constants that the layer itself reads, without those of its children. The model checks
  // before a run that required constants are given and that all given ones fit these specs.
  virtual std::vector<ConstantSpec> constants() const { return {}; }

  // Properties in time. The defaults are for a layer that maps each step separately.
  virtual int64_t block_size() const { return 1; }
  virtual Ratio output_ratio() const { return Ratio(1); }
  virtual bool supports_step() const { return true; }
  // Whether the layer can step in streams whose maximum length is given.
  virtual bool supports_finite_step() const { return supports_step(); }
  // Why the layer itself, apart from its children, cannot step even then, and what to change:
  // padding "same" does not step: use ... Empty if it can.
  virtual std::string step_obstacle() const { return {}; }
  virtual int64_t input_latency() const { return 0; }
  virtual int64_t output_latency() const { return output_ratio().floor_times(input_latency()); }
  // The latency of this layer together with that of the layers after it (input) or before it
  // (output).
  int64_t accumulated_input_latency(int64_t input_latency) const {
    return naming_errors([&] { return do_accumulated_input_latency(input_latency); });
  }
  int64_t accumulated_output_latency(int64_t output_latency) const {
    return naming_errors([&] { return do_accumulated_output_latency(output_latency); });
  }
  // Follows early steps through the layer: adds the step differences that they cause, and returns
  // the early steps of the output. By default, each child gets those of the input.
  virtual EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const;
  virtual ReceptiveFields receptive_field_per_step() const { return {StepRange{0, 0}}; }
  virtual ReceptiveField receptive_field() const { return merge_all(receptive_field_per_step()); }

  // The spec of the output. Throws kShape if the layer does not accept the input. Constants need no
  // data.
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const {
    return naming_errors([&] { return do_output_spec(input, constants); });
  }
  // The number of output steps of a layer-wise run over `time` steps.
  int64_t output_length(int64_t time, const ChannelSpec& input, const Constants& constants) const {
    return naming_errors([&] { return do_output_length(time, input, constants); });
  }
  SequenceSpec output(const SequenceSpec& input, const Constants& constants) const;
  // The input spec, if the weights or the config imply it.
  virtual std::optional<ChannelSpec> implied_input() const { return std::nullopt; }

  // Declares state and emits for an input of that spec, in the order in which step and layer use
  // them.
  void declare(Declaration& declaration, const SequenceSpec& input) const {
    naming_errors([&] { do_declare(declaration, input); });
  }
  // Whether values of invalid input steps change valid output steps, as in the reference. A model
  // with such a layer sets invalid steps of its input to zero.
  virtual bool reads_invalid_steps() const { return false; }
  // Whether the output is always x itself, perhaps with another channel shape, and needs no memory.
  virtual bool returns_view() const { return false; }

  // Whether the layer maps each element separately, so that it can write to the memory of x.
  // `overwrite` does so; it returns false and leaves x unchanged if the output has another spec
  // than x.
  virtual bool in_place() const { return false; }
  bool overwrite(Run& run, const Sequence& x) const {
    return naming_errors([&] { return recorded(run, x, [&] { return do_overwrite(run, x); }); });
  }

  Sequence layer(Run& run, const Sequence& x) const {
    return naming_errors([&] {
      return recorded(run, x, [&] { return checked(run, x, [&] { return do_layer(run, x); }); });
    });
  }
  // Whether steps of the output of a layer-wise run can be computed apart from the others, by
  // `piece`, with memory that depends on neither values nor masks, nor on which full piece it is.
  virtual InPieces in_pieces() const { return InPieces::kNo; }
  // Whether they can for such an input.
  virtual bool takes_pieces_of(const ChannelSpec&) const { return true; }
  // Steps [begin, end) of item b of the output of a layer-wise run over x.
  Sequence piece(Run& run, const Sequence& x, int64_t b, int64_t begin, int64_t end) const {
    return naming_errors([&] { return do_piece(run, x, b, begin, end); });
  }
  // Runs a block of a stream; x.time is a multiple of the block size. Real-time: neither allocates
  // nor throws.
  Sequence step(Run& run, const Sequence& x) const {
    return naming_errors([&] {
      return recorded(run, x, [&] { return checked(run, x, [&] { return do_step(run, x); }); });
    });
  }
  // Fails unless y, the output for x, has the spec and length that the layer announced.
  void check_output(const Run& run, const Sequence& x, const Sequence& y) const;

  // Called once, by the builder. The root has no parent.
  void identify(std::string type, std::string name, std::shared_ptr<const LayerPlace> parent,
                int64_t parameter_count, const WeightBytes& weight_bytes = {}) {
    type_ = std::move(type);
    name_ = std::move(name);
    parent_ = std::move(parent);
    parameter_count_ = parameter_count;
    weight_bytes_ = weight_bytes;
  }

 protected:
  Layer() = default;

  // How steps of this layer itself differ from a layer-wise run after these early steps; empty if
  // they do not.
  virtual StepDifference step_difference(const EarlySteps& before) const;
  // If the layer makes valid early steps from invalid ones: which change of it avoids that.
  // Otherwise empty.
  virtual std::string early_steps_cure(const EarlySteps&) const { return ""; }
  // Whether the output depends on earlier steps.
  bool looks_back() const;

 private:
  virtual int64_t do_accumulated_input_latency(int64_t input_latency) const;
  virtual int64_t do_accumulated_output_latency(int64_t output_latency) const;
  virtual ChannelSpec do_output_spec(const ChannelSpec& input,
                                     const Constants& constants) const = 0;
  virtual int64_t do_output_length(int64_t time, const ChannelSpec& input,
                                   const Constants& constants) const;
  virtual void do_declare(Declaration&, const SequenceSpec&) const {}
  virtual bool do_overwrite(Run&, const Sequence&) const { return false; }
  virtual Sequence do_layer(Run& run, const Sequence& x) const = 0;
  virtual Sequence do_step(Run& run, const Sequence& x) const = 0;
  // The default is for a layer that makes each step of one input step, or of one group of them.
  virtual Sequence do_piece(Run& run, const Sequence& x, int64_t b, int64_t begin,
                            int64_t end) const {
    const int64_t group = output_ratio().denominator();
    return do_layer(run, x.piece(b, begin * group, std::min(end * group, x.time)));
  }

  template <typename Fn>
  std::invoke_result_t<Fn> naming_errors(Fn&& fn) const {
    try {
      return fn();
    } catch (Error& error) {
      locate(error);
      throw;
    }
  }
  void locate(Error& error) const;
  // Runs fn, a run of the layer over x, and records it if the run is to be recorded.
  template <typename Fn>
  std::invoke_result_t<Fn> recorded(const Run& run, const Sequence& x, Fn&& fn) const {
    Profile* const profile = run.parallel().profile();
    if (!profile) [[likely]]
      return fn();
    const Recording recording(*this, x, *profile);
    const auto result = fn();
    if constexpr (std::is_same_v<std::invoke_result_t<Fn>, Sequence>) {
      recording.count(result);
    } else {
      recording.count(x);
    }
    return result;
  }
  // One run of a layer in a profile: its time until the end of this object's life and, of layers
  // without children, the bytes of input and output.
  class Recording {
   public:
    Recording(const Layer& layer, const Sequence& x, Profile& profile);
    ~Recording();
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;
    void count(const Sequence& sequence) const;

   private:
    Profile& profile_;
    const int64_t parent_;
    const bool counts_;
  };
  template <typename Fn>
  Sequence checked([[maybe_unused]] const Run& run, [[maybe_unused]] const Sequence& x,
                   Fn&& fn) const {
    const Sequence y = fn();
#ifndef NDEBUG
    check_output(run, x, y);
#endif
    return y;
  }

  std::string type_, name_;
  std::shared_ptr<const LayerPlace> parent_;
  int64_t parameter_count_ = 0;
  WeightBytes weight_bytes_ = {};
};

using Layers = std::vector<std::unique_ptr<Layer>>;

// Runs a layer in the mode of the run. The output lies on `side`, unless it is x itself or a view
// of it. Scratch of the layer is released.
inline Sequence call(Run& run, const Layer& layer, const Sequence& x, Side side) {
  return run.on_side(
      side, [&] { return run.mode() == Mode::kLayer ? layer.layer(run, x) : layer.step(run, x); });
}

// A layer without state, whose steps compute the same as a layer-wise run.
class StatelessLayer : public Layer {
 private:
  Sequence do_layer(Run& run, const Sequence& x) const override = 0;
  Sequence do_step(Run& run, const Sequence& x) const override { return do_layer(run, x); }
};

// A stateless layer whose output has the spec of its input.
class PointwiseLayer : public StatelessLayer {
 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants&) const override {
    return input;
  }
};

}  // namespace sl
