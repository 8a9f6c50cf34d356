// RNN: unrolls a cell over time, h[t] = cell(x[t], h[t - 1]) (reference: flax.linen.RNN). Only
// valid steps are projected and take part; items are ordered by falling number of valid steps.
#include <algorithm>
#include <numeric>
#include <optional>

#include "layers/recurrent/cell.h"
#include "layers/recurrent/initial_carry.h"
#include "ops/elementwise.h"
#include "ops/rearrange.h"
#include "ops/recurrence.h"
#include "ops/zoneout.h"

namespace sl {
namespace {

// Packs the valid steps of a batch into rows: first the first valid step of all items, then the
// second, and so on.
struct Packing {
  int64_t* order;    // items by falling number of valid steps
  int64_t* counts;   // number of valid steps of each item, in that order
  int64_t* lengths;  // number of steps up to the last valid one, by item
  int64_t* sources;  // step b * time + t of each row
  int64_t* starts;   // first row of each step of the recurrence, and the number of rows
  int64_t steps;

  int64_t rows() const { return starts[steps]; }
  int64_t active(int64_t k) const { return starts[k + 1] - starts[k]; }
};

// The carry in the order of packing. Each step reads h from one buffer and writes it to the other.
struct Carry {
  float* c;  // may be null
  float* h[2];
  float* old_c;  // the previous c, for zoneout

  float* last_h(int64_t k) const { return h[k % 2]; }
  float* next_h(int64_t k) const { return h[(k + 1) % 2]; }
  // Runs steps from k on, and puts the first `rows` rows of h, which take part in step k, into both
  // buffers: which of them is read depends on the last step of a row.
  int64_t share(ops::SharedRecurrence& shared, int64_t k, int64_t rows, int64_t size) const {
    const int64_t count = shared.run(k, c, h[k % 2]);
    if (count > 0) std::copy_n(last_h(k), rows * size, next_h(k));
    return count;
  }
};

// The number of steps of an item up to its last valid one.
int64_t length_of(const Sequence& x, int64_t b) {
  const uint8_t* mask = x.mask_at(b, 0);
  int64_t length = x.time;
  while (length > 0 && !mask[length - 1]) --length;
  return length;
}

class Rnn final : public Layer {
 public:
  struct Fields {
    explicit Fields(Config& config)
        : cell(config.nested_required("cell")),
          reverse(config.boolean("reverse", false)),
          keep_order(config.boolean("keep_order", false)),
          return_carry(config.boolean("return_carry", false)),
          initial_carry(config) {
      if (config.boolean("time_major", false))
        config.error("time_major", "expected false: time-major arrays are passed by strides");
      config.ignore(
          {"unroll", "variable_axes", "variable_broadcast", "variable_carry", "split_rngs"});
    }
    Config cell;
    bool reverse, keep_order, return_carry;
    InitialCarryFields initial_carry;
  };

  Rnn(Fields fields, const Init& init)
      : reverse_(fields.reverse),
        keep_order_(fields.keep_order),
        return_carry_(fields.return_carry),
        initial_carry_(fields.initial_carry, init) {
    const WeightScope weights = init.weights.child("cell");
    cell_ = make_dense_cell(fields.cell, weights);
    if (!cell_) cell_ = make_conv_lstm_cell(fields.cell, weights);
    if (cell_) {
      init.weights.reserve("cell", fields.cell.path());
      has_c_ = cell_->has_c();
      if (cell_->zoneout() == 0 && !return_carry_) kernel_ = cell_->kernel();
      return;
    }
    if (return_carry_) {
      fields.cell.error("type",
                        "expected a cell with return_carry: a layer such as LSTM has a "
                        "\"return_carry\" of its own");
    }
    if (initial_carry_.exists())
      fields.cell.error("type", "expected a cell with initial_h or initial_c");
    layer_ = init.builder.build(fields.cell, init.weights, "cell");
    if (!layer_->supports_step() || layer_->block_size() != 1 ||
        layer_->output_ratio() != Ratio(1) || layer_->input_latency() != 0) {
      fields.cell.error(
          "type", "expected a cell, or a layer that makes one output step for each input step");
    }
  }

  std::vector<const Layer*> children() const override {
    return layer_ ? std::vector<const Layer*>{layer_.get()} : initial_carry_.children();
  }
  ChannelSpec child_input(const Layer&, const ChannelSpec& input,
                          const Constants& constants) const override {
    return layer_ ? input : initial_carry_.input(constants);
  }
  std::vector<ConstantSpec> constants() const override { return initial_carry_.constants(); }
  bool supports_step() const override { return !reverse_; }
  std::string step_obstacle() const override {
    return reverse_ ? std::string(
                          "it begins with the last step, which a stream does not know: set "
                          "\"reverse\": false")
                    : std::string();
  }
  ReceptiveFields receptive_field_per_step() const override {
    return {reverse_ ? StepRange{0, kInfinite} : StepRange{-kInfinite, 0}};
  }
  std::optional<ChannelSpec> implied_input() const override {
    return cell_ ? cell_->implied_input() : layer_->implied_input();
  }

 private:
  ChannelSpec do_output_spec(const ChannelSpec& input, const Constants& constants) const override {
    if (layer_) return layer_->output_spec(input, constants);
    const ChannelSpec out = cell_->output_spec(input);
    initial_carry_.check({DType::kFloat32, out.shape}, constants);
    return out;
  }
  void do_declare(Declaration& declaration, const SequenceSpec& input) const override {
    if (layer_) {
      declaration.within(layer_->name(), layer_->name(),
                         [&] { layer_->declare(declaration, input); });
      return;
    }
    Shape shape{input.batch};
    for (const int64_t size : do_output_spec(input.channels, declaration.constants()).shape)
      shape.push_back(size);
    const double fill = cell_->first_carry();
    if (cell_->has_c()) declaration.state("carry.c", DType::kFloat32, shape, fill);
    declaration.state("carry.h", DType::kFloat32, shape, fill);
    SequenceSpec emit = input;
    emit.channels = {DType::kFloat32, shape.slice(1, shape.rank())};
    initial_carry_.declare(declaration, input);
    if (!return_carry_) return;
    if (cell_->has_c()) declaration.emit("carry.c", emit);
    declaration.emit("carry.h", emit);
  }
  Sequence do_layer(Run& run, const Sequence& x) const override {
    if (layer_) return over_layer(run, x);
    const int64_t size = x.batch * cell_->output_spec(x.spec()).shape.size();
    auto* c = cell_->has_c() ? run.scratch<float>(size) : nullptr;
    auto* h = run.scratch<float>(size);
    if (c) std::fill(c, c + size, cell_->first_carry());
    std::fill(h, h + size, cell_->first_carry());
    fill_carry(run, x, c, h);
    return unroll(run, x, c, h);
  }
  Sequence do_step(Run& run, const Sequence& x) const override {
    if (layer_) return call(run, *layer_, x, run.side());
    const auto c = has_c_ ? run.state<float>("c") : StateItems<float>();
    const auto h = run.state<float>("h");
    fill_carry(run, x, c, h);
    if (kernel_ && kernel_->takes(x))
      return kernel_->step(run, x, c, h, ops::RecurrentKernel::Invalid::kZeros);
    return unroll(run, x, c, h);
  }
  void fill_carry(Run& run, const Sequence& x, float* c, float* h) const {
    if (!initial_carry_.exists()) return;
    const Shape shape = cell_->output_spec(x.spec()).shape;
    initial_carry_.fill(run, {DType::kFloat32, shape}, x.batch, reinterpret_cast<std::byte*>(c),
                        reinterpret_cast<std::byte*>(h));
  }

  Packing pack(Run& run, const Sequence& x) const {
    Packing p{run.scratch<int64_t>(x.batch),    run.scratch<int64_t>(x.batch),
              run.scratch<int64_t>(x.batch),    run.scratch<int64_t>(x.steps()),
              run.scratch<int64_t>(x.time + 1), 0};
    auto* valid = run.scratch<int64_t>(x.batch);
    auto* cursor = run.scratch<int64_t>(x.batch);
    for (int64_t b = 0; b < x.batch; ++b) {
      valid[b] = std::count_if(x.mask_at(b, 0), x.mask_at(b, x.time), [](auto m) { return m; });
      p.lengths[b] = length_of(x, b);
      cursor[b] = reverse_ ? p.lengths[b] - 1 : 0;
    }
    std::iota(p.order, p.order + x.batch, int64_t{0});
    std::sort(p.order, p.order + x.batch, [&](int64_t a, int64_t b) {
      return valid[a] != valid[b] ? valid[a] > valid[b] : a < b;
    });
    for (int64_t i = 0; i < x.batch; ++i) p.counts[i] = valid[p.order[i]];
    p.steps = x.batch > 0 ? p.counts[0] : 0;
    int64_t row = 0;
    for (int64_t k = 0; k < p.steps; ++k) {
      p.starts[k] = row;
      for (int64_t i = 0; i < x.batch && p.counts[i] > k; ++i) {
        const int64_t b = p.order[i];
        int64_t& t = cursor[b];
        while (!*x.mask_at(b, t)) t += reverse_ ? -1 : 1;
        p.sources[row++] = b * x.time + t;
        t += reverse_ ? -1 : 1;
      }
    }
    p.starts[p.steps] = row;
    return p;
  }

  // Runs all steps. c and h [batch, ...] hold the carry, on return that of the last valid step. c
  // may be null.
  Sequence unroll(Run& run, const Sequence& x, float* c, float* h) const {
    const ChannelSpec input = x.spec(), spec = cell_->output_spec(input);
    const int64_t size = spec.shape.size(), z_size = cell_->projection_size(input.shape);
    const Sequence y = run.output_like(x, spec);
    float* out = spec.dtype == DType::kFloat32 ? y.floats() : run.scratch<float>(y.size());
    const Packing p = pack(run, x);
    const float* rows = gather(run, x, p);
    const int64_t parts = cell_->has_parts(input) ? ops::unit_parts(run, size, size * z_size) : 1;
    const int64_t at_once = ops::steps_at_once(run, x.time, x.batch, parts);
    float* z = run.scratch<float>(at_once, x.batch, z_size);
    float* scratch = run.scratch<float>(cell_->scratch_size(input.shape, at_once * x.batch));
    const Carry carry = sorted(run, c, h, x.batch, size, p);
    Emits emits;
    if (return_carry_ && c) emits.c = run.next_emit();
    if (return_carry_) emits.h = run.next_emit();
    if (p.rows() < x.steps()) std::fill(out, out + y.size(), 0.0f);
    // Puts what it is given of the rows [first, end) where step k of these rows is.
    const auto put = [&](int64_t k, int64_t first, int64_t end, ops::Units some, const float* made,
                         const float* new_c, const float* new_h) {
      for (int64_t i = first; i < std::min(end, p.active(k)); ++i) {
        const int64_t from = (i - first) * size + some.begin;
        const int64_t to = step_of(p.starts[k] + i, x, p) * size + some.begin;
        if (made) std::copy_n(made + from, some.size(), out + to);
        if (new_c && emits.c.values) std::copy_n(new_c + from, some.size(), emits.c.floats() + to);
        if (new_h && emits.h.values) std::copy_n(new_h + from, some.size(), emits.h.floats() + to);
      }
    };
    const auto take = [&](int64_t k, int64_t first, int64_t end, const float* new_c,
                          const float* new_h) {
      put(k, first, end, {0, size}, new_h, new_c, new_h);
    };
    const Steps steps(p, x.batch, rows, input.shape.size(), take);
    std::optional<ops::SharedRecurrence> shared;
    if (const auto* cell = cell_->unit_recurrence();
        cell && cell_->has_parts(input) && cell_->zoneout() == 0) {
      const auto shares = ops::recurrence_parts(run, cell->unit_sizes(), steps, x.batch, parts);
      if (shares.count > 1) shared.emplace(run, *cell, steps, x.batch, p.steps, shares);
    }
    const auto share = [&](int64_t k) {
      return k < p.steps ? carry.share(*shared, k, p.active(k), size) : 0;
    };
    const auto step = [&](ops::StepSpan span, int64_t k, ops::Units some) {
      const int64_t first = p.starts[k - (k - span.begin) % at_once];
      if ((k - span.begin) % at_once == 0) {
        const int64_t count = p.starts[std::min(span.end, k + at_once)] - first;
        cell_->project(run, rows + first * input.shape.size(), count, input, some, scratch, z);
      }
      keep_c(carry, p.active(k), size, some);
      cell_->advance(run, z + (p.starts[k] - first) * z_size, p.active(k), input, some, carry.c,
                     carry.last_h(k), carry.next_h(k), scratch);
      put(k, 0, x.batch, some, carry.next_h(k), nullptr, nullptr);
      zone_out(run, carry, k, p.active(k), size, some, spec.dtype);
      if (return_carry_) put(k, 0, x.batch, some, nullptr, carry.c, carry.next_h(k));
    };
    ops::recur(run, shared ? &*shared : nullptr, p.steps, size, parts, share, step);
    unsort(carry, c, h, x.batch, size, p);
    if (out != y.floats()) ops::convert(out, DType::kFloat32, y.values, spec.dtype, y.size());
    if (reverse_ && !keep_order_) {
      for (int64_t b = 0; b < x.batch; ++b)
        std::reverse(y.mask_at(b, 0), y.mask_at(b, p.lengths[b]));
    }
    finish_emit(emits.c, c, y, size);
    finish_emit(emits.h, h, y, size);
    return y;
  }

  // The steps of a packed batch, as threads share them.
  template <typename Take>
  class Steps final : public ops::RecurrentSteps {
   public:
    Steps(const Packing& packing, int64_t batch, const float* rows, int64_t frame, const Take& take)
        : packing_(packing), batch_(batch), rows_(rows), frame_(frame), take_(take) {}

    int64_t rows(int64_t k) const override { return packing_.active(k); }
    const float* x(int64_t k, int64_t i) const override {
      return rows_ + (packing_.starts[k] + i) * frame_;
    }
    bool keeps(int64_t, int64_t) const override { return false; }
    bool has_all_rows() const override {
      return packing_.steps > 0 && packing_.active(packing_.steps - 1) == batch_;
    }
    void take(int64_t k, int64_t first, int64_t end, const float* c,
              const float* h) const override {
      take_(k, first, end, c, h);
    }

   private:
    const Packing& packing_;
    int64_t batch_;
    const float* rows_;
    int64_t frame_;
    const Take& take_;
  };

  // The emits of the carry after each step, without values where they are not wanted.
  struct Emits {
    Sequence c, h;
  };
  // Gives invalid steps the last carry, so that the last step always has it.
  static void finish_emit(const Sequence& emit, const float* carry, const Sequence& y,
                          int64_t size) {
    if (emit.mask) std::copy_n(y.mask, y.steps(), emit.mask);
    if (!emit.values) return;
    for (int64_t i = 0; i < y.steps(); ++i) {
      if (!y.mask[i]) std::copy_n(carry + i / y.time * size, size, emit.floats() + i * size);
    }
  }

  void keep_c(const Carry& carry, int64_t active, int64_t size, ops::Units some) const {
    if (!carry.old_c) return;
    for (int64_t at = some.begin; at < active * size; at += size)
      std::copy_n(carry.c + at, some.size(), carry.old_c + at);
  }
  void zone_out(const Run& run, const Carry& carry, int64_t k, int64_t active, int64_t size,
                ops::Units some, DType dtype) const {
    const float p = cell_->zoneout();
    if (!(p > 0)) return;
    run.parallel().count((carry.c ? 2 : 1) * ops::kZoneoutFlop * active * some.size());
    for (int64_t at = some.begin; at < active * size; at += size) {
      if (carry.c) ops::zone_out(p, carry.old_c + at, carry.c + at, some.size(), dtype);
      ops::zone_out(p, carry.last_h(k) + at, carry.next_h(k) + at, some.size(), dtype);
    }
  }

  // Returns the values of the valid steps in the order of packing.
  const float* gather(Run& run, const Sequence& x, const Packing& p) const {
    const DType compute = cell_->compute(x.dtype);
    const float* values = ops::as_floats(run, x, compute);
    const int64_t frame = x.frame_size();
    // Scratch is taken even if it is not needed, since the amount must not depend on the mask.
    float* rows = run.scratch<float>(x.steps(), frame);
    if (x.batch == 1 && p.rows() == x.time && !reverse_) return values;
    for (int64_t r = 0; r < p.rows(); ++r)
      std::copy_n(values + p.sources[r] * frame, frame, rows + r * frame);
    return rows;
  }

  Carry sorted(Run& run, const float* c, const float* h, int64_t batch, int64_t size,
               const Packing& p) const {
    const auto taken = [&](const float* from) {
      float* to = run.scratch<float>(batch, size);
      for (int64_t i = 0; i < batch; ++i)
        std::copy_n(from + p.order[i] * size, size, to + i * size);
      return to;
    };
    return {c ? taken(c) : nullptr,
            {taken(h), run.scratch<float>(batch, size)},
            c && cell_->zoneout() > 0 ? run.scratch<float>(batch, size) : nullptr};
  }
  static void unsort(const Carry& carry, float* c, float* h, int64_t batch, int64_t size,
                     const Packing& p) {
    for (int64_t i = 0; i < batch; ++i) {
      const float* last = carry.last_h(p.counts[i]);
      std::copy_n(last + i * size, size, h + p.order[i] * size);
      if (c) std::copy_n(carry.c + i * size, size, c + p.order[i] * size);
    }
  }

  // The output step of a row. The output of an item may be reversed within the length of the item.
  int64_t step_of(int64_t row, const Sequence& x, const Packing& p) const {
    if (!reverse_ || keep_order_) return p.sources[row];
    const int64_t b = p.sources[row] / x.time, t = p.sources[row] % x.time;
    return b * x.time + p.lengths[b] - 1 - t;
  }
  // Runs the layer on the sequence, reversed if wanted. Invalid steps do what they do in that
  // layer.
  Sequence over_layer(Run& run, const Sequence& x) const {
    if (!reverse_) return call(run, *layer_, x, run.side());
    const Sequence flipped_x = run.scratch_sequence(x.spec(), x.batch, x.time);
    flip(x, flipped_x);
    const Sequence made = call(run, *layer_, flipped_x, other(run.side()));
    const Sequence y = run.output(made.spec(), made.batch, made.time);
    if (keep_order_) {
      flip(made, y);
    } else {
      std::copy_n(made.values, made.bytes(), y.values);
      std::copy_n(made.mask, made.steps(), y.mask);
    }
    return y;
  }
  // Reverses each sequence of x within its length.
  static void flip(const Sequence& x, const Sequence& y) {
    for (int64_t b = 0; b < x.batch; ++b) {
      const int64_t length = length_of(x, b), rest = x.time - length;
      ops::copy_reversed(x.frame(b, 0), x.frame_bytes(), length, y.frame(b, 0));
      std::copy_n(x.frame(b, length), static_cast<size_t>(rest) * x.frame_bytes(),
                  y.frame(b, length));
      std::reverse_copy(x.mask_at(b, 0), x.mask_at(b, length), y.mask_at(b, 0));
      std::copy_n(x.mask_at(b, length), rest, y.mask_at(b, length));
    }
  }

  bool has_c_ = false;                            // of the cell, which steps need not look up
  const ops::RecurrentKernel* kernel_ = nullptr;  // of single steps, if it makes all that they need
  bool reverse_, keep_order_, return_carry_;
  InitialCarry initial_carry_;
  std::unique_ptr<Cell> cell_;
  std::unique_ptr<Layer> layer_;  // used instead of a cell, if the config names another layer
};

SL_REGISTER_LAYER_AS(RNN, Rnn);

}  // namespace
}  // namespace sl
