// Base of layers that run a chain of layers and a shortcut on the same input; a derived class says
// how their outputs are combined.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "combinators/chain.h"
#include "ops/combine.h"

namespace sl {

class ShortcutLayer : public Layer {
 public:
  std::vector<const Layer*> children() const override {
    std::vector<const Layer*> all = body_.layers();
    for (const Layer* layer : shortcut_.layers()) all.push_back(layer);
    return all;
  }
  std::vector<ChannelSpec> child_inputs(const ChannelSpec& input,
                                        const Constants& constants) const override {
    std::vector<ChannelSpec> all = body_.inputs(input, constants);
    for (const ChannelSpec& spec : shortcut_.inputs(input, constants)) all.push_back(spec);
    return all;
  }
  int64_t block_size() const override {
    return checked_lcm(body_.block_size(), shortcut_.block_size());
  }
  Ratio output_ratio() const override { return body_.output_ratio(); }
  bool supports_step() const override { return body_.supports_step() && shortcut_.supports_step(); }
  bool supports_finite_step() const override {
    return body_.supports_finite_step() && shortcut_.supports_finite_step();
  }
  int64_t input_latency() const override { return accumulated_input_latency(0); }
  int64_t output_latency() const override { return accumulated_output_latency(0); }
  // An output step is valid only where the outputs of both chains are.
  EarlySteps follow(const EarlySteps& before, StepDifferences& differences) const override {
    EarlySteps body = body_.follow(before, differences);
    const EarlySteps shortcut = shortcut_.follow(before, differences);
    body.begins_invalid = body.begins_invalid || shortcut.begins_invalid;
    if (!shortcut.valid()) body.made_valid_by.clear();
    return body;
  }
  ReceptiveFields receptive_field_per_step() const override {
    return merge_aligned(body_.receptive_field_per_step(), body_.output_ratio(),
                         shortcut_.receptive_field_per_step(), shortcut_.output_ratio());
  }
  std::optional<ChannelSpec> implied_input() const override { return body_.implied_input(); }

 protected:
  // `where` is the config's JSON path and type, for errors.
  ShortcutLayer(const std::string& where, Chain body, Chain shortcut)
      : body_(std::move(body)), shortcut_(std::move(shortcut)) {
    const Ratio ratio = body_.output_ratio(), shortcut_ratio = shortcut_.output_ratio();
    if (ratio != shortcut_ratio) {
      fail(Code::kConfig,
           "{}: the layers and their shortcut must have the same output ratio, they have {}/{} "
           "and {}/{}",
           where, ratio.numerator(), ratio.denominator(), shortcut_ratio.numerator(),
           shortcut_ratio.denominator());
    }
    const int64_t latency = body_.accumulated_input_latency(0);
    const int64_t shortcut_latency = shortcut_.accumulated_input_latency(0);
    if (latency != shortcut_latency) {
      fail(Code::kConfig,
           "{}: the layers and their shortcut must have the same input latency, they have {} and "
           "{}: insert a Delay with \"delay_layer_output\": false",
           where, latency, shortcut_latency);
    }
  }

  const Chain& body() const { return body_; }
  const Chain& shortcut() const { return shortcut_; }

  // Combines the outputs of the layers and of the shortcut.
  virtual Sequence combine(Run& run, const Sequence& body, const Sequence& shortcut) const = 0;
  // Whether they are added up.
  virtual bool adds() const { return false; }

 private:
  int64_t do_accumulated_input_latency(int64_t latency) const override {
    return same("input", body_.accumulated_input_latency(latency),
                shortcut_.accumulated_input_latency(latency));
  }
  int64_t do_accumulated_output_latency(int64_t latency) const override {
    return same("output", body_.accumulated_output_latency(latency),
                shortcut_.accumulated_output_latency(latency));
  }
  int64_t do_output_length(int64_t time, const ChannelSpec& input,
                           const Constants& constants) const override {
    const int64_t body = body_.output_length(time, input, constants),
                  shortcut = shortcut_.output_length(time, input, constants);
    if (body != shortcut) {
      fail(Code::kShape, "from {} steps the layers make {} and the shortcut {}", time, body,
           shortcut);
    }
    return body;
  }
  Sequence do_layer(Run& run, const Sequence& x) const override { return run_both(run, x); }
  Sequence do_step(Run& run, const Sequence& x) const override { return run_both(run, x); }

  int64_t same(const char* which, int64_t body, int64_t shortcut) const {
    if (body == shortcut) return body;
    fail(Code::kUnsupported,
         "the layers have an accumulated {} latency of {}, their shortcut of {}", which, body,
         shortcut);
  }

  Sequence run_both(Run& run, const Sequence& x) const {
    if (adds() && shortcut_.empty()) return add_to_body(run, x);
    const Sequence body = run_chain(run, body_, x);
    return combine(run, body, run_chain(run, shortcut_, x));
  }

  // Adds x to the output of the layers in its memory, unless that is not theirs alone.
  Sequence add_to_body(Run& run, const Sequence& x) const {
    const Stack& stack = run.workspace().on(run.side());
    const Stack::Mark mark = stack.mark();
    const Sequence y = body_.run(run, x);
    const auto* const y_mask = reinterpret_cast<const std::byte*>(y.mask);
    const bool owns =
        stack.made_since(mark, y.values) && (y.mask == x.mask || stack.made_since(mark, y_mask));
    if (owns && ops::add_in_place(run, y, x)) return y;
    return combine(run, y, x);
  }

  // The results of both chains are kept on the other side of the workspace until they are combined.
  static Sequence run_chain(Run& run, const Chain& chain, const Sequence& x) {
    return run.on_side(other(run.side()), [&] { return chain.run(run, x); });
  }

  Chain body_;
  Chain shortcut_;
};

}  // namespace sl
