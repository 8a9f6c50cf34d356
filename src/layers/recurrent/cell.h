// What an RNN unrolls: a cell of Flax's, whose output is its carry h.
#pragma once

#include <memory>

#include "layers/builder.h"
#include "ops/recurrence.h"

namespace sl {

// Immutable. Rows are valid steps of different items; all values are float32.
class Cell {
 public:
  virtual ~Cell() = default;

  // The output's spec, which each part of the carry has too. Throws kShape if the cell cannot take
  // the input.
  virtual ChannelSpec output_spec(const ChannelSpec& input) const = 0;
  virtual std::optional<ChannelSpec> implied_input() const { return std::nullopt; }
  // Whether the carry is c and h, not h alone.
  virtual bool has_c() const = 0;
  // The dtype in which inputs and carry meet the weights.
  virtual DType compute(DType input) const = 0;
  // What each part of the carry starts with.
  virtual float first_carry() const = 0;
  // How much of the old carry each step keeps; the output is the next h without it.
  virtual float zoneout() const = 0;

  // Floats of one row's projection, and of scratch for `rows` rows.
  virtual int64_t projection_size(const Shape& input) const = 0;
  virtual int64_t scratch_size(const Shape& input, int64_t rows) const = 0;
  // Whether it can be told to make some of the units only.
  virtual bool has_parts(const ChannelSpec&) const { return false; }
  // z = what the input alone contributes to some units.
  virtual void project(const Run& run, const float* x, int64_t rows, const ChannelSpec& input,
                       ops::Units some, float* scratch, float* z) const = 0;
  // One step of `rows` rows, of some units: c becomes the next one, from h is made next_h, another
  // array. z is used up.
  virtual void advance(const Run& run, float* z, int64_t rows, const ChannelSpec& input,
                       ops::Units some, float* c, const float* h, float* next_h,
                       float* scratch) const = 0;
};

// Fields that all cells have.
struct CellFields {
  explicit CellFields(Config& config);
  int64_t features;
  std::optional<DType> dtype;
  DType param_dtype;
  float first_carry;
  float zoneout;

  DType compute(DType input) const { return dtype ? *dtype : promote_inexact(input, param_dtype); }
};

// Null if the config's type is none of theirs.
std::unique_ptr<Cell> make_dense_cell(Config& config, const WeightScope& weights);
std::unique_ptr<Cell> make_conv_lstm_cell(Config& config, const WeightScope& weights);

}  // namespace sl
