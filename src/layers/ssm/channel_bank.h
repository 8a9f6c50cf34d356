// The systems of S4 and S4D, whose channels each have their own.
#pragma once

#include <vector>

#include "kernels/state_space.h"
#include "layers/ssm/discretization.h"
#include "ops/elementwise.h"

namespace sl {

// One system for each channel, in the layout of kernels::Bank.
class ChannelBank {
 public:
  // The n coefficients of one channel; b and r only if the system has a term of rank one.
  struct System {
    std::vector<complex128> a, c, b, r;
  };

  ChannelBank(int64_t n, bool rank_one, std::vector<float> d)
      : n_(n),
        rank_one_(rank_one),
        d_(std::move(d)),
        coefficients_(static_cast<size_t>(groups() * n * kernels::bank_row(rank_one))) {}

  int64_t channels() const { return static_cast<int64_t>(d_.size()); }
  int64_t groups() const { return ceil_div(channels(), kernels::kBankLanes); }
  Shape state_shape(int64_t batch) const { return {batch, groups(), n_, 2, kernels::kBankLanes}; }

  void set(int64_t channel, const System& system) {
    put(channel, 0, system.a);
    put(channel, 1, system.c);
    if (!rank_one_) return;
    put(channel, 2, system.b);
    put(channel, 3, system.r);
  }

  // Runs x, which is float32, through the systems. For each state value of a step that takes 7
  // operations of x = a x + u, 4 of y = y + Re(c x), and with the term of rank one 13 more, and for
  // each channel the product d u. `state` has state_shape().
  void scan(const Run& run, const Sequence& x, float* state, const Sequence& y) const {
    run.parallel().count(x.steps() * channels() * ((rank_one_ ? 24 : 11) * n_ + 1),
                         static_cast<int64_t>(coefficients_.size() * sizeof(float)));
    scan(run, x.floats(), x.batch, x.time, state, y.floats());
  }

  // The impulse response of each channel: [length, channels].
  std::vector<float> impulse_response(const Run& run, int64_t length) const {
    const int64_t size = checked_product(length, channels());
    require_memory(checked_bytes(size, 2 * sizeof(float)), kDefaultMaxBytes);
    std::vector<float> u(static_cast<size_t>(size)), y(u.size());
    std::vector<float> state(static_cast<size_t>(state_shape(1).size()));
    std::fill_n(u.begin(), channels(), 1.0f);
    scan(run, u.data(), 1, length, state.data(), y.data());
    return y;
  }

 private:
  void scan(const Run& run, const float* x, int64_t batch, int64_t time, float* state,
            float* y) const {
    const kernels::Bank bank{coefficients_.data(), d_.data(), channels(), n_, rank_one_};
    const int64_t group_state = n_ * 2 * kernels::kBankLanes;
    ops::for_ranges(run, batch * groups(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin, next; i < end; i = next) {
        const int64_t item = i / groups(), own = item * groups();
        next = std::min(end, own + groups());
        const int64_t from = item * time * channels();
        kernels::bank_scan(bank, i - own, next - own, x + from, time, state + i * group_state,
                           y + from);
      }
    });
  }

  void put(int64_t channel, int64_t field, const std::vector<complex128>& values) {
    constexpr int64_t kLanes = kernels::kBankLanes;
    const int64_t row = kernels::bank_row(rank_one_);
    float* to =
        coefficients_.data() + channel / kLanes * n_ * row + field * 2 * kLanes + channel % kLanes;
    for (const complex128& value : values) {
      to[0] = static_cast<float>(value.real());
      to[kLanes] = static_cast<float>(value.imag());
      to += row;
    }
  }

  int64_t n_;
  bool rank_one_;
  std::vector<float> d_;
  std::vector<float> coefficients_;
};

}  // namespace sl
