// The initial carry of a recurrence, which layers make of a constant.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/builder.h"

namespace sl {

struct InitialCarryFields {
  explicit InitialCarryFields(Config& config);

  std::optional<Config> h, c;
  std::string constant;  // the name of the constant; empty if the carry is not made of one
};

class InitialCarry {
 public:
  InitialCarry(const InitialCarryFields& fields, const Init& init);

  // Whether there is one; otherwise the carry is what the recurrence fills in itself.
  bool exists() const { return h_ || c_; }
  std::vector<const Layer*> children() const;
  // The input of the children: what the constant holds for each item.
  ChannelSpec input(const Constants& constants) const;
  std::vector<ConstantSpec> constants() const;

  // Fails unless the layers make `carry` of the constant.
  void check(const ChannelSpec& carry, const Constants& constants) const;
  // Declares whether each item has begun.
  void declare(Declaration& declaration, const SequenceSpec& input) const;
  // Fills c and h [batch, carry...] of all items in a whole run, and in a step of those that begin
  // with it. c may be null.
  void fill(Run& run, const ChannelSpec& carry, int64_t batch, std::byte* c, std::byte* h) const;

 private:
  // Items that have not begun.
  struct Items {
    int64_t count;
    const int32_t* begun;  // of each; null: none has
  };
  static void fill_one(Run& run, const Layer* layer, const Sequence& constant,
                       const ChannelSpec& carry, const Items& items, std::byte* to);

  std::string constant_;
  std::unique_ptr<Layer> h_, c_;
};

}  // namespace sl
