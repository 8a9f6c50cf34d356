// Base of attention to a whole constant sequence: y[t, head] = sum over j of weight[t, head, j]
// source[j].
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "layers/builder.h"

namespace sl {

// Reads the field "source_name", which all of these layers have.
std::string read_source_name(Config& config);

class SourceAttention : public Layer {
 public:
  std::vector<ConstantSpec> constants() const final;
  std::optional<ChannelSpec> implied_input() const final;

 protected:
  // The source as float32 in scratch or state, with zeros in invalid steps.
  struct Source {
    const float* values;
    const uint8_t* mask;
    int64_t batch;
    int64_t time;
    int64_t channels;
    const float* keys = nullptr;  // keys computed from each step, or null
    Slots slots = {};             // where items lie, in what a stream keeps

    const float* item_keys(int64_t b, int64_t width) const {
      return keys + slots[b] * time * width;
    }
    const float* item(int64_t b) const { return values + slots[b] * time * channels; }
    const uint8_t* item_mask(int64_t b) const { return mask + slots[b] * time; }
  };

  SourceAttention(std::string source, int64_t heads, std::string emit)
      : source_(std::move(source)), emit_(std::move(emit)), heads_(heads) {}

  int64_t heads() const { return heads_; }
  const std::string& source_name() const { return source_; }
  // The emit of the weights of x, with its mask, if it is wanted.
  static Sequence next_emit(Run& run, const Sequence& x);
  // The number of channels of x.
  virtual int64_t inputs() const = 0;
  // The number of channels of the source, if the weights imply it.
  virtual int64_t source_channels() const { return kAnySize; }

  // The number of steps of the source.
  int64_t source_time(const Constants& constants) const;
  void declare_emit(Declaration& declaration, const SequenceSpec& input,
                    DType weights = DType::kFloat32) const;
  Source source(Run& run) const;
  // The source with keys: make(values, rows, keys) computes `width` floats for each step. A stream
  // keeps source and keys from its first step on.
  void declare_kept(Declaration& declaration, const SequenceSpec& input, int64_t width) const;
  template <typename Fn>
  Source keyed_source(Run& run, int64_t width, Fn&& make) const {
    const Sequence& given = run.constants().get(source_).sequence;
    const bool keeps = run.mode() == Mode::kStep;
    const Slots slots = keeps ? run.slots() : Slots();
    const auto take = [&]<typename T>(const char* name, T*& to, int64_t count) {
      to = keeps ? run.state_of_slots<T>(name) : run.scratch<T>(count);
    };
    const auto kept = keeps ? run.state<int32_t>("is_kept") : StateItems<int32_t>();
    int32_t* const is_kept = keeps ? kept.get() : run.scratch<int32_t>(given.batch);
    float *values = nullptr, *keys = nullptr;
    uint8_t* mask = nullptr;
    take("values", values, given.size());
    take("mask", mask, given.steps());
    take("keys", keys, checked_product(given.steps(), width));
    if (!keeps) std::fill_n(is_kept, given.batch, 0);
    each_range_of_zero(is_kept, slots, given.batch, [&](int64_t first, int64_t count) {
      const Sequence items = given.items(first, count);
      const int64_t step = slots[first] * given.time;
      run.with_scratch([&] {
        copy_source(run, items, values + step * items.frame_size(), mask + step);
        make(values + step * items.frame_size(), items.steps(), keys + step * width);
      });
    });
    std::fill_n(is_kept, given.batch, 1);
    return {values, mask, given.batch, given.time, given.channels[0], keys, slots};
  }
  // Returns x as float32 with zeros in invalid steps, because NaN there must not reach the state.
  static const float* masked(Run& run, const Sequence& x);

  // Computes y, where weigh(b, t, weights) computes the weights [heads, source time] of a step. It
  // is called for all steps in order, valid or not.
  template <typename Fn>
  Sequence attend(Run& run, const Sequence& x, const Source& source, Fn&& weigh) const {
    const Sequence y = run.output_like(x, {DType::kFloat32, {heads_, source.channels}});
    const int64_t count = checked_product(heads_, source.time);
    auto* weights = run.scratch<float>(count);
    const Sequence wanted = next_emit(run, x);
    for (int64_t b = 0; b < x.batch; ++b) {
      for (int64_t t = 0; t < x.time; ++t) {
        weigh(b, t, weights);
        if (!*x.mask_at(b, t)) std::fill(weights, weights + count, 0.0f);
        if (wanted.values) std::copy_n(weights, count, wanted.floats() + (b * x.time + t) * count);
        sum(source, b, weights, y.floats() + (b * x.time + t) * y.frame_size());
      }
    }
    return y;
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override;

  static void copy_source(Run& run, const Sequence& given, float* values, uint8_t* mask);
  void sum(const Source& source, int64_t b, const float* weights, float* y) const;

  std::string source_, emit_;
  int64_t heads_;
};

}  // namespace sl
