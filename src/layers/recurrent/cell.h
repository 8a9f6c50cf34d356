// The cell that an RNN unrolls, as in Flax. Its output is the carry h.
#pragma once

#include <memory>

#include "layers/builder.h"
#include "ops/recurrence.h"
#include "ops/recurrent_kernel.h"

namespace sl {

// A cell is immutable. Rows are valid steps of different batch items; all values are float32.
class Cell {
 public:
  virtual ~Cell() = default;

  // The spec of the output and of each part of the carry. Throws kShape if the cell cannot take the
  // input.
  virtual ChannelSpec output_spec(const ChannelSpec& input) const = 0;
  virtual std::optional<ChannelSpec> implied_input() const { return std::nullopt; }
  // Whether the carry is c and h; otherwise it is h alone.
  virtual bool has_c() const = 0;
  // The dtype of the products of inputs and carry with the weights.
  virtual DType compute(DType input) const = 0;
  // The initial value of each part of the carry.
  virtual float first_carry() const = 0;
  // The share of the old carry that each step keeps. The output is the next h before that.
  virtual float zoneout() const = 0;

  // The number of floats of the projection of one row, and of scratch for `rows` rows.
  virtual int64_t projection_size(const Shape& input) const = 0;
  virtual int64_t scratch_size(const Shape& input, int64_t rows) const = 0;
  // Whether the cell can compute only some of its units, so that threads can share them.
  virtual bool has_parts(const ChannelSpec&) const { return false; }
  // A kernel that makes a whole step of one row: what `project` and `advance` would compute, bit
  // for bit. Null if there is none.
  virtual const ops::RecurrentKernel* kernel() const { return nullptr; }
  // The cell as threads share it, if it has parts; null if it has no such form.
  virtual const ops::UnitRecurrence* unit_recurrence() const { return nullptr; }
  // Computes z, which the input alone contributes to some units.
  virtual void project(const Run& run, const float* x, int64_t rows, const ChannelSpec& input,
                       ops::Units some, float* scratch, float* z) const = 0;
  // Advances some units of `rows` rows by one step: overwrites c with the next c, and computes
  // next_h, another array, from h. Overwrites z.
  virtual void advance(const Run& run, float* z, int64_t rows, const ChannelSpec& input,
                       ops::Units some, float* c, const float* h, float* next_h,
                       float* scratch) const = 0;
};

// The fields that all cells have.
struct CellFields {
  explicit CellFields(Config& config);
  int64_t features;
  std::optional<DType> dtype;
  DType param_dtype;
  float first_carry;
  float zoneout;

  DType compute(DType input) const { return dtype ? *dtype : promote_inexact(input, param_dtype); }
};

// Make the cell of a config; null if its type is another one.
std::unique_ptr<Cell> make_dense_cell(Config& config, const WeightScope& weights);
std::unique_ptr<Cell> make_conv_lstm_cell(Config& config, const WeightScope& weights);

}  // namespace sl
