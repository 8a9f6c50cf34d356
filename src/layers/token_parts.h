// Interface of layers whose step is a choice of several tokens, one after the other.
#pragma once

#include <cstdint>

#include "core/run.h"
#include "core/token_source.h"

namespace sl {

class TokenParts {
 public:
  // The number of tokens of a step.
  virtual int64_t part_count() const = 0;
  // Every token of the step before the first one.
  virtual int32_t start_token() const = 0;
  // The number of tokens that the layer takes.
  virtual int64_t token_count() const = 0;
  // The token of the first logit of a part; the others follow.
  virtual int32_t first_token(int64_t part) const = 0;
  // The range of logits of a part that stand for possible tokens.
  virtual int64_t first_logit(int64_t part) const = 0;
  virtual int64_t logit_count() const = 0;
  // Whether the temperature acts on the tokens that are kept (Sampling::temperature_last).
  virtual bool temperature_last() const = 0;
  // Real-time. Runs one step like Layer::step, but the source chooses the tokens; x only says which
  // items are valid.
  virtual Sequence step_with(Run& run, const Sequence& x, TokenSource& source) const = 0;

 protected:
  ~TokenParts() = default;
};

}  // namespace sl
