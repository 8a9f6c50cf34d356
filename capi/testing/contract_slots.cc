#include "testing/contract_slots.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <utility>

#include "testing/trap.h"

namespace sl::testing {
namespace {

constexpr size_t kStreams = 6;
constexpr int64_t kSlots[] = {4, 3};  // of the two states
constexpr int64_t kMostBlocks = 24;   // of a stream
constexpr int kRestarts = 3;
constexpr int kNobody = -1;

// x with its steps from `at` on first, and then the ones before them.
Tensor rotated(const Tensor& x, int64_t at) {
  if (x.time() == 0) return x;
  at %= x.time();
  return concat_time({slice_time(x, at, x.time()), slice_time(x, 0, at)});
}

Tensor item_of(const Tensor& x, int64_t item) {
  return x.batch() > 1 ? slice_batch(x, item % x.batch(), 1) : x;
}

// Stream `index` of the input: one of its items, from another block on.
Input stream_of(const Layer& layer, const Input& input, int64_t index) {
  const int64_t at = index * layer.block_size();
  Input out{rotated(item_of(input.x, index), at), input.constants};
  const std::vector<bool> streamed = streamed_constants(layer, input.constants);
  for (size_t i = 0; i < out.constants.size(); ++i) {
    Tensor& value = out.constants[i].value;
    value = item_of(value, index);
    if (streamed[i] && input.x.time() > 0)
      value = rotated(value, at * value.time() / input.x.time());
  }
  return out;
}

Input garbage_of(const Input& stream) {
  Input out = stream;
  out.x = slice_batch(pad_batch_with_garbage(out.x), 0, 1);
  for (NamedTensor& constant : out.constants)
    constant.value = slice_batch(pad_batch_with_garbage(constant.value), 0, 1);
  return out;
}

// One input whose batch items are those of the parts.
Input side_by_side(const std::vector<Input>& parts) {
  const auto join = [&](auto&& member) {
    std::vector<Tensor> all;
    for (const Input& part : parts) all.push_back(member(part));
    return concat_batch(all);
  };
  Input out{join([](const Input& part) { return part.x; }), parts[0].constants};
  for (size_t i = 0; i < out.constants.size(); ++i)
    out.constants[i].value = join([&](const Input& part) { return part.constants[i].value; });
  return out;
}

// What one call made.
struct Made {
  Tensor y;
  std::vector<NamedTensor> emits;
};

Comparison compare_item(const Made& got, int64_t item, const Made& want) {
  Comparison same = compare_bits(slice_batch(got.y, item, 1), want.y);
  for (size_t i = 0; same.ok() && i < want.emits.size(); ++i) {
    same = compare_bits(slice_batch(got.emits[i].value, item, 1), want.emits[i].value);
    if (!same.ok()) same.reason = "emit '" + want.emits[i].name + "' " + same.reason;
  }
  return same;
}

// A stream, and what it makes alone, call by call.
struct Stream {
  Stream(const Layer& layer, const Input& input, const Stepper::Options& options)
      : stepper(layer, input, options) {
    const int64_t blocks = std::min(stepper.num_steps(), kMostBlocks);
    for (int64_t i = 0; i < blocks; ++i) {
      Tensor y = stepper.call(i, i + 1);
      alone.push_back({std::move(y), stepper.emits()});
    }
  }
  int64_t end() const { return static_cast<int64_t>(alone.size()); }

  Stepper stepper;
  std::vector<Made> alone;
  bool is_garbage = false;
  int64_t position = 0;
};

class Server {
 public:
  Server(const Layer& layer, const Input& input, const Stepper::Options& options, bool garbage) {
    for (size_t i = 0; i < kStreams; ++i) {
      const Input stream = stream_of(layer, input, static_cast<int64_t>(i));
      const bool is_garbage = garbage && i == 1;
      streams_.push_back(
          std::make_unique<Stream>(layer, is_garbage ? garbage_of(stream) : stream, options));
      streams_.back()->is_garbage = is_garbage;
    }
    for (const int64_t count : kSlots) {
      const std::vector<Input> blocks(static_cast<size_t>(count), streams_[0]->stepper.block(0));
      states_.push_back({streams_[0]->stepper.make_state(side_by_side(blocks)),
                         std::vector<int>(static_cast<size_t>(count), kNobody)});
    }
    single_.emplace(streams_[0]->stepper.make_state(streams_[0]->stepper.block(0)));
  }

  Comparison run() {
    if (streams_[0]->end() == 0) return {};
    while (next_ < kStreams || std::ranges::any_of(states_, &Server::has_tenants)) {
      admit();
      for (Table& table : states_) {
        if (Comparison same = step(table); !same.ok()) return same;
      }
      if (Comparison same = disturb(); !same.ok()) return same;
    }
    if (calls_ == 0) return {};
    return {std::to_string(calls_) + " heap calls or locks in calls on slots"};
  }

 private:
  // A state, and the number of the stream in each of its slots.
  struct Table {
    State state;
    std::vector<int> tenants;

    std::vector<int64_t> slots_of(bool occupied) const {
      std::vector<int64_t> out;
      for (size_t i = 0; i < tenants.size(); ++i) {
        if ((tenants[i] != kNobody) == occupied) out.push_back(static_cast<int64_t>(i));
      }
      return out;
    }
    int& tenant(int64_t slot) { return tenants[static_cast<size_t>(slot)]; }
  };
  struct Place {
    Table* table;
    int64_t slot;
  };

  static bool has_tenants(const Table& table) { return !table.slots_of(true).empty(); }
  int64_t random(int64_t count) {
    return static_cast<int64_t>(rng_() % static_cast<uint64_t>(count));
  }
  Stream& stream(int index) { return *streams_[static_cast<size_t>(index)]; }

  template <typename Call>
  void trapped(Call&& call) {
    const AllocationTrap trap;
    call();
    calls_ += trap.count();
  }

  // Any place that is occupied or free; without a table if there is none.
  Place any_place(bool occupied) {
    std::vector<Place> all;
    for (Table& table : states_) {
      for (const int64_t slot : table.slots_of(occupied)) all.push_back({&table, slot});
    }
    if (all.empty()) return {nullptr, 0};
    return all[static_cast<size_t>(random(static_cast<int64_t>(all.size())))];
  }

  // Lets one stream begin, in a slot that may hold what another stream left there.
  void admit() {
    const Place place = any_place(/*occupied=*/false);
    if (next_ == kStreams || !place.table) return;
    trapped([&] { place.table->state.reset_item(place.slot); });
    place.table->tenant(place.slot) = static_cast<int>(next_++);
  }

  // Steps some of the slots in any order.
  Comparison step(Table& table) {
    std::vector<int64_t> slots = table.slots_of(/*occupied=*/true);
    if (random(3) > 0) std::ranges::shuffle(slots, rng_);
    while (slots.size() > 1 && random(3) == 0) slots.pop_back();
    if (slots.empty()) return {};
    std::vector<Input> parts;
    for (const int64_t slot : slots) {
      const Stream& one = stream(table.tenant(slot));
      parts.push_back(one.stepper.block(one.position));
    }
    const Made made = call(table.state, side_by_side(parts), slots);
    for (size_t i = 0; i < slots.size(); ++i) {
      const int tenant = table.tenant(slots[i]);
      if (Comparison same = took(made, static_cast<int64_t>(i), tenant, "a slot"); !same.ok())
        return same;
      if (stream(tenant).position == stream(tenant).end()) table.tenant(slots[i]) = kNobody;
    }
    return {};
  }

  Made call(State& state, const Input& input, const std::vector<int64_t>& slots) {
    const std::vector<sl_constant> constants = views(input.constants);
    const Made& like = streams_[0]->alone[0];
    const auto count = static_cast<int64_t>(slots.size());
    Made made{slice_batch(like.y, 0, 1), like.emits};
    const auto widen = [&](Tensor& value) {
      value = concat_batch(std::vector<Tensor>(slots.size(), value));
    };
    widen(made.y);
    for (NamedTensor& emit : made.emits) widen(emit.value);
    std::vector<sl_sequence> emits;
    for (const NamedTensor& emit : made.emits) emits.push_back(emit.value.view());
    const sl_run_options options = sequence_layers::run_options(constants, &emits);
    const sl_sequence x = input.x.view();
    sl_sequence y = made.y.view();
    trapped([&] {
      check([&](sl_error* e) { return state.step_slots(slots.data(), count, x, &y, &options, e); });
    });
    return made;
  }

  // Compares what a stream made with what it makes alone there, and moves it on.
  Comparison took(const Made& made, int64_t item, int index, const std::string& where) {
    Stream& one = stream(index);
    const int64_t position = one.position++;
    if (one.is_garbage) return {};
    const Comparison same = compare_item(made, item, one.alone[static_cast<size_t>(position)]);
    if (same.ok()) return {};
    return {"stream " + std::to_string(index) + " in " + where + ", call " +
            std::to_string(position) + ": " + same.reason};
  }

  // Restarts, moves or saves a stream between steps.
  Comparison disturb() {
    const Place from = any_place(/*occupied=*/true), to = any_place(/*occupied=*/false);
    if (!from.table) return {};
    switch (random(5)) {
      case 0:
        return restart(from);
      case 1:
        return to.table ? move(from, to, /*saves=*/false) : Comparison();
      case 2:
        return to.table ? move(from, to, /*saves=*/true) : Comparison();
      case 3:
        return step_alone(from);
      default:
        return {};
    }
  }

  Comparison restart(const Place& place) {
    if (restarts_++ >= kRestarts) return {};
    trapped([&] { place.table->state.reset_item(place.slot); });
    stream(place.table->tenant(place.slot)).position = 0;
    return {};
  }

  // To another slot, perhaps of the other state, by a copy or by saved bytes.
  Comparison move(const Place& from, const Place& to, bool saves) {
    State &source = from.table->state, &target = to.table->state;
    if (saves) {
      load(target, to.slot, save(source, from.slot));
    } else {
      trapped([&] { target.copy_item_from(to.slot, source, from.slot); });
    }
    to.table->tenant(to.slot) = std::exchange(from.table->tenant(from.slot), kNobody);
    return {};
  }

  // Steps a saved stream in a state of batch 1, and loads what that saves into the slot.
  Comparison step_alone(const Place& place) {
    const int tenant = place.table->tenant(place.slot);
    const std::vector<uint8_t> saved = save(place.table->state, place.slot);
    single_->load(saved);
    if (single_->save() != saved) return {"a saved slot has other bytes than a state of batch 1"};
    const Stream& one = stream(tenant);
    if (one.position + 1 == one.end()) return {};
    const Made made = call(*single_, one.stepper.block(one.position), {0});
    load(place.table->state, place.slot, single_->save());
    return took(made, 0, tenant, "a state of its own");
  }

  std::vector<uint8_t> save(const State& state, int64_t slot) {
    std::vector<uint8_t> bytes(state.save_item_size());
    trapped([&] { state.save_item(slot, bytes.data(), bytes.size()); });
    return bytes;
  }
  void load(State& state, int64_t slot, const std::vector<uint8_t>& bytes) {
    trapped([&] { state.load_item(slot, bytes.data(), bytes.size()); });
  }

  std::mt19937 rng_{7};
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<Table> states_;
  std::optional<State> single_;
  size_t next_ = 0;  // stream that begins next
  int restarts_ = 0;
  int64_t calls_ = 0;  // heap calls and locks
};

}  // namespace

Comparison check_slots(const Layer& layer, const Input& input, const Stepper::Options& options,
                       bool garbage) {
  return Server(layer, input, options, garbage).run();
}

}  // namespace sl::testing
