// The interface of every layer. Combinators know nothing else of their children, and no layer knows
// another.
#pragma once

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
#include "layers/step_difference.h"

namespace sl {

// A constant that a layer reads.
struct ConstantSpec {
  enum class Kind : int32_t { kAny, kSequence, kArray };

  std::string name;
  Kind kind = Kind::kAny;
  bool required = true;
  // In a stream it comes block by block along with x, not whole. An array does so only if it cannot
  // be anything else, and then has time as its second axis.
  bool streamed = false;
  bool broadcasts = false;  // a batch of one serves every item
  // Where known; a size may be kAnySize. Of an array all but the batch.
  std::optional<DType> dtype;
  std::optional<Shape> channels;

  // Whether a stream gets a share of it with each block.
  bool is_streamed(bool is_array) const { return streamed && (!is_array || kind == Kind::kArray); }
};

// Immutable once made: parsed config, packed weights, metadata. All that changes is in the run.
//
// What callers use and a layer can fail in is not virtual. It calls the private virtual function
// `do_<name>`, which the layer overrides: errors get the layer's type and name here, and debug
// builds check what comes back.
class Layer {
 public:
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  const std::string& type() const { return type_; }
  const std::string& name() const { return name_; }
  // As errors name it: `Dense "projection"`.
  std::string label() const;
  int64_t parameter_count() const { return parameter_count_; }
  virtual std::vector<const Layer*> children() const { return {}; }
  // What a child is given when the layer is given `input`.
  virtual ChannelSpec child_input(const Layer&, const ChannelSpec& input, const Constants&) const {
    return input;
  }
  // The same of all children, in their order.
  virtual std::vector<ChannelSpec> child_inputs(const ChannelSpec& input,
                                                const Constants& constants) const;

  // Constants that the layer itself reads, its children's aside. Before a run each that is required
  // is there, and each that is there is as said here.
  virtual std::vector<ConstantSpec> constants() const { return {}; }

  // Time. The defaults are those of a layer that maps each step on its own.
  virtual int64_t block_size() const { return 1; }
  virtual Ratio output_ratio() const { return Ratio(1); }
  virtual bool supports_step() const { return true; }
  // Whether it can in streams whose most length is given beforehand.
  virtual bool supports_finite_step() const { return supports_step(); }
  // What in the layer itself, not in its children, keeps it from stepping even so, and what to
  // change: "padding \"same\" does not step: use ...". Empty if nothing does.
  virtual std::string step_obstacle() const { return {}; }
  virtual int64_t input_latency() const { return 0; }
  virtual int64_t output_latency() const { return output_ratio().floor_times(input_latency()); }
  // Latency of what follows (input) or goes before (output), with this layer's own.
  int64_t accumulated_input_latency(int64_t input_latency) const {
    return naming_errors([&] { return do_accumulated_input_latency(input_latency); });
  }
  int64_t accumulated_output_latency(int64_t output_latency) const {
    return naming_errors([&] { return do_accumulated_output_latency(output_latency); });
  }
  // Follows what comes out of a stream before its first step, notes where it makes steps differ
  // from `layer`, and returns what comes out of this layer. The default follows each child from
  // the layer's own input on.
  virtual EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const;
  virtual ReceptiveFields receptive_field_per_step() const { return {StepRange{0, 0}}; }
  virtual ReceptiveField receptive_field() const { return merge_all(receptive_field_per_step()); }

  // Shapes. Throws kShape if the layer cannot take the input. Constants may lack data here.
  ChannelSpec output_spec(const ChannelSpec& input, const Constants& constants) const {
    return naming_errors([&] { return do_output_spec(input, constants); });
  }
  // Steps that `layer` makes of `time` steps.
  int64_t output_length(int64_t time, const ChannelSpec& input, const Constants& constants) const {
    return naming_errors([&] { return do_output_length(time, input, constants); });
  }
  SequenceSpec output(const SequenceSpec& input, const Constants& constants) const;
  // The input spec that the weights or the config imply, if they do.
  virtual std::optional<ChannelSpec> implied_input() const { return std::nullopt; }

  // Declares state and emits for an input of that spec, in the order in which step and layer use
  // them.
  void declare(Declaration& declaration, const SequenceSpec& input) const {
    naming_errors([&] { do_declare(declaration, input); });
  }
  // Whether what valid steps of the output hold depends on what invalid steps of x do, as in the
  // reference: a model with such a layer takes zeros for those of its own input.
  virtual bool reads_invalid_steps() const { return false; }
  // Whether the output is always x itself, perhaps under another channel shape, so that it takes no
  // memory.
  virtual bool returns_view() const { return false; }

  // Whether the layer, if it maps each element on its own, can do so in x's own memory; and that.
  // False if its output has another spec than x, which is then left as it was.
  virtual bool in_place() const { return false; }
  bool overwrite(Run& run, const Sequence& x) const {
    return naming_errors([&] { return do_overwrite(run, x); });
  }

  Sequence layer(Run& run, const Sequence& x) const {
    return naming_errors([&] { return checked(run, x, do_layer(run, x)); });
  }
  // x.time is a multiple of the block size. Real-time: neither allocates nor throws.
  Sequence step(Run& run, const Sequence& x) const {
    return naming_errors([&] { return checked(run, x, do_step(run, x)); });
  }
  // Fails if y, which the layer made of x in that run, is not as the layer announced it.
  void check_output(const Run& run, const Sequence& x, const Sequence& y) const;

  // Set once, by the builder.
  void identify(std::string type, std::string name, int64_t parameter_count) {
    type_ = std::move(type);
    name_ = std::move(name);
    parameter_count_ = parameter_count;
  }

 protected:
  Layer() = default;

  // How steps of this layer itself differ from `layer` behind those; nothing if they do not.
  virtual StepDifference step_difference(const EarlySteps& before) const;
  // What keeps it from making steps before a stream's first valid, where none of those in its
  // input is; empty if it makes none so.
  virtual std::string early_steps_cure(const EarlySteps&) const { return ""; }
  // Whether what steps hold that came before decides what comes out.
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
  Sequence checked([[maybe_unused]] const Run& run, [[maybe_unused]] const Sequence& x,
                   const Sequence& y) const {
#ifndef NDEBUG
    check_output(run, x, y);
#endif
    return y;
  }

  std::string type_, name_;
  int64_t parameter_count_ = 0;
};

using Layers = std::vector<std::unique_ptr<Layer>>;

// Runs a layer, in the run's mode. Its output lies on `side`, unless it is x itself or a view of
// it; its scratch is gone when it returns.
inline Sequence call(Run& run, const Layer& layer, const Sequence& x, Side side) {
  return run.on_side(
      side, [&] { return run.mode() == Mode::kLayer ? layer.layer(run, x) : layer.step(run, x); });
}

// A layer without state: a step is what `layer` does.
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
